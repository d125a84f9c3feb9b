"""What torchrun needs: counts, processes per node, PET_* in upstream's order, and the reserved names."""

from typing import Any

import pytest

from builders import build_job, build_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset
from trainlet.planning.policies import get_policy, plain, torch
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


def test_a_port_that_is_there_is_not_doubled() -> None:
    runtime = build_runtime(container={"ports": [{"containerPort": 80}, {"containerPort": 29500}]})
    assert build_node(runtime, trainer={})["ports"] == [{"containerPort": 80}, {"containerPort": 29500}]


def test_the_runtime_s_own_setting_of_a_name_stays_where_it_is() -> None:
    runtime = build_runtime(container={"env": [{"name": "PET_NNODES", "value": "7"}]})
    env = build_node(runtime, trainer={})["env"]
    assert env[0] == {"name": "PET_NNODES", "value": "7"}
    assert [entry["name"] for entry in env].count("PET_NNODES") == 1


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


@pytest.mark.parametrize(("ml_policy", "policy"), [({"torch": {}}, torch), ({"numNodes": 2}, plain), ({}, plain)])
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
