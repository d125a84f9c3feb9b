"""Volcano: one annotation on the pods of all jobs, and a group with queue, priority and topology."""

from typing import Any

import pytest

from builders import build_job, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset, build_objects

POD_TEMPLATE = ("template", "spec", "template")
QUEUE = "scheduling.volcano.sh/queue-name"
TOTAL = {"minMember": 4, "minResources": {"cpu": "4", "memory": "16Gi"}}


def build_volcano_runtime(policy: JSON, classes: list[str | None] | None = None, queue: str | None = None) -> JSON:
    """Return a runtime with the policy, a priority class for each job, and a queue."""
    runtime = build_steps_runtime(ml_policy={"numNodes": 2}, pod_group_policy={"volcano": policy})
    jobs = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    for place, name in enumerate(classes or []):
        if name is not None:
            jobs[place] = put(jobs[place], (*POD_TEMPLATE, "spec", "priorityClassName"), name)
    metadata = {} if queue is None else {"annotations": {QUEUE: queue}}
    return put(runtime, ("spec", "template", "metadata"), metadata)


def patch_queue(name: str) -> JSON:
    template = {"metadata": {"annotations": {QUEUE: name}}}
    return {"runtimePatches": [{"manager": "a.io/b", "trainingRuntimeSpec": {"template": template}}]}


LOW, HIGH = "system-node-critical", "system-cluster-critical"
GROUPS: dict[str, tuple[JSON, JSON, JSON]] = {
    # name: (runtime, spec of the job, the group's spec beside its totals)
    "nothing said": (build_volcano_runtime({}), {}, {}),
    "a queue": (build_volcano_runtime({}, queue="q"), {}, {"queue": "q"}),
    "the job's queue": (build_volcano_runtime({}, queue="q"), patch_queue("mine"), {"queue": "mine"}),
    "a class": (build_volcano_runtime({}, [LOW, None, None]), {}, {"priorityClassName": LOW}),
    "the last class": (build_volcano_runtime({}, [LOW, None, HIGH]), {}, {"priorityClassName": HIGH}),
    "topology": (
        build_volcano_runtime({"networkTopology": {"mode": "soft", "highestTierAllowed": 3}}),
        {},
        {"networkTopology": {"mode": "soft", "highestTierAllowed": 3}},
    ),
    "topology's defaults": (
        build_volcano_runtime({"networkTopology": {}}),
        {},
        {"networkTopology": {"mode": "hard", "highestTierAllowed": 1}},
    ),
    "all of it": (
        build_volcano_runtime({"networkTopology": {"mode": "soft"}}, [LOW, LOW, LOW], "q"),
        {},
        {"queue": "q", "priorityClassName": LOW, "networkTopology": {"mode": "soft", "highestTierAllowed": 1}},
    ),
}


@pytest.mark.parametrize(("runtime", "spec", "group"), GROUPS.values(), ids=GROUPS)
def test_the_group(runtime: JSON, spec: JSON, group: JSON) -> None:
    job = TrainJob.of(build_job("alpha", **spec))
    [built] = build_objects(job, runtime, bytes(32))
    assert (built["apiVersion"], built["kind"]) == ("scheduling.volcano.sh/v1beta1", "PodGroup")
    assert (built["metadata"]["name"], built["metadata"]["ownerReferences"][0]["name"]) == ("alpha", "alpha")
    assert built["spec"] == {**TOTAL, **group}


def test_all_pods_are_of_the_group() -> None:
    job: Any = TrainJob.of(build_job("alpha"))
    rjobs = build_jobset(job, build_volcano_runtime({}))["spec"]["replicatedJobs"]
    metadata = [find(rjob, *POD_TEMPLATE, "metadata") for rjob in rjobs]
    assert metadata == [{"annotations": {"scheduling.k8s.io/group-name": "alpha"}}] * 3
