"""Events wake their jobs; after every gap all jobs are looked at; what an outage ended is not held against a job."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness import Clock
from scripted_engine import ScriptedEngine
from trainlet.controller import engine_source
from trainlet.controller.engine_source import SECOND_LOOK_SECONDS, EngineSource, read_boot_time
from trainlet.engine.base import EngineEvent, EngineUnavailable
from trainlet.planning.observed import ContainerState, ObservedContainer
from waiting import wait_for


class Engine(ScriptedEngine):
    """An engine whose stream cannot be opened while it is down."""

    def watch(self) -> Iterator[EngineEvent]:
        if self.is_down:
            raise EngineUnavailable("nothing answers")
        yield from super().watch()

    def tell(self, uid: str) -> None:
        """Let something happen to what this owner has."""
        self._events.put(EngineEvent(uid))

    def go_down(self) -> None:
        """Go away, which ends the stream."""
        self.is_down = True
        self.close()


class Place:
    """A source that follows an engine, and whom it woke."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.engine = Engine(self.clock.now)
        self.woken: list[tuple[str, float]] = []
        self.all_woken: list[datetime] = []
        self.source = EngineSource(
            self.engine,
            self.clock.now,
            lambda uid, after: self.woken.append((uid, after)),
            lambda: self.all_woken.append(self.clock.now()),
        )

    def have_outage(self, seconds: float) -> tuple[datetime, datetime]:
        """Let the engine be away, and return when it went and came."""
        start, rounds = self.clock.now(), len(self.all_woken)
        self.engine.go_down()
        wait_for(lambda: len(self.all_woken) > rounds, "the outage to be noticed")
        self.clock.advance(seconds)
        end, rounds = self.clock.now(), len(self.all_woken)
        self.engine.is_down = False
        wait_for(lambda: len(self.all_woken) > rounds, "the engine to be found again")
        return start, end


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(engine_source, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(engine_source, "BEAT_SECONDS", 0.02)
    place = Place()
    place.source.start()
    yield place
    place.engine.close()
    place.source.stop(10)


def build_exited(finished_at: datetime | None, exit_code: int = 143) -> ObservedContainer:
    return ObservedContainer("c1", "c1", {}, ContainerState.EXITED, exit_code=exit_code, finished_at=finished_at)


def test_an_event_wakes_its_job_at_once_and_a_moment_later(place: Place) -> None:
    place.engine.tell("uid-1")
    place.engine.tell("uid-2")
    wait_for(lambda: len(place.woken) == 4, "both events")
    assert place.woken == [
        ("uid-1", 0),
        ("uid-1", SECOND_LOOK_SECONDS),
        ("uid-2", 0),
        ("uid-2", SECOND_LOOK_SECONDS),
    ]


def test_a_stream_that_merely_ended_is_opened_again_and_is_no_outage(place: Place) -> None:
    place.engine.close()
    wait_for(lambda: place.all_woken, "all jobs to be looked at")
    place.engine.tell("uid-1")
    wait_for(lambda: place.woken, "the next event")
    assert not place.source.is_disrupted(build_exited(place.clock.now()))


def test_events_come_again_after_an_outage(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trainlet")
    for number in range(3):
        place.have_outage(60)
        place.engine.tell(f"uid-{number}")
        wait_for(lambda uid=f"uid-{number}": (uid, 0) in place.woken, "an event after the outage")  # type: ignore[misc]
    assert [r.getMessage() for r in caplog.records] == [
        "lost the engine: nothing answers (memory://): start it",
        "the engine answers again",
    ] * 3


def test_an_engine_that_is_away_is_noticed_though_its_stream_stays_open(place: Place) -> None:
    place.source.check()
    place.engine.is_down = True
    wait_for(lambda: place.all_woken, "all jobs to be told")
    with pytest.raises(EngineUnavailable, match="nothing answers") as caught:
        place.source.check()
    assert (caught.value.where, caught.value.remedy) == ("memory://", "start it")
    place.engine.is_down = False
    wait_for(lambda: len(place.all_woken) == 2, "all jobs to be looked at")
    place.source.check()
    place.engine.tell("uid-1")
    wait_for(lambda: place.woken, "an event of the stream that there was")


EXITS = {
    # seconds after the engine was lost (it was away for 60): is its end the outage's?
    "long before": (-16, False),
    "while the daemon was ending": (-14, True),
    "at the moment": (0, True),
    "while it was away": (30, True),
    "as it came back": (64, True),
    "later": (66, False),
}


@pytest.mark.parametrize(("seconds", "expected"), EXITS.values(), ids=EXITS)
def test_what_was_ended_by_a_signal_around_an_outage_was_ended_by_it(
    place: Place, seconds: float, expected: bool
) -> None:
    start, _ = place.have_outage(60)
    place.clock.advance(3600)
    assert place.source.is_disrupted(build_exited(start + timedelta(seconds=seconds))) is expected


@pytest.mark.parametrize(
    ("exit_code", "expected"), [(0, False), (1, False), (139, False), (137, True), (143, True), (255, True)]
)
def test_only_ends_by_signals_are_an_outages(place: Place, exit_code: int, expected: bool) -> None:
    start, _ = place.have_outage(60)
    assert place.source.is_disrupted(build_exited(start, exit_code)) is expected


def test_who_ran_out_of_memory_was_not_ended_by_an_outage(place: Place) -> None:
    start, _ = place.have_outage(60)
    assert place.source.is_disrupted(build_exited(start, 137))
    assert not place.source.is_disrupted(replace(build_exited(start, 137), oom_killed=True))


def test_what_runs_or_has_no_end_is_not_disrupted(place: Place) -> None:
    start, _ = place.have_outage(60)
    running = replace(build_exited(start), state=ContainerState.RUNNING)
    assert not place.source.is_disrupted(running)
    assert not place.source.is_disrupted(build_exited(None))


def test_an_outage_that_lasts_reaches_until_now(place: Place) -> None:
    place.engine.go_down()
    wait_for(lambda: place.all_woken, "the outage to be noticed")
    place.clock.advance(600)
    assert place.source.is_disrupted(build_exited(place.clock.now()))


def test_without_an_outage_nothing_is_disrupted(place: Place) -> None:
    assert not place.source.is_disrupted(build_exited(place.clock.now()))


def test_what_was_started_before_the_machine_was_is_disrupted(place: Place) -> None:
    booted_at = read_boot_time()
    assert booted_at is not None
    for seconds, expected in ((-1, True), (1, False)):
        container = replace(build_exited(place.clock.now(), 255), started_at=booted_at + timedelta(seconds=seconds))
        assert place.source.is_disrupted(container) is expected


def test_the_time_of_the_boot_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3\nbtime 1767323045\nprocesses 5\n")
    assert read_boot_time(tmp_path / "stat") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    (tmp_path / "other").write_text("cpu  1 2 3\n")
    assert read_boot_time(tmp_path / "other") is None
    assert read_boot_time(tmp_path / "none") is None
