"""What a dropped file must not reach, tried on real engines; and what it may, because the owner allowed it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from trainlet.kube.meta import JSON
from trainlet.planning.observed import Observed
from waiting import wait_for
from world import PYTHON_IMAGE, World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

COMMAND = ["python3", "-c", "print(open('/data/secret').read())"]
POD = ("spec", "template", "spec", "replicatedJobs", 0, "template", "spec", "template", "spec")


def build_runtime(pod: JSON | None = None, container: JSON | None = None, name: str = "mine") -> JSON:
    """Return a runtime of one node with these extras."""
    node = {"name": "node", "image": PYTHON_IMAGE, "command": COMMAND, **(container or {})}
    rjob = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {"backoffLimit": 0, "template": {"spec": {"containers": [node], **(pod or {})}}},
        },
    }
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": name},
        "spec": {"mlPolicy": {"numNodes": 1}, "template": {"spec": {"replicatedJobs": [rjob]}}},
    }


def mount(path: Path | str, kind: str = "") -> tuple[JSON, JSON]:
    """Return the parts of a pod and of a container that mount a host path at /data."""
    volume = {"name": "host", "hostPath": {"path": str(path), **({"type": kind} if kind else {})}}
    return {"volumes": [volume]}, {"volumeMounts": [{"name": "host", "mountPath": "/data"}]}


def build_job(name: str = "evil") -> JSON:
    job = build_train_job(name, 1, COMMAND)
    job["spec"]["runtimeRef"]["name"] = "mine"
    return job


ATTEMPTS: dict[str, tuple[JSON, JSON]] = {
    "privileged": ({}, {"securityContext": {"privileged": True}}),
    "the host's network": ({"hostNetwork": True}, {}),
    "the host's processes": ({"hostPID": True}, {}),
    "the host's memory segments": ({"hostIPC": True}, {}),
    "a capability": ({}, {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
    "no seccomp": ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, {}),
    "no AppArmor": ({}, {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
    "a sysctl": ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, {}),
    "unmasked /proc": ({}, {"securityContext": {"procMount": "Unmasked"}}),
    "an SELinux type": ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, {}),
    "a port of the host": ({}, {"ports": [{"containerPort": 1, "hostPort": 22}]}),
    "the root": mount("/"),
    "/etc": mount("/etc", "Directory"),
    "Docker's socket": mount("/var/run/docker.sock", "Socket"),
    "Podman's socket": mount("/run/podman/podman.sock"),
    "the directory of the sockets": mount("/run"),
    "a way up": mount("/srv/data/../../etc"),
}


def test_every_attempt_is_refused_and_nothing_is_made(world: World) -> None:
    world.start("--allow-host-path", "/run", "--allow-host-path", "/srv/data")
    for number, (pod, container) in enumerate(ATTEMPTS.values()):
        runtime = build_runtime(pod, container, f"mine-{number}")
        job = build_job(f"evil-{number}")
        job["spec"]["runtimeRef"]["name"] = f"mine-{number}"
        world.drop(runtime, job, file=f"evil-{number}.yaml")
    for number, what in enumerate(ATTEMPTS):
        report = world.wait_phase(f"evil-{number}", "Rejected", "Running", "Complete", "Failed")
        assert report["phase"] == "Rejected", what
        assert {error["stage"] for error in report["errors"]} == {"security"}, what
        assert world.job(f"evil-{number}") == {}, what
    assert world.owned() == 0


def drop_mounting(world: World, path: Path, kind: str = "") -> None:
    """Drop a job that reads a file of a host path."""
    world.drop(build_runtime(*mount(path, kind)), build_job(), file="job.yaml")


def make_data(world: World) -> Path:
    """Make an allowed directory with a secret in it, and one outside of it."""
    for name, text in (("data", "inside"), ("outside", "outside")):
        (world.base / name).mkdir(mode=0o755)
        (world.base / name / "secret").write_text(text)
    return world.base / "data"


def test_an_allowed_host_path_is_mounted(world: World) -> None:
    data = make_data(world)
    world.start("--allow-host-path", str(data))
    drop_mounting(world, data, "Directory")
    world.wait_phase("evil", "Complete")
    assert world.log_of("evil", "node-0").endswith(" inside\n")


def test_under_restricted_an_allowed_host_path_is_refused(world: World) -> None:
    data = make_data(world)
    world.start("--allow-host-path", str(data), "--pod-security", "restricted")
    drop_mounting(world, data)
    report = world.wait_phase("evil", "Rejected", "Complete")
    assert "restricted volume types" in str(report["errors"])


@pytest.mark.parametrize("how", ["itself", "on the way"])
def test_a_link_below_an_allowed_directory_is_not_followed(world: World, how: str) -> None:
    data = make_data(world)
    (data / "link").symlink_to(world.base)
    world.start("--allow-host-path", str(data))
    drop_mounting(world, data / "link" if how == "itself" else data / "link" / "outside")
    assert_no_container_is_made(world, "cannot be opened without following a link")


def test_a_directory_that_came_to_hold_an_engines_socket_is_not_mounted(world: World) -> None:
    data = make_data(world)
    world.start("--allow-host-path", "/")
    drop_mounting(world, Path(world.url.removeprefix("unix://")).parent)
    report = world.wait_phase("evil", "Rejected", "Complete", "Failed")
    assert report["phase"] == "Rejected", world.describe("evil")
    assert data.is_dir()


def assert_no_container_is_made(world: World, why: str) -> None:
    """Check that the job's node waits, says why, and that the engine has no container of it."""

    def look() -> Sequence[JSON]:
        return [node for node in world.nodes("evil") if why in str(node.get("message"))]

    wait_for(look, f"the node to say {why!r}", 60)
    uid = world.job("evil")["metadata"]["uid"]
    assert world.observe(uid).containers == Observed().containers


def test_a_runtime_that_changes_after_its_job_was_admitted_gains_nothing(world: World) -> None:
    data = make_data(world)
    world.start("--allow-host-path", str(data))
    job = build_job()
    job["spec"]["suspend"] = True
    world.drop(build_runtime(*mount(data)), file="runtime.yaml")
    world.drop(job, file="job.yaml")
    world.wait_phase("evil", "Suspended")
    world.kill()
    snapshot = world.status.root / "default" / "evil" / "runtime.yaml"
    snapshot.write_text(snapshot.read_text().replace(str(data), str(world.base / "outside")))
    world.start("--allow-host-path", str(data))
    job["spec"]["suspend"] = False
    world.drop(job, file="job.yaml")
    assert_no_container_is_made(world, "is not below a directory that --allow-host-path allows")
