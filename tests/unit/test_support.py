"""What becomes of the findings: refusals that say what to do, warnings, and the report."""

import pytest

from builders import build_job, build_runtime
from stances import POD, judge
from trainlet.admission.portability import Finding, Stance
from trainlet.admission.support import build_portability, build_warnings, find_unset, find_unsupported
from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON

FINDINGS = [
    Finding("spec.a", Stance.HONOURED),
    Finding("spec.b", Stance.EMULATED, "it is done so"),
    Finding("spec.c", Stance.NO_EFFECT, "there is none"),
    Finding("spec.d", Stance.REFUSED, "leave it out"),
    Finding("spec.e", Stance.HONOURED),
]


def test_what_is_refused_is_an_error_of_the_webhook() -> None:
    [error] = find_unsupported(FINDINGS)
    assert (error.stage, error.value) == ("webhook", None)
    assert str(error) == "spec.d: Forbidden: not supported by this version of trainlet: leave it out"


def test_what_is_otherwise_and_what_is_not_done_is_warned_of() -> None:
    assert build_warnings(FINDINGS) == ["spec.b is emulated: it is done so", "spec.c has no effect: there is none"]


def test_the_report_has_all_but_what_is_refused() -> None:
    assert build_portability(FINDINGS) == {
        "honoured": ["spec.a", "spec.e"],
        "emulated": [{"path": "spec.b", "message": "it is done so"}],
        "noEffect": [{"path": "spec.c", "message": "there is none"}],
    }


def test_a_job_without_anything_special_is_honoured_in_all() -> None:
    findings = judge(build_job(), build_runtime())
    assert (find_unsupported(findings), build_warnings(findings)) == ([], [])
    assert f"{POD}.containers[0].image" in build_portability(findings)["honoured"]


UNTOLD = [
    ({}, {"numNodes": 2, "torch": {}}, True),
    ({}, {"numNodes": 2, "jax": {}}, True),
    ({"trainer": {}}, {"numNodes": 2, "torch": {}}, False),
    ({}, {"numNodes": 1, "torch": {}}, False),
    ({}, {"torch": {}}, False),
    ({}, {"numNodes": 2}, False),
]


@pytest.mark.parametrize(("spec", "policy", "is_warned"), UNTOLD)
def test_nodes_that_are_not_told_of_each_other(spec: JSON, policy: JSON, is_warned: bool) -> None:
    job = TrainJob.of(build_job(**spec))
    assert bool(find_unset(job, build_runtime(ml_policy=policy))) is is_warned
