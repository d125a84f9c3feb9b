"""A pod as a container: what a kubelet and a cluster's DNS would give it, in an engine's terms."""

from dataclasses import replace
from typing import Any

import pytest

from builders import NOW, UID, build_job, build_runtime
from stage import build_config_map, build_secret, set_stage
from trainlet.kube.meta import JSON, derive_uid
from trainlet.planning import labels
from trainlet.planning.containers import build_network
from trainlet.planning.labels import SANDBOX
from trainlet.planning.objects import ConfigError
from trainlet.planning.options import Options
from trainlet.planning.pods import get_pod_name
from trainlet.planning.records import PodRecord
from trainlet.planning.specs import ContainerSpec, File, Limits, Mount
from worlds import World, build_pod_record, build_world
from worlds import build_network as see_network

OPTIONS = Options(store="abc", workspace_dir="/jobs/workspaces", limits=Limits(shm_bytes=1 << 28))
GIBIBYTE = 1 << 30


def build(
    step: str = "node-0",
    record: PodRecord | None = None,
    container: JSON | None = None,
    pod: JSON | None = None,
    nodes: int = 2,
    **trainer: Any,
) -> ContainerSpec:
    """Return the container of a step of a job of two nodes."""
    world = build_world({"container": container, "pod": pod}, OPTIONS, trainer={"numNodes": nodes, **trainer})
    return world.spec(step, record)


def build_local(**trainer: Any) -> ContainerSpec:
    """Return node 1 on an engine that has no networks."""
    world = build_world(trainer={"numNodes": 2, **trainer})
    network = see_network(subnet="127.0.0.1/32", port=4000)
    return replace(world, observed=replace(world.observed, networks=(network,))).spec("node-1")


def test_the_labels_say_whose_it_is_and_what_the_sdk_reads() -> None:
    expected = {
        "kubeflow.org/job-name": "mnist",
        "trainer.kubeflow.org/trainjob-name": "mnist",
        "trainer.kubeflow.org/step": "node-1",
        "trainer.kubeflow.org/network-id": "mnist-net",
        "trainlet.dev/owner-uid": UID,
        "trainlet.dev/store": "abc",
        "trainlet.dev/namespace": "default",
        "trainlet.dev/pod": "mnist-node-0-1",
        "trainlet.dev/attempt": "3",
        "jobset.sigs.k8s.io/jobset-name": "mnist",
        "jobset.sigs.k8s.io/replicatedjob-name": "node",
        "jobset.sigs.k8s.io/replicatedjob-replicas": "1",
        "jobset.sigs.k8s.io/job-index": "0",
        "batch.kubernetes.io/job-name": "mnist-node-0",
        "job-name": "mnist-node-0",
        "batch.kubernetes.io/job-completion-index": "1",
    }
    found = build("node-1", build_pod_record(NOW, attempt=3)).labels
    assert {key: found.get(key) for key in expected} == expected


def test_a_container_of_a_network_that_was_made_again_is_another_one() -> None:
    world = build_world()
    again = replace(see_network(), id="another")
    other = replace(world, observed=replace(world.observed, networks=(again,)))
    assert world.spec("node-0").labels[labels.SPEC_HASH] != other.spec("node-0").labels[labels.SPEC_HASH]


def test_a_pod_template_s_labels_never_hide_ours() -> None:
    world = build_world()
    rjob = world.runtime["spec"]["template"]["spec"]["replicatedJobs"][0]
    rjob["template"]["spec"]["template"]["metadata"] = {"labels": {labels.OWNER_UID: "other", "team": "a"}}
    found = world.spec("node-0").labels
    assert (found[labels.OWNER_UID], found["team"]) == (UID, "a")


def test_the_network_is_the_job_s_and_says_its_runtime() -> None:
    scene = build_world(trainer={"numNodes": 3}).look()
    spec = build_network(scene.job, scene.slots, OPTIONS)
    assert (spec.name, spec.hosts, spec.subnet) == ("mnist-net", 3, None)
    assert spec.labels == {
        "kubeflow.org/job-name": "mnist",
        "trainer.kubeflow.org/trainjob-name": "mnist",
        "trainer.kubeflow.org/runtime-name": "torch-distributed",
        "trainlet.dev/owner-uid": UID,
        "trainlet.dev/namespace": "default",
        "trainlet.dev/store": "abc",
    }


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({}, (Mount("/jobs/workspaces/default/mnist", "/workspace"),)),
        (
            {"volumeMounts": [{"name": "a", "mountPath": "/data"}]},
            (Mount("/jobs/workspaces/default/mnist", "/workspace"),),
        ),
        ({"volumeMounts": [{"name": "a", "mountPath": "/workspace"}]}, ()),
        ({"volumeMounts": [{"name": "a", "mountPath": "/workspace/"}]}, ()),
        (
            {"volumeMounts": [{"name": "a", "mountPath": "/workspace/data"}]},
            (Mount("/jobs/workspaces/default/mnist", "/workspace"),),
        ),
    ],
)  # fmt: skip
def test_the_workspace_is_mounted_unless_the_pod_mounts_something_there(container: JSON, expected: Any) -> None:
    assert build(container=container).mounts == expected


LIMITS = [
    # resources -> limits
    ({}, Limits(shm_bytes=1 << 28)),
    ({"limits": {"memory": "1Gi"}}, Limits(memory_bytes=GIBIBYTE, shm_bytes=GIBIBYTE)),
    (
        {"requests": {"memory": "1Gi", "cpu": 1}},
        Limits(cpu_shares=1024, memory_reservation_bytes=GIBIBYTE, shm_bytes=1 << 28),
    ),
    ({"limits": {"cpu": "1500m"}}, Limits(cpus=1.5, cpu_shares=1536, shm_bytes=1 << 28)),
    ({"limits": {"nvidia.com/gpu": 2}}, Limits(shm_bytes=1 << 28, gpus=2, gpu_resource="nvidia.com/gpu")),
    ({"limits": {"amd.com/gpu": "1"}}, Limits(shm_bytes=1 << 28, gpus=1, gpu_resource="amd.com/gpu")),
    ({"limits": {"nvidia.com/gpu": 0}}, Limits(shm_bytes=1 << 28)),
]


@pytest.mark.parametrize(("resources", "limits"), LIMITS)
def test_limits_are_the_engine_s_and_shared_memory_is_as_large_as_memory(resources: JSON, limits: Limits) -> None:
    assert build(container={"resources": resources}).limits == limits


USERS = [
    # pod's securityContext, container's -> user
    ({}, {}, None),
    ({"runAsUser": 1000}, {}, "1000"),
    ({"runAsUser": 1000, "runAsGroup": 100}, {}, "1000:100"),
    ({"runAsUser": 1000, "runAsGroup": 100}, {"runAsUser": 0}, "0:100"),
    ({"runAsUser": 1000}, {"runAsUser": 0, "runAsGroup": 0}, "0:0"),
    ({}, {"runAsGroup": 5}, None),
]


@pytest.mark.parametrize(("pod", "container", "user"), USERS)
def test_the_user_is_the_container_s_else_the_pod_s(pod: JSON, container: JSON, user: str | None) -> None:
    assert build(pod={"securityContext": pod}, container={"securityContext": container}).user == user


GROUPS = [({}, ()), ({"fsGroup": 7}, (7,)), ({"supplementalGroups": [3, 7], "fsGroup": 7}, (7, 3))]


@pytest.mark.parametrize(("pod", "groups"), GROUPS)
def test_processes_are_in_the_pod_s_groups_and_in_that_of_its_files(pod: JSON, groups: tuple[int, ...]) -> None:
    assert build(pod={"securityContext": pod}).groups == groups


def test_command_and_args_are_expanded_with_the_container_s_environment() -> None:
    spec = build("node-1", command=["run", "--rank=$(PET_NODE_RANK)", "$$(X)"], args=["$(MASTER_ADDR)", "$(NO)"])
    assert spec.command == ("run", "--rank=1", "$(X)")
    assert spec.args == ("10.213.0.2", "$(NO)")


@pytest.mark.parametrize("given", [{}, {"command": [], "args": []}])
def test_no_command_is_the_image_s_own(given: JSON) -> None:
    spec = build(**given)
    assert (spec.command, spec.args) == (None, None)


def test_frameworks_without_torchrun_find_rank_and_master() -> None:
    env = build("node-1").env
    wanted = ["MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "JOB_COMPLETION_INDEX", "PET_NODE_RANK"]
    assert [env[name] for name in wanted] == ["10.213.0.2", "29500", "1", "2", "1", "1"]


def test_what_the_user_sets_is_never_overridden() -> None:
    names = ["MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "JOB_COMPLETION_INDEX"]
    env = build(env=[{"name": name, "value": "mine"} for name in names]).env
    assert [env[name] for name in names] == ["mine"] * 5


def test_a_step_that_is_not_the_trainer_gets_no_rendezvous() -> None:
    step = {"name": "web", "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}}
    env = build_world({"more_jobs": [step]}).spec("web-0").env
    assert env == {"JOB_COMPLETION_INDEX": "0"}


def test_the_master_is_the_first_node_of_the_trainer_and_not_of_the_job() -> None:
    step = {"name": "web", "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}}
    world = build_world({"more_jobs": [step]}, trainer={"numNodes": 2})
    assert [world.spec(step).address for step in ("web-0", "node-0", "node-1")] == [
        "10.213.0.2",
        "10.213.0.3",
        "10.213.0.4",
    ]
    env = world.spec("node-1").env
    assert (env["MASTER_ADDR"], env["RANK"], env["WORLD_SIZE"]) == ("10.213.0.3", "1", "2")


FIELDS = [
    ("metadata.name", None),
    ("metadata.namespace", "default"),
    ("metadata.uid", derive_uid(UID, get_pod_name(build_world().slot("node-0"), build_pod_record(NOW)))),
    ("spec.nodeName", "localhost"),
    ("spec.serviceAccountName", "default"),
    ("status.hostIP", "10.213.0.1"),
    ("status.hostIPs", "10.213.0.1"),
    ("status.podIP", "10.213.0.2"),
    ("status.podIPs", "10.213.0.2"),
    ("metadata.annotations['batch.kubernetes.io/job-completion-index']", "0"),
    ("metadata.labels['job-name']", "mnist-node-0"),
    ("metadata.labels['no-such']", ""),
]


@pytest.mark.parametrize(("path", "value"), FIELDS)
def test_the_pod_s_fields_are_known_to_it(path: str, value: str | None) -> None:
    env = build(env=[{"name": "F", "valueFrom": {"fieldRef": {"fieldPath": path}}}]).env
    assert env["F"] == value if value is not None else env["F"].startswith("mnist-node-0-0-")


def test_every_node_knows_all_names_of_all_nodes_at_once() -> None:
    spec = build("node-1")
    assert (spec.hostname, spec.network, spec.address) == ("mnist-node-0-1", "mnist-net", "10.213.0.3")
    names = (".mnist.default.svc.cluster.local", ".mnist.default.svc", ".mnist.default", ".mnist", "")
    assert spec.hosts == (
        ("10.213.0.2", tuple(f"mnist-node-0-0{name}" for name in names)),
        ("10.213.0.3", tuple(f"mnist-node-0-1{name}" for name in names)),
    )
    assert spec.aliases == spec.hosts[1][1]


def test_the_runtime_s_subdomain_is_part_of_the_names() -> None:
    world = build_world()
    world.runtime["spec"]["template"]["spec"]["network"] = {"subdomain": "sub"}
    assert "mnist-node-0-0.sub" in world.spec("node-0").aliases


def test_without_a_network_names_become_addresses_and_the_port_the_job_s() -> None:
    spec = build_local(
        command=["run", "mnist-node-0-0.mnist:29500"],
        args=["mnist-node-0-1.mnist.default.svc", "mnist-node-0-0"],
        env=[{"name": "URL", "value": "tcp://mnist-node-0-0.mnist:29500"}],
    )
    assert spec.command == ("run", "127.0.0.1:4000")
    assert spec.args == ("127.0.0.1", "mnist-node-0-0")
    wanted = ["URL", "PET_MASTER_ADDR", "PET_MASTER_PORT", "MASTER_ADDR", "MASTER_PORT"]
    assert [spec.env[name] for name in wanted] == ["tcp://127.0.0.1:4000", "127.0.0.1", "4000", "127.0.0.1", "4000"]
    assert (spec.hosts, spec.aliases) == ((), ())


def test_without_a_network_what_the_image_runs_stays_its_own() -> None:
    assert (build_local().command, build_local().args) == (None, None)


def test_working_directory_and_grace_period_are_the_pod_s() -> None:
    spec = build(container={"workingDir": "/w"}, pod={"terminationGracePeriodSeconds": 5})
    assert (spec.working_dir, spec.stop_timeout_seconds) == ("/w", 5)
    assert (build().working_dir, build().stop_timeout_seconds) == (None, 30)


def test_a_long_host_name_is_cut_to_what_linux_takes() -> None:
    world = replace(build_world(), job=build_job(name="j" * 60))
    assert len(world.spec("node-0").hostname) == 63


def change(**fields: Any) -> World:
    return replace(build_world(trainer={"numNodes": 2}), **fields)


@pytest.mark.parametrize(
    "other",
    [
        change(runtime=build_runtime(container={"image": "image:2"})),
        change(runtime=build_runtime(container={"env": [{"name": "A", "value": "1"}]})),
        change(options=Options(limits=Limits(shm_bytes=1))),
        change(job=build_job(trainer={"numNodes": 3})),
    ],
)
def test_the_hash_tells_a_spec_that_differs(other: World) -> None:
    mine = change().spec("node-0")
    assert mine.labels[labels.SPEC_HASH] == change().spec("node-0").labels[labels.SPEC_HASH]
    assert mine.labels[labels.SPEC_HASH] != other.spec("node-0").labels[labels.SPEC_HASH]


def read(key: str) -> JSON:
    """Return a variable that a key of the Secret `s` says."""
    return {"name": key.upper(), "valueFrom": {"secretKeyRef": {"name": "s", "key": key}}}


def test_command_and_args_may_have_a_secret_s_value() -> None:
    container = {"command": ["run", "$(KEY)"], "env": [read("key")]}
    spec = set_stage(container, build_secret("s", key="v")).spec()
    assert (spec.command, spec.env["KEY"]) == (("run", "v"), "v")


def test_what_a_pod_reads_is_of_its_own_kind_and_comes_before_what_is_made_for_training() -> None:
    source = {"envFrom": [{"prefix": "MASTER_", "configMapRef": {"name": "s"}}]}
    env = set_stage(source, build_config_map("s", ADDR="mine"), build_secret("s", PORT="1")).spec().env
    assert (env["MASTER_ADDR"], env["MASTER_PORT"]) == ("mine", "29500")


def test_a_container_of_what_is_missing_is_not_made() -> None:
    with pytest.raises(ConfigError, match='secret "s" not found'):
        set_stage({"env": [read("key")]}).spec()


@pytest.mark.parametrize("container", ["init", "side", SANDBOX])
def test_only_the_main_containers_are_told_of_each_other(container: str) -> None:
    inits = [{"name": "init", "image": "i"}, {"name": "side", "image": "i", "restartPolicy": "Always"}]
    env = set_stage(initContainers=inits).spec(container).env
    assert env == ({} if container == SANDBOX else {"JOB_COMPLETION_INDEX": "0"})


def test_a_resource_of_another_container_of_the_pod() -> None:
    limits = {"name": "side", "image": "i", "resources": {"limits": {"memory": "1Gi"}}}
    reference = {"resourceFieldRef": {"containerName": "side", "resource": "limits.memory", "divisor": "1Mi"}}
    stage = set_stage({"env": [{"name": "M", "valueFrom": reference}]}, others=[limits])
    assert stage.spec().env["M"] == "1024"


def test_names_of_others_are_in_the_hosts_of_the_pod() -> None:
    aliases = [{"ip": "10.9.9.9", "hostnames": ["a", "b.example"]}]
    alone, shared = set_stage(hostAliases=aliases), set_stage(hostAliases=aliases, others=[{"name": "b", "image": "i"}])
    assert alone.spec().hosts[-1] == ("10.9.9.9", ("a", "b.example"))
    assert shared.spec(SANDBOX).hosts[-1] == ("10.9.9.9", ("a", "b.example"))
    assert shared.spec().hosts == ()


VOLUMES: JSON = {
    "volumes": [
        {"name": "files", "secret": {"secretName": "s"}},
        {"name": "data", "hostPath": {"path": "/data"}},
        {"name": "scratch", "emptyDir": {}},
    ]
}
MOUNTS: JSON = {
    "volumeMounts": [
        {"name": "files", "mountPath": "/files"},
        {"name": "data", "mountPath": "/data"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]
}


def test_a_container_has_its_volumes_and_the_workspace() -> None:
    spec = set_stage(MOUNTS, build_secret("s", key="v"), **VOLUMES).spec()
    assert spec.files == (File("/files/key", b"v"),)
    assert spec.mounts == (Mount("/data", "/data", host_path_type=""), Mount("/workspaces/default/mnist", "/workspace"))
    assert [mount.target for mount in spec.volumes] == ["/scratch"]


def test_a_container_that_mounts_nothing_of_a_secret_needs_none() -> None:
    stage = set_stage(MOUNTS, others=[{"name": "side", "image": "i"}], **VOLUMES)
    assert stage.spec("side").files == ()
    with pytest.raises(ConfigError):
        stage.spec()
