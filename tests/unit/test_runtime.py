"""The record between runtime and JobSet: pod counts, and resources merged and counted as upstream does."""

from typing import Any

import pytest

from builders import build_job, build_replicated_job, build_runtime, build_steps_runtime
from trainlet.apis.core_v1 import ResourceRequirements
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import put
from trainlet.kube.meta import JSON
from trainlet.planning.runtime import (
    Info,
    build_info,
    count_gpus,
    find_gpu_resource,
    get_node_resources,
    list_endpoints,
)

LIMITS = {"cpu": "4", "memory": "8Gi"}


def build(runtime: JSON | None = None, **spec: Any) -> Info:
    return build_info(TrainJob.of(build_job(**spec)), runtime or build_runtime())


def resources_of(info: Info) -> Any:
    assert info.trainer is not None
    return info.trainer.containers[0].get("resources")


COUNTS = [
    # mlPolicy, parallelism of the template -> pods of the trainer
    (None, None, 1),
    (None, 3, 3),
    (None, 0, 1),
    ({}, 3, 1),
    ({"numNodes": 2}, None, 2),
    ({"numNodes": 2}, 5, 2),
    ({"torch": {}}, 5, 1),
    ({"numNodes": 0}, None, 1),
]


@pytest.mark.parametrize(("ml_policy", "parallelism", "count"), COUNTS)
def test_the_trainer_has_as_many_pods_as_the_policy_says_else_the_template(
    ml_policy: JSON | None, parallelism: int | None, count: int
) -> None:
    job = {} if parallelism is None else {"parallelism": parallelism}
    info = build(put(build_runtime(job=job), ("spec", "mlPolicy"), ml_policy))
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
    runtime = put(build_runtime(container={"resources": {"limits": LIMITS}}), ("spec", "mlPolicy"), None)
    given = {"resourcesPerNode": {"limits": {"cpu": "1"}}}
    assert resources_of(build(runtime, trainer=given)) == {"limits": LIMITS}
    empty = put(runtime, ("spec", "mlPolicy"), {})
    assert resources_of(build(empty, trainer=given)) == {"limits": {"cpu": "1", "memory": "8Gi"}}


def test_claims_are_merged_by_name() -> None:
    runtime = build_runtime(container={"resources": {"claims": [{"name": "a"}, {"name": "b"}]}})
    claims = [{"name": "b", "request": "r"}, {"name": "c"}]
    merged = resources_of(build(runtime, trainer={"resourcesPerNode": {"claims": claims}}))
    assert merged == {"claims": [{"name": "a"}, {"name": "b", "request": "r"}, {"name": "c"}]}


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


def test_pods_are_reached_under_the_job_s_name_or_the_template_s_subdomain() -> None:
    job = TrainJob.of(build_job("alpha"))
    runtime = build_steps_runtime(ml_policy={"numNodes": 2})
    info = build_info(job, runtime)
    names = [list_endpoints(job, info, pod_set) for pod_set in info.pod_sets]
    assert names == [
        ["alpha-dataset-initializer-0-0.alpha"],
        ["alpha-model-initializer-0-0.alpha"],
        ["alpha-node-0-0.alpha", "alpha-node-0-1.alpha"],
    ]
    info = build_info(job, put(runtime, ("spec", "template", "spec", "network"), {"subdomain": "sub"}))
    assert list_endpoints(job, info, info.pod_sets[2]) == ["alpha-node-0-0.sub", "alpha-node-0-1.sub"]


def test_of_several_jobs_in_a_set_the_first_is_reached_as_upstream() -> None:
    job = TrainJob.of(build_job("alpha"))
    web = {**build_replicated_job("web", {"name": "main"}), "replicas": 3}
    info = build_info(job, build_steps_runtime(more_jobs=[web]))
    assert list_endpoints(job, info, info.pod_sets[-1]) == ["alpha-web-0-0.alpha"]
