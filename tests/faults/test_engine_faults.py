"""The engine hangs, refuses, loses answers, vanishes: the operator says so, loses nothing and makes nothing twice.

The operator talks to the engine through a proxy that fails; the test looks at the engine itself. TRAINLET_SOAK=1 tries
on every engine what waits for timeouts, and adds what waits for the longest.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from engines import KINDS, open_engine
from proxy import Kind, Proxy
from trainlet.engine import http
from trainlet.engine.base import EngineUnavailable
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, Observed
from waiting import wait_for
from world import PYTHON_IMAGE, World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

SOAK = os.environ.get("TRAINLET_SOAK") == "1"
ROOTFUL = ["docker", "podman"]
ALL = [*ROOTFUL, "podman-rootless"]

#: Runs until the workspace has `go`, or `fail` of its node's first attempt.
WAIT = """
import os, sys, time
print("begun", flush=True)
while not os.path.exists("/workspace/go"):
    if os.path.exists("/workspace/fail"):
        os.rename("/workspace/fail", "/workspace/failed")
        sys.exit(3)
    time.sleep(0.05)
"""
LIST = r"^GET .*/containers/json\?"


class Place:
    """A world whose operator reaches the engine through a proxy."""

    def __init__(self, name: str, directory: Path) -> None:
        self.world = World(KINDS[name], directory)
        self.engine = self.world.engine
        self.proxy = Proxy(directory / "engine.sock", self.world.url)
        self.world.url = self.proxy.url

    def start(self) -> None:
        """Start the operator and wait until it follows the engine: it does not start without one."""
        opened = self.proxy.count("GET .*/events")
        self.world.start()
        wait_for(lambda: self.proxy.count("GET .*/events") > opened, "the operator to follow the engine", 20)

    def run(self, name: str = "job", nodes: int = 1) -> list[str]:
        """Start a job that runs until it may go; return the ids of its containers."""
        self.drop(name, nodes)
        self.world.wait_phase(name, "Running")
        return self.ids(name)

    def drop(self, name: str = "job", nodes: int = 1, **labels: str) -> None:
        """Write a job that runs until it may go."""
        self.world.workspace(name)
        job = build_train_job(name, nodes, ["python3", "-c", WAIT])
        self.world.drop({**job, "metadata": {**job["metadata"], "labels": labels}})

    def touch(self, name: str, job: str = "job") -> None:
        """Make a file in the job's workspace."""
        (self.world.workspace(job) / name).touch(mode=0o666)

    def ids(self, name: str = "job") -> list[str]:
        """Return the ids of all containers of a job that are there, as the engine itself has them."""
        uid = self.world.job(name)["metadata"]["uid"]
        return sorted(each.id for each in self.engine.observe(uid).containers)

    def condition(self, name: str = "job") -> tuple[str, str, str]:
        """Return what the report says of whether the job runs."""
        conditions = self.world.report(name).get("conditions") or []
        found = next((each for each in conditions if each["type"] == "Running"), {})
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    def await_told(self, words: str, timeout_seconds: float, name: str = "job") -> float:
        """Wait until the report says that the engine cannot be asked, in these words; return how long it took."""
        begun = time.monotonic()
        wait_for(lambda: words in self.condition(name)[2], f"{words!r}, not {self.condition(name)}", timeout_seconds)
        assert self.condition(name)[:2] in (("False", "EngineUnavailable"), ("False", "EngineRefused"))
        return time.monotonic() - begun

    def await_running(self, name: str = "job", timeout_seconds: float = 15) -> float:
        """Wait until the report says again that the job runs; return how long it took."""
        begun = time.monotonic()
        wait_for(lambda: self.condition(name)[:2] == ("True", "Running"), f"{name} to be seen", timeout_seconds)
        return time.monotonic() - begun

    def finish(self, name: str = "job", *, restarts: int = 0, failures: str = "0 of 6") -> JSON:
        """Let the job end, and check what was counted against it and that nothing of it is left."""
        self.touch("go", name)
        report = self.world.wait_phase(name, "Complete", "Failed")
        assert report["phase"] == "Complete", self.world.describe(name)
        assert [node["failures"] for node in report["nodes"]] == [failures] * len(report["nodes"])
        assert report["restarts"] == restarts, self.world.describe(name)
        self.world.wait_gone(self.world.job(name)["metadata"]["uid"])
        return report

    def close(self) -> None:
        """End the operator, the proxy and all that is left."""
        try:
            self.world.close()
        finally:
            self.proxy.close()


@contextmanager
def open_place(name: str) -> Iterator[Place]:
    """Open a place in a short path: a socket's must be below 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="trainlet-f-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        place = Place(name, Path(directory))
        try:
            yield place
        finally:
            place.close()


@pytest.fixture
def place(engine: str) -> Iterator[Place]:
    """An engine with its operator running."""
    with open_place(engine) as place:
        place.start()
        yield place
        place.world.check_log()


# While a job runs


@contextmanager
def gone(proxy: Proxy, *, with_socket: bool = True) -> Iterator[None]:
    """Let the engine be gone; it comes back on a new socket."""
    proxy.leave(with_socket=with_socket)
    try:
        yield
    finally:
        proxy.come_back()


@contextmanager
def hung(proxy: Proxy) -> Iterator[None]:
    """Let the engine hang until somebody restarts it."""
    with proxy.fault("hang"):
        yield
    proxy.cut_streams()


Failure = Callable[[Proxy], AbstractContextManager[Any]]
#: Each failure: how it comes about, and what the report says of it. The last ones are of some calls only.
FAILURES: dict[str, tuple[Failure, str]] = {
    "the daemon ended, its socket is gone": (gone, "there is no such socket"),
    "the daemon died, its socket is left": (lambda p: gone(p, with_socket=False), "connection refused"),
    "every connection is cut": (lambda p: p.fault("unseen"), "the connection was cut"),
    "every call is refused": (lambda p: p.fault("refused", message="it is broken"), "it is broken"),
    "a list is refused": (lambda p: p.fault("refused", LIST, status=409, message="in a conflict"), "in a conflict"),
    "its disk is full": (lambda p: p.fault("refused", LIST, message="no space left on device"), "no space left on"),
    "a list comes in part": (lambda p: p.fault("cut", LIST, after_bytes=20), "the connection was cut"),
}
#: The same of what is known only after the time that an answer may take.
HANGS: dict[str, tuple[Failure, str]] = {
    "a list never comes": (lambda p: p.fault("hang", LIST), "no answer in time"),
    "it takes connections and never answers": (hung, "no answer in time"),
}


def outlive(place: Place, failures: dict[str, tuple[Failure, str]], job: list[str]) -> None:
    """Let failures come and go: each is told in the report and by `get`, and the job's containers stay as they are."""
    for number, (name, (fail, words)) in enumerate(failures.items()):
        with fail(place.proxy):
            place.drop(nodes=len(job), round=str(number))  # an edit makes a pass begin now
            told = place.await_told(words, 18)
            shown = place.world.trainlet("get", "tj")
            assert shown.stdout.split("\n")[1].split()[1] == "Unknown", shown
            assert words in shown.stderr, shown
            assert place.ids() == job, name
        seen = place.await_running(timeout_seconds=20)
        print(f"{name}: told after {told:.1f} s, seen again after {seen:.1f} s")
        assert place.ids() == job, name


@pytest.mark.parametrize("engine", ALL if SOAK else ROOTFUL)
def test_a_job_outlives_what_its_engine_does(place: Place) -> None:
    outlive(place, FAILURES, place.run(nodes=2))
    place.finish()


@pytest.mark.parametrize("engine", ALL if SOAK else ["docker"])
def test_a_job_outlives_an_engine_that_hangs_and_an_operator_that_is_ended_meanwhile(place: Place) -> None:
    job = place.run()
    outlive(place, HANGS if SOAK else {}, job)
    with hung(place.proxy):
        place.await_told("no answer in time", 18)
        took = end(place)
    print(f"ended after {took:.1f} s")
    assert place.ids() == job
    place.start()
    place.await_running()
    assert place.ids() == job
    place.finish()


def end(place: Place) -> float:
    """End the operator by SIGTERM; return how long it took."""
    begun = time.monotonic()
    assert place.world.stop() == 0
    took = time.monotonic() - begun
    assert took < 13
    return took


@pytest.mark.parametrize("engine", ALL if SOAK else ROOTFUL)
def test_nodes_that_end_while_the_engine_is_away_are_counted_once(place: Place) -> None:
    [before] = place.run()
    with gone(place.proxy):
        place.await_told("no such socket", 8)
        place.touch("fail")
        uid = place.world.job("job")["metadata"]["uid"]
        wait_for(lambda: place.engine.observe(uid).containers[0].state is ContainerState.EXITED, "the node's end")
    wait_for(lambda: place.ids() not in ([], [before]), "another container", 30)
    place.await_running(timeout_seconds=30)
    with gone(place.proxy):
        place.await_told("no such socket", 8)
        place.touch("go")
        wait_for(lambda: place.engine.observe(uid).containers[0].state is ContainerState.EXITED, "the node's end")
    place.finish(restarts=1, failures="1 of 6")


# A call fails on its way

#: Every call on the way of a job, in both engines' words.
CALLS = {
    "network": r"^POST .*/networks/create",
    "container": r"^POST .*/containers/create",
    "start": r"^POST .*/containers/[^/]+/start",
    "removal": r"^DELETE .*/containers/",
    "log": r"^GET .*/containers/[^/]+/logs",
    "network's removal": r"^DELETE .*/networks/",
    "list": LIST,
    "image": r"^GET .*/images/[^/]+.*/json",
}


@pytest.mark.parametrize("engine", ALL if SOAK else ROOTFUL)
@pytest.mark.parametrize("kind", ["unseen", "refused", "unanswered"] if SOAK else ["refused", "unanswered"])
def test_every_call_may_fail_on_its_way(place: Place, kind: Kind) -> None:
    faults = {name: place.proxy.add(kind, calls, last=1) for name, calls in CALLS.items()}
    place.drop(nodes=2)
    place.world.wait_phase("job", "Running")
    assert len(place.ids()) == 2
    report = place.finish()
    assert not [name for name, fault in faults.items() if not fault.hits]
    assert [node["restarts"] for node in report["nodes"]] == [0, 0]
    assert "begun" in place.world.log_of("job", "node-0")
    assert "begun" in place.world.log_of("job", "node-1")


@pytest.mark.parametrize("engine", ALL if SOAK else ["podman"])
@pytest.mark.parametrize("call", ["network", "container", "start", "removal"] if SOAK else ["container"])
def test_a_call_that_hangs_holds_up_no_other_job_and_not_the_end(place: Place, call: str) -> None:
    fault = place.proxy.add("hang", CALLS[call], last=1)
    place.drop("stuck")
    if call == "removal":
        place.touch("go", "stuck")
    wait_for(lambda: fault.hits, "a call to hang", 20)
    if call != "network":  # these are made one at a time
        place.run("other")
        place.finish("other")
    if SOAK:
        print(f"ended after {end(place):.1f} s")
        place.start()
    place.proxy.lift()
    if call != "removal":
        place.world.wait_phase("stuck", "Running")
        assert len(place.ids("stuck")) == 1
    place.finish("stuck")


@pytest.mark.soak  # it waits for the longest timeout
@pytest.mark.timeout(200)
@pytest.mark.parametrize("engine", ROOTFUL)
@pytest.mark.parametrize("call", ["network", "container", "start", "removal"])
def test_a_call_that_hangs_is_given_up_and_made_again(place: Place, call: str) -> None:
    fault = place.proxy.add("hang", CALLS[call], last=1)
    place.drop()
    place.touch("go")
    report = place.world.wait_phase("job", "Complete", "Failed")
    assert (report["phase"], report["restarts"]) == ("Complete", 0)
    uid = place.world.job("job")["metadata"]["uid"]
    wait_for(lambda: place.engine.observe(uid) == Observed(), "nothing to be left", 90)
    assert fault.hits == 1


# Events


@pytest.mark.parametrize("engine", ALL if SOAK else ROOTFUL)
def test_a_stream_of_events_that_falls_silent_is_opened_anew(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "EVENTS_SILENCE_SECONDS", 2.0)  # within which the engine must have opened it, too
    with open_place(engine) as place, following(place) as owners:
        events = "GET .*/events"
        wait_for(lambda: place.proxy.stall_streams(events), "a stream")
        opened = place.proxy.count(events)
        wait_for(lambda: place.proxy.count(events) > opened, "another stream")
        owner = ("--label", f"{labels.OWNER_UID}=somebody")
        assert not place.world.client("run", "--detach", "--rm", *owner, PYTHON_IMAGE, "true").returncode
        wait_for(lambda: "somebody" in owners, "what happens then to be told")


@contextmanager
def following(place: Place) -> Iterator[set[str]]:
    """Give the owners that events name, as they come through the proxy."""
    watcher, owners = open_engine(place.world.kind, place.world.base, place.proxy.url), set[str]()
    is_over = threading.Event()

    def follow() -> None:
        while not is_over.is_set():
            with suppress(EngineUnavailable):  # a busy one opens no stream in so short a time, and is asked again
                owners.update(event.owner_uid for event in watcher.watch())

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield owners
    finally:
        is_over.set()
        watcher.close()
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.soak
@pytest.mark.parametrize("engine", ALL)
def test_events_that_are_missed_are_caught_up(place: Place) -> None:
    place.run()
    assert place.proxy.stall_streams("GET .*/events") == 1
    begun = time.monotonic()
    place.touch("go")
    place.world.wait_phase("job", "Complete", timeout_seconds=45)
    print(f"seen after {time.monotonic() - begun:.1f} s")
