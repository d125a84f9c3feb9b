"""The record between runtime and JobSet: pod counts, and resources merged and counted as upstream does."""

from typing import Any

import pytest

from builders import build_job, build_runtime
from trainlet.apis.core_v1 import ResourceRequirements
from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning.runtime import Info, build_info, count_gpus, find_gpu_resource, get_node_resources

LIMITS = {"cpu": "4", "memory": "8Gi"}


def build(runtime: JSON | None = None, **spec: Any) -> Info:
    return build_info(TrainJob.of(build_job(**spec)), runtime or build_runtime())


def resources_of(info: Info) -> Any:
    assert info.trainer is not None
    return info.trainer.containers[0].get("resources")


COUNTS = [
    # mlPolicy, parallelism of the template -> pods of the trainer
    ({}, None, 1),
    ({}, 3, 3),
    ({}, 0, 1),
    ({"numNodes": 2}, None, 2),
    ({"numNodes": 2}, 5, 2),
    ({"torch": {}}, 5, 1),
    ({"numNodes": 0}, None, 1),
]


@pytest.mark.parametrize(("ml_policy", "parallelism", "count"), COUNTS)
def test_the_trainer_has_as_many_pods_as_the_policy_says_else_the_template(
    ml_policy: JSON, parallelism: int | None, count: int
) -> None:
    job = {} if parallelism is None else {"parallelism": parallelism}
    info = build(build_runtime(ml_policy=ml_policy, job=job))
    assert [pod_set.count for pod_set in info.pod_sets] == [count]


def test_other_steps_have_the_pods_of_their_template() -> None:
    first = {"name": "prepare", "template": {"spec": {"parallelism": 2, "completions": 9}}}
    second = {"name": "bare"}
    info = build(build_runtime(more_jobs=[first, second], ml_policy={"numNodes": 4}))
    assert [(pod_set.name, pod_set.count) for pod_set in info.pod_sets] == [("prepare", 2), ("bare", 1), ("node", 4)]


def test_a_job_s_resources_are_merged_key_by_key() -> None:
    runtime = build_runtime(container={"resources": {"limits": LIMITS, "requests": {"cpu": "2"}}})
    info = build(runtime, trainer={"resourcesPerNode": {"limits": {"cpu": "1", "nvidia.com/gpu": 2}}})
    assert resources_of(info) == {
        "limits": {"cpu": "1", "memory": "8Gi", "nvidia.com/gpu": 2},
        "requests": {"cpu": "2"},
    }


def test_without_a_policy_a_job_s_resources_have_no_effect() -> None:
    runtime = build_runtime(ml_policy={}, container={"resources": {"limits": LIMITS}})
    assert resources_of(build(runtime, trainer={"resourcesPerNode": {"limits": {"cpu": "1"}}})) == {"limits": LIMITS}


def test_a_job_s_resources_go_to_the_node_container_only() -> None:
    runtime = build_runtime(pod={"initContainers": []}, container={"name": "main"})
    assert resources_of(build(runtime, trainer={"resourcesPerNode": {"limits": {"cpu": "1"}}})) is None


def test_the_runtime_is_not_changed() -> None:
    runtime = build_runtime()
    before = repr(runtime)
    build(runtime, trainer={"numNodes": 2, "resourcesPerNode": {"limits": {"cpu": "1"}}})
    assert repr(runtime) == before


def test_arithmetic_reads_the_job_s_resources_instead_of_the_runtime_s() -> None:
    runtime = build_runtime(container={"resources": {"limits": {"nvidia.com/gpu": 2, "cpu": 6}}})
    job = TrainJob.of(build_job(trainer={"resourcesPerNode": {"requests": {"cpu": "3"}}}))
    assert get_node_resources(job, build_info(job, runtime)) == ResourceRequirements(requests={"cpu": "3"})


def test_arithmetic_reads_the_runtime_s_when_the_job_gives_none() -> None:
    runtime = build_runtime(container={"resources": {"limits": LIMITS}})
    job = TrainJob.of(build_job(trainer={}))
    assert get_node_resources(job, build_info(job, runtime)) == ResourceRequirements(limits=LIMITS)


GPUS = [
    # requests, limits -> count
    ({}, {}, 0),
    ({"cpu": 8}, {"cpu": 8}, 0),
    ({"nvidia.com/gpu": 2}, {}, 2),
    ({}, {"nvidia.com/gpu": "2"}, 2),
    ({"nvidia.com/gpu": 1}, {"nvidia.com/gpu": 4}, 1),
    ({"nvidia.com/gpu": 0}, {"nvidia.com/gpu": 4}, 4),
    ({}, {"AMD.com/GPU": 3}, 3),
    ({}, {"gpu.intel.com/i915": 1}, 1),
    ({}, {"nvidia.com/mig-1g.5gb": 2}, 0),
    ({"a/gpu": 1, "b/gpu": 2}, {}, 1),
]


@pytest.mark.parametrize(("requests", "limits", "count"), GPUS)
def test_gpus_are_the_first_resource_named_so_in_requests_else_limits(requests: Any, limits: Any, count: int) -> None:
    assert count_gpus(ResourceRequirements(requests=requests, limits=limits)) == count


def test_the_gpu_resource_is_found_by_its_name() -> None:
    assert find_gpu_resource({"cpu": 1, "nvidia.com/GPU": 1, "amd.com/gpu": 1}) == "nvidia.com/GPU"
    assert find_gpu_resource({"cpu": 1}) is None
