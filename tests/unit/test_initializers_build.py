"""What a job says of its dataset and model: environment and secrets of the steps that fetch them."""

from typing import Any

import pytest

from builders import build_job, build_replicated_job, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset

DATASET, MODEL = "dataset-initializer", "model-initializer"
POD = ("template", "spec", "template", "spec")
A, OLD, URI = (
    {"name": "A", "value": "1"},
    {"name": "STORAGE_URI", "value": "old"},
    {"name": "STORAGE_URI", "value": "u"},
)
TOKEN = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
FROM_OLD, FROM_S = {"configMapRef": {"name": "old"}}, {"secretRef": {"name": "s"}}


def build(runtime: JSON, **spec: Any) -> list[JSON]:
    """Return the replicated jobs of the JobSet."""
    rjobs: list[JSON] = build_jobset(TrainJob.of(build_job(**spec)), runtime)["spec"]["replicatedJobs"]
    return rjobs


def build_initializer(step: str, *containers: JSON, **pod: Any) -> JSON:
    """Return a runtime with nothing but jobs for this step."""
    job = build_replicated_job("any", *containers, ancestor=step, **pod)
    return put(build_steps_runtime(), ("spec", "template", "spec", "replicatedJobs"), [job])


CONFIGS: dict[str, tuple[JSON, JSON, JSON]] = {
    # name: (the runtime's container, what the job says, what of it is there)
    "nothing": ({"env": [OLD]}, {}, {"env": [OLD]}),
    "where it is": ({}, {"storageUri": "u"}, {"env": [URI]}),
    "in the place of the runtime's": ({"env": [OLD, A]}, {"storageUri": "u"}, {"env": [URI, A]}),
    "also where it is empty": ({"env": [OLD]}, {"storageUri": ""}, {"env": [{"name": "STORAGE_URI", "value": ""}]}),
    "null is not said": ({"env": [OLD]}, {"storageUri": None, "env": None, "secretRef": None}, {"env": [OLD]}),
    "environment after it": ({"env": [OLD]}, {"storageUri": "u", "env": [TOKEN, A]}, {"env": [URI, TOKEN, A]}),
    "environment over it": ({}, {"storageUri": "v", "env": [A, URI]}, {"env": [URI, A]}),
    "environment over the runtime's": ({"env": [OLD, A]}, {"env": [URI]}, {"env": [URI, A]}),
    "a secret": ({}, {"secretRef": {"name": "s"}}, {"envFrom": [FROM_S]}),
    "a secret after the runtime's": (
        {"envFrom": [FROM_OLD]},
        {"secretRef": {"name": "s"}},
        {"envFrom": [FROM_OLD, FROM_S]},
    ),
    "all of it": (
        {"env": [A], "envFrom": [FROM_OLD]},
        {"storageUri": "u", "env": [TOKEN], "secretRef": {"name": "s"}},
        {"env": [A, URI, TOKEN], "envFrom": [FROM_OLD, FROM_S]},
    ),
}


@pytest.mark.parametrize(("key", "step"), [("dataset", DATASET), ("model", MODEL)])
@pytest.mark.parametrize(("container", "config", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_what_the_job_says_reaches_the_step(container: JSON, config: JSON, expected: JSON, key: str, step: str) -> None:
    runtime = build_initializer(step, {"name": step, **container}, {"name": "side"}, initContainers=[{"name": step}])
    [rjob] = build(runtime, initializer={key: config})
    assert find(rjob, *POD) == {
        "containers": [{"name": step, **expected}, {"name": "side"}],
        "initContainers": [{"name": step}],
    }
    assert rjob["replicas"] == 1


def test_each_says_its_own() -> None:
    given = {"dataset": {"storageUri": "d"}, "model": {"storageUri": "m"}}
    rjobs = build(build_steps_runtime(), initializer=given)
    assert [find(rjob, *POD, "containers", 0, "env", 0, "value") for rjob in rjobs] == ["d", "m", None]


@pytest.mark.parametrize("initializer", [None, {}, {"dataset": None}], ids=range(3))
def test_without_a_word_the_steps_are_the_runtime_s(initializer: JSON | None) -> None:
    runtime = build_steps_runtime()
    jobs = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    jobs[0]["replicas"] = 3
    jobs[1] = put(jobs[1], ("template", "spec", "parallelism"), 2)
    rjobs = build(runtime, **({} if initializer is None else {"initializer": initializer}))
    sizes = [(rjob["replicas"], rjob["template"]["spec"]["completions"]) for rjob in rjobs]
    assert sizes == [(1, 1), (1, 2), (1, 1)]
    assert [find(rjob, *POD) for rjob in rjobs] == [find(job, *POD) for job in jobs]


def test_the_step_is_found_by_its_label_and_the_container_by_its_name() -> None:
    jobs = [
        build_replicated_job("a", {"name": DATASET}, ancestor=DATASET),
        build_replicated_job("b", {"name": "other"}, ancestor=DATASET),
        build_replicated_job(DATASET, {"name": DATASET}),
        build_replicated_job("c", {"name": DATASET}, ancestor=MODEL),
    ]
    runtime = put(build_steps_runtime(), ("spec", "template", "spec", "replicatedJobs"), jobs)
    rjobs = build(runtime, initializer={"dataset": {"storageUri": "u"}})
    containers = [find(rjob, *POD, "containers", 0) for rjob in rjobs]
    assert containers == [{"name": DATASET, "env": [URI]}, {"name": "other"}, {"name": DATASET}, {"name": DATASET}]
    assert [rjob.get("replicas") for rjob in rjobs] == [1, 1, None, 1]
