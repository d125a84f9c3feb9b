"""The rules of upstream's webhooks: the runtime a job names, and the runtimes themselves."""

from typing import Any

import pytest

from builders import build_job, build_runtime
from trainlet.admission.webhooks import validate_runtime, validate_train_job
from trainlet.apis.trainer import CLUSTER_TRAINING_RUNTIME, TRAINING_RUNTIME
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import put
from trainlet.kube.meta import JSON, ObjectKey

OWN = ObjectKey(TRAINING_RUNTIME, "team", "mine")
SHARED = ObjectKey(CLUSTER_TRAINING_RUNTIME, "", "torch-distributed")
NODE = ("spec", "template", "spec", "replicatedJobs")
LABELS = ("metadata", "labels")
INVALID = "Invalid value"
Row = tuple[str, str, str, Any]
POLICY = (
    "is deprecated and will be removed in a future release of Kubeflow Trainer. See runtime deprecation policy: "
    "https://trainer.kubeflow.org/en/latest/operator-guides/runtime.html#runtime-deprecation-policy"
)


def show(errors: list[FieldError]) -> list[Row]:
    assert {error.stage for error in errors} <= {"webhook"}
    return [(error.path, error.type, error.detail, error.value) for error in errors]


def judge(job: JSON, runtimes: dict[ObjectKey, JSON], old: JSON | None = None) -> tuple[list[Row], list[str]]:
    errors, warnings = validate_train_job(job, old, runtimes.get)
    return show(errors), warnings


def test_a_job_whose_runtime_is_there_is_admitted() -> None:
    assert judge(build_job(), {SHARED: build_runtime()}) == ([], [])


def refer(name: str, kind: str = CLUSTER_TRAINING_RUNTIME, group: str = "trainer.kubeflow.org") -> JSON:
    return {"name": name, "apiGroup": group, "kind": kind}


NOT_SHARED = (
    'ClusterTrainingRuntime.trainer.kubeflow.org "x" not found: specified clusterTrainingRuntime must be created '
    "before the TrainJob is created"
)
NOT_OWN = (
    'TrainingRuntime.trainer.kubeflow.org "{}" not found: specified trainingRuntime must be created '
    "before the TrainJob is created"
)
MISSING: dict[str, tuple[JSON, Row]] = {
    "none named": ({}, ("spec.runtimeRef", "Required value", "", None)),
    "a missing shared one": (
        {"runtimeRef": {"name": "x"}},
        ("spec.RuntimeRef", INVALID, NOT_SHARED, refer("x")),
    ),
    "a missing own one": (
        {"runtimeRef": {"name": "x", "kind": TRAINING_RUNTIME}},
        ("spec.runtimeRef", INVALID, NOT_OWN.format("x"), refer("x", TRAINING_RUNTIME)),
    ),
    "one of another namespace": (
        {"runtimeRef": {"name": "mine", "kind": TRAINING_RUNTIME}},
        ("spec.runtimeRef", INVALID, NOT_OWN.format("mine"), refer("mine", TRAINING_RUNTIME)),
    ),
    "another kind": (
        {"runtimeRef": {"name": "x", "kind": "Deployment"}},
        ("", INVALID, "unsupported runtime: Deployment.trainer.kubeflow.org", refer("x", "Deployment")),
    ),
    "another group": (
        {"runtimeRef": {"name": "torch-distributed", "apiGroup": "example.com"}},
        (
            "",
            INVALID,
            "unsupported runtime: ClusterTrainingRuntime.example.com",
            refer("torch-distributed", group="example.com"),
        ),
    ),
}


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(("spec", "error"), MISSING.values(), ids=MISSING)
def test_a_job_without_its_runtime_is_refused(spec: JSON, error: Row, updates: bool) -> None:
    job = {**build_job(), "spec": spec}
    runtimes = {SHARED: build_runtime(), OWN: build_runtime("mine")}
    assert judge(job, runtimes, job if updates else None) == ([error], [])


def test_an_unsupported_runtime_is_said_in_plain_text() -> None:
    job = build_job(runtimeRef={"name": "x", "kind": "Deployment"})
    [error], _ = validate_train_job(job, None, {}.get)
    assert str(error) == "unsupported runtime: Deployment.trainer.kubeflow.org"


def test_a_job_is_judged_by_the_live_runtime_also_when_only_its_labels_change() -> None:
    old = build_job()
    job = put(old, LABELS, {"a": "b"})
    assert judge(job, {SHARED: build_runtime()}, old) == ([], [])
    [row], _ = judge(job, {}, old)
    assert row[0] == "spec.RuntimeRef"


def test_a_runtime_of_the_jobs_own_namespace_is_found() -> None:
    job = build_job(namespace="team", runtimeRef={"name": "mine", "kind": TRAINING_RUNTIME})
    assert judge(job, {OWN: build_runtime("mine")}) == ([], [])


DEPRECATED = {"trainer.kubeflow.org/support": "deprecated"}


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
def test_a_job_is_warned_of_a_deprecated_cluster_runtime(updates: bool) -> None:
    runtime = put(build_runtime(), LABELS, DEPRECATED)
    old = build_job() if updates else None
    assert judge(build_job(), {SHARED: runtime}, old) == (
        [],
        [f'Referenced ClusterTrainingRuntime "torch-distributed" {POLICY}'],
    )


def test_a_deprecated_runtime_of_a_namespace_is_not_warned_of() -> None:
    runtime = put({**build_runtime("mine"), "kind": TRAINING_RUNTIME}, LABELS, DEPRECATED)
    job = build_job(namespace="team", runtimeRef={"name": "mine", "kind": TRAINING_RUNTIME})
    assert judge(job, {OWN: runtime}) == ([], [])
    assert validate_runtime(runtime, None) == ([], [])


def test_a_deprecated_cluster_runtime_is_warned_of_when_it_is_new() -> None:
    runtime = put(build_runtime(), LABELS, DEPRECATED)
    assert validate_runtime(runtime, None) == ([], [f'ClusterTrainingRuntime "torch-distributed" {POLICY}'])
    assert validate_runtime(runtime, runtime) == ([], [])
    other = put(build_runtime(), LABELS, {"trainer.kubeflow.org/support": "experimental"})
    assert validate_runtime(other, None) == ([], [])


def build_step(ancestor: str | None, container: str, **fields: Any) -> JSON:
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": ancestor} if ancestor else {}
    pod = {"template": {"spec": {"containers": [{"name": container, "image": "i"}]}}}
    return {"name": "step", "template": {"metadata": {"labels": labels}, "spec": pod}, **fields}


STEP = "spec.template.spec.replicatedJobs[0]"


def refuse_replicas(count: int) -> Row:
    return (f"{STEP}.replicas", INVALID, "always must be 1", count)


def refuse_containers(ancestor: str, name: str) -> Row:
    detail = f"must contain the required container for the ancestor: {ancestor}"
    return (f"{STEP}.template.spec.template.spec.containers", INVALID, detail, [{"name": name, "image": "i"}])


STEPS: dict[str, tuple[JSON, list[Row]]] = {
    "a trainer": (build_step("trainer", "node"), []),
    "a trainer with one replica": (build_step("trainer", "node", replicas=1), []),
    "a trainer with two": (build_step("trainer", "node", replicas=2), [refuse_replicas(2)]),
    "a trainer without its container": (build_step("trainer", "main"), [refuse_containers("trainer", "main")]),
    "an initializer": (build_step("dataset-initializer", "dataset-initializer"), []),
    "the other initializer": (build_step("model-initializer", "model-initializer"), []),
    "an initializer without its container": (
        build_step("model-initializer", "x"),
        [refuse_containers("model-initializer", "x")],
    ),
    "a dataset initializer without its container": (
        build_step("dataset-initializer", "x"),
        [refuse_containers("dataset-initializer", "x")],
    ),
    "a trainer whose container is an init container": (
        put(
            build_step("trainer", "x"),
            ("template", "spec", "template", "spec", "initContainers"),
            [{"name": "node", "image": "i"}],
        ),
        [refuse_containers("trainer", "x")],
    ),
    "both wrong": (build_step("trainer", "x", replicas=3), [refuse_replicas(3), refuse_containers("trainer", "x")]),
    "no step of a job": (build_step(None, "x", replicas=3), []),
    "a step nobody knows": (build_step("launcher", "x", replicas=3), []),
}


UPDATED = [
    # kind, updates -> whether the steps are judged
    (CLUSTER_TRAINING_RUNTIME, False, True),
    (CLUSTER_TRAINING_RUNTIME, True, True),
    (TRAINING_RUNTIME, False, True),
    (TRAINING_RUNTIME, True, False),
]


@pytest.mark.parametrize(("kind", "updates", "judged"), UPDATED)
@pytest.mark.parametrize(("step", "expected"), STEPS.values(), ids=STEPS)
def test_what_the_steps_of_a_runtime_must_have(
    step: JSON, expected: list[Row], kind: str, updates: bool, judged: bool
) -> None:
    runtime = {**put(build_runtime(), NODE, [step]), "kind": kind}
    errors, warnings = validate_runtime(runtime, runtime if updates else None)
    assert (show(errors), warnings) == (expected if judged else [], [])


def test_each_wrong_step_is_said_by_its_place() -> None:
    steps = [build_step("trainer", "node", replicas=2), build_step(None, "x"), build_step("trainer", "x")]
    errors, _ = validate_runtime(put(build_runtime(), NODE, steps), None)
    assert [error.path for error in errors] == [
        "spec.template.spec.replicatedJobs[0].replicas",
        "spec.template.spec.replicatedJobs[2].template.spec.template.spec.containers",
    ]


DISABLED = {"trainer.kubeflow.org/webhook-validation": "disabled", **DEPRECATED}
SELECTED: list[tuple[JSON, JSON | None, bool]] = [
    # labels, labels before -> whether the webhook is called
    (DISABLED, None, False),
    (DISABLED, DISABLED, False),
    (DISABLED, {}, True),
    ({}, DISABLED, True),
    ({"trainer.kubeflow.org/webhook-validation": "enabled"}, None, True),
]


@pytest.mark.parametrize(("labels", "before", "called"), SELECTED, ids=range(len(SELECTED)))
def test_a_label_switches_the_webhook_off_if_it_was_there_before_too(
    labels: JSON, before: JSON | None, called: bool
) -> None:
    wrong = put(build_runtime(), NODE, [build_step("trainer", "x")])
    old = None if before is None else put(wrong, LABELS, before)
    errors, warnings = validate_runtime(put(wrong, LABELS, labels), old)
    assert (bool(errors), warnings) == (called, [])
