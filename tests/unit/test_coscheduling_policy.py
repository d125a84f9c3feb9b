"""Coscheduling: one label on the pods of all jobs, and a group that says how many there are and what they ask for."""

from typing import Any

import pytest

from builders import UID, build_job, build_pod_patch, build_replicated_job, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset, build_objects

GROUP = "scheduling.x-k8s.io/pod-group"
POD_TEMPLATE = ("template", "spec", "template")


def build(runtime: JSON, **spec: Any) -> tuple[JSON, JSON]:
    """Return the JobSet and the group."""
    job = TrainJob.of(build_job("alpha", **spec))
    [group] = build_objects(job, runtime, bytes(32))
    return build_jobset(job, runtime), group


def test_upstream_s_vector() -> None:
    runtime = build_steps_runtime(
        ml_policy={"numNodes": 100}, pod_group_policy={"coscheduling": {"scheduleTimeoutSeconds": 100}}
    )
    metadata = {"labels": {"label": "1"}, "annotations": {"annotation": "2"}}
    jobset, group = build(
        runtime,
        suspend=True,
        runtimePatches=[{"manager": "a.io/b", "trainingRuntimeSpec": {"template": {"metadata": metadata}}}],
        trainer={
            "image": "test:trainjob",
            "command": ["trainjob"],
            "args": ["trainjob"],
            "resourcesPerNode": {"requests": {"cpu": "1", "memory": "4Gi"}},
        },
        initializer={"dataset": {"storageUri": "hf://a/b"}, "model": {"storageUri": "hf://c/d"}},
    )
    assert {key: jobset["metadata"][key] for key in metadata} == metadata
    assert jobset["spec"]["suspend"] is True
    rjobs = jobset["spec"]["replicatedJobs"]
    assert [find(rjob, *POD_TEMPLATE, "metadata", "labels") for rjob in rjobs] == [{GROUP: "alpha"}] * 3
    sizes = [(r["replicas"], r["template"]["spec"]["parallelism"], r["template"]["spec"]["completions"]) for r in rjobs]
    assert sizes == [(1, 1, 1), (1, 1, 1), (1, 100, 100)]
    containers = [find(rjob, *POD_TEMPLATE, "spec", "containers", 0) for rjob in rjobs]
    uris = [find(container, "env", 0) for container in containers]
    assert uris == [{"name": "STORAGE_URI", "value": "hf://a/b"}, {"name": "STORAGE_URI", "value": "hf://c/d"}, None]
    node = containers[-1]
    assert (node["image"], node["command"], node["args"]) == ("test:trainjob", ["trainjob"], ["trainjob"])
    assert group == {
        "apiVersion": "scheduling.x-k8s.io/v1alpha1",
        "kind": "PodGroup",
        "metadata": {
            "name": "alpha",
            "namespace": "default",
            "ownerReferences": [
                {
                    "apiVersion": "trainer.kubeflow.org/v1alpha1",
                    "kind": "TrainJob",
                    "name": "alpha",
                    "uid": UID,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "minMember": 102,
            "minResources": {"cpu": "102", "memory": "408Gi"},
            "scheduleTimeoutSeconds": 100,
        },
    }


def test_a_patch_of_the_pods_leaves_the_group_as_it_is() -> None:
    runtime = build_steps_runtime(ml_policy={"numNodes": 100}, pod_group_policy={"coscheduling": {}})
    _, before = build(runtime, suspend=True)
    patch = build_pod_patch("node", nodeSelector={"a": "b"})
    jobset, after = build(runtime, suspend=True, runtimePatches=[patch])
    assert find(jobset, "spec", "replicatedJobs", 2, *POD_TEMPLATE, "spec", "nodeSelector") == {"a": "b"}
    assert after == before


def test_a_label_of_the_runtime_s_pods_stays_and_the_group_s_is_the_job_s() -> None:
    runtime = build_steps_runtime(pod_group_policy={"coscheduling": {}})
    jobs = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    jobs[2] = put(jobs[2], (*POD_TEMPLATE, "metadata"), {"labels": {"a": "b", GROUP: "other"}, "annotations": {}})
    jobset, _ = build(runtime)
    metadata = find(jobset, "spec", "replicatedJobs", 2, *POD_TEMPLATE, "metadata")
    assert metadata == {"labels": {"a": "b", GROUP: "alpha"}, "annotations": {}}


def test_the_timeout_is_a_minute_where_nothing_is_said() -> None:
    _, group = build(build_steps_runtime(pod_group_policy={"coscheduling": {}}))
    assert group["spec"]["scheduleTimeoutSeconds"] == 60


def asking(name: str = "node", **more: Any) -> JSON:
    """Return a container that asks for this."""
    return {"name": name, "resources": {"requests": more.pop("requests")}, **more}


REQUESTS: dict[str, tuple[list[JSON], JSON, int, JSON]] = {
    # name: (containers, the rest of the pod, nodes, what all pods ask for)
    "nothing": ([{"name": "node"}], {}, 2, {}),
    "one node": ([asking(requests={"cpu": "500m"})], {}, 1, {"cpu": "500m"}),
    "milli become whole": ([asking(requests={"cpu": "500m"})], {}, 4, {"cpu": "2"}),
    "whole become milli": ([asking(requests={"cpu": "1.5"})], {}, 3, {"cpu": "4500m"}),
    "thousands": ([asking(requests={"cpu": 250})], {}, 4, {"cpu": "1k"}),
    "powers of 1024": ([asking(requests={"memory": "512Mi"})], {}, 4, {"memory": "2Gi"}),
    "what no power fits": ([asking(requests={"memory": "1500Mi"})], {}, 2, {"memory": "3000Mi"}),
    "less than a power": ([asking(requests={"memory": "0.25Ki"})], {}, 2, {"memory": "512"}),
    "decimal bytes": ([asking(requests={"memory": "2G"})], {}, 2, {"memory": "4G"}),
    "bytes": ([asking(requests={"memory": 1024})], {}, 3, {"memory": "3072"}),
    "no node": ([asking(requests={"cpu": "1"})], {}, 0, {"cpu": "0"}),
    "the first form is kept": (
        [asking(requests={"memory": "1Gi"}), asking("side", requests={"memory": "1024"})],
        {},
        1,
        {"memory": "1048577Ki"},
    ),
    "a zero has no form": (
        [asking(requests={"memory": "0"}), asking("side", requests={"memory": "1Gi"})],
        {},
        1,
        {"memory": "1Gi"},
    ),
    "containers run together": (
        [asking(requests={"cpu": 1, "nvidia.com/gpu": 2}), asking("side", requests={"cpu": 2})],
        {},
        2,
        {"cpu": "6", "nvidia.com/gpu": "4"},
    ),
    "init containers run before them": (
        [asking(requests={"cpu": 2})],
        {"initContainers": [asking("a", requests={"cpu": 1}), asking("b", requests={"cpu": 3, "memory": "1Gi"})]},
        2,
        {"cpu": "6", "memory": "2Gi"},
    ),
    "sidecars stay": (
        [asking(requests={"cpu": 2})],
        {
            "initContainers": [
                asking("a", requests={"cpu": 1}, restartPolicy="Always"),
                asking("b", requests={"cpu": 4}),
                asking("c", requests={"cpu": 2}, restartPolicy="Always"),
            ]
        },
        1,
        {"cpu": "5"},
    ),
    "all of them together at the end": (
        [asking(requests={"cpu": 2})],
        {"initContainers": [asking(name, requests={"cpu": 2}, restartPolicy="Always") for name in "ab"]},
        1,
        {"cpu": "6"},
    ),
    "overhead": ([asking(requests={"cpu": 1})], {"overhead": {"cpu": "250m"}}, 2, {"cpu": "2500m"}),
    "limits are no requests": ([{"name": "node", "resources": {"limits": {"cpu": 1}}}], {}, 2, {}),
}


@pytest.mark.parametrize(("containers", "pod", "nodes", "total"), REQUESTS.values(), ids=REQUESTS)
def test_what_all_pods_ask_for(containers: list[JSON], pod: JSON, nodes: int, total: JSON) -> None:
    runtime = build_steps_runtime(ml_policy={"numNodes": 1}, pod_group_policy={"coscheduling": {}})
    job = build_replicated_job("node", *containers, ancestor="trainer", **pod)
    _, group = build(put(runtime, ("spec", "template", "spec", "replicatedJobs"), [job]), trainer={"numNodes": nodes})
    assert (group["spec"]["minResources"], group["spec"]["minMember"]) == (total, nodes)


def test_the_job_s_resources_count() -> None:
    runtime = build_steps_runtime(ml_policy={"numNodes": 2}, pod_group_policy={"coscheduling": {}})
    _, group = build(runtime, trainer={"resourcesPerNode": {"requests": {"cpu": "3"}}})
    assert group["spec"]["minResources"] == {"cpu": "8", "memory": "16Gi"}
