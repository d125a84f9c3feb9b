"""The rules of upstream's webhooks: the runtime a job names, and the runtimes themselves."""

from typing import Any

import pytest

from builders import build_job, build_runtime
from trainlet.admission.webhooks import validate_runtime, validate_train_job
from trainlet.apis.trainer import CLUSTER_TRAINING_RUNTIME, TRAINING_RUNTIME
from trainlet.kube.merge import put
from trainlet.kube.meta import JSON, ObjectKey

OWN = ObjectKey(TRAINING_RUNTIME, "team", "mine")
SHARED = ObjectKey(CLUSTER_TRAINING_RUNTIME, "", "torch-distributed")
NODE = ("spec", "template", "spec", "replicatedJobs")


def judge(job: JSON, runtimes: dict[ObjectKey, JSON]) -> tuple[list[str], list[str]]:
    errors, warnings = validate_train_job(job, runtimes.get)
    assert {error.stage for error in errors} <= {"webhook"}
    return [f"{error.path}: {error.detail}" for error in errors], warnings


def test_a_job_whose_runtime_is_there_is_admitted() -> None:
    assert judge(build_job(), {SHARED: build_runtime()}) == ([], [])


MISSING: dict[str, tuple[JSON, str]] = {
    "none named": ({}, "spec.runtimeRef: "),
    "a missing shared one": (
        {"runtimeRef": {"name": "x"}},
        'spec.RuntimeRef: ClusterTrainingRuntime.trainer.kubeflow.org "x" not found: specified clusterTrainingRuntime '
        "must be created before the TrainJob is created",
    ),
    "a missing own one": (
        {"runtimeRef": {"name": "x", "kind": TRAINING_RUNTIME}},
        'spec.runtimeRef: TrainingRuntime.trainer.kubeflow.org "x" not found: specified trainingRuntime '
        "must be created before the TrainJob is created",
    ),
    "one of another namespace": (
        {"runtimeRef": {"name": "mine", "kind": TRAINING_RUNTIME}},
        'spec.runtimeRef: TrainingRuntime.trainer.kubeflow.org "mine" not found: specified trainingRuntime '
        "must be created before the TrainJob is created",
    ),
    "another kind": (
        {"runtimeRef": {"name": "x", "kind": "Deployment"}},
        "spec.runtimeRef: unsupported runtime: Deployment.trainer.kubeflow.org",
    ),
    "another group": (
        {"runtimeRef": {"name": "torch-distributed", "apiGroup": "example.com"}},
        "spec.runtimeRef: unsupported runtime: ClusterTrainingRuntime.example.com",
    ),
}


@pytest.mark.parametrize(("spec", "error"), MISSING.values(), ids=MISSING)
def test_a_job_without_its_runtime_is_refused(spec: JSON, error: str) -> None:
    job = {**build_job(), "spec": spec}
    assert judge(job, {SHARED: build_runtime(), OWN: build_runtime("mine")}) == ([error], [])


def test_a_runtime_of_the_jobs_own_namespace_is_found() -> None:
    job = build_job(namespace="team", runtimeRef={"name": "mine", "kind": TRAINING_RUNTIME})
    assert judge(job, {OWN: build_runtime("mine")}) == ([], [])


def test_a_deprecated_runtime_is_warned_of() -> None:
    runtime = put(build_runtime(), ("metadata", "labels"), {"trainer.kubeflow.org/support": "deprecated"})
    _, [warning] = judge(build_job(), {SHARED: runtime})
    assert warning.startswith('Referenced ClusterTrainingRuntime "torch-distributed" is deprecated')
    _, [own] = validate_runtime(runtime, None)
    assert own.startswith('ClusterTrainingRuntime "torch-distributed" is deprecated')
    assert validate_runtime(runtime, runtime) == ([], []), "only when it is new"


def build_step(ancestor: str | None, container: str, **fields: Any) -> JSON:
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": ancestor} if ancestor else {}
    pod = {"template": {"spec": {"containers": [{"name": container, "image": "i"}]}}}
    return {"name": "step", "template": {"metadata": {"labels": labels}, "spec": pod}, **fields}


REPLICAS = "spec.template.spec.replicatedJobs[0].replicas: always must be 1"
CONTAINER = (
    "spec.template.spec.replicatedJobs[0].template.spec.template.spec.containers: "
    "must contain the required container for the ancestor: "
)
STEPS: dict[str, tuple[JSON, list[str]]] = {
    "a trainer": (build_step("trainer", "node"), []),
    "a trainer with one replica": (build_step("trainer", "node", replicas=1), []),
    "a trainer with two": (build_step("trainer", "node", replicas=2), [REPLICAS]),
    "a trainer without its container": (build_step("trainer", "main"), [f"{CONTAINER}trainer"]),
    "an initializer": (build_step("dataset-initializer", "dataset-initializer"), []),
    "an initializer without its container": (build_step("model-initializer", "x"), [f"{CONTAINER}model-initializer"]),
    "both wrong": (build_step("trainer", "x", replicas=3), [REPLICAS, f"{CONTAINER}trainer"]),
    "no step of a job": (build_step(None, "x", replicas=3), []),
    "a step nobody knows": (build_step("launcher", "x", replicas=3), []),
}


@pytest.mark.parametrize(("step", "expected"), STEPS.values(), ids=STEPS)
def test_what_the_steps_of_a_runtime_must_have(step: JSON, expected: list[str]) -> None:
    runtime = put(build_runtime(), NODE, [step])
    errors, warnings = validate_runtime(runtime, None)
    assert ([f"{e.path}: {e.detail}" for e in errors], warnings) == (expected, [])


def test_which_runtimes_are_not_judged() -> None:
    wrong = put(build_runtime(), NODE, [build_step("trainer", "x")])
    disabled = put(wrong, ("metadata", "labels"), {"trainer.kubeflow.org/webhook-validation": "disabled"})
    assert validate_runtime(disabled, None) == ([], [])
    own = {**wrong, "kind": TRAINING_RUNTIME}
    assert validate_runtime(own, own) == ([], []), "an update of a TrainingRuntime"
    assert len(validate_runtime(own, None)[0]) == 1
    assert len(validate_runtime(wrong, wrong)[0]) == 1
