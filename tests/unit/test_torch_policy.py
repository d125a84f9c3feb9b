"""What torchrun needs: counts, processes per node, PET_* in upstream's order, and the reserved names."""

from typing import Any

import pytest

from builders import build_job, build_pod_patch, build_replicated_job, build_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import ApiError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset
from trainlet.planning.policies import get_policy, jax, plain, torch, xgboost
from trainlet.planning.runtime import build_info

INDEX = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}


def build_node(runtime: JSON | None = None, **spec: Any) -> JSON:
    """Return the node container of the JobSet."""
    jobset = build_jobset(TrainJob.of(build_job(**spec)), runtime or build_runtime())
    container: JSON = jobset["spec"]["replicatedJobs"][-1]["template"]["spec"]["template"]["spec"]["containers"][0]
    return container


def processes(runtime: JSON | None = None, **trainer: Any) -> str:
    """Return the number of processes per node as torchrun gets it."""
    env = build_node(runtime, trainer=trainer)["env"]
    return str(next(entry["value"] for entry in env if entry["name"] == "PET_NPROC_PER_NODE"))


VECTORS = [
    # requests, numProcPerNode -> PET_NPROC_PER_NODE
    ({"cpu": 4}, None, "4"),
    ({}, None, "1"),
    ({"cpu": 2}, None, "2"),
    ({"cpu": 2.5}, None, "3"),
    ({"cpu": "0.7"}, None, "1"),
    ({"cpu": "2500m"}, None, "3"),
    ({"cpu": "0"}, None, "1"),
    ({"nvidia.com/gpu": 1}, None, "auto"),
    ({"nvidia.com/gpu": 2}, None, "auto"),
    ({"cpu": 6, "nvidia.com/gpu": 2}, None, "auto"),
    ({"cpu": 6}, 3, "3"),
    ({"nvidia.com/gpu": 2}, 3, "3"),
]


@pytest.mark.parametrize("part", ["requests", "limits"])
@pytest.mark.parametrize(("amounts", "number", "expected"), VECTORS)
def test_processes_per_node_follow_number_then_gpus_then_cpus(
    part: str, amounts: Any, number: int | None, expected: str
) -> None:
    given = {"resourcesPerNode": {part: amounts}}
    assert processes(**given, **({} if number is None else {"numProcPerNode": number})) == expected
    runtime = build_runtime(container={"resources": {part: amounts}})
    assert processes(runtime, **({} if number is None else {"numProcPerNode": number})) == expected


def test_requested_cpus_count_before_the_limit() -> None:
    assert processes(resourcesPerNode={"limits": {"cpu": 4}, "requests": {"cpu": 3}}) == "3"


def test_the_runtime_s_gpus_do_not_count_once_the_job_gives_resources() -> None:
    runtime = build_runtime(container={"resources": {"limits": {"nvidia.com/gpu": 8}}})
    assert processes(runtime, resourcesPerNode={"requests": {"cpu": 2}}) == "2"


def test_the_environment_comes_in_upstream_s_order_after_the_job_s() -> None:
    runtime = build_runtime(
        ml_policy={"numNodes": 100, "torch": {}}, container={"resources": {"requests": {"cpu": "1"}}}
    )
    node = build_node(runtime, trainer={"env": [{"name": "TRAIN_JOB", "value": "value"}]})
    assert node["env"] == [
        {"name": "TRAIN_JOB", "value": "value"},
        {"name": "PET_NNODES", "value": "100"},
        {"name": "PET_NPROC_PER_NODE", "value": "1"},
        {"name": "PET_NODE_RANK", "valueFrom": INDEX},
        {"name": "PET_MASTER_ADDR", "value": "mnist-node-0-0.mnist"},
        {"name": "PET_MASTER_PORT", "value": "29500"},
    ]
    assert node["ports"] == [{"containerPort": 29500}]


def test_a_job_without_a_trainer_gets_neither_environment_nor_port() -> None:
    node = build_node(build_runtime(ml_policy={"numNodes": 2, "torch": {}}))
    assert "env" not in node
    assert "ports" not in node


def test_an_empty_trainer_is_enough() -> None:
    assert next(entry["name"] for entry in build_node(trainer={})["env"]) == "PET_NNODES"


PORT, WEB, OLD = {"containerPort": 29500}, {"containerPort": 80, "name": "web"}, {"containerPort": 29500, "name": "old"}
PORTS = [
    # the runtime's, what it has with the policy's
    ([], [PORT]),
    ([WEB], [WEB, PORT]),
    ([WEB, OLD], [WEB, PORT]),
    ([OLD, WEB], [PORT, WEB]),
    ([PORT], [PORT]),
    ([WEB, {"containerPort": 81}, {"containerPort": 82}], [WEB, PORT, {"containerPort": 82}]),
]


@pytest.mark.parametrize(("given", "ports"), PORTS, ids=range(len(PORTS)))
def test_the_port_takes_the_place_of_itself_or_of_the_first_without_a_name(
    given: list[JSON], ports: list[JSON]
) -> None:
    assert build_node(build_runtime(container={"ports": given}), trainer={})["ports"] == ports


def test_the_runtime_s_own_setting_of_a_name_is_replaced_where_it_is() -> None:
    runtime = build_runtime(container={"env": [{"name": "PET_NNODES", "value": "7"}, {"name": "A", "value": "1"}]})
    env = build_node(runtime, trainer={})["env"]
    assert env[:2] == [{"name": "PET_NNODES", "value": "1"}, {"name": "A", "value": "1"}]
    assert [entry["name"] for entry in env].count("PET_NNODES") == 1


def test_the_leader_s_name_is_neither_the_template_s_nor_its_subdomain_s() -> None:
    runtime = build_runtime(ml_policy={"torch": {}})
    spec = runtime["spec"]["template"]["spec"]
    spec["network"] = {"subdomain": "sub"}
    spec["replicatedJobs"][0]["name"] = "worker"
    assert build_node(runtime, trainer={})["env"][3] == {"name": "PET_MASTER_ADDR", "value": "mnist-node-0-0.mnist"}


@pytest.mark.parametrize(("nodes", "expected"), [(0, "0"), (1, "1"), (3, "3")])
def test_the_job_s_number_of_nodes_wins(nodes: int, expected: str) -> None:
    env = build_node(build_runtime(ml_policy={"numNodes": 2, "torch": {}}), trainer={"numNodes": nodes})["env"]
    assert env[0] == {"name": "PET_NNODES", "value": expected}


def test_reserved_names_are_refused_together() -> None:
    env = [{"name": "PET_NNODES", "value": "1"}, {"name": "FINE"}, {"name": "PET_MASTER_ADDR", "value": "x"}]
    job = TrainJob.of(build_job(trainer={"env": env}))
    [error] = torch.validate(job, build_info(job, build_runtime()))
    assert (error.path, error.type, error.stage) == ("spec.trainer.env", "Invalid value", "webhook")
    assert error.detail == "must not have reserved envs, invalid envs configured: [PET_MASTER_ADDR PET_NNODES]"


@pytest.mark.parametrize("spec", [{}, {"trainer": {}}, {"trainer": {"env": [{"name": "PET_NNODESX"}]}}])
def test_other_names_are_fine(spec: JSON) -> None:
    job = TrainJob.of(build_job(**spec))
    assert torch.validate(job, build_info(job, build_runtime())) == []


FOUND = [
    ({"torch": {}}, torch),
    ({"jax": {}, "numNodes": 2}, jax),
    ({"xgboost": {}}, xgboost),
    ({"numNodes": 2}, plain),
    ({"torch": None, "jax": {}}, jax),
    ({}, plain),
]


@pytest.mark.parametrize(("ml_policy", "policy"), FOUND, ids=range(len(FOUND)))
def test_the_runtime_s_policy_is_found_by_its_key(ml_policy: JSON, policy: Any) -> None:
    job = TrainJob.of(build_job())
    assert get_policy(build_info(job, build_runtime(ml_policy=ml_policy))) is policy


def test_without_a_torch_policy_only_the_count_is_the_job_s() -> None:
    runtime = build_runtime(ml_policy={})
    trainer = {"numNodes": 3, "env": [{"name": "A", "value": "1"}]}
    assert build_node(runtime, trainer=trainer)["env"] == [{"name": "A", "value": "1"}]
    job = TrainJob.of(build_job(trainer=trainer))
    [rjob] = build_jobset(job, runtime)["spec"]["replicatedJobs"]
    assert rjob["template"]["spec"]["parallelism"] == 3
    assert plain.validate(job, build_info(job, runtime)) == []


PLACES = ("containers", "initContainers")
INJECTED = [
    {"name": "PET_NNODES", "value": "2"},
    {"name": "PET_NPROC_PER_NODE", "value": "auto"},
    {"name": "PET_NODE_RANK", "valueFrom": INDEX},
    {"name": "PET_MASTER_ADDR", "value": "mnist-node-0-0.mnist"},
    {"name": "PET_MASTER_PORT", "value": "29500"},
]
COUNTED = [{"name": "PET_NNODES", "value": "3"}, {"name": "PET_NPROC_PER_NODE", "value": "4"}, *INJECTED[2:]]
USER = {"name": "USER", "value": "x"}
GPUS = {"resources": {"limits": {"nvidia.com/gpu": 2}}}
TUNE = {"command": ["tune", "run"]}


def build_injected(*targets: tuple[str, list[str]], spec: JSON | None = None) -> dict[str, list[JSON]]:
    """Return the environment of each container of the JobSet, as `job/container`, where it has any.

    Two containers of the job `side` have a setting of their own; `twin` is the name of two of them, and both jobs
    have a `check`.
    """
    entries = [{"jobName": job, "containerNames": names} for job, names in targets]
    side = build_replicated_job(
        "side",
        {"name": "main", "env": [{"name": "PET_NNODES", "value": "9"}, USER]},
        {"name": "twin"},
        initContainers=[{"name": "first", "env": [USER]}, {"name": "twin"}, {"name": "check"}],
    )
    runtime = build_runtime(
        ml_policy={"numNodes": 2, "torch": {"envInjection": {"targets": entries}}},
        container=GPUS,
        pod={"initContainers": [{"name": "check"}]},
        more_jobs=[side],
    )
    jobset = build_jobset(TrainJob.of(build_job(**(spec or {}))), runtime)
    return {
        f"{rjob['name']}/{place}/{container['name']}": container["env"]
        for rjob in jobset["spec"]["replicatedJobs"]
        for place in PLACES
        for container in find(rjob, "template", "spec", "template", "spec", place) or []
        if "env" in container
    }


OWN = {"side/containers/main": [{"name": "PET_NNODES", "value": "9"}, USER], "side/initContainers/first": [USER]}
CHECK, NODE = "node/initContainers/check", "node/containers/node"
INJECTIONS: dict[str, tuple[list[tuple[str, list[str]]], JSON, dict[str, list[JSON]]]] = {
    # name: (targets, spec of the job, environment beside what the containers have)
    "no target": ([], {}, {}),
    "a target with no container": ([("side", [])], {}, {}),
    "an init container, without a trainer": ([("node", ["check"])], {}, {CHECK: INJECTED}),
    "an init container and the node": ([("node", ["check"])], {"trainer": {}}, {CHECK: INJECTED, NODE: INJECTED}),
    "the job's counts": (
        [("node", ["check"])],
        {"trainer": {"numNodes": 3, "numProcPerNode": 4}},
        {CHECK: COUNTED, NODE: COUNTED},
    ),
    "the job's environment is the node's alone": (
        [("node", ["check"])],
        {"trainer": {"env": [USER]}},
        {CHECK: INJECTED, NODE: [USER, *INJECTED]},
    ),
    "all five under torchtune": ([("node", ["check"])], {"trainer": TUNE}, {CHECK: INJECTED, NODE: INJECTED[:3]}),
    "the node itself, without a trainer": ([("node", ["node"])], {}, {NODE: INJECTED}),
    "the node itself, under torchtune": ([("node", ["node"])], {"trainer": TUNE}, {NODE: INJECTED}),
    "another job, in place and after": (
        [("side", ["main", "first"])],
        {},
        {
            "side/containers/main": [INJECTED[0], USER, *INJECTED[1:]],
            "side/initContainers/first": [USER, *INJECTED],
        },
    ),
    "two jobs": (
        [("side", ["first"]), ("node", ["check"])],
        {},
        {"side/initContainers/first": [USER, *INJECTED], CHECK: INJECTED},
    ),
    "twice": ([("node", ["check"]), ("node", ["check"])], {}, {CHECK: INJECTED}),
    "regular containers come first": ([("side", ["twin"])], {}, {"side/containers/twin": INJECTED}),
    "what a patch adds": (
        [("node", ["added"])],
        {"runtimePatches": [build_pod_patch("node", initContainers=[{"name": "added"}])]},
        {"node/initContainers/added": INJECTED},
    ),
}


@pytest.mark.parametrize(("targets", "spec", "added"), INJECTIONS.values(), ids=INJECTIONS)
def test_other_containers_get_all_that_torchrun_needs(
    targets: list[tuple[str, list[str]]], spec: JSON, added: dict[str, list[JSON]]
) -> None:
    assert build_injected(*targets, spec=spec) == {**OWN, **added}


@pytest.mark.parametrize(
    "target", [("nowhere", ["main"]), ("side", ["main", "absent"])], ids=["no job", "no container"]
)
def test_a_target_that_is_not_there_cannot_be_built(target: tuple[str, list[str]]) -> None:
    with pytest.raises(ApiError) as raised:
        build_injected(target)
    missing = f'envInjection target podSet "{target[0]}" container "{target[1][-1]}" not found in runtime template'
    assert str(raised.value) == missing


def test_where_no_job_trains_one_node_is_counted() -> None:
    side = build_replicated_job("side", {"name": "main"})
    runtime = build_runtime(
        ml_policy={
            "numNodes": 4,
            "torch": {"envInjection": {"targets": [{"jobName": "side", "containerNames": ["main"]}]}},
        }
    )
    runtime["spec"]["template"]["spec"]["replicatedJobs"] = [side]
    env = build_node(runtime, trainer={"numNodes": 3})["env"]
    assert env[:2] == [{"name": "PET_NNODES", "value": "1"}, {"name": "PET_NPROC_PER_NODE", "value": "1"}]
