"""What training code says of itself: what of it is stored, and that nothing it says harms the documents on disk."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_job
from trainlet.admission.crd import parse_crd
from trainlet.admission.trainer_status import admit_trainer_status, keep_trainer_status
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import ApiError
from trainlet.kube.meta import JSON
from trainlet.package_data import read_crds

CRDS = [parse_crd(document) for document in read_crds()]
TIME = "2026-01-02T03:04:05Z"
CONDITION = {"type": "Complete", "status": "True", "reason": "R", "message": "", "lastTransitionTime": TIME}

# What JSON can carry: all text but halves of surrogate pairs.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
METRICS = st.lists(st.fixed_dictionaries({"name": TEXTS, "value": TEXTS}), max_size=5)


def test_the_rest_of_the_status_stays() -> None:
    job = {**build_job(), "status": {"conditions": [CONDITION], "trainerStatus": {"progressPercentage": 1}}}
    assert admit_trainer_status(job, {"lastUpdatedTime": TIME}, CRDS) == {
        "conditions": [CONDITION],
        "trainerStatus": {"lastUpdatedTime": TIME},
    }


def test_the_job_that_was_given_is_not_changed() -> None:
    job = {**build_job(), "status": {"conditions": [CONDITION]}}
    admit_trainer_status(job, {"lastUpdatedTime": TIME}, CRDS)
    assert job == {**build_job(), "status": {"conditions": [CONDITION]}}


def test_what_the_job_asks_for_is_not_judged_again() -> None:
    job = {**build_job(), "spec": {"managedBy": "what an older definition allowed"}}
    assert admit_trainer_status(job, {"lastUpdatedTime": TIME}, CRDS)


def test_all_that_is_wrong_is_told() -> None:
    report = {"progressPercentage": 101, "estimatedRemainingSeconds": -1, "unknown": 1}
    with pytest.raises(ApiError) as caught:
        admit_trainer_status(build_job(), report, CRDS)
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert [cause.path for cause in caught.value.causes] == [
        "status.trainerStatus.estimatedRemainingSeconds",
        "status.trainerStatus.progressPercentage",
        "status.trainerStatus.unknown",
    ]


def test_a_rule_s_words_are_the_definition_s() -> None:
    with pytest.raises(ApiError) as caught:
        admit_trainer_status(build_job(), {"progressPercentage": 1}, CRDS)
    assert str(caught.value) == (
        'TrainJob.trainer.kubeflow.org "mnist" is invalid: status.trainerStatus: Invalid value: "object": '
        "lastUpdatedTime is required when trainerStatus is present"
    )


@given(METRICS)
def test_what_is_admitted_is_read_again_as_it_was(metrics: list[JSON]) -> None:
    job = build_job()
    job["status"] = admit_trainer_status(job, {"metrics": metrics, "lastUpdatedTime": TIME}, CRDS)
    with TemporaryDirectory() as directory:
        documents = StatusDir(Path(directory))
        documents.write_job("default", "mnist", [job])
        stored = documents.read_job("default", "mnist")
    assert stored is not None
    assert stored.job == job


@pytest.mark.parametrize(
    ("status", "current", "kept"),
    [
        ({}, {}, {}),
        ({"conditions": []}, {}, {"conditions": []}),
        ({"conditions": []}, {"trainerStatus": {"a": 1}}, {"conditions": [], "trainerStatus": {"a": 1}}),
        ({"trainerStatus": {"a": 0}}, {"trainerStatus": {"a": 1}}, {"trainerStatus": {"a": 1}}),
        ({"trainerStatus": {"a": 0}}, {}, {}),
        ({}, {"conditions": [1], "jobsStatus": [2]}, {}),
    ],
)
def test_a_pass_neither_makes_nor_takes_a_report(status: JSON, current: JSON, kept: JSON) -> None:
    assert keep_trainer_status(status, current) == kept
