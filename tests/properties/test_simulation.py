"""The whole operator without threads: files, faults and deaths in any order; then it must be as the files say.

`tests/harness.py` composes the real parts, `tests/scripted_engine.py` is the world. TRAINLET_LONG=1 looks for longer.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from builders import build_runtime
from harness import IMAGES, Machine, find_jobset, list_documents, open_machine, read_records, write_file, write_job
from lives import LONG
from told_lives import build_crowded_runtime, build_gang_runtime
from trainlet.kube.conditions import is_true
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ContainerState, ObservedContainer
from trainlet.planning.status import is_finished

PORT = 80
HOUR = 3600
PROBE = {"readinessProbe": {"tcpSocket": {"port": PORT}}}
RUNTIMES = [
    build_runtime("plain", job={"backoffLimit": 3}, pod={"terminationGracePeriodSeconds": 10}),
    build_gang_runtime("ready", "Ready", strategy="Recreate", retain="Delete", **PROBE),
    build_gang_runtime("complete", "Complete", strategy="BlockingRecreate", retain="Retain"),
    build_crowded_runtime("crowded"),
]
Place = tuple[str, str]


@dataclass(frozen=True)
class Shape:
    """What a job is made of, and the host names of all its pods."""

    runtime: str
    nodes: int
    pods: tuple[str, ...]


#: Namespace and name -> shape. Two of one name, to meet each other's names on the engine.
JOBS: dict[Place, Shape] = {
    ("default", "mnist"): Shape("plain", 2, ("mnist-node-0-0", "mnist-node-0-1")),
    ("team", "mnist"): Shape("ready", 1, ("mnist-first-0-0", "mnist-node-0-0")),
    ("default", "team"): Shape("complete", 1, ("team-first-0-0", "team-node-0-0")),
    ("default", "crowd"): Shape("crowded", 1, ("crowd-node-0-0",)),
}
#: The container that has a port, the job that starts over blocking, the volume that goes and the one that stays.
LISTENER, BLOCKING = "team.mnist-first-0", ("default", "team")
DELETED, RETAINED = "team.data-mnist", "data-team"
FILES = ("a.yaml", "b.yaml", "c.yaml")
#: Most changes are seen before the next one happens.
SEEN = st.sampled_from([True, True, False])
VERBS = (
    "observe",
    "create_network",
    "create_volume",
    "create_container",
    "start_container",
    "stop_container",
    "remove_container",
    "remove_network",
    "remove_volume",
    "find_ports",
    "_read_log",
)


class Simulation(RuleBasedStateMachine):
    """A user, an engine with a mind of its own, and an operator that dies now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._open: Any = None
        self.good: dict[str, tuple[Place, bool]] = {}
        self.spoiled: dict[str, Place] = {}
        self.broken: set[str] = set()
        self.seen: set[str] = set()
        self.numbers: dict[tuple[str, str], tuple[int, int]] = {}
        self.verdicts: dict[str, list[JSON]] = {}
        self.starts: dict[tuple[str, str, str], tuple[int, int]] = {}
        self.restarts: dict[str, int] = {}
        self.foreign: set[str] = set()
        self.is_retained = False
        self.is_clock_ahead = False

    @initialize(auto_remove=st.booleans(), stop_code=st.sampled_from([143, 0]), place=st.sampled_from(list(JOBS)))
    def begin(self, auto_remove: bool, stop_code: int, place: Place) -> None:
        self.auto_remove = auto_remove
        self._open = open_machine(*RUNTIMES, auto_remove=auto_remove)
        self.machine: Machine = self._open.__enter__()
        self.machine.engine.stop_code = stop_code
        self.machine.run()
        self.drop(FILES[0], place, suspend=False, seen=True)

    # What a user does

    @rule(file=st.sampled_from(FILES), place=st.sampled_from(list(JOBS)), suspend=st.booleans(), seen=SEEN)
    def drop(self, file: str, place: Place, suspend: bool, seen: bool) -> None:
        self._forget(file)
        self.good[file] = (place, suspend)
        self._write(file, place, JOBS[place].nodes, suspend=suspend)
        self._run(seen)

    @rule(file=st.sampled_from(FILES), place=st.sampled_from(list(JOBS)), seen=SEEN)
    def drop_again(self, file: str, place: Place, seen: bool) -> None:
        """Resumes what was suspended, and is the file that most jobs have."""
        self.drop(file, place, suspend=False, seen=seen)

    @rule(file=st.sampled_from(FILES), place=st.sampled_from(list(JOBS)), seen=SEEN)
    def spoil(self, file: str, place: Place, seen: bool) -> None:
        self._forget(file)
        self.spoiled[file] = place
        self._write(file, place, -1, suspend=False)
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

    def _write(self, file: str, place: Place, nodes: int, *, suspend: bool) -> None:
        namespace, name = place
        ref, trainer = {"name": JOBS[place].runtime}, {"numNodes": nodes}
        write_job(self.machine, file, name, namespace, runtimeRef=ref, trainer=trainer, suspend=suspend)

    # What containers do, and what others do to them

    @rule(which=st.integers(0, 9), code=st.sampled_from([0, 0, 1, 137]))
    @precondition(lambda self: self.machine.engine.running)
    def exit(self, which: int, code: int) -> None:
        running = self.machine.engine.running
        self.machine.engine.exit(running[which % len(running)], code)

    @rule(which=st.integers(0, 9), seen=SEEN)
    @precondition(lambda self: self._gang())
    def fail(self, which: int, seen: bool) -> None:
        """After this all nodes of the job start over, once."""
        self.machine.engine.exit(self._gang()[which % len(self._gang())], 1)
        self._run(seen)

    @rule(is_open=st.sampled_from([True, True, False]))
    @precondition(lambda self: LISTENER in self.machine.engine.running)
    def listen(self, is_open: bool) -> None:
        self.machine.engine.listen(LISTENER, *([PORT] if is_open else []))

    @rule(seen=SEEN)
    @precondition(lambda self: DELETED in self.machine.engine.volumes)
    def take_volume(self, seen: bool) -> None:
        self.machine.engine.take_volume(DELETED)
        self._run(seen)

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

    def _gang(self) -> list[str]:
        """Return the running containers of jobs whose nodes start over together."""
        return [name for name in self.machine.engine.running if name.startswith(("team.mnist-", "team-"))]

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
        self.machine.engine.images = set(IMAGES if here else ())
        self.machine.engine.registry = set(IMAGES if there else ())

    @rule(are_told=st.booleans())
    def tell_ports(self, are_told: bool) -> None:
        self.machine.engine.tells_ports = are_told

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

    @rule(code=st.sampled_from([255, 143]))
    def reboot(self, code: int) -> None:
        self.machine.reboot(code)

    @rule()
    def empty_the_engine(self) -> None:
        self.machine.engine.wipe()
        self.is_retained = False

    @rule()
    def set_clock(self) -> None:
        """Set it forth, and the next time back."""
        self.machine.clock.jump(-HOUR if self.is_clock_ahead else HOUR)
        self.is_clock_ahead = not self.is_clock_ahead

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
            number, place = (start.restart, start.attempt), (start.owner, start.pod, start.container)
            assert number >= self.starts.get(place, (0, 0)), "they start in their order"
            self.starts[place] = number
        self._forget_jobs()
        if self.machine.operator is not None:
            self.seen = set(self.good)

    def _forget_jobs(self) -> None:
        """Expect nothing of jobs that are gone: one that comes again begins anew."""
        uids = {find(job, "metadata", "uid") for job in self._jobs().values()}
        self.starts = {key: value for key, value in self.starts.items() if key[0] in uids}
        self.numbers = {key: value for key, value in self.numbers.items() if key[0] in uids}
        self.restarts = {uid: value for uid, value in self.restarts.items() if uid in uids}
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
    def no_container_of_a_pod_lives_twice(self) -> None:
        if self._open is not None:
            living = [c for c in self.machine.engine.containers if c.state is ContainerState.RUNNING]
            places = [(c.labels["trainlet.dev/owner-uid"], c.pod, c.container) for c in living]
            assert len(places) == len(set(places))

    @invariant()
    def with_blocking_recreate_all_that_live_are_of_one_restart(self) -> None:
        if self._open is not None and BLOCKING in self._jobs():
            mine = self._containers_of(self._jobs()[BLOCKING])
            assert len({c.restart for c in mine if c.state is ContainerState.RUNNING}) <= 1

    @invariant()
    def restarts_and_failures_are_counted_once(self) -> None:
        if self._open is None:
            return
        for place, job in self._jobs().items():
            uid = find(job, "metadata", "uid")
            for pod, record in read_records(self.machine, *place).items():
                number = (record.restart, record.attempt)
                assert number >= self.numbers.get((uid, pod), (0, 0)), "restarts never fall"
                assert record.failures <= self.machine.engine.counted_exits[(uid, pod)]
                assert record.failures <= record.restarts + len(record.containers)
                self.numbers[(uid, pod)] = number

    @invariant()
    def all_nodes_start_over_as_often_as_allowed_and_never_without_a_failure(self) -> None:
        if self._open is None:
            return
        for place, job in self._jobs().items():
            uid, jobset = find(job, "metadata", "uid"), find_jobset(self.machine, *place)
            if jobset is None:
                continue
            restarts = jobset["status"]["restarts"]
            assert jobset["status"]["restartsCountTowardsMax"] == restarts
            exits = self.machine.engine.counted_exits
            failures = sum(count for (owner, _), count in exits.items() if owner == uid)
            assert self.restarts.get(uid, 0) <= restarts <= min(1, failures)
            self.restarts[uid] = restarts

    @invariant()
    def a_retained_volume_stays(self) -> None:
        if self._open is not None:
            assert not self.is_retained or RETAINED in self.machine.engine.volumes
            self.is_retained = RETAINED in self.machine.engine.volumes

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
            self.machine.engine.registry = set(IMAGES)
            self.machine.engine.heal()
            self.foreign = set()
            for seconds in (0, 1, 31, 61, 301, 301, 61, HOUR):
                if LISTENER in self.machine.engine.running:
                    self.machine.engine.listen(LISTENER, PORT)
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

    def _containers_of(self, job: JSON) -> list[ObservedContainer]:
        uid = find(job, "metadata", "uid")
        return [c for c in self.machine.engine.containers if c.labels["trainlet.dev/owner-uid"] == uid]

    def _check_job(self, place: Place, job: JSON) -> None:
        """What runs is what should."""
        mine, shape = self._containers_of(job), JOBS[place]
        running = {c.pod for c in mine if c.state is ContainerState.RUNNING}
        done = {pod for pod, record in read_records(self.machine, *place).items() if record.succeeded}
        if is_finished(job.get("status", {})):
            assert not running
            assert not (mine and (self.auto_remove or shape.runtime != "plain"))
        elif find(job, "spec", "suspend"):
            assert not running
        else:
            is_waiting = shape.runtime == "complete" and shape.pods[0] not in done
            assert running == set(shape.pods[: 1 if is_waiting else None]) - done
            assert done != set(shape.pods)

    def _check_leftovers(self) -> None:
        """Nothing of any other job is anywhere."""
        jobs = self._jobs()
        unfinished = [place for place, job in jobs.items() if not is_finished(job.get("status", {}))]
        uids = {find(job, "metadata", "uid") for job in jobs.values()}
        assert {c.labels["trainlet.dev/owner-uid"] for c in self.machine.engine.containers} <= uids
        left = {DELETED} if ("team", "mnist") in unfinished else set()
        volumes = {name for name in self.machine.engine.volumes if not name.startswith("crowd-")}
        assert volumes <= {RETAINED, *left}
        assert ("default", "crowd") in jobs or volumes == set(self.machine.engine.volumes)
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
    max_examples=2000 if LONG else 30,
    stateful_step_count=60 if LONG else 25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    report_multiple_bugs=False,
)


def test_a_runtime_in_the_directory_is_no_job_to_reconcile() -> None:
    with open_machine(*RUNTIMES) as machine:
        write_file(machine, "runtime.yaml", json.dumps(build_runtime("own")))
        machine.run()
        (machine.root / "runtime.yaml").unlink()
        machine.run()
        assert list_documents(machine) == []


def test_a_later_job_of_a_name_is_another_one_also_after_a_restart() -> None:
    job = {"runtimeRef": {"name": "plain"}, "trainer": {"numNodes": 2}}
    with open_machine(*RUNTIMES) as machine:
        write_job(machine, "a.yaml", "mnist", **job)
        machine.run()
        first = machine.status.read_job("default", "mnist")
        machine.kill()
        machine.run()
        (machine.root / "a.yaml").unlink()
        machine.run()
        write_job(machine, "a.yaml", "mnist", **job)
        machine.run()
        second = machine.status.read_job("default", "mnist")
        assert first is not None
        assert second is not None
        assert find(first.job, "metadata", "uid") != find(second.job, "metadata", "uid")
