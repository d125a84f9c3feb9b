"""One document goes through every stage in the API server's order, and comes out as a cluster would store it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from builders import build_job, build_runtime
from trainlet.admission.admit import REPLACE, Admitted, Rules, admit, identify, is_foreign
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import CLUSTER_TRAINING_RUNTIME, TRAINING_RUNTIME
from trainlet.kube.errors import ApiError
from trainlet.kube.merge import put
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds

CRDS = tuple(map(parse_crd, read_crds()))
RULES = Rules(CRDS)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNTIMES = {ObjectKey(CLUSTER_TRAINING_RUNTIME, "", "torch-distributed"): build_runtime()}


def build(**spec: Any) -> JSON:
    return {**build_job(**spec), "metadata": {"name": "mnist"}}


def judge(document: JSON, old: JSON | None = None, rules: Rules = RULES) -> Admitted:
    return admit(document, old, rules, RUNTIMES.get, NOW)


def take(document: JSON, old: JSON | None = None, runtimes: dict[ObjectKey, JSON] = RUNTIMES) -> JSON:
    return admit(document, old, RULES, runtimes.get, NOW).document


def refuse(document: JSON, old: JSON | None = None, runtimes: dict[ObjectKey, JSON] = RUNTIMES) -> ApiError:
    with pytest.raises(ApiError) as refusal:
        take(document, old, runtimes)
    return refusal.value


def test_a_job_comes_out_as_it_is_stored() -> None:
    admitted = judge(build())
    assert admitted.key == ObjectKey("TrainJob", "default", "mnist")
    assert admitted.warnings == ()
    assert admitted.document == {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "mnist", "namespace": "default"},
        "spec": {
            "runtimeRef": {
                "name": "torch-distributed",
                "apiGroup": "trainer.kubeflow.org",
                "kind": "ClusterTrainingRuntime",
            },
            "managedBy": "trainer.kubeflow.org/trainjob-controller",
            "suspend": False,
        },
    }


def test_the_input_is_not_changed() -> None:
    document = build(trainer={"env": [{"name": "A", "value": None}]})
    before = repr(document)
    take(document)
    assert repr(document) == before


def test_what_only_a_server_says_is_left_out() -> None:
    document = {**build(), "status": {"conditions": "anything"}}
    server = {
        "uid": "u",
        "resourceVersion": "1",
        "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "selfLink": "/",
    }
    document["metadata"] = {"name": "mnist", "labels": {"a": "b"}, "managedFields": [{}], **server}
    stored = take(document)
    assert "status" not in stored
    assert stored["metadata"] == {"name": "mnist", "namespace": "default", "labels": {"a": "b"}}


KEYS: list[tuple[JSON, ObjectKey]] = [
    (build(), ObjectKey("TrainJob", "mine", "mnist")),
    ({**build(), "metadata": {"name": "a", "namespace": "team"}}, ObjectKey("TrainJob", "team", "a")),
    (build_runtime("r"), ObjectKey(CLUSTER_TRAINING_RUNTIME, "", "r")),
    ({**build_runtime("r"), "kind": TRAINING_RUNTIME}, ObjectKey(TRAINING_RUNTIME, "mine", "r")),
    ({**build(), "metadata": {"generateName": "a-"}}, ObjectKey("TrainJob", "mine", "")),
    ({**build(), "metadata": "none"}, ObjectKey("TrainJob", "mine", "")),
]


@pytest.mark.parametrize(("document", "key"), KEYS)
def test_who_a_document_is(document: JSON, key: ObjectKey) -> None:
    assert identify(document, CRDS, "mine") == key


FOREIGN = {
    "no kind": ({"apiVersion": "v1"}, "kind: Required value: give the apiVersion and kind of the object"),
    "no apiVersion": ({"kind": "TrainJob"}, "apiVersion: Required value: give the apiVersion and kind of the object"),
    "nothing": ({}, "kind: Required value: give the apiVersion and kind of the object"),
    "another kind": (
        {"apiVersion": "batch/v1", "kind": "Job"},
        "kind: Unsupported value: supported values: ClusterTrainingRuntime (trainer.kubeflow.org/v1alpha1), "
        "TrainJob (trainer.kubeflow.org/v1alpha1), TrainingRuntime (trainer.kubeflow.org/v1alpha1)",
    ),
}


@pytest.mark.parametrize(("document", "message"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_kinds_are_refused_with_what_is_known(document: JSON, message: str) -> None:
    error = refuse(document)
    assert (str(error), error.code, error.reason) == (message, 404, "NotFound")


def test_all_causes_of_a_stage_are_told_and_later_stages_are_not_asked() -> None:
    error = refuse(build(runtimeRef={"name": "nowhere"}, trainer={"numNodes": "two", "imagee": "x"}))
    assert (error.code, error.reason) == (422, "Invalid")
    assert {(c.stage, c.path) for c in error.causes} == {
        ("schema", "spec.trainer.imagee"),
        ("schema", "spec.trainer.numNodes"),
    }
    assert str(error).startswith('TrainJob.trainer.kubeflow.org "mnist" is invalid: [')


def test_a_rule_is_asked_before_any_webhook() -> None:
    error = refuse(build(runtimeRef={"name": "nowhere"}, managedBy="someone.else/else"))
    assert {c.stage for c in error.causes} == {"cel"}


def test_a_webhook_denies_in_its_own_words() -> None:
    error = refuse(build(runtimeRef={"name": "nowhere"}))
    assert (error.code, error.reason) == (403, "Forbidden")
    hook, name = "validator.trainjob.trainer.kubeflow.org", "ClusterTrainingRuntime.trainer.kubeflow.org"
    assert str(error) == (
        f'admission webhook "{hook}" denied the request: spec.RuntimeRef: Invalid value: '
        '{"name":"nowhere","apiGroup":"trainer.kubeflow.org","kind":"ClusterTrainingRuntime"}: '
        f'{name} "nowhere" not found: specified clusterTrainingRuntime must be created before the TrainJob is created'
    )


def test_an_update_that_asks_for_nothing_is_taken_though_its_runtime_is_gone() -> None:
    stored = take(build())
    assert take(build(), stored, {}) == stored
    refuse(build(suspend=True), stored, {})


def test_an_update_may_not_change_what_is_immutable() -> None:
    stored = take(build())
    error = refuse(build(runtimeRef={"name": "another"}), stored)
    assert {(c.stage, c.path.split(".")[0]) for c in error.causes} == {("cel", "spec")}


@pytest.mark.parametrize(
    "document",
    [
        {**build(), "spec": None},
        {**build(), "spec": []},
        {**build(), "metadata": None},
        {**build(), "metadata": {"name": 3}},
        {**build(), "metadata": {"name": "mnist", "namespace": 3}},
        {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob"},
        {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "ClusterTrainingRuntime"},
        {"apiVersion": 1, "kind": ["TrainJob"]},
        put(build_runtime(), ("spec", "template", "spec", "replicatedJobs"), [None]),
    ],
    ids=range(9),
)
def test_documents_of_any_shape_are_refused_and_never_a_crash(document: JSON) -> None:
    assert str(refuse(document))


def test_a_field_that_nobody_knows_is_an_error_a_warning_or_nothing() -> None:
    document = build(trainer={"imagee": "x", "numNodes": 2}, suspended=True)
    with pytest.raises(ApiError) as refusal:
        judge(document)
    assert {(c.path, c.type) for c in refusal.value.causes} == {
        ("spec.trainer.imagee", "Unknown field"),
        ("spec.suspended", "Unknown field"),
    }
    warned = judge(document, rules=replace(RULES, validation="warn"))
    assert sorted(warned.warnings) == ['unknown field "spec.suspended"', 'unknown field "spec.trainer.imagee"']
    ignored = judge(document, rules=replace(RULES, validation="ignore"))
    assert ignored.warnings == ()
    assert warned.document == ignored.document == take(build(trainer={"numNodes": 2}))


@pytest.mark.parametrize("validation", ["warn", "ignore"])
def test_what_is_relaxed_is_only_what_is_unknown(validation: str) -> None:
    with pytest.raises(ApiError, match="must be of type integer"):
        judge(build(trainer={"numNodes": "two"}), rules=replace(RULES, validation=validation))


def annotate(document: JSON, value: str) -> JSON:
    return put(document, ("metadata", "annotations", REPLACE), value)


def test_a_job_is_replaced_by_a_new_value_of_its_annotation() -> None:
    stored = take(build())
    changed = build(runtimeRef={"name": "torch-distributed"}, trainer={"image": "new"})
    first = judge(annotate(changed, "1"), stored)
    assert (first.replaces, first.document["spec"]["trainer"]) == (True, {"image": "new"})
    assert not judge(annotate(changed, "1"), first.document).replaces
    assert judge(annotate(changed, "2"), first.document).replaces
    assert not judge(changed, first.document).replaces, "to take the annotation away asks for nothing"
    assert not judge(annotate(changed, "1")).replaces, "there is nothing to replace"


def test_a_replacement_is_judged_as_a_new_object() -> None:
    stored = take(build())
    with pytest.raises(ApiError, match="not found"):
        judge(annotate(build(runtimeRef={"name": "nowhere"}), "1"), stored)


REPLACEABLE = {
    "a rule": (build(runtimeRef={"name": "another"}), "field is immutable"),
    "a webhook": (
        build(runtimePatches=[{"manager": "acme.io/a", "trainingRuntimeSpec": {}}]),
        "can only be modified when the TrainJob is suspended",
    ),
}


@pytest.mark.parametrize(("document", "message"), REPLACEABLE.values(), ids=REPLACEABLE)
def test_a_refused_change_tells_how_to_replace_the_object(document: JSON, message: str) -> None:
    with pytest.raises(ApiError, match=message) as refusal:
        judge(document, take(build()))
    assert REPLACE in refusal.value.remedy
    assert "trainlet apply --replace" in str(refusal.value)


def test_a_new_object_is_not_told_how_to_replace_it() -> None:
    with pytest.raises(ApiError) as refusal:
        judge(build(managedBy="someone"))
    assert refusal.value.remedy == ""


def test_pods_are_judged_as_the_runtime_makes_them() -> None:
    rules = replace(RULES, pod_security="restricted")
    with pytest.raises(ApiError) as refusal:
        judge(build(), rules=rules)
    assert {c.stage for c in refusal.value.causes} == {"security"}
    assert str(refusal.value).startswith('pods of TrainJob "mnist" are forbidden: [')
    assert (refusal.value.code, refusal.value.reason) == (403, "Forbidden")


FOREIGN_OR_NOT = [
    ({"apiVersion": "v1", "kind": "ConfigMap"}, True),
    ({"apiVersion": "batch/v1", "kind": "Job"}, True),
    ({"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJobb"}, False),
    ({"apiVersion": "trainer.kubeflow.org/v2", "kind": "TrainJob"}, False),
    ({"apiVersion": "kubeflow.org/v1", "kind": "TrainJob"}, False),
    ({"kind": "ConfigMap"}, False),
    ({"apiVersion": "v1"}, False),
    ({}, False),
]


@pytest.mark.parametrize(("document", "expected"), FOREIGN_OR_NOT)
def test_only_what_is_surely_somebody_elses_is_foreign(document: JSON, expected: bool) -> None:
    assert is_foreign(document, CRDS) is expected
