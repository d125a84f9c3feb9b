"""What mpirun needs: workers and a launcher that reach each other by SSH, the host file, and who counts as a node."""

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_public_key

from builders import UID, build_job, build_replicated_job, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import ApiError
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset, build_objects
from trainlet.planning.secrets import KeyPair, derive_ssh_keys

SECRET = bytes(range(32))
POD = ("template", "spec", "template", "spec")
KEYS_VOLUME = {
    "name": "mpi-ssh-auth",
    "secret": {
        "secretName": "alpha-mpi-ssh-auth",
        "defaultMode": 0o400,
        "items": [
            {"key": "ssh-privatekey", "path": "id_rsa", "mode": 0o640},
            {"key": "ssh-publickey", "path": "id_rsa.pub", "mode": 0o644},
            {"key": "ssh-publickey", "path": "authorized_keys", "mode": 0o644},
        ],
    },
}
HOSTS_VOLUME = {
    "name": "mpi-hostfile",
    "configMap": {"name": "alpha-mpi-hostfile", "items": [{"key": "hostfile", "path": "hostfile", "mode": 0o444}]},
}
OWNER = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "name": "alpha",
    "uid": UID,
    "controller": True,
    "blockOwnerDeletion": True,
}
LAUNCHER = build_replicated_job("launcher", {"name": "node", "image": "launcher:1"})
LAUNCHER["dependsOn"] = [{"name": "node", "status": "Ready"}]


def settings(slots: int) -> list[JSON]:
    return [
        {"name": "OMPI_MCA_orte_default_hostfile", "value": "/etc/mpi/hostfile"},
        {"name": "OMPI_MCA_orte_keep_fqdn_hostnames", "value": "true"},
        {"name": "OMPI_MCA_orte_set_default_slots", "value": str(slots)},
        {"name": "OMPI_MCA_plm_rsh_args", "value": "-o ConnectionAttempts=10"},
    ]


def build_mpi_runtime(*jobs: JSON, nodes: int = 1, network: JSON | None = None, **policy: Any) -> JSON:
    """Return a runtime of these replicated jobs with the MPI policy."""
    runtime = build_steps_runtime(ml_policy={"numNodes": nodes, "mpi": policy})
    spec = {"replicatedJobs": list(jobs), **({"network": network} if network else {})}
    return put(runtime, ("spec", "template", "spec"), spec)


def build_all(runtime: JSON, **spec: Any) -> tuple[dict[str, JSON], tuple[JSON, ...]]:
    """Return the replicated jobs by name, and the objects."""
    job = TrainJob.of(build_job("alpha", **spec))
    jobset = build_jobset(job, runtime)
    return {rjob["name"]: rjob for rjob in jobset["spec"]["replicatedJobs"]}, build_objects(job, runtime, SECRET)


def count_pods(rjobs: dict[str, JSON]) -> dict[str, int]:
    counts = {name: find(rjob, "template", "spec") for name, rjob in rjobs.items()}
    assert all(spec["parallelism"] == spec["completions"] for spec in counts.values())
    return {name: spec["parallelism"] for name, spec in counts.items()}


def node_of(rjob: JSON) -> JSON:
    node: JSON = find(rjob, *POD, "containers", 0)
    return node


def hosts_of(objects: tuple[JSON, ...]) -> list[str]:
    [text] = [each["data"]["hostfile"] for each in objects if each["kind"] == "ConfigMap"]
    assert text == "" or text.endswith("\n")
    return str(text).splitlines()


def test_upstream_s_vector() -> None:
    policy = {
        "numProcPerNode": 8,
        "mpiImplementation": "OpenMPI",
        "sshAuthMountPath": "/root/.ssh",
        "runLauncherAsNode": False,
    }
    runtime = build_steps_runtime(ml_policy={"numNodes": 1, "mpi": policy}, more_jobs=[LAUNCHER])
    env = [{"name": "TRAIN_JOB", "value": "value"}]
    trainer = {"numNodes": 2, "image": "test:trainjob", "command": ["trainjob"], "args": ["trainjob"], "env": env}
    rjobs, (secret, hosts) = build_all(runtime, trainer=trainer)
    assert count_pods(rjobs) == {"dataset-initializer": 1, "model-initializer": 1, "node": 2, "launcher": 1}
    assert rjobs["launcher"]["dependsOn"] == [{"name": "node", "status": "Ready"}]
    assert find(rjobs["node"], *POD, "volumes") == [KEYS_VOLUME]
    assert find(rjobs["launcher"], *POD, "volumes") == [KEYS_VOLUME, HOSTS_VOLUME]
    worker, launcher = node_of(rjobs["node"]), node_of(rjobs["launcher"])
    assert worker == {
        "name": "node",
        "image": "test:trainjob",
        "command": ["trainjob"],
        "args": ["trainjob"],
        "resources": {"requests": {"cpu": "1", "memory": "4Gi"}},
        "env": env,
        "volumeMounts": [
            {"name": "initializer", "mountPath": "/workspace"},
            {"name": "mpi-ssh-auth", "mountPath": "/root/.ssh"},
        ],
    }
    assert launcher == {
        "name": "node",
        "image": "launcher:1",
        "env": settings(8),
        "volumeMounts": [
            {"name": "mpi-ssh-auth", "mountPath": "/root/.ssh"},
            {"name": "mpi-hostfile", "mountPath": "/etc/mpi"},
        ],
    }
    assert "volumes" not in find(rjobs["dataset-initializer"], *POD)
    assert hosts == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "alpha-mpi-hostfile", "namespace": "default", "ownerReferences": [OWNER]},
        "data": {"hostfile": "alpha-node-0-0.alpha slots=8\nalpha-node-0-1.alpha slots=8\n"},
    }
    assert {key: value for key, value in secret.items() if key != "data"} == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "alpha-mpi-ssh-auth", "namespace": "default", "ownerReferences": [OWNER]},
        "type": "kubernetes.io/ssh-auth",
        "immutable": True,
    }
    keys = KeyPair(*(base64.b64decode(secret["data"][key]) for key in ("ssh-privatekey", "ssh-publickey")))
    assert keys == derive_ssh_keys(SECRET, UID)


WORKERS = build_replicated_job("node", {"name": "node"})
TRAINING_WORKERS = build_replicated_job("node", {"name": "node"}, ancestor="trainer")
TRAINING_LAUNCHER = build_replicated_job("launcher", {"name": "node"}, ancestor="trainer")
TWO_WORKERS = put(WORKERS, ("template", "spec", "parallelism"), 2)
AS_NODE = {"runLauncherAsNode": True}
N = "alpha-node-0-{}.alpha slots=1"
L = "alpha-launcher-0-0.alpha slots=1"
COUNTS: dict[str, tuple[JSON, JSON | None, dict[str, int], list[str]]] = {
    # name: (runtime, trainer, pods, lines of the host file)
    "shipped, nothing said": (
        build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, **AS_NODE),
        None,
        {"node": 1, "launcher": 1},
        [N.format(0), L],
    ),
    "shipped, one node is two pods": (
        build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, **AS_NODE),
        {"numNodes": 1},
        {"node": 1, "launcher": 1},
        [N.format(0), L],
    ),
    "shipped, two nodes": (
        build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, **AS_NODE),
        {"numNodes": 2},
        {"node": 1, "launcher": 1},
        [N.format(0), L],
    ),
    "shipped, three nodes": (
        build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, **AS_NODE),
        {"numNodes": 3},
        {"node": 2, "launcher": 1},
        [N.format(0), N.format(1), L],
    ),
    "shipped, no node is two pods too": (
        build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, **AS_NODE),
        {"numNodes": 0},
        {"node": 1, "launcher": 1},
        [N.format(0), L],
    ),
    "the runtime's number starts as many launchers": (
        build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, nodes=2, **AS_NODE),
        {},
        {"node": 1, "launcher": 2},
        [N.format(0), L, L.replace("0-0", "0-1")],
    ),
    "the launcher comes first where the template has it so": (
        build_mpi_runtime(TRAINING_LAUNCHER, WORKERS, **AS_NODE),
        {"numNodes": 2},
        {"launcher": 1, "node": 1},
        [L, N.format(0)],
    ),
    "the template's parallelism where nothing is said": (
        build_mpi_runtime(TWO_WORKERS, TRAINING_LAUNCHER),
        {},
        {"node": 2, "launcher": 1},
        [N.format(0), N.format(1)],
    ),
    "a launcher that is no node": (
        build_mpi_runtime(WORKERS, TRAINING_LAUNCHER),
        {"numNodes": 2},
        {"node": 2, "launcher": 1},
        [N.format(0), N.format(1)],
    ),
    "workers that serve the trainer have the runtime's number": (
        build_mpi_runtime(TRAINING_WORKERS, LAUNCHER, nodes=3),
        None,
        {"node": 3, "launcher": 1},
        [N.format(0), N.format(1), N.format(2)],
    ),
    "and the job's over it": (
        build_mpi_runtime(TRAINING_WORKERS, LAUNCHER, nodes=3),
        {"numNodes": 0},
        {"node": 0, "launcher": 1},
        [],
    ),
    "no launcher": (build_mpi_runtime(TRAINING_WORKERS), {"numNodes": 1}, {"node": 1}, [N.format(0)]),
    "no workers": (build_mpi_runtime(TRAINING_LAUNCHER, **AS_NODE), {"numNodes": 1}, {"launcher": 1}, [L]),
    "neither": (
        build_mpi_runtime(build_replicated_job("other", {"name": "node"}, ancestor="trainer")),
        {"numNodes": 2},
        {"other": 1},
        [],
    ),
}


@pytest.mark.parametrize(("runtime", "trainer", "pods", "hosts"), COUNTS.values(), ids=COUNTS)
def test_how_many_pods_there_are_and_which_the_launcher_may_use(
    runtime: JSON, trainer: JSON | None, pods: dict[str, int], hosts: list[str]
) -> None:
    rjobs, objects = build_all(runtime, **({} if trainer is None else {"trainer": trainer}))
    assert (count_pods(rjobs), hosts_of(objects)) == (pods, hosts)


def test_hosts_are_named_by_the_template_s_subdomain() -> None:
    runtime = build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, network={"subdomain": "sub"}, **AS_NODE)
    _, objects = build_all(runtime)
    assert hosts_of(objects) == ["alpha-node-0-0.sub slots=1", "alpha-launcher-0-0.sub slots=1"]


GPUS = {"limits": {"nvidia.com/gpu": 4}}
SLOTS: dict[str, tuple[int | None, JSON | None, JSON, int]] = {
    # name: (the policy's number, the workers' resources, the job's trainer, slots)
    "the default": (None, None, {}, 1),
    "the policy's": (3, None, {}, 3),
    "the job's": (3, None, {"numProcPerNode": 2}, 2),
    "the job's one, whatever there is": (3, GPUS, {"numProcPerNode": 1}, 1),
    "GPUs, where the policy says one": (1, GPUS, {}, 4),
    "GPUs, where it says nothing": (None, GPUS, {}, 4),
    "not where it says more": (3, GPUS, {}, 3),
    "one GPU": (1, {"limits": {"nvidia.com/gpu": 1}}, {}, 1),
    "the job's GPUs instead of the runtime's": (1, GPUS, {"resourcesPerNode": {"limits": {"nvidia.com/gpu": 2}}}, 2),
    "the job's resources without GPUs": (1, GPUS, {"resourcesPerNode": {"limits": {"cpu": 8}}}, 1),
}


@pytest.mark.parametrize(("number", "resources", "trainer", "slots"), SLOTS.values(), ids=SLOTS)
def test_slots_are_the_processes_of_a_node(
    number: int | None, resources: JSON | None, trainer: JSON, slots: int
) -> None:
    node = {"name": "node", **({"resources": resources} if resources else {})}
    policy = {} if number is None else {"numProcPerNode": number}
    runtime = build_mpi_runtime(build_replicated_job("node", node), TRAINING_LAUNCHER, **policy)
    rjobs, objects = build_all(runtime, trainer=trainer)
    assert node_of(rjobs["launcher"])["env"] == settings(slots)
    assert hosts_of(objects) == [f"alpha-node-0-0.alpha slots={slots}"]


OWN_ENV = [{"name": "A", "value": "1"}]
OWN_RESOURCES = {"limits": {"cpu": "2"}, "claims": [{"name": "c"}]}


@pytest.mark.parametrize("launcher_is_node", [True, False])
def test_workers_have_the_job_s_environment_and_resources_where_the_launcher_is_a_node(launcher_is_node: bool) -> None:
    runtime = build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, runLauncherAsNode=launcher_is_node)
    trainer = {"image": "mine:1", "command": ["run"], "args": ["x"], "env": OWN_ENV, "resourcesPerNode": OWN_RESOURCES}
    rjobs, _ = build_all(runtime, trainer=trainer)
    worker, launcher = node_of(rjobs["node"]), node_of(rjobs["launcher"])
    mounts = [{"name": "mpi-ssh-auth", "mountPath": "/root/.ssh"}]
    shared = {"env": OWN_ENV, "resources": OWN_RESOURCES} if launcher_is_node else {}
    assert worker == {"name": "node", **shared, "volumeMounts": mounts}
    assert (launcher["image"], launcher["command"], launcher["args"]) == ("mine:1", ["run"], ["x"])
    assert (launcher["env"], launcher["resources"]) == ([*OWN_ENV, *settings(1)], OWN_RESOURCES)


def test_a_job_without_a_trainer_is_no_exception() -> None:
    rjobs, _ = build_all(build_mpi_runtime(WORKERS, TRAINING_LAUNCHER))
    assert node_of(rjobs["launcher"])["env"] == settings(1)


@pytest.mark.parametrize("launcher", [TRAINING_LAUNCHER, LAUNCHER], ids=["the trainer", "nobody's step"])
def test_the_job_s_value_wins_over_the_policy_s_where_the_launcher_is_the_trainer(launcher: JSON) -> None:
    own = {"name": "OMPI_MCA_plm_rsh_args", "value": "-v"}  # a webhook would refuse it
    rjobs, _ = build_all(build_mpi_runtime(launcher), trainer={"env": [own]})
    expected = [own, *settings(1)[:3]] if launcher is TRAINING_LAUNCHER else settings(1)
    assert node_of(rjobs["launcher"])["env"] == expected


def test_a_container_of_another_name_gets_volumes_beside_it_and_nothing_in_it() -> None:
    rjobs, _ = build_all(build_mpi_runtime(WORKERS, build_replicated_job("launcher", {"name": "launcher"})))
    assert node_of(rjobs["launcher"]) == {"name": "launcher"}
    assert find(rjobs["launcher"], *POD, "volumes") == [KEYS_VOLUME, HOSTS_VOLUME]


def test_what_the_runtime_has_of_the_same_name_or_path_is_replaced_in_place() -> None:
    node = {
        "name": "node",
        "env": [{"name": "OMPI_MCA_plm_rsh_args", "value": "old"}, *OWN_ENV],
        "volumeMounts": [{"name": "mine", "mountPath": "/etc/mpi"}, {"name": "other", "mountPath": "/x"}],
    }
    volumes = [{"name": "mpi-hostfile", "emptyDir": {}}, {"name": "other", "emptyDir": {}}]
    rjobs, _ = build_all(build_mpi_runtime(build_replicated_job("launcher", node, volumes=volumes)))
    container = node_of(rjobs["launcher"])
    assert container["env"] == [settings(1)[3], *OWN_ENV, *settings(1)[:3]]
    assert [mount["name"] for mount in container["volumeMounts"]] == ["mpi-hostfile", "other", "mpi-ssh-auth"]
    assert find(rjobs["launcher"], *POD, "volumes") == [HOSTS_VOLUME, volumes[1], KEYS_VOLUME]


@pytest.mark.parametrize("build", [build_jobset, lambda job, runtime: build_objects(job, runtime, SECRET)])
def test_another_mpi_cannot_be_built(build: Any) -> None:
    job = TrainJob.of(build_job("alpha"))
    with pytest.raises(ApiError) as raised:
        build(job, build_mpi_runtime(WORKERS, TRAINING_LAUNCHER, mpiImplementation=""))
    what = 'MPI implementation for "" doesn\'t supported (spec.mlPolicy.mpi.mpiImplementation of the runtime)'
    assert str(raised.value) == f"{what}: set it to OpenMPI"
    assert [(error.path, error.detail) for error in raised.value.causes] == [("spec.runtimeRef", what)]


def test_keys_are_the_job_s_own_and_the_same_whenever_asked_for() -> None:
    keys = derive_ssh_keys(SECRET, "a")
    assert derive_ssh_keys(SECRET, "a") == keys
    others = {derive_ssh_keys(SECRET, "b").private, derive_ssh_keys(bytes(32), "a").private}
    assert len({keys.private, *others}) == 3


def test_the_keys_are_a_pair_in_ssh_s_forms() -> None:
    keys = derive_ssh_keys(SECRET, UID)
    assert keys.private.startswith(b"-----BEGIN EC PRIVATE KEY-----\n")
    assert keys.public.startswith(b"ecdsa-sha2-nistp521 AAAA")
    assert keys.public.endswith(b"\n")
    private = load_pem_private_key(keys.private, password=None)
    assert isinstance(private, EllipticCurvePrivateKey)
    assert private.curve.name == "secp521r1"
    assert private.public_key() == load_ssh_public_key(keys.public)


def test_another_version_derives_the_same_keys() -> None:
    keys = derive_ssh_keys(SECRET, UID)
    assert hashlib.sha256(keys.public).hexdigest() == "3259e653ebf52c0e4e83174f0289eb4a88759c334bb75c897329beed843e725c"
