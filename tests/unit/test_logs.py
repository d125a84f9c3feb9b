"""A container's log is kept whole, the attempt before it too, and a second try loses neither."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness import Clock
from scripted_engine import ScriptedEngine
from trainlet.controller.logs import LogKeeper
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import LogLine
from trainlet.kube.errors import EngineError, TrainletError
from trainlet.kube.meta import ObjectKey

JOB = ObjectKey("TrainJob", "team", "mnist")
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Engine(ScriptedEngine):
    """An engine whose logs are given; a log that ends with an error breaks there."""

    def __init__(self) -> None:
        super().__init__(Clock().now)
        self.logs: dict[str, list[LogLine | EngineError]] = {}

    def read_logs(self, id: str, **_: object) -> Iterator[LogLine]:
        for line in self.logs[id]:
            if isinstance(line, EngineError):
                raise line
            yield line


class Place:
    """A keeper with its engine, and the files it makes."""

    def __init__(self, root: Path) -> None:
        self.engine, self.status = Engine(), StatusDir(root)
        self.keeper = LogKeeper(self.engine, self.status)

    def keep(self, container: str, *lines: str | EngineError) -> None:
        """Let a container have this log, and keep it."""
        self.engine.logs[container] = [
            line if isinstance(line, EngineError) else LogLine(line, START.replace(second=len(container)))
            for line in lines
        ]
        self.keeper.keep(JOB, container, "node-0")

    def read(self, *, previous: bool = False) -> list[str]:
        path = self.status.log_path("team", "mnist", "node-0", previous=previous)
        return [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.status.root)) for p in self.status.root.rglob("*") if p.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_every_line_is_kept_with_its_time(place: Place) -> None:
    place.engine.logs["c1"] = [LogLine("epoch 1", START), LogLine("  grüße\tx ", START), LogLine("", None)]
    place.keeper.keep(JOB, "c1", "node-0")
    text = place.status.log_path("team", "mnist", "node-0").read_text(encoding="utf-8")
    assert text == "2026-01-02T03:04:05.678901Z epoch 1\n2026-01-02T03:04:05.678901Z   grüße\tx \n- \n"


def test_a_silent_container_has_an_empty_log(place: Place) -> None:
    place.keep("c1")
    assert place.files() == ["team/mnist/logs/node-0.log"]


def test_the_log_of_the_attempt_before_is_set_aside(place: Place) -> None:
    place.keep("c1", "first")
    place.keep("c22", "second")
    assert (place.read(), place.read(previous=True)) == (["second"], ["first"])
    place.keep("c333", "third")
    assert (place.read(), place.read(previous=True)) == (["third"], ["second"])
    assert place.files() == ["team/mnist/logs/node-0.log", "team/mnist/logs/node-0.previous.log"]


def test_a_second_try_on_the_same_container_is_no_other_attempt(place: Place) -> None:
    place.keep("c1", "first")
    place.keep("c22", "second")
    place.keep("c22", "second", "and more")
    assert (place.read(), place.read(previous=True)) == (["second", "and more"], ["first"])


def test_a_log_that_breaks_off_leaves_what_was_kept(place: Place) -> None:
    place.keep("c1", "first")
    with pytest.raises(EngineError):
        place.keep("c22", "second", EngineError("gone"))
    assert place.read() == ["first"]
    place.keep("c22", "second")
    assert (place.read(), place.read(previous=True)) == (["second"], ["first"])


def test_steps_do_not_mix(place: Place) -> None:
    place.keep("c1", "rank 0")
    place.engine.logs["c2"] = [LogLine("rank 1", START)]
    place.keeper.keep(JOB, "c2", "node-1")
    assert place.read() == ["rank 0"]
    assert place.files() == ["team/mnist/logs/node-0.log", "team/mnist/logs/node-1.log"]


def test_a_place_that_cannot_be_written_is_an_error_to_act_on(place: Place) -> None:
    (place.status.root / "team").touch()
    with pytest.raises(TrainletError, match=r"^cannot keep the log of node-0: .*: free disk space there$"):
        place.keep("c1", "x")
