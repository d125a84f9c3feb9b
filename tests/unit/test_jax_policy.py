"""What jax.distributed needs: JAX_* in upstream's order, which the job may override, and the coordinator's port."""

from typing import Any

import pytest

from builders import build_job, build_replicated_job, build_runtime
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


def settings(count: int) -> list[JSON]:
    return [
        {"name": "JAX_NUM_PROCESSES", "value": str(count)},
        {"name": "JAX_PROCESS_ID", "valueFrom": INDEX},
        {"name": "JAX_COORDINATOR_ADDRESS", "value": "mnist-node-0-0.mnist:29500"},
    ]


A, B = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
OWN_ID = {"name": "JAX_PROCESS_ID", "value": "7"}
GPUS = {"limits": {"nvidia.com/gpu": 4}}
CASES: dict[str, tuple[JSON, JSON, int, list[JSON]]] = {
    # name: (the runtime's container, the job's trainer, pods, environment)
    "the runtime's nodes": ({}, {}, 2, settings(2)),
    "the job's nodes": ({}, {"numNodes": 3}, 3, settings(3)),
    "no nodes": ({}, {"numNodes": 0}, 0, settings(0)),
    "runtime, job, policy": ({"env": [A]}, {"env": [B]}, 2, [A, B, *settings(2)]),
    "the policy's value over the runtime's, in place": (
        {"env": [{"name": "JAX_NUM_PROCESSES", "value": "9"}, A]},
        {},
        2,
        [settings(2)[0], A, *settings(2)[1:]],
    ),
    "the job's value over the policy's": ({}, {"env": [OWN_ID]}, 2, [OWN_ID, settings(2)[0], settings(2)[2]]),
    "the job's value over both": (
        {"env": [{"name": "JAX_PROCESS_ID", "value": "9"}, A]},
        {"env": [OWN_ID]},
        2,
        [OWN_ID, A, settings(2)[0], settings(2)[2]],
    ),
    "one process a pod, whatever is asked": (
        {"resources": GPUS},
        {"numProcPerNode": 8, "resourcesPerNode": GPUS},
        2,
        settings(2),
    ),
}


@pytest.mark.parametrize(("container", "trainer", "pods", "env"), CASES.values(), ids=CASES)
def test_jax_gets_its_processes_its_place_and_its_coordinator(
    container: JSON, trainer: JSON, pods: int, env: list[JSON]
) -> None:
    node, count = build({"numNodes": 2, "jax": {}}, container, trainer=trainer)
    assert (node["env"], count) == (env, pods)
    assert node["ports"] == [{"containerPort": 29500}]


def test_a_job_without_a_trainer_gets_only_the_count() -> None:
    assert build({"numNodes": 2, "jax": {}}) == ({"name": "node", "image": "image:1"}, 2)


def test_only_the_first_trainer_s_node_gets_it() -> None:
    more = [
        build_replicated_job("side", {"name": "node"}),
        build_replicated_job("first", {"name": "sidecar"}, {"name": "node"}, ancestor="trainer"),
    ]
    runtime = build_runtime(ml_policy={"jax": {}}, more_jobs=more)
    jobset = build_jobset(TrainJob.of(build_job(trainer={"numNodes": 2})), runtime)
    found = {
        f"{rjob['name']}/{container['name']}": container.get("env")
        for rjob in jobset["spec"]["replicatedJobs"]
        for container in find(rjob, *("template", "spec") * 2, "containers")
    }
    assert found == {"side/node": None, "first/sidecar": None, "first/node": settings(2), "node/node": None}
