"""Conditions are set as apimachinery sets them: in their old place, with a time that moves with the status only."""

from datetime import timedelta

from builders import NOW
from trainlet.kube.conditions import find_condition, is_true, set_condition

LATER = NOW + timedelta(minutes=1)
SUSPENDED = {
    "type": "Suspended",
    "status": "True",
    "reason": "Suspended",
    "message": "TrainJob is suspended",
    "lastTransitionTime": "2026-01-02T03:04:05Z",
}
COMPLETE = {**SUSPENDED, "type": "Complete", "reason": "AllJobsCompleted", "message": "done"}


def test_a_new_condition_goes_to_the_end() -> None:
    assert set_condition([SUSPENDED], "Complete", True, "AllJobsCompleted", "done", NOW) == [SUSPENDED, COMPLETE]


def test_a_condition_whose_status_flips_keeps_its_place_and_gets_the_time() -> None:
    [first, second] = set_condition([SUSPENDED, COMPLETE], "Suspended", False, "Resumed", "resumed", LATER)
    assert first == {
        "type": "Suspended",
        "status": "False",
        "reason": "Resumed",
        "message": "resumed",
        "lastTransitionTime": "2026-01-02T03:05:05Z",
    }
    assert second == COMPLETE


def test_a_condition_that_keeps_its_status_keeps_its_time_and_takes_the_news() -> None:
    assert set_condition([SUSPENDED], "Suspended", True, "Again", "more", LATER) == [
        {**SUSPENDED, "reason": "Again", "message": "more"}
    ]


def test_a_condition_without_a_time_gets_one() -> None:
    bare = {"type": "Suspended", "status": "True"}
    [condition] = set_condition([bare], "Suspended", True, "Suspended", "TrainJob is suspended", NOW)
    assert condition == SUSPENDED


def test_nothing_is_changed_in_place() -> None:
    conditions = [dict(SUSPENDED)]
    set_condition(conditions, "Suspended", False, "Resumed", "resumed", LATER)
    assert conditions == [SUSPENDED]


def test_only_a_true_condition_is_true() -> None:
    conditions = [SUSPENDED, {"type": "Failed", "status": "False"}, {"type": "Complete", "status": "Unknown"}]
    assert [is_true(conditions, type) for type in ("Suspended", "Failed", "Complete", "Absent")] == [True] + [False] * 3
    assert find_condition(conditions, "Absent") is None
