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
from trainlet.planning.records import PodRecord, Termination, Waiting
from worlds import build_world

SLOT = build_world().slot("node-0")
THEN = NOW - timedelta(minutes=5)
STARTED = NOW - timedelta(minutes=1)


def see(state: str, attempt: int = 0, **fields: Any) -> ObservedContainer:
    known = {labels.POD: "mnist-node-0-0", labels.ATTEMPT: str(attempt)}
    if state == "exited":
        fields = {"started_at": STARTED, "finished_at": NOW, **fields}
    return ObservedContainer("id", "mnist-node-0", known, ContainerState(state), **fields)


FRESH = PodRecord(THEN)
WAITING = PodRecord(THEN, waiting=Waiting("ErrImagePull"))
RUNNING = PodRecord(THEN, started_at=STARTED, ready=True)
STOPPING = replace(RUNNING, stopping_since=NOW)
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
ENDED = replace(RUNNING, ready=False)
FAILED = replace(ENDED, termination=ERROR, failures=1)
SUCCEEDED = replace(ENDED, termination=DONE)
SECOND = PodRecord(NOW, attempt=1, failures=1, previous=ERROR)

ADVANCES = {
    "nothing was ever there": (FRESH, None, FRESH),
    "it was created": (FRESH, see("created"), FRESH),
    "it runs": (WAITING, see("running", started_at=STARTED), replace(FRESH, started_at=STARTED, ready=True)),
    "it runs, the engine does not say since when": (FRESH, see("running"), replace(FRESH, started_at=NOW, ready=True)),
    "it runs on": (RUNNING, see("running"), RUNNING),
    "it did its work": (RUNNING, see("exited", exit_code=0), SUCCEEDED),
    "it came and went between two looks": (FRESH, see("exited", exit_code=0), replace(FRESH, termination=DONE)),
    "it failed": (RUNNING, see("exited", exit_code=1), FAILED),
    "it failed in an unknown way": (
        RUNNING,
        see("exited"),
        replace(FAILED, termination=replace(ERROR, exit_code=128)),
    ),
    "it failed, the engine does not say when": (RUNNING, see("exited", exit_code=1, finished_at=None), FAILED),
    "it ran out of memory": (
        RUNNING,
        see("exited", exit_code=137, oom_killed=True),
        replace(FAILED, termination=KILLED),
    ),
    "the engine explains": (
        RUNNING,
        see("exited", exit_code=1, error="disk full"),
        replace(FAILED, termination=replace(ERROR, message="disk full")),
    ),
    "the engine went down": (
        RUNNING,
        see("exited", exit_code=1, disrupted=True),
        replace(ENDED, termination=replace(ERROR, reason="Disrupted", counted=False)),
    ),
    "it was asked to end and failed": (
        STOPPING,
        see("exited", exit_code=1),
        replace(ENDED, termination=replace(ERROR, counted=False)),
    ),
    "it was asked to end and said all is well": (
        STOPPING,
        see("exited", exit_code=0),
        replace(ENDED, termination=replace(DONE, counted=False)),
    ),
    "it vanished while it ran": (RUNNING, None, replace(ENDED, termination=LOST)),
    "it vanished while it was asked to end": (STOPPING, None, replace(ENDED, termination=LOST)),
    "it vanished after it had ended": (FAILED, None, FAILED),
    "its end is known": (FAILED, see("exited", exit_code=2), FAILED),
    "its success is known": (SUCCEEDED, see("exited", exit_code=0), SUCCEEDED),
    "somebody started it again after its end": (SUCCEEDED, see("running"), SUCCEEDED),
    "its end turns out to be the engine's": (
        FAILED,
        see("exited", exit_code=1, disrupted=True),
        replace(FAILED, termination=replace(ERROR, reason="Disrupted", counted=False), failures=0),
    ),
    "its success is nobody's fault": (SUCCEEDED, see("exited", exit_code=0, disrupted=True), SUCCEEDED),
    "the one before it is still there": (SECOND, see("exited", exit_code=3), SECOND),
    "the next was made and not written down": (FAILED, see("created", attempt=1), SECOND),
    "the next runs and was not written down": (
        FAILED,
        see("running", attempt=1, started_at=NOW),
        replace(SECOND, started_at=NOW, ready=True),
    ),
    "the next failed and was not written down": (
        FAILED,
        see("exited", attempt=1, exit_code=1),
        replace(SECOND, termination=ERROR, failures=2),
    ),
    "all was forgotten but a later container": (
        FRESH,
        see("running", attempt=3, started_at=STARTED),
        PodRecord(NOW, attempt=3, started_at=STARTED, ready=True),
    ),
}


@pytest.mark.parametrize(("record", "container", "expected"), ADVANCES.values(), ids=ADVANCES.keys())
def test_a_look_at_the_container_moves_the_record_on(
    record: PodRecord, container: ObservedContainer | None, expected: PodRecord
) -> None:
    assert advance(SLOT, record, container, Observed(), NOW) == expected


@pytest.mark.parametrize(("_", "container", "expected"), ADVANCES.values(), ids=ADVANCES.keys())
def test_a_second_look_at_the_same_container_changes_nothing(
    _: PodRecord, container: ObservedContainer | None, expected: PodRecord
) -> None:
    assert advance(SLOT, expected, container, Observed(), NOW + timedelta(seconds=1)) == expected


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
    record = PodRecord(THEN, attempt=attempt, termination=end)
    assert get_restart_time(SLOT, record, Options(restart_backoff_seconds=10)) == NOW + timedelta(seconds=delay)


def test_the_base_of_the_delay_is_an_option() -> None:
    record = PodRecord(THEN, attempt=2, termination=ERROR)
    assert get_restart_time(SLOT, record, Options(restart_backoff_seconds=0.5)) == NOW + timedelta(seconds=1)


@pytest.mark.parametrize("record", [FRESH, RUNNING, SUCCEEDED])
def test_what_has_not_failed_needs_no_restart(record: PodRecord) -> None:
    assert get_restart_time(SLOT, record, Options()) is None


def test_times_without_an_end_are_the_moment_they_were_seen() -> None:
    later: datetime = NOW + timedelta(seconds=9)
    assert advance(
        SLOT, RUNNING, see("exited", exit_code=1, finished_at=None), Observed(), later
    ).termination == replace(ERROR, finished_at=later)


OF_THE_NEXT = {labels.RESTART_ATTEMPT: "1"}


def test_a_container_of_the_next_restart_of_all_nodes_begins_a_new_pod() -> None:
    container = replace(see("running", started_at=NOW), labels={**see("running").labels, **OF_THE_NEXT})
    record = advance(SLOT, FAILED, container, Observed(), NOW)
    assert record == PodRecord(NOW, restart=1, started_at=NOW, ready=True)


def test_a_container_of_an_earlier_restart_says_nothing() -> None:
    later = PodRecord(NOW, restart=1)
    assert advance(SLOT, later, see("exited", attempt=5, exit_code=1), Observed(), NOW) == later


def test_a_new_pod_waits_from_the_first_failure_on() -> None:
    slot = build_world({"pod": {"restartPolicy": "Never"}}).slot("node-0")
    options = Options(restart_backoff_seconds=10)
    delays = [get_restart_time(slot, PodRecord(THEN, attempt=n, termination=ERROR), options) for n in range(3)]
    assert delays == [NOW + timedelta(seconds=delay) for delay in (10, 20, 40)]


PROBE = {"readinessProbe": {"tcpSocket": {"port": 2222}, "initialDelaySeconds": 5}}
NAMED = {"readinessProbe": {"tcpSocket": {"port": "ssh"}}, "ports": [{"containerPort": 2222, "name": "ssh"}]}
READINESS = [
    # the container, seconds since it started, the ports that it listens on (None: nobody can tell), was ready -> ready
    ({}, 0, frozenset(), False, True),
    (PROBE, 9, frozenset({22}), False, False),
    (PROBE, 9, frozenset({2222}), False, True),
    (PROBE, 4, frozenset({2222}), False, False),
    (PROBE, 4, frozenset({2222}), True, True),
    (PROBE, 9, frozenset(), True, False),
    (PROBE, 0, None, False, True),
    (NAMED, 0, frozenset({2222}), False, True),
    (NAMED, 0, frozenset({22}), False, False),
    ({"readinessProbe": {"exec": {"command": ["true"]}}}, 0, frozenset(), False, True),
]


@pytest.mark.parametrize(("container", "seconds", "ports", "before", "ready"), READINESS)
def test_a_container_is_ready_when_it_listens_where_its_probe_asks(
    container: dict[str, Any], seconds: float, ports: frozenset[int] | None, before: bool, ready: bool
) -> None:
    slot, started = build_world({"container": container}).slot("node-0"), NOW - timedelta(seconds=seconds)
    seen = Observed(listening={} if ports is None else {"id": ports})
    record = PodRecord(THEN, started_at=started, ready=before)
    assert advance(slot, record, see("running", started_at=started), seen, NOW).ready is ready
