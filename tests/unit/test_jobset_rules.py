"""What upstream's JobSet plugin refuses: initializers without a place, and patches at the wrong time or of the wrong
things. Every row is judged as the webhook judges it, as a new job and as an update."""

from typing import Any

import pytest

from builders import build_job, build_pod_patch, build_replicated_job, build_runtime
from trainlet.admission.webhooks import validate_train_job
from trainlet.kube.meta import JSON

INVALID, FORBIDDEN = "Invalid value", "Forbidden"
REF = {"name": "torch-distributed", "apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime"}
MOUNT = {"volumeMounts": [{"name": "initializer", "mountPath": "/workspace"}]}
Row = tuple[str, str, str, Any]


def judge(job: JSON, runtime: JSON, old: JSON | None = None) -> list[Row]:
    errors, warnings = validate_train_job(job, old, lambda _: runtime)
    assert {error.stage for error in errors} <= {"webhook"}
    assert warnings == []
    return [(error.path, error.type, error.detail, error.value) for error in errors]


def refuse_runtime(detail: str) -> Row:
    return ("spec.runtimeRef", INVALID, detail, REF)


DATASET, MODEL = "dataset-initializer", "model-initializer"
NO_DATASET_JOB = "must have dataset-initializer job when trainJob is configured with input datasetConfig"
NO_MODEL_JOB = "must have model-initializer job when trainJob is configured with input modelConfig"

INITIALIZERS: dict[str, tuple[JSON, list[JSON], list[Row]]] = {
    # name: (spec.initializer, the runtime's replicated jobs beside the trainer, errors)
    "no initializer": ({}, [], []),
    "dataset, no job": ({"dataset": {}}, [], [refuse_runtime(NO_DATASET_JOB)]),
    "dataset, a job of another name with its label": (
        {"dataset": {}},
        [build_replicated_job("other", {"name": DATASET, **MOUNT}, ancestor=DATASET)],
        [refuse_runtime(NO_DATASET_JOB)],
    ),
    "dataset, no container": (
        {"dataset": {}},
        [build_replicated_job(DATASET, {"name": "other", **MOUNT})],
        [refuse_runtime("must have container with name - dataset-initializer in the dataset-initializer job")],
    ),
    "dataset, no mount": (
        {"dataset": {}},
        [build_replicated_job(DATASET, {"name": DATASET, "volumeMounts": [{"name": "x", "mountPath": "/x"}]})],
        [
            refuse_runtime(
                "must have volumeMount with name - initializer in container dataset-initializer "
                "of the dataset-initializer job"
            )
        ],
    ),
    "dataset": ({"dataset": {}}, [build_replicated_job(DATASET, {"name": DATASET, **MOUNT})], []),
    "dataset in an init container": (
        {"dataset": {}},
        [build_replicated_job(DATASET, {"name": "x"}, initContainers=[{"name": DATASET, **MOUNT}])],
        [],
    ),
    "model, no job": ({"model": {}}, [], [refuse_runtime(NO_MODEL_JOB)]),
    "model, no container": (
        {"model": {}},
        [build_replicated_job(MODEL, {"name": "other"})],
        [refuse_runtime("must have container with name - model-initializer in the model-initializer job")],
    ),
    "model, no mount": (
        {"model": {}},
        [build_replicated_job(MODEL, {"name": MODEL})],
        [
            refuse_runtime(
                "must have volumeMount with name - initializer in container model-initializer "
                "of the model-initializer job"
            )
        ],
    ),
    "model": ({"model": {}}, [build_replicated_job(MODEL, {"name": MODEL, **MOUNT})], []),
    "both, in this order": (
        {"model": {}, "dataset": {}},
        [],
        [refuse_runtime(NO_DATASET_JOB), refuse_runtime(NO_MODEL_JOB)],
    ),
}


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(("initializer", "jobs", "expected"), INITIALIZERS.values(), ids=INITIALIZERS)
def test_an_initializer_needs_its_place_in_the_runtime(
    initializer: JSON, jobs: list[JSON], expected: list[Row], updates: bool
) -> None:
    job = build_job(initializer=initializer)
    assert judge(job, build_runtime(more_jobs=jobs), job if updates else None) == expected


def test_a_patch_may_add_the_mount_that_an_initializer_needs() -> None:
    patch = build_pod_patch(DATASET, containers=[{"name": DATASET, **MOUNT}])
    runtime = build_runtime(more_jobs=[build_replicated_job(DATASET, {"name": DATASET})])
    assert judge(build_job(initializer={"dataset": {}}, runtimePatches=[patch]), runtime) == []


ONE = build_pod_patch("node", nodeSelector={"a": "1"})
TWO = build_pod_patch("node", nodeSelector={"a": "2"})
OTHER = build_pod_patch("node", manager="acme.io/other")
AWAKE = (
    "spec.runtimePatches",
    FORBIDDEN,
    "RuntimePatches can only be modified when the TrainJob is suspended before or after the update",
    None,
)


def refuse_active(rjob: str) -> Row:
    detail = f"RuntimePatches cannot be modified when the JobSet's ReplicatedJob {rjob} is still active"
    return ("spec.runtimePatches", FORBIDDEN, detail, None)


def build_stored(suspend: bool, patches: list[JSON], **active: int) -> JSON:
    """Return a stored job; keywords are the active Jobs of its replicated jobs."""
    statuses = [{"name": name, "active": count, "ready": 0} for name, count in active.items()]
    job = build_job(suspend=suspend, runtimePatches=patches)
    return {**job, "status": {"jobsStatus": statuses}} if statuses else job


TIMES: dict[str, tuple[JSON, bool, list[JSON], list[Row]]] = {
    # name: (the stored job, suspended after, patches after, errors)
    "changed, awake": (build_stored(False, [ONE]), False, [TWO], [AWAKE]),
    "added, awake": (build_stored(False, []), False, [ONE], [AWAKE]),
    "removed, awake": (build_stored(False, [ONE]), False, [], [AWAKE]),
    "another order, awake": (build_stored(False, [ONE, OTHER]), False, [OTHER, ONE], [AWAKE]),
    "changed, awake and active: one error": (build_stored(False, [ONE], node=1), False, [TWO], [AWAKE]),
    "the same, awake and active": (build_stored(False, [ONE], node=1), False, [ONE], []),
    "changed, suspended": (build_stored(True, [ONE]), True, [TWO], []),
    "changed, suspended, ended": (build_stored(True, [ONE], node=0), True, [TWO], []),
    "changed, suspended, still active": (build_stored(True, [ONE], node=2), True, [TWO], [refuse_active("node")]),
    "changed, several still active": (
        build_stored(True, [ONE], launcher=1, done=0, node=2),
        True,
        [TWO],
        [refuse_active("launcher"), refuse_active("node")],
    ),
    "changed and resumed": (build_stored(True, [ONE]), False, [TWO], []),
    "changed and suspended": (build_stored(False, [ONE]), True, [TWO], []),
    "changed and suspended while running": (
        build_stored(False, [ONE], node=1),
        True,
        [TWO],
        [refuse_active("node")],
    ),
    "only suspended while running": (build_stored(False, [ONE], node=1), True, [ONE], []),
    "only resumed": (build_stored(True, [ONE]), False, [ONE], []),
    "no status yet": ({**build_stored(True, [ONE]), "status": None}, True, [TWO], []),
}


@pytest.mark.parametrize(("old", "suspend", "patches", "expected"), TIMES.values(), ids=TIMES)
def test_when_patches_may_change(old: JSON, suspend: bool, patches: list[JSON], expected: list[Row]) -> None:
    assert judge(build_job(suspend=suspend, runtimePatches=patches), build_runtime(), old) == expected


def test_a_new_job_may_have_patches() -> None:
    assert judge(build_job(runtimePatches=[ONE, OTHER]), build_runtime()) == []


def test_labels_may_change_while_a_job_runs() -> None:
    old = build_stored(False, [ONE], node=1)
    job = build_job(suspend=False, runtimePatches=[ONE])
    job["metadata"]["labels"] = {"a": "b"}
    assert judge(job, build_runtime(), old) == []


LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    rf"'{LABEL}(\.{LABEL})*')"
)
PREFIXED = 'must be a domain-prefixed path (such as "acme.io/foo")'
PATH = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"
MANAGERS: dict[str, list[tuple[str, str, str | None]]] = {
    # manager: (type, detail, value)
    "acme.io/foo": [],
    "acme/foo": [],
    "kueue.x-k8s.io/manager": [],
    "a.b/~x%20!$&'()*+,;=:/y_Z-.": [],
    "": [("Required value", "", None)],
    "acme.io": [(INVALID, PREFIXED, "acme.io")],
    "acme.io/": [(INVALID, PREFIXED, "acme.io/")],
    "/foo": [(INVALID, PREFIXED, "/foo")],
    "Acme.io/foo": [(INVALID, SUBDOMAIN, "Acme.io")],
    "-a/foo": [(INVALID, SUBDOMAIN, "-a")],
    "acme.io/a b": [(INVALID, PATH, "a b")],
    "acme.io/a\n": [(INVALID, PATH, "a\n")],
    "acme.io/ä": [(INVALID, PATH, "ä")],
    "a_b/#": [(INVALID, SUBDOMAIN, "a_b"), (INVALID, PATH, "#")],
}


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(("manager", "expected"), MANAGERS.items(), ids=map(repr, MANAGERS))
def test_a_manager_is_a_domain_prefixed_path(
    manager: str, expected: list[tuple[str, str, str | None]], updates: bool
) -> None:
    job = build_job(runtimePatches=[{"manager": manager}])
    rows = [("spec.runtimePatches.manager", *row) for row in expected]
    assert judge(job, build_runtime(), job if updates else None) == rows


ENV = [{"name": "TOKEN", "value": "secret"}]
NO_ENV = "must not have envs for the dataset-initializer, model-initializer, node containers"
ENVIRONMENTS: dict[str, tuple[list[JSON], bool]] = {
    # name: (patches, whether they are refused)
    "of the trainer": ([build_pod_patch("node", containers=[{"name": "node", "env": ENV}])], True),
    "of an initializer": ([build_pod_patch(DATASET, containers=[{"name": DATASET, "env": ENV}])], True),
    "of the model's": ([build_pod_patch(MODEL, containers=[{"name": MODEL, "env": ENV}])], True),
    "of a reserved name in any job": ([build_pod_patch("other", containers=[{"name": "node", "env": ENV}])], True),
    "of two, said once": (
        [build_pod_patch("node", containers=[{"name": "node", "env": ENV}, {"name": DATASET, "env": ENV}])],
        True,
    ),
    "none": ([build_pod_patch("node", containers=[{"name": "node", "env": []}])], False),
    "of another container": ([build_pod_patch("node", containers=[{"name": "side", "env": ENV}])], False),
    "of an init container": ([build_pod_patch("node", initContainers=[{"name": "node", "env": ENV}])], False),
}


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(("patches", "refused"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_environment_of_the_job_s_own_containers_is_not_patched(
    patches: list[JSON], refused: bool, updates: bool
) -> None:
    job = build_job(runtimePatches=patches)
    expected = [("spec.runtimePatches", INVALID, NO_ENV, patches)] if refused else []
    assert judge(job, build_runtime(), job if updates else None) == expected


UNKNOWN: dict[str, JSON] = {
    "replicated job": build_pod_patch("nowhere", nodeSelector={"a": "1"}),
    "init container": build_pod_patch("node", initContainers=[{"name": "nowhere"}]),
    "container": build_pod_patch("node", containers=[{"name": "nowhere"}]),
}


@pytest.mark.parametrize("patch", UNKNOWN.values(), ids=UNKNOWN)
def test_names_the_runtime_does_not_have_pass_the_webhook(patch: JSON) -> None:
    # Upstream has rules against them, and asks for the names after the merge that added them: they never fire.
    assert judge(build_job(runtimePatches=[patch]), build_runtime()) == []


def test_errors_come_in_upstream_s_order() -> None:
    patches = [build_pod_patch("node", manager="x", containers=[{"name": "node", "env": ENV}]), {"manager": "y"}]
    old = build_job(initializer={"dataset": {}})
    rows = judge(build_job(initializer={"dataset": {}}, runtimePatches=patches), build_runtime(), old)
    assert [row[0] for row in rows] == [
        "spec.runtimeRef",
        "spec.runtimePatches",
        "spec.runtimePatches.manager",
        "spec.runtimePatches",
        "spec.runtimePatches.manager",
    ]
