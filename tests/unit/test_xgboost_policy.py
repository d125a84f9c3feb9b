"""What XGBoost's tracker and workers need: DMLC_* in upstream's order, a worker for each GPU, the tracker's port."""

from typing import Any

import pytest

from builders import build_job, build_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset

INDEX = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}


def build(ml_policy: JSON, container: JSON | None = None, **spec: Any) -> tuple[JSON, int]:
    """Return the node container of the JobSet, and how many pods have it."""
    runtime = build_runtime(ml_policy=ml_policy, container=container)
    jobset = build_jobset(TrainJob.of(build_job(**spec)), runtime)
    [rjob] = jobset["spec"]["replicatedJobs"]
    assert find(rjob, "template", "spec", "completions") == find(rjob, "template", "spec", "parallelism")
    return find(rjob, *("template", "spec") * 2, "containers", 0), find(rjob, "template", "spec", "parallelism")


def settings(workers: int) -> list[JSON]:
    return [
        {"name": "DMLC_TRACKER_URI", "value": "mnist-node-0-0.mnist"},
        {"name": "DMLC_TRACKER_PORT", "value": "29500"},
        {"name": "DMLC_TASK_ID", "valueFrom": INDEX},
        {"name": "DMLC_NUM_WORKER", "value": str(workers)},
    ]


def limit(gpus: int) -> JSON:
    return {"limits": {"nvidia.com/gpu": gpus}}


WORKERS: dict[str, tuple[JSON, JSON, int, int]] = {
    # name: (the runtime's container, the job's trainer, pods, workers)
    "processors only": ({}, {}, 2, 2),
    "many processors": ({}, {"resourcesPerNode": {"requests": {"cpu": 8}}}, 2, 2),
    "the job's nodes": ({}, {"numNodes": 3}, 3, 3),
    "no nodes": ({}, {"numNodes": 0}, 0, 0),
    "two nodes of four GPUs": ({}, {"resourcesPerNode": limit(4)}, 2, 8),
    "the runtime's GPUs": ({"resources": limit(4)}, {}, 2, 8),
    "the job's GPUs instead of the runtime's": ({"resources": limit(1)}, {"resourcesPerNode": limit(3)}, 2, 6),
    "no GPUs instead of the runtime's": (
        {"resources": limit(4)},
        {"resourcesPerNode": {"requests": {"cpu": 2}}},
        2,
        2,
    ),
    "nodes and GPUs of the job": ({"resources": limit(1)}, {"numNodes": 5, "resourcesPerNode": limit(3)}, 5, 15),
    "processes do not count": ({}, {"numProcPerNode": 8, "resourcesPerNode": limit(2)}, 2, 4),
}


@pytest.mark.parametrize(("container", "trainer", "pods", "workers"), WORKERS.values(), ids=WORKERS)
def test_xgboost_gets_its_tracker_its_place_and_its_workers(
    container: JSON, trainer: JSON, pods: int, workers: int
) -> None:
    node, count = build({"numNodes": 2, "xgboost": {}}, container, trainer=trainer)
    assert (node["env"], count) == (settings(workers), pods)
    assert node["ports"] == [{"containerPort": 29500}]


def test_the_environment_is_the_runtime_s_the_job_s_then_the_policy_s() -> None:
    a, b = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
    container = {"env": [{"name": "DMLC_TASK_ID", "value": "9"}, a]}
    node, _ = build({"xgboost": {}}, container, trainer={"env": [b]})
    uri, port, task, workers = settings(1)
    assert node["env"] == [task, a, b, uri, port, workers]


def test_a_job_without_a_trainer_gets_only_the_count() -> None:
    assert build({"numNodes": 2, "xgboost": {}}) == ({"name": "node", "image": "image:1"}, 2)
