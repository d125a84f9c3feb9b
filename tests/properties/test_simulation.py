"""The whole operator without threads: files, faults and deaths in any order; then it must be as the files say.

`tests/harness.py` composes the real parts, `tests/scripted_engine.py` is the world. TRAINLET_LONG=1 looks for longer.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from builders import build_runtime
from harness import Machine
from trainlet.kube.conditions import is_true
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ContainerState
from trainlet.planning.records import PodRecord, read_record
from trainlet.planning.status import is_finished

LONG = os.environ.get("TRAINLET_LONG") == "1"
RUNTIME = build_runtime(job={"backoffLimit": 3}, pod={"terminationGracePeriodSeconds": 10})
#: A file system in memory where there is one: every document is synced to disk.
FAST_DIRECTORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

Place = tuple[str, str]
#: Namespace and name -> number of nodes. Two of one name, to meet each other's names on the engine.
JOBS: dict[Place, int] = {("default", "mnist"): 2, ("team", "mnist"): 1, ("default", "team"): 1}
FILES = ("a.yaml", "b.yaml", "c.yaml")
#: Most changes are seen before the next one happens.
SEEN = st.sampled_from([True, True, False])
VERBS = (
    "observe",
    "create_network",
    "create_container",
    "start_container",
    "stop_container",
    "remove_container",
    "remove_network",
    "_read_log",
)


@contextmanager
def open_machine(runtime: JSON = RUNTIME, **options: Any) -> Iterator[Machine]:
    """Give a machine in a directory of its own."""
    directory = tempfile.mkdtemp(dir=FAST_DIRECTORY)
    machine = Machine(Path(directory), runtime, **options)
    try:
        yield machine
    finally:
        machine.kill()
        shutil.rmtree(directory)


def write_job(machine: Machine, file: str, place: Place = ("default", "mnist"), nodes: int = 2, **spec: Any) -> None:
    """Write a manifest."""
    namespace, name = place
    job = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": nodes}, **spec},
    }
    write_file(machine, file, yaml.safe_dump(job))


def write_file(machine: Machine, file: str, text: str) -> None:
    """Replace a file, as editors do."""
    new = machine.root / f".{file}.new"
    new.write_text(text, encoding="utf-8")
    new.replace(machine.root / file)


def read_records(machine: Machine, place: Place) -> dict[str, PodRecord]:
    """Return what is written of a job's nodes, by host name."""
    return {pod["spec"]["hostname"]: read_record(pod) for pod in machine.status.read_part(*place, "pods")}


def list_documents(machine: Machine) -> list[str]:
    """Return the files of the status directory, those of the directory itself left out."""
    root = machine.status.root
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name != ".gitignore")


# One story, and at each of its calls in turn the operator dies or the call fails


def train(machine: Machine, go_on: Callable[[], None]) -> None:
    """Tell of a job that starts, fails once, is suspended, resumed, ends, and is deleted; `go_on` lets the operator."""
    write_job(machine, "job.yaml")
    go_on()
    assert machine.engine.running == ["mnist-node-0", "mnist-node-1"]
    machine.engine.exit("mnist-node-0", 1)
    go_on()
    assert machine.engine.running == ["mnist-node-0", "mnist-node-1"]
    assert [c.attempt for c in machine.engine.containers] == [1, 0]
    assert [record.failures for record in read_records(machine, ("default", "mnist")).values()] == [1, 0]
    write_job(machine, "job.yaml", suspend=True)
    go_on()
    assert machine.engine.containers == []
    write_job(machine, "job.yaml")
    machine.clock.advance(30)
    go_on()
    assert [c.attempt for c in machine.engine.containers] == [2, 1]
    assert [record.failures for record in read_records(machine, ("default", "mnist")).values()] == [1, 0]
    for name in machine.engine.running:
        machine.engine.exit(name, 0)
    go_on()
    assert (machine.engine.containers, machine.engine.networks) == ([], [])
    stored = machine.status.read_job("default", "mnist")
    assert stored is not None
    assert find(stored.report, "status", "phase") == "Complete"
    assert read_logs(machine) == ["attempt 2", "attempt 1", "attempt 1", "attempt 0"]
    (machine.root / "job.yaml").unlink()
    go_on()
    assert list_documents(machine) == []


def read_logs(machine: Machine) -> list[str]:
    """Return which attempt each kept log is of: nodes 0 and 1, and of each the one before."""
    paths = [
        machine.status.log_path("default", "mnist", f"node-{n}", previous=previous)
        for n in (0, 1)
        for previous in (False, True)
    ]
    return [" ".join(path.read_text(encoding="utf-8").split()[-2:]) for path in paths]


STARTS = [("mnist-node-0-0", n) for n in (0, 1, 2)] + [("mnist-node-0-1", n) for n in (0, 1)]


def choose_calls(done: bool) -> range:
    """Return the calls of the story to try: all of them, or in short every second, odd ones before their effect."""
    with open_machine() as machine:
        train(machine, machine.run)
        assert sorted((start.pod, start.attempt) for start in machine.engine.started) == STARTS
        return range(1, machine.engine.calls + 1) if LONG else range(1 + done, machine.engine.calls + 1, 2)


@pytest.mark.parametrize("done", [False, True], ids=["before-its-effect", "after-its-effect"])
def test_an_operator_killed_at_any_call_loses_and_doubles_nothing(done: bool) -> None:
    for call in choose_calls(done):
        with open_machine() as machine:
            machine.engine.kill_operator(call, done=done)
            train(machine, machine.run)
            assert machine.deaths == 1, f"nobody died at call {call}"
            assert sorted((start.pod, start.attempt) for start in machine.engine.started) == STARTS


@pytest.mark.parametrize("done", [False, True], ids=["refused", "answer-lost"])
def test_a_call_that_fails_is_made_up_for(done: bool) -> None:
    for call in choose_calls(done):
        with open_machine() as machine:

            def go_on(machine: Machine = machine) -> None:
                machine.run()
                for _ in range(11):  # the grace period of one that was not asked to end
                    machine.advance(1)

            machine.engine.fail_call(call, done=done)
            train(machine, go_on)
            assert sorted((start.pod, start.attempt) for start in machine.engine.started) == STARTS


# Anything in any order


class Simulation(RuleBasedStateMachine):
    """A user, an engine with a mind of its own, and an operator that dies now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._open: Any = None
        self.good: dict[str, tuple[Place, bool]] = {}
        self.spoiled: dict[str, Place] = {}
        self.broken: set[str] = set()
        self.seen: set[str] = set()
        self.attempts: dict[tuple[str, str], int] = {}
        self.verdicts: dict[str, list[JSON]] = {}
        self.starts: dict[tuple[str, str], int] = {}
        self.foreign: set[str] = set()

    @initialize(auto_remove=st.booleans(), stop_code=st.sampled_from([143, 0]))
    def begin(self, auto_remove: bool, stop_code: int) -> None:
        self.auto_remove = auto_remove
        self._open = open_machine(auto_remove=auto_remove)
        self.machine: Machine = self._open.__enter__()
        self.machine.engine.stop_code = stop_code
        self.machine.run()

    # What a user does

    @rule(file=st.sampled_from(FILES), place=st.sampled_from(list(JOBS)), suspend=st.booleans(), seen=SEEN)
    def drop(self, file: str, place: Place, suspend: bool, seen: bool) -> None:
        self._forget(file)
        self.good[file] = (place, suspend)
        write_job(self.machine, file, place, JOBS[place], suspend=suspend)
        self._run(seen)

    @rule(file=st.sampled_from(FILES), place=st.sampled_from(list(JOBS)), seen=SEEN)
    def drop_again(self, file: str, place: Place, seen: bool) -> None:
        """Resumes what was suspended, and is the file that most jobs have."""
        self.drop(file, place, suspend=False, seen=seen)

    @rule(file=st.sampled_from(FILES), place=st.sampled_from(list(JOBS)), seen=SEEN)
    def spoil(self, file: str, place: Place, seen: bool) -> None:
        self._forget(file)
        self.spoiled[file] = place
        write_job(self.machine, file, place, nodes=-1)
        self._run(seen)

    @rule(file=st.sampled_from(FILES), seen=SEEN)
    def break_file(self, file: str, seen: bool) -> None:
        """What the file held before, it holds."""
        held = self._jobs_of(file) & {self.good[file][0]} if file in self.seen else set()
        self._forget(file)
        self.broken.add(file)
        write_file(self.machine, file, "kind: [TrainJob")
        self._run(seen)
        assert held <= set(self._jobs())

    @rule(file=st.sampled_from(FILES), seen=SEEN)
    def remove_file(self, file: str, seen: bool) -> None:
        self._forget(file)
        (self.machine.root / file).unlink(missing_ok=True)
        self._run(seen)

    # What containers do, and what others do to them

    @rule(which=st.integers(0, 9), code=st.sampled_from([0, 0, 1, 137]))
    @precondition(lambda self: self.machine.engine.running)
    def exit(self, which: int, code: int) -> None:
        running = self.machine.engine.running
        self.machine.engine.exit(running[which % len(running)], code)

    @rule(which=st.integers(0, 9), seen=SEEN)
    @precondition(lambda self: self.machine.engine.containers)
    def take_container(self, which: int, seen: bool) -> None:
        containers = self.machine.engine.containers
        self.machine.engine.take_container(containers[which % len(containers)].name)
        self._run(seen)

    @rule(which=st.integers(0, 9), seen=SEEN)
    @precondition(lambda self: self.machine.engine.networks)
    def take_network(self, which: int, seen: bool) -> None:
        networks = self.machine.engine.networks
        self.machine.engine.take_network(networks[which % len(networks)])
        self._run(seen)

    @rule(name=st.sampled_from(["mnist-node-0", "mnist-node-1", "team.mnist-node-0"]))
    def add_foreign(self, name: str) -> None:
        self.machine.engine.add_foreign(name)
        self.foreign = {container.id for container in self.machine.engine.foreign}

    @rule(name=st.sampled_from(["mnist-node-0", "team.mnist-node-0"]))
    def make_stubborn(self, name: str) -> None:
        self.machine.engine.stubborn.add(name)

    # What goes wrong

    @rule(verb=st.sampled_from(VERBS), times=st.integers(1, 3))
    def refuse(self, verb: str, times: int) -> None:
        self.machine.engine.refuse(verb, times)

    @rule(verb=st.sampled_from(VERBS))
    def lose_answers(self, verb: str) -> None:
        self.machine.engine.lose_answers(verb)

    @rule(is_down=st.booleans())
    def go_down_or_up(self, is_down: bool) -> None:
        self.machine.engine.is_down = is_down

    @rule(here=st.booleans(), there=st.booleans())
    def change_images(self, here: bool, there: bool) -> None:
        self.machine.engine.images = {"image:1"} if here else set()
        self.machine.engine.registry = {"image:1"} if there else set()

    @rule(is_open=st.booleans())
    def hold_pulls(self, is_open: bool) -> None:
        gate = self.machine.engine.pull_gate
        gate.set() if is_open else gate.clear()

    @rule(calls=st.integers(1, 12), done=st.booleans())
    def kill_at_a_call(self, calls: int, done: bool) -> None:
        self.machine.engine.kill_operator(calls, done=done)

    @rule()
    def kill(self) -> None:
        self.machine.kill()

    # What the operator does

    @rule(seconds=st.sampled_from([0, 1, 1, 5, 31, 301]))
    def advance(self, seconds: float) -> None:
        self.machine.clock.advance(seconds)
        self._run(True)

    def _run(self, seen: bool) -> None:
        """Let the operator work, if this was seen at once, and hold it to what it must not do."""
        if not seen:
            return
        finished = {find(job, "metadata", "uid") for job in self._jobs().values() if is_finished(job.get("status", {}))}
        before = len(self.machine.engine.started)
        self.machine.run()
        allowed = {
            find(job, "metadata", "uid") for job in self._jobs().values() if not find(job, "spec", "suspend")
        } - finished
        for start in self.machine.engine.started[before:]:
            assert start.owner in allowed, f"{start} of a suspended, finished or deleted job"
            assert start.attempt >= self.starts.get((start.owner, start.pod), 0), "attempts start in their order"
            self.starts[(start.owner, start.pod)] = start.attempt
        self._forget_jobs()
        if self.machine.operator is not None:
            self.seen = set(self.good)

    def _forget_jobs(self) -> None:
        """Expect nothing of jobs that are gone: one that comes again begins anew."""
        uids = {find(job, "metadata", "uid") for job in self._jobs().values()}
        self.starts = {key: value for key, value in self.starts.items() if key[0] in uids}
        self.attempts = {key: value for key, value in self.attempts.items() if key[0] in uids}
        self.verdicts = {uid: value for uid, value in self.verdicts.items() if uid in uids}

    def _forget(self, file: str) -> None:
        self.good.pop(file, None)
        self.spoiled.pop(file, None)
        self.broken.discard(file)
        self.seen.discard(file)

    def _jobs_of(self, file: str) -> set[Place]:
        """Return the jobs whose manifest was last taken from this file."""
        stored = [each for each in self.machine.status.read_jobs() if each.job is not None]
        sources = {(each.namespace, each.name): find(each.report, "status", "source", "file") for each in stored}
        return {place for place, source in sources.items() if source and Path(source).name == file}

    def _jobs(self) -> dict[Place, JSON]:
        """Return the jobs that are written down."""
        stored = self.machine.status.read_jobs()
        return {(each.namespace, each.name): each.job for each in stored if each.job is not None}

    # What always holds

    @invariant()
    def others_are_not_touched(self) -> None:
        if self._open is not None:
            foreign = self.machine.engine.foreign
            assert {c.id for c in foreign} == self.foreign
            assert all(c.state is ContainerState.RUNNING for c in foreign)

    @invariant()
    def no_slot_has_two_living_containers(self) -> None:
        if self._open is not None:
            living = [c for c in self.machine.engine.containers if c.state is ContainerState.RUNNING]
            slots = [(c.labels["trainlet.dev/owner-uid"], c.pod) for c in living]
            assert len(slots) == len(set(slots))

    @invariant()
    def restarts_and_failures_are_counted_once(self) -> None:
        if self._open is None:
            return
        for place, job in self._jobs().items():
            uid = find(job, "metadata", "uid")
            for pod, record in read_records(self.machine, place).items():
                assert record.attempt >= self.attempts.get((uid, pod), 0), "restarts never fall"
                assert record.failures <= self.machine.engine.counted_exits[(uid, pod)]
                assert record.failures <= record.attempt + 1
                self.attempts[(uid, pod)] = record.attempt

    @invariant()
    def a_terminal_condition_never_reverts(self) -> None:
        if self._open is None:
            return
        for job in self._jobs().values():
            conditions = find(job, "status", "conditions") or []
            ended = [c for c in conditions if is_true([c], "Complete") or is_true([c], "Failed")]
            known = self.verdicts.setdefault(find(job, "metadata", "uid"), ended)
            assert ended[: len(known)] == known
            assert len(ended) <= 1
            self.verdicts[find(job, "metadata", "uid")] = ended

    # And in the end

    def teardown(self) -> None:
        if self._open is None:
            return
        try:
            self.machine.engine.registry = {"image:1"}
            self.machine.engine.heal()
            self.foreign = set()
            for seconds in (0, 1, 31, 61, 301, 301):
                self.machine.clock.advance(seconds)
                self._run(True)
            self._check_files()
            for place, job in self._jobs().items():
                self._check_job(place, job)
            self._check_leftovers()
        finally:
            self._open.__exit__(None, None, None)

    def _check_files(self) -> None:
        """Every job that a good file names is there as one of its files says; others only if a bad file holds them."""
        jobs = self._jobs()
        wanted: dict[Place, set[bool]] = {}
        for place, suspend in self.good.values():
            wanted.setdefault(place, set()).add(suspend)
        # A file that is refused holds its name all the same.
        assert set(wanted) - set(self.spoiled.values()) <= set(jobs)
        if not self.broken:
            assert set(jobs) <= set(wanted) | set(self.spoiled.values())
        for place, suspends in wanted.items():
            if place not in self.spoiled.values() and not self.broken:
                assert find(jobs[place], "spec", "suspend") in suspends

    def _check_job(self, place: Place, job: JSON) -> None:
        """What runs is what should."""
        uid, engine = find(job, "metadata", "uid"), self.machine.engine
        mine = [c for c in engine.containers if c.labels["trainlet.dev/owner-uid"] == uid]
        running = {c.pod for c in mine if c.state is ContainerState.RUNNING}
        done = {pod for pod, record in read_records(self.machine, place).items() if record.succeeded}
        if is_finished(job.get("status", {})):
            assert not running
            assert not (mine and self.auto_remove)
        elif find(job, "spec", "suspend"):
            assert not running
        else:
            nodes = {f"{place[1]}-node-0-{number}" for number in range(JOBS[place])}
            assert running == nodes - done
            assert done != nodes

    def _check_leftovers(self) -> None:
        """Nothing of any other job is anywhere."""
        jobs = self._jobs()
        uids = {find(job, "metadata", "uid") for job in jobs.values()}
        assert {c.labels["trainlet.dev/owner-uid"] for c in self.machine.engine.containers} <= uids
        unfinished = [place for place, job in jobs.items() if not is_finished(job.get("status", {}))]
        if self.auto_remove:
            assert len(self.machine.engine.networks) <= len(unfinished)
        known = {f"{namespace}/{name}" for namespace, name in {*jobs, *self.spoiled.values()}}
        held = {path for path in list_documents(self.machine) if path != "errors.yaml"}
        if not self.broken:
            assert {"/".join(path.removesuffix(".yaml").split("/")[:2]) for path in held} <= known
        named = {Path(error["file"]).name for error in self.machine.status.read_errors()}
        assert self.broken <= named
        if len({place for place, _ in self.good.values()} | set(self.spoiled.values())) == len(self.good) + len(
            self.spoiled
        ):
            assert named == self.broken, "errors of files that are well"


TestSimulation = pytest.mark.timeout(3600 if LONG else 300)(Simulation.TestCase)
TestSimulation.settings = settings(
    max_examples=2000 if LONG else 80,
    stateful_step_count=60 if LONG else 25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    report_multiple_bugs=False,
)


def test_a_runtime_in_the_directory_is_no_job_to_reconcile() -> None:
    with open_machine() as machine:
        write_file(machine, "runtime.yaml", json.dumps(build_runtime("own")))
        machine.run()
        (machine.root / "runtime.yaml").unlink()
        machine.run()
        assert list_documents(machine) == []


def test_a_later_job_of_a_name_is_another_one_also_after_a_restart() -> None:
    with open_machine() as machine:
        write_job(machine, "a.yaml")
        machine.run()
        first = machine.status.read_job("default", "mnist")
        machine.kill()
        machine.run()
        (machine.root / "a.yaml").unlink()
        machine.run()
        write_job(machine, "a.yaml")
        machine.run()
        second = machine.status.read_job("default", "mnist")
        assert first is not None
        assert second is not None
        assert find(first.job, "metadata", "uid") != find(second.job, "metadata", "uid")
