"""Which loops live, what keeps the operator from its work, and what only a look can tell of it."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from exposition import parse
from trainlet.admission.admit import Rules
from trainlet.apis.trainer import REPORT
from trainlet.controller.file_source import FileSource
from trainlet.controller.vitals import QUEUE, STUCK_SECONDS, Vitals
from trainlet.controller.workqueue import WorkQueue
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import EngineUnavailable
from trainlet.kube.meta import ObjectKey
from trainlet.loading import now
from trainlet.registry import Registry
from trainlet.store import Store

KEY = ObjectKey("TrainJob", "default", "mnist")


@dataclass
class Place:
    """An operator's parts on a clock that goes on only when it is told to; its threads do nothing."""

    root: Path
    seconds: float = 1000.0
    engine_problem: str = ""
    ending: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue(lambda: self.seconds, QUEUE)
        self.store, status = Store(), StatusDir(self.root / "status")
        registry = Registry(self.store, status, Rules(()), now)
        self.files = FileSource(
            self.root, (status.root,), registry, status, self.queue.add, monotonic=lambda: self.seconds
        )
        self.vitals = Vitals(self.store, self.queue, self.files, self.check_engine, ("here", "worker-here"))
        self.threads = [threading.Thread(target=self.ending.wait, name=name) for name in self.vitals.threads]

    def check_engine(self) -> None:
        if self.engine_problem:
            raise EngineUnavailable(self.engine_problem, where="unix:///x")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    for thread in place.threads:
        thread.start()
    yield place
    place.ending.set()
    for thread in place.threads:
        thread.join(10)


def test_all_is_well(place: Place) -> None:
    assert (place.vitals.find_dead(), place.vitals.find_unready()) == ([], [])


def test_a_thread_that_has_ended_is_named(place: Place) -> None:
    assert replace(place.vitals, threads=("here", "gone")).find_dead() == ["thread gone has ended"]


@pytest.mark.parametrize(("seconds", "is_stuck"), [(STUCK_SECONDS - 1, False), (STUCK_SECONDS + 1, True)])
def test_a_worker_may_be_busy_for_minutes_and_not_for_longer(place: Place, seconds: float, is_stuck: bool) -> None:
    place.queue.add(KEY)
    place.queue.take()
    place.seconds += seconds
    place.files._scan_safely(None)
    told = [f"a worker has been busy with one job for {seconds:.0f} s"]
    assert place.vitals.find_dead() == (told if is_stuck else [])
    place.queue.done(KEY)
    assert place.vitals.find_dead() == []


def test_a_look_that_never_comes_is_told(place: Place) -> None:
    place.seconds += STUCK_SECONDS + 5
    assert place.vitals.find_dead() == ["the directory was last looked at 305 s ago"]
    place.files._scan_safely(None)
    assert place.vitals.find_dead() == []


def test_a_look_that_fails_is_still_one(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    place.seconds += STUCK_SECONDS + 5
    place.root.rename(place.root.with_name("elsewhere"))
    place.files._scan_safely(None)
    assert place.vitals.find_dead() == []
    assert place.vitals.find_unready() == [f"cannot list {place.root}: No such file or directory; " + NOTHING_DELETED]


NOTHING_DELETED = "nothing is deleted until it is back"


def test_an_engine_that_is_away_keeps_it_from_its_work(place: Place) -> None:
    place.engine_problem = "it does not answer"
    assert place.vitals.find_unready() == ["it does not answer (unix:///x)"]
    assert place.vitals.find_dead() == [], "to restart the operator would not help"


def test_what_is_looked_at_is_told(place: Place) -> None:
    nodes = [{"state": "running"}, {"state": "running"}, {"state": "failed"}]
    for number, phase in enumerate(["Running", "Running", "Failed"]):
        report = {"metadata": {"name": str(number)}, "status": {"phase": phase, "nodes": nodes[: number + 1]}}
        place.store.put(ObjectKey(REPORT, "default", str(number)), report)
    for name in ("a", "b", "c"):
        place.queue.add(replace(KEY, name=name))
    place.queue.take()
    place.seconds += 7
    place.engine_problem = "away"
    found = parse(place.vitals.write_metrics())
    told = {name: value for (name, labels), value in found.items() if labels in ((("name", QUEUE),), ())}
    assert (told["workqueue_depth"], told["workqueue_longest_running_processor_seconds"]) == (2, 7)
    assert {labels[0][1]: value for (name, labels), value in found.items() if name == "trainlet_jobs"} == {
        "Running": 2,
        "Failed": 1,
    }
    assert {labels[0][1]: value for (name, labels), value in found.items() if name == "trainlet_nodes"} == {
        "running": 5,
        "failed": 1,
    }
    assert told["trainlet_engine_up"] == 0
    assert told["process_resident_memory_bytes"] > 1 << 20
    assert told["process_open_fds"] >= 3
    assert told["process_cpu_seconds_total"] > 0
    assert abs(told["process_start_time_seconds"] - now().timestamp()) < 86400
