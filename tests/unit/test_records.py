"""What is remembered of a slot, and that it survives the way through a Pod's wire form."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW
from trainlet.kube.meta import JSON
from trainlet.planning.pods import build_pod, get_pod_name
from trainlet.planning.records import PodRecord, Termination, Waiting, get_phase, read_record
from worlds import build_world

WORLD = build_world()
FAILED = Termination(1, "Error", "", NOW, NOW + timedelta(seconds=3))
SUCCEEDED = replace(FAILED, exit_code=0, reason="Completed")
STOPPED = replace(SUCCEEDED, counted=False)

TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
TEXTS = st.text(max_size=20)
TERMINATIONS = st.builds(
    Termination, st.integers(0, 255), TEXTS, TEXTS, st.none() | TIMES, TIMES, counted=st.booleans()
)
RECORDS = st.builds(
    PodRecord,
    created_at=TIMES,
    attempt=st.integers(0, 99),
    failures=st.integers(0, 99),
    started_at=st.none() | TIMES,
    stopping_since=st.none() | TIMES,
    asked=st.booleans(),
    termination=st.none() | TERMINATIONS,
    previous=st.none() | TERMINATIONS,
    waiting=st.none() | st.builds(Waiting, TEXTS, TEXTS),
)


def write(record: PodRecord) -> JSON:
    return build_pod(WORLD.look().job, WORLD.slot("node-0"), record, "10.213.0.2")


@given(RECORDS)
def test_every_record_comes_back_from_its_pod(record: PodRecord) -> None:
    """What a slot waits for is told while it waits; all else that is remembered comes back."""
    back = read_record(write(record))
    assert replace(back, waiting=None) == replace(record, waiting=None)
    if record.termination is None and record.started_at is None:
        assert back.waiting == (record.waiting or Waiting("ContainerCreating"))
    assert write(back) == write(record)


@given(RECORDS)
def test_a_record_never_forgets_failures_when_it_goes_on(record: PodRecord) -> None:
    later = record.begin(record.attempt + 1, NOW)
    assert (later.attempt, later.failures) == (record.attempt + 1, record.failures)
    assert (later.termination, later.started_at, later.stopping_since) == (None, None, None)
    assert later.previous == (record.termination or record.previous)


ENDS = [
    # how it ended -> succeeded, counts as a failure
    (FAILED, False, 1),
    (SUCCEEDED, True, 0),
    (STOPPED, False, 0),
    (replace(FAILED, counted=False), False, 0),
]


@pytest.mark.parametrize(("end", "succeeded", "failures"), ENDS)
def test_only_a_counted_end_with_another_code_than_0_is_a_failure(
    end: Termination, succeeded: bool, failures: int
) -> None:
    record = PodRecord(NOW, started_at=NOW, stopping_since=NOW, waiting=Waiting("X")).terminate(end)
    assert (record.succeeded, record.failures, record.running) == (succeeded, failures, False)
    assert (record.stopping_since, record.waiting) == (None, None)


def test_an_excused_failure_is_taken_back_once() -> None:
    record = PodRecord(NOW).terminate(FAILED).excuse()
    assert record.failures == 0
    assert record.termination == replace(FAILED, counted=False, reason="Disrupted")
    assert record.excuse() == record


@pytest.mark.parametrize(
    "record", [PodRecord(NOW), PodRecord(NOW).terminate(SUCCEEDED), PodRecord(NOW).terminate(STOPPED)]
)
def test_what_did_not_fail_needs_no_excuse(record: PodRecord) -> None:
    assert record.excuse() == record


PHASES = [
    (PodRecord(NOW), "Pending"),
    (PodRecord(NOW, waiting=Waiting("ErrImagePull")), "Pending"),
    (PodRecord(NOW, started_at=NOW), "Running"),
    (PodRecord(NOW).terminate(SUCCEEDED), "Succeeded"),
    (PodRecord(NOW).terminate(FAILED), "Running"),
    (PodRecord(NOW).terminate(FAILED).begin(1, NOW), "Running"),
]


@pytest.mark.parametrize(("record", "phase"), PHASES)
def test_a_pod_that_waits_for_its_restart_is_running(record: PodRecord, phase: str) -> None:
    assert get_phase(record) == phase
    assert write(record)["status"]["phase"] == phase


def test_the_last_failure_outlives_the_success_after_it() -> None:
    record = PodRecord(NOW).terminate(FAILED).begin(1, NOW).terminate(SUCCEEDED)
    assert record.last_failure == FAILED
    assert PodRecord(NOW).last_failure is None


def test_a_pod_says_what_a_kubelet_would() -> None:
    record = PodRecord(NOW, attempt=1, started_at=NOW, ready=True, previous=FAILED)
    assert write(record)["status"] == {
        "phase": "Running",
        "podIP": "10.213.0.2",
        "startTime": "2026-01-02T03:04:05.000000Z",
        "containerStatuses": [
            {
                "name": "node",
                "image": "image:1",
                "restartCount": 1,
                "ready": True,
                "state": {"running": {"startedAt": "2026-01-02T03:04:05.000000Z"}},
                "lastState": {
                    "terminated": {
                        "exitCode": 1,
                        "reason": "Error",
                        "startedAt": "2026-01-02T03:04:05.000000Z",
                        "finishedAt": "2026-01-02T03:04:08.000000Z",
                    }
                },
            }
        ],
    }


def test_a_pod_that_is_asked_to_end_has_a_deletion_time() -> None:
    metadata = write(PodRecord(NOW, started_at=NOW, stopping_since=NOW))["metadata"]
    assert metadata["deletionTimestamp"] == "2026-01-02T03:04:05.000000Z"


@pytest.mark.parametrize(("policy", "is_new_pod"), [("OnFailure", False), ("Never", True)])
def test_only_with_never_an_attempt_is_a_new_pod(policy: str, is_new_pod: bool) -> None:
    world = build_world({"pod": {"restartPolicy": policy}})
    names = [get_pod_name(world.slot("node-0"), PodRecord(NOW, attempt=n)) for n in (0, 1)]
    assert (names[0] != names[1]) is is_new_pod
    assert all(name.startswith("mnist-node-0-0-") and len(name) == len("mnist-node-0-0-abcde") for name in names)
