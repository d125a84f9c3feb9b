"""What Flux needs: an installer, a command that is wrapped, volumes, a certificate, and scripts that do what they say.

The scripts run here for real, with the places they know moved below a directory and programs that write down how they
are called in the place of Flux's.
"""

import base64
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders import UID, build_job, build_replicated_job, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import ApiError
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset, build_objects
from trainlet.planning.secrets import derive_curve_keys, encode_z85

POD = ("template", "spec", "template", "spec")
IMAGE = "ghcr.io/converged-computing/flux-view-ubuntu:tag-jammy"
VIEW = {"name": "flux-install", "mountPath": "/mnt/flux"}
SCRIPTS = {"name": "alpha-flux-entrypoint", "mountPath": "/etc/flux-config", "readOnly": True}
VOLUMES = [
    {"name": "spack-install", "emptyDir": {}},
    {"name": "flux-install", "emptyDir": {}},
    {"name": "alpha-flux-entrypoint", "configMap": {"name": "alpha-flux-entrypoint", "defaultMode": 0o755}},
    {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
    {"name": "flux-curve", "secret": {"secretName": "alpha-flux-curve", "defaultMode": 0o400}},
]
MOUNTS = [
    VIEW,
    {"name": "spack-install", "mountPath": "/opt/software"},
    SCRIPTS,
    {"name": "flux-curve", "mountPath": "/curve", "readOnly": True},
    {"name": "shared-memory", "mountPath": "/dev/shm", "readOnly": True},
]


def build_flux_runtime(node: JSON | None = None, policy: JSON | None = None, **pod: Any) -> JSON:
    """Return a runtime whose node container has these fields, with the Flux policy."""
    runtime = build_steps_runtime(ml_policy={"numNodes": 1, "flux": policy or {}})
    job = build_replicated_job("node", {"name": "node", **(node or {})}, ancestor="trainer", **pod)
    return put(runtime, ("spec", "template", "spec", "replicatedJobs"), [job])


def build_pod(runtime: JSON, number: int = -1, **trainer: Any) -> JSON:
    job = TrainJob.of(build_job("alpha", trainer={"numNodes": 2, **trainer}))
    pod: JSON = find(build_jobset(job, runtime)["spec"]["replicatedJobs"][number], *POD)
    return pod


def build_files(runtime: JSON | None = None, **trainer: Any) -> dict[str, str]:
    """Return the data of the ConfigMap and of the Secret, decoded."""
    job = TrainJob.of(build_job("alpha", trainer={"numNodes": 2, **trainer}))
    scripts, secret = build_objects(job, runtime or build_flux_runtime(), bytes(32))
    return {**scripts["data"], **{key: base64.b64decode(text).decode() for key, text in secret["data"].items()}}


def test_upstream_s_vector() -> None:
    runtime = build_steps_runtime(ml_policy={"numNodes": 1, "flux": {"numProcPerNode": 1}})
    job = TrainJob.of(
        build_job("alpha", trainer={"numNodes": 2, "image": "i:2", "command": ["trainjob"], "args": ["trainjob"]})
    )
    rjobs = build_jobset(job, runtime)["spec"]["replicatedJobs"]
    assert [find(rjob, "template", "spec", "parallelism") for rjob in rjobs] == [1, 1, 2]
    pod = find(rjobs[-1], *POD)
    assert pod["initContainers"] == [
        {
            "name": "flux-installer",
            "image": IMAGE,
            "command": ["/bin/bash", "/etc/flux-config/init.sh"],
            "volumeMounts": [VIEW, SCRIPTS],
        }
    ]
    assert pod["volumes"] == VOLUMES
    assert pod["containers"] == [
        {
            "name": "node",
            "image": "i:2",
            "command": ["/bin/bash", "/etc/flux-config/entrypoint.sh", "trainjob trainjob"],
            "volumeMounts": [{"name": "initializer", "mountPath": "/workspace"}, *MOUNTS],
            "resources": {"requests": {"cpu": "1", "memory": "4Gi"}},
        }
    ]
    assert "volumes" not in find(rjobs[0], *POD)


def test_the_objects_are_the_job_s() -> None:
    job = TrainJob.of(build_job("alpha", trainer={"numNodes": 2}))
    objects = build_objects(job, build_flux_runtime(), bytes(32))
    names = [(each["kind"], each["metadata"]["name"], each.get("type"), sorted(each["data"])) for each in objects]
    assert names == [
        ("ConfigMap", "alpha-flux-entrypoint", None, ["entrypoint.sh", "init.sh"]),
        ("Secret", "alpha-flux-curve", "Opaque", ["curve.cert"]),
    ]
    owners = [reference["uid"] for each in objects for reference in each["metadata"]["ownerReferences"]]
    assert owners == [UID, UID]


COMMANDS: dict[str, tuple[JSON, JSON, str, list[str] | None]] = {
    # name: (the runtime's container, the job's trainer, the wrapped command, arguments that stay)
    "neither says anything": ({}, {}, "", None),
    "the runtime's command": ({"command": ["a", "b"]}, {}, "a b", None),
    "the job's command": ({"command": ["a"]}, {"command": ["b", "c d"]}, "b c d", None),
    "the job's arguments after the runtime's command": ({"command": ["a"]}, {"args": ["x"]}, "a x", None),
    "the runtime's arguments stay arguments": ({"command": ["a"], "args": ["y"]}, {}, "a", ["y"]),
    "also under the job's": ({"command": ["a"], "args": ["y"]}, {"args": ["x"]}, "a x", ["y"]),
    "spaces around it are none": (
        {},
        {"command": ["  python  "], "args": [" script.py "]},
        "python    script.py",
        None,
    ),
    "an empty command": ({"command": ["a"]}, {"command": []}, "", None),
}


@pytest.mark.parametrize(("node", "trainer", "command", "args"), COMMANDS.values(), ids=COMMANDS)
def test_the_command_becomes_one_argument_of_the_script(
    node: JSON, trainer: JSON, command: str, args: list[str] | None
) -> None:
    [container] = build_pod(build_flux_runtime(node), **trainer)["containers"]
    assert container["command"] == ["/bin/bash", "/etc/flux-config/entrypoint.sh", command]
    assert container.get("args") == args


SETTINGS: dict[str, tuple[list[JSON], list[JSON], tuple[str, str, str]]] = {
    # name: (the runtime's environment, the job's, (image, device, queue policy))
    "the defaults": ([], [], (IMAGE, "eth0", "fcfs")),
    "the runtime's": ([{"name": "FLUX_VIEW_IMAGE", "value": "v:1"}], [], ("v:1", "eth0", "fcfs")),
    "the job's over it": (
        [{"name": "FLUX_NETWORK_DEVICE", "value": "lo"}, {"name": "FLUX_QUEUE_POLICY", "value": "easy"}],
        [{"name": "FLUX_NETWORK_DEVICE", "value": "eth1"}],
        (IMAGE, "eth1", "easy"),
    ),
    "no value is none": (
        [{"name": "FLUX_QUEUE_POLICY", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        [],
        (IMAGE, "eth0", "fcfs"),
    ),
    "other names are no settings": ([{"name": "FLUX_OTHER", "value": "x"}], [], (IMAGE, "eth0", "fcfs")),
}


@pytest.mark.parametrize(("own", "given", "expected"), SETTINGS.values(), ids=SETTINGS)
def test_settings_are_environment_of_the_node(
    own: list[JSON], given: list[JSON], expected: tuple[str, str, str]
) -> None:
    runtime = build_flux_runtime({"env": own} if own else {})
    pod = build_pod(runtime, env=given)
    installer = build_files(runtime, env=given)["init.sh"]
    image, device, queue_policy = expected
    assert pod["initContainers"][0]["image"] == image
    assert f'default_bind = "tcp://{device}:%p"\n' in installer
    assert f'queue-policy = "{queue_policy}"\n' in installer


def test_the_installer_comes_after_the_runtime_s_init_containers() -> None:
    pod = build_pod(build_flux_runtime(initContainers=[{"name": "first"}]))
    assert [container["name"] for container in pod["initContainers"]] == ["first", "flux-installer"]


def test_a_trainer_of_another_name_has_the_command_and_not_what_it_needs() -> None:
    runtime = build_flux_runtime()
    trainer = build_replicated_job("other", {"name": "node"}, ancestor="trainer")
    pod = build_pod(put(runtime, ("spec", "template", "spec", "replicatedJobs"), [trainer]), command=["a"])
    assert pod == {"containers": [{"name": "node", "command": ["/bin/bash", "/etc/flux-config/entrypoint.sh", "a"]}]}


@pytest.mark.parametrize("spec", [{}, {"trainer": {}}, {"trainer": {"command": ["a"]}}], ids=range(3))
@pytest.mark.parametrize("build", [build_jobset, lambda job, runtime: build_objects(job, runtime, bytes(32))])
def test_a_job_must_say_how_many_nodes_it_has(build: Any, spec: JSON) -> None:
    with pytest.raises(ApiError) as raised:
        build(TrainJob.of(build_job("alpha", **spec)), build_flux_runtime())
    assert str(raised.value) == (
        "a runtime with the flux policy needs a job that says how many nodes it has (spec.trainer.numNodes): "
        "give the number of nodes, for example 1"
    )
    assert [(error.path, error.type) for error in raised.value.causes] == [("spec.trainer.numNodes", "Required value")]


GPUS = {"resourcesPerNode": {"limits": {"nvidia.com/gpu": 2}}}
SIZES: dict[str, tuple[JSON, JSON, str, str, str]] = {
    # name: (the policy, the job's trainer, hosts, options of flux R encode, options of flux run)
    "one node": ({}, {"numNodes": 1}, "[0]", "--cores=0", "-N 1 -n 1"),
    "two nodes": ({}, {"numNodes": 2}, "[0-1]", "--cores=0", "-N 2 -n 2"),
    "no node": ({}, {"numNodes": 0}, "[0]", "--cores=0", "-N 0 -n 0"),
    "the policy's tasks": ({"numProcPerNode": 3}, {"numNodes": 2}, "[0-1]", "--cores=0-2", "-N 2 -n 6"),
    "the job's tasks": ({"numProcPerNode": 3}, {"numProcPerNode": 2}, "[0-1]", "--cores=0-1", "-N 2 -n 4"),
    "GPUs": ({}, {"numNodes": 4, **GPUS}, "[0-3]", "--cores=0 --gpu=0-1", "-N 4 -n 4 -g 2"),
}


@pytest.mark.parametrize(("policy", "trainer", "hosts", "resources", "flags"), SIZES.values(), ids=SIZES)
def test_hosts_and_resources_are_the_job_s(
    policy: JSON, trainer: JSON, hosts: str, resources: str, flags: str, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, build_files(build_flux_runtime(policy=policy), **trainer), host="alpha-node-0-0")
    stage.install()
    assert stage.read("mnt/flux/config/etc/flux/system/hostlist") == f"alpha-node-0-{hosts}\n"
    assert f'hosts = [{{ host = "alpha-node-0-{hosts}" }}]' in stage.read_broker_config()
    assert stage.start("train --fast") == 0
    assert stage.calls[0] == f"R encode --hosts=alpha-node-0-{hosts} {resources}"
    assert stage.calls[1].endswith(f" flux run {flags} train --fast")


def test_the_certificate_is_derived_from_the_uid_alone() -> None:
    public, secret = "CBkHJbYu!cs8nh*^]Vh-c[r()}I}V{as6cWJuS1m", "=Rc?:@x36$rKJfML)Pe*:DL[n@DlK5xElUMkwehi"
    keys = derive_curve_keys(UID)
    assert (keys.public.decode(), keys.private.decode()) == (public, secret)
    assert build_files()["curve.cert"] == (
        "#  The brokers of TrainJob default/alpha know each other by this.\n"
        f'metadata\n    name = "alpha"\ncurve\n    public-key = "{public}"\n    secret-key = "{secret}"\n'
    )


def test_z85_is_zeromq_s() -> None:
    assert encode_z85(bytes.fromhex("864FD26FB559F75B")) == "HelloWorld"
    assert encode_z85(bytes(4)) == "00000"


# What the scripts do


@dataclass
class Stage:
    """A file system for the scripts below a directory, and programs in the place of Flux's."""

    root: Path
    files: dict[str, str]
    host: str
    #: What `flux start` ends with, call by call; the last for all that follow.
    codes: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for directory in ("bin", "curve", "opt/software", "opt/views/._view/hash/bin", "opt/views/._view/hash/lib"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        (self.root / "opt/views/._view/hash/bin/flux").write_text("the program")
        (self.root / "opt/software/package").write_text("a package")
        (self.root / "curve/curve.cert").write_text(self.files["curve.cert"])
        (self.root / "codes").write_text("".join(f"{code}\n" for code in self.codes))
        self._add_program(
            "flux",
            'echo "$*" >>"$STAGE/calls"',
            '[ "$1" = start ] || exit 0',
            'code=$(head -n 1 "$STAGE/codes"); [ "$(wc -l <"$STAGE/codes")" = 1 ] || sed -i 1d "$STAGE/codes"',
            'exit "$code"',
        )
        self._add_program("sleep", 'echo "sleep $*" >>"$STAGE/calls"')
        self._add_program("uname", f"echo {self.host}")

    def _add_program(self, name: str, *lines: str) -> None:
        file = self.root / "bin" / name
        file.write_text("\n".join(("#!/bin/bash", *lines, "")))
        file.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """How the programs were called."""
        return self.read("calls").splitlines()

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def read_broker_config(self) -> str:
        return self.read("mnt/flux/config/etc/flux/config/broker.toml")

    def install(self) -> None:
        """Run the init container's script, as every pod does first."""
        assert self._run("init.sh") == 0

    def start(self, *command: str) -> int:
        """Run the node container's script and return how it ends."""
        return self._run("entrypoint.sh", *command)

    def _run(self, name: str, *arguments: str) -> int:
        script = self.files[name]
        script = script.replace("cp /curve/", f"cp {self.root}/curve/")
        for place in ("/mnt/flux", "/opt/software", "/opt/views"):
            script = script.replace(place, f"{self.root}{place}")
        file = self.root / name
        file.write_text(script)
        environment = {"PATH": f"{self.root}/bin:/usr/bin:/bin", "STAGE": str(self.root)}
        ended = subprocess.run(
            ["/bin/bash", file, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "command not found" not in ended.stderr
        return ended.returncode


OPTIONS = (
    "-Scron.directory=@/config/etc/flux/system/cron.d -Stbon.fanout=256 -Srundir=@/config/run/flux "
    "-Sstatedir=@/config/var/lib/flux -Slocal-uri=local://@/config/run/flux/local -Slog-stderr-level=0 "
    "-Slog-stderr-mode=local"
)


def test_the_installer_brings_flux_and_configures_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, build_files(), host="alpha-node-0-0")
    stage.install()
    assert stage.read("mnt/flux/view/bin/flux") == "the program"
    assert stage.read("mnt/flux/software/package") == "a package"
    config = stage.read_broker_config()
    assert 'default_connect = "tcp://%h.alpha.default.svc.cluster.local:%p"\n' in config
    assert "default_port = 8050\n" in config
    assert f'curve_cert = "{tmp_path}/mnt/flux/config/etc/curve/curve.cert"\n' in config
    stage.install()
    assert stage.read_broker_config() == config, "a second time changes nothing"


def test_an_installer_without_flux_fails(tmp_path: Path) -> None:
    stage = Stage(tmp_path, build_files(), host="alpha-node-0-0")
    (tmp_path / "opt/views").rename(tmp_path / "opt/elsewhere")
    with pytest.raises(AssertionError):
        stage.install()


def test_node_0_starts_the_instance_and_runs_the_command_in_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, build_files(), host="alpha-node-0-0")
    stage.install()
    (tmp_path / "opt/software/package").unlink()
    assert stage.start("python train.py --epochs 10") == 0
    options = f"{tmp_path}/mnt/flux/config/etc/flux/config {OPTIONS.replace('@', f'{tmp_path}/mnt/flux')}"
    assert stage.calls[1:] == [f"start -o --config {options} flux run -N 2 -n 2 python train.py --epochs 10"]
    assert stage.read("opt/software/package") == "a package"
    certificate = tmp_path / "mnt/flux/config/etc/curve/curve.cert"
    assert certificate.read_text() == stage.files["curve.cert"]
    assert certificate.stat().st_mode & 0o777 == 0o600


def test_without_a_command_node_0_waits_for_one(tmp_path: Path) -> None:
    stage = Stage(tmp_path, build_files(), host="alpha-node-0-0")
    stage.install()
    assert stage.start("") == 0
    assert stage.calls[1].startswith(f"broker --config-path {tmp_path}/mnt/flux/config/etc/flux/config -S")


def test_a_command_that_failed_fails_the_node_and_does_not_run_again_alone(tmp_path: Path) -> None:
    stage = Stage(tmp_path, build_files(), host="alpha-node-0-0", codes=(7,))
    stage.install()
    assert [stage.start("train"), stage.start("train")] == [7, 7]
    assert len([call for call in stage.calls if call.startswith("start")]) == 1


def test_the_other_nodes_join_until_their_broker_ends_well(tmp_path: Path) -> None:
    stage = Stage(tmp_path, build_files(), host="alpha-node-0-1", codes=(1, 1, 0))
    stage.install()
    assert stage.start("train") == 0
    options = f"{tmp_path}/mnt/flux/config/etc/flux/config {OPTIONS.replace('@', f'{tmp_path}/mnt/flux')}"
    start = f"start -o --config {options}"
    assert stage.calls[1:] == [start, "sleep 15", start, "sleep 15", start]
