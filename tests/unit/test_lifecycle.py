"""How a slot lives: what a look at its container makes of its record, and when it may start again."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOW
from trainlet.planning import labels
from trainlet.planning.lifecycle import advance, get_restart_time
from trainlet.planning.observed import ContainerState, Observed, ObservedContainer
from trainlet.planning.options import Options
from trainlet.planning.probes import Health
from trainlet.planning.records import ContainerRecord, PodRecord, Termination, Waiting
from worlds import alter, build_pod_record, build_world

SLOT = build_world().slot("node-0")
THEN = NOW - timedelta(minutes=5)
STARTED = NOW - timedelta(minutes=1)


def see(state: str, attempt: int = 0, **fields: Any) -> ObservedContainer:
    known = {labels.POD: "mnist-node-0-0", labels.ATTEMPT: str(attempt)}
    if state == "exited":
        fields = {"started_at": STARTED, "finished_at": NOW, **fields}
    return ObservedContainer("id", "mnist-node-0", known, ContainerState(state), **fields)


FRESH = build_pod_record(THEN)
WAITING = build_pod_record(THEN, waiting=Waiting("ErrImagePull"))
RUNNING = build_pod_record(THEN, started_at=STARTED, started=True, ready=True)
STOPPING = alter(RUNNING, stopping_since=NOW)
ERROR = Termination(1, "Error", "", STARTED, NOW)
DONE = Termination(0, "Completed", "", STARTED, NOW)
KILLED = Termination(137, "OOMKilled", "", STARTED, NOW)
LOST = Termination(
    137,
    "ContainerLost",
    "The container is gone from the engine without having been seen to end",
    STARTED,
    NOW,
    counted=False,
)
ENDED = alter(RUNNING, started=False, ready=False)
FAILED = alter(ENDED, termination=ERROR, failures=1)
SUCCEEDED = alter(ENDED, termination=DONE)
SECOND = build_pod_record(THEN, attempt=1, failures=1, previous=ERROR)


def look(
    record: PodRecord, container: ObservedContainer | None, now: datetime = NOW, observed: Observed | None = None
) -> PodRecord:
    """Return the record after a look at the one container of its pod."""
    return advance(SLOT, record, {} if container is None else {"node": container}, observed or Observed(), now)


ADVANCES = {
    "nothing was ever there": (FRESH, None, FRESH),
    "it was created": (FRESH, see("created"), FRESH),
    "it runs": (
        WAITING,
        see("running", started_at=STARTED),
        alter(FRESH, started_at=STARTED, started=True, ready=True),
    ),
    "it runs, the engine does not say since when": (
        FRESH,
        see("running"),
        alter(FRESH, started_at=NOW, started=True, ready=True),
    ),
    "it runs on": (RUNNING, see("running"), RUNNING),
    "it did its work": (RUNNING, see("exited", exit_code=0), SUCCEEDED),
    "it came and went between two looks": (
        FRESH,
        see("exited", exit_code=0),
        alter(FRESH, started_at=STARTED, termination=DONE),
    ),
    "it failed": (RUNNING, see("exited", exit_code=1), FAILED),
    "it failed in an unknown way": (
        RUNNING,
        see("exited"),
        alter(FAILED, termination=replace(ERROR, exit_code=128)),
    ),
    "it failed, the engine does not say when": (RUNNING, see("exited", exit_code=1, finished_at=None), FAILED),
    "it ran out of memory": (
        RUNNING,
        see("exited", exit_code=137, oom_killed=True),
        alter(FAILED, termination=KILLED),
    ),
    "the engine explains": (
        RUNNING,
        see("exited", exit_code=1, error="disk full"),
        alter(FAILED, termination=replace(ERROR, message="disk full")),
    ),
    "the engine went down": (
        RUNNING,
        see("exited", exit_code=1, disrupted=True),
        alter(ENDED, termination=replace(ERROR, reason="Disrupted", counted=False)),
    ),
    "it was asked to end and failed": (
        STOPPING,
        see("exited", exit_code=1),
        alter(ENDED, termination=replace(ERROR, counted=False)),
    ),
    "it was asked to end and said all is well": (
        STOPPING,
        see("exited", exit_code=0),
        alter(ENDED, termination=replace(DONE, counted=False)),
    ),
    "it vanished while it ran": (RUNNING, None, alter(ENDED, termination=LOST)),
    "it vanished while it was asked to end": (STOPPING, None, alter(ENDED, termination=LOST)),
    "it vanished after it had ended": (FAILED, None, FAILED),
    "its end is known": (FAILED, see("exited", exit_code=2), FAILED),
    "its success is known": (SUCCEEDED, see("exited", exit_code=0), SUCCEEDED),
    "somebody started it again after its end": (SUCCEEDED, see("running"), SUCCEEDED),
    "its end turns out to be the engine's": (
        FAILED,
        see("exited", exit_code=1, disrupted=True),
        alter(FAILED, termination=replace(ERROR, reason="Disrupted", counted=False), failures=0),
    ),
    "its success is nobody's fault": (SUCCEEDED, see("exited", exit_code=0, disrupted=True), SUCCEEDED),
    "the one before it is still there": (SECOND, see("exited", exit_code=3), SECOND),
    "the next was made and not written down": (FAILED, see("created", attempt=1), SECOND),
    "the next runs and was not written down": (
        FAILED,
        see("running", attempt=1, started_at=NOW),
        alter(SECOND, started_at=NOW, started=True, ready=True),
    ),
    "the next failed and was not written down": (
        FAILED,
        see("exited", attempt=1, exit_code=1),
        alter(SECOND, started_at=STARTED, termination=ERROR, failures=2),
    ),
    "all was forgotten but a later container": (
        FRESH,
        see("running", attempt=3, started_at=STARTED),
        build_pod_record(THEN, attempt=3, started_at=STARTED, started=True, ready=True),
    ),
}


@pytest.mark.parametrize(("record", "container", "expected"), ADVANCES.values(), ids=ADVANCES.keys())
def test_a_look_at_the_container_moves_the_record_on(
    record: PodRecord, container: ObservedContainer | None, expected: PodRecord
) -> None:
    assert look(record, container) == expected


@pytest.mark.parametrize(("_", "container", "expected"), ADVANCES.values(), ids=ADVANCES.keys())
def test_a_second_look_at_the_same_container_changes_nothing(
    _: PodRecord, container: ObservedContainer | None, expected: PodRecord
) -> None:
    assert look(expected, container, NOW + timedelta(seconds=1)) == expected


DELAYS = [
    # attempt that failed, seconds it ran -> seconds until the next, with a base of 10 s
    (0, 1, 0),
    (1, 1, 10),
    (2, 1, 20),
    (3, 1, 40),
    (4, 1, 80),
    (5, 1, 160),
    (6, 1, 300),
    (50, 1, 300),
    (3, 599, 40),
    (3, 600, 0),
]


@pytest.mark.parametrize(("attempt", "ran", "delay"), DELAYS)
def test_restarts_wait_as_a_kubelet_does(attempt: int, ran: float, delay: float) -> None:
    end = replace(ERROR, started_at=NOW - timedelta(seconds=ran))
    record = build_pod_record(THEN, attempt=attempt, termination=end)
    assert get_restart_time(SLOT, record.containers["node"], Options(restart_backoff_seconds=10)) == NOW + timedelta(
        seconds=delay
    )


def test_the_base_of_the_delay_is_an_option() -> None:
    record = build_pod_record(THEN, attempt=2, termination=ERROR)
    assert get_restart_time(SLOT, record.containers["node"], Options(restart_backoff_seconds=0.5)) == NOW + timedelta(
        seconds=1
    )


@pytest.mark.parametrize("record", [FRESH, RUNNING, SUCCEEDED])
def test_what_has_not_failed_needs_no_restart(record: PodRecord) -> None:
    assert get_restart_time(SLOT, record.containers["node"], Options()) is None


def test_times_without_an_end_are_the_moment_they_were_seen() -> None:
    later: datetime = NOW + timedelta(seconds=9)
    ended = look(RUNNING, see("exited", exit_code=1, finished_at=None), later)
    assert ended.containers["node"].termination == replace(ERROR, finished_at=later)


OF_THE_NEXT = {labels.RESTART_ATTEMPT: "1"}


def test_a_container_of_the_next_restart_of_all_nodes_begins_a_new_pod() -> None:
    container = replace(see("running", started_at=NOW), labels={**see("running").labels, **OF_THE_NEXT})
    record = look(FAILED, container)
    assert record == build_pod_record(NOW, restart=1, started_at=NOW, started=True, ready=True)


def test_a_container_of_an_earlier_restart_says_nothing() -> None:
    later = build_pod_record(NOW, restart=1)
    assert look(later, see("exited", attempt=5, exit_code=1)) == later


def test_a_new_pod_waits_from_the_first_failure_on() -> None:
    slot = build_world({"pod": {"restartPolicy": "Never"}}).slot("node-0")
    options = Options(restart_backoff_seconds=10)
    records = [ContainerRecord(attempt=n, termination=ERROR) for n in range(3)]
    delays = [get_restart_time(slot, record, options) for record in records]
    assert delays == [NOW + timedelta(seconds=delay) for delay in (10, 20, 40)]


PROBED = build_world({"container": {"readinessProbe": {"tcpSocket": {"port": 2222}}}}).slot("node-0")
HEALTHS = [
    # what is known, what the probes say -> started, ready, unhealthy
    ({}, None, (False, False, False)),
    ({"started": True, "ready": True}, None, (True, True, False)),
    ({}, Health(started=True), (True, False, False)),
    ({}, Health(started=True, ready=True), (True, True, False)),
    ({"started": True, "ready": True}, Health(started=True, message="Readiness probe failed"), (True, False, False)),
    ({"started": True}, Health(started=True, alive=False, message="Liveness probe failed"), (True, False, True)),
    ({"unhealthy": True}, Health(started=True, ready=True), (True, True, True)),
]


@pytest.mark.parametrize(("known", "health", "expected"), HEALTHS)
def test_a_container_is_as_its_probes_say(
    known: dict[str, Any], health: Health | None, expected: tuple[bool, bool, bool]
) -> None:
    seen = Observed(health={} if health is None else {"id": health})
    record = build_pod_record(THEN, started_at=STARTED, **known)
    after = advance(PROBED, record, {"node": see("running", started_at=STARTED)}, seen, NOW).containers["node"]
    assert (after.started, after.ready, after.unhealthy) == expected
    assert after.complaint == (health.message if health else "")


def test_a_container_whose_hook_still_runs_has_not_begun() -> None:
    container = see("running", started_at=STARTED)
    after = look(FRESH, container, observed=Observed(starting=frozenset({container.name})))
    assert (after.containers["node"].started, after.ready) == (False, False)


UNHEALTHY = [
    # exit code -> whether it counts, and its message
    (143, True),
    (1, True),
    (0, False),
]


@pytest.mark.parametrize(("code", "counts"), UNHEALTHY)
def test_a_container_that_was_ended_for_its_probes_has_failed(code: int, counts: bool) -> None:
    """It is restarted, as a kubelet does, whatever it ends with."""
    record = alter(STOPPING, unhealthy=True, complaint="Liveness probe failed: no")
    after = look(record, see("exited", exit_code=code))
    end = after.containers["node"].termination
    assert end is not None
    assert (end.counted, end.succeeded, end.message) == (counts, False, "Liveness probe failed: no")
    assert after.failures == counts


HURRIED = build_world({"pod": {"activeDeadlineSeconds": 60}}).slot("node-0")


@pytest.mark.parametrize(("seconds", "is_over"), [(59, False), (60, True)])
def test_a_pod_that_runs_for_too_long_is_ended_as_failed(seconds: int, is_over: bool) -> None:
    container = see("running", started_at=STARTED)
    now = STARTED + timedelta(seconds=seconds)
    record = advance(HURRIED, RUNNING, {"node": container}, Observed(), now).containers["node"]
    assert record.unhealthy is is_over
    assert ("longer than the specified deadline" in record.complaint) is is_over
