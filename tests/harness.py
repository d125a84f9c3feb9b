"""The operator's real parts, from files to engine calls, put together without threads, sleeping or the machine's clock.

What `manager.py` runs in threads is called here in turn: a scan of the files, the workers' passes, the end of pulls.
The pool for engine calls has one thread, so that one script gives one history. The streams of engine events and of
file changes are left out: `tell` hands events on, `look` scans. So is the watch over engine outages, which needs them.
"""

import errno
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

import deaths
from scripted_engine import OperatorKilled, ScriptedEngine
from trainlet.admission.admit import Rules
from trainlet.admission.core_kinds import CORE_KINDS
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import TrainJob
from trainlet.controller.devices import DeviceKeeper
from trainlet.controller.engine_source import EngineSource
from trainlet.controller.executor import Executor
from trainlet.controller.file_source import FileSource
from trainlet.controller.hooks import Hooks
from trainlet.controller.images import ImageKeeper
from trainlet.controller.logs import LogKeeper
from trainlet.controller.prober import Prober
from trainlet.controller.reconciler import OWNER, Reconciler
from trainlet.controller.subnets import SubnetAllocator
from trainlet.controller.workqueue import WorkQueue
from trainlet.documents.migrations import FILE, migrate
from trainlet.documents.skim_index import FILE as INDEX
from trainlet.documents.status_dir import StatusDir, get_objects
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.loading import load_runtimes
from trainlet.package_data import read_crds
from trainlet.planning.jobset import build_jobset
from trainlet.planning.options import Options
from trainlet.planning.records import PodRecord, read_record
from trainlet.planning.scene import build_view
from trainlet.planning.slots import Slot, build_slots
from trainlet.registry import Registry
from trainlet.store import Store

CRDS = [parse_crd(document) for document in read_crds()]
STORE = "simulated"
SANDBOX_IMAGE = "pause:1"
IMAGES = frozenset({"image:1", SANDBOX_IMAGE})
POOL = "10.250.0.0/16"
#: Later than this machine's start: what ran before that is taken for ended by it.
START = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)
#: A file system in memory where there is one: every document is synced to disk.
FAST_DIRECTORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_MAX_PASSES = 300
_JOIN_SECONDS = 20


class Clock:
    """A clock that moves when told to, and by a microsecond at every look: no two moments are one."""

    def __init__(self) -> None:
        self.time = START
        self._passed = timedelta()

    def now(self) -> datetime:
        """Return the time of day."""
        self.advance(1e-6)
        return self.time

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return self._passed.total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time go on."""
        self._passed += timedelta(seconds=seconds)
        self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """Set the time of day forth or back, without any time going by."""
        self.time += timedelta(seconds=seconds)


class Operator:
    """One life of the operator on a directory and an engine. Its calls raise OperatorKilled when the engine says so."""

    def __init__(
        self, root: Path, engine: ScriptedEngine, clock: Clock, options: Options, booted_at: datetime | None = None
    ) -> None:
        self._engine = engine
        self.status_dir = StatusDir(root / "status")
        self.status_dir.prepare()
        migrate(self.status_dir.root)
        self.registry = Registry(Store(), self.status_dir, Rules((*CRDS, *CORE_KINDS)), clock.now)
        load_runtimes(root.with_name("runtimes"), self.registry.add_base_runtime)
        self.queue: WorkQueue[ObjectKey] = WorkQueue(clock.monotonic)
        self._pool = ThreadPoolExecutor(1)
        self._pulled: list[str] = []
        images = ImageKeeper(engine, clock.now, lambda want, _note: self._pulled.append(want.image))
        source = EngineSource(engine, clock.now, lambda _uid, _after: None, self.wake_all, lambda: booted_at)
        subnets, logs = SubnetAllocator(engine, POOL), LogKeeper(engine, self.status_dir)
        hooks, note = Hooks(engine), self.registry.note
        executor = Executor(engine, self._pool, images, subnets, logs, hooks, note, self.queue.add)
        devices = DeviceKeeper(engine, STORE, lambda: None, list, self.queue.add, clock.monotonic)
        self._prober = Prober(engine, clock.now, self.queue.add, clock.monotonic)
        reconciler = Reconciler(
            self.registry, engine, executor, images, source, options, devices, self._prober, hooks, clock.now
        )
        self._reconcile: Callable[[ObjectKey], float | None] = reconciler.reconcile
        excluded = (self.status_dir.root, root / "workspaces")
        self.files = FileSource(root, excluded, self.registry, self.status_dir, self.queue.add)

    def start(self) -> None:
        """Take up what is on disk and on the engine."""
        owners = self._engine.find_owners(STORE)
        self.registry.load({(owner.namespace, owner.name): owner.uid for owner in owners})
        self.files.take_over()
        known = {get_metadata(job).get("uid") for job in self.registry.store.list("TrainJob")}
        for owner in sorted(owners, key=lambda owner: owner.uid):
            if owner.uid not in known:
                self.queue.add(ObjectKey(OWNER, owner.namespace, owner.uid))
        self.wake_all()

    def bury(self) -> None:
        """Wait for the last threads of a dead operator."""
        self._engine.is_operator_dead = True
        self._engine.pull_gate.set()
        self._pool.shutdown(wait=True)
        self._join_pulls()

    def look(self) -> None:
        """Look at the files; one that fails is made up for by the next."""
        with suppress(TrainletError):
            self.files.scan()

    def tell(self) -> None:
        """Hand the engine's events on, in the order of names: who hears first must not depend on uids."""
        keys = {self.registry.find_job(event.owner_uid) for event in self._engine.take_events()}
        for key in sorted(key for key in keys if key is not None):
            self.queue.add(key)

    def wake_all(self) -> None:
        """Look at every job."""
        for key in self.registry.list_jobs():
            self.queue.add(key)

    def work(self) -> None:
        """Do all that is due now. Raises AssertionError if that never ends."""
        for _ in range(_MAX_PASSES):
            self._take_pulls()
            self._prober.ask_due(lambda visit, *arguments: visit(*arguments))
            self.tell()
            if self.queue.is_idle():
                return
            key = self.queue.take()
            assert key is not None
            try:
                self._settle(key)
            finally:
                self.queue.done(key)
        raise AssertionError(f"no rest after {_MAX_PASSES} passes")

    def _settle(self, key: ObjectKey) -> None:
        """Do what a worker does; what is no TrainletError is a bug and ends the test."""
        try:
            after = self._reconcile(key)
        except TrainletError:
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)
            if after is not None:
                self.queue.add_after(key, after)

    def _take_pulls(self) -> None:
        if self._engine.pull_gate.is_set():
            self._join_pulls()
        if self._pulled:
            self._pulled.clear()
            self.wake_all()

    def _join_pulls(self) -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("pull-"):
                thread.join(_JOIN_SECONDS)
                assert not thread.is_alive(), f"{thread.name} does not end"


class Machine:
    """A watched directory, an engine, a clock, and whichever operator lives just now."""

    def __init__(self, directory: Path, *runtimes: JSON, auto_remove: bool = True) -> None:
        self.root, built_in = directory / "jobs", directory / "runtimes"
        self.root.mkdir()
        built_in.mkdir()
        (built_in / "runtimes.yaml").write_text(yaml.safe_dump_all(runtimes), encoding="utf-8")
        self._runtimes = {runtime["metadata"]["name"]: runtime for runtime in runtimes}
        self._slots: dict[str, dict[str, Slot]] = {}
        self.clock = Clock()
        self.engine_lead = timedelta()
        self.engine = ScriptedEngine(lambda: self.clock.now() + self.engine_lead)
        self.engine.images = set(IMAGES)
        self.engine.registry = set(IMAGES)
        workspaces = str(self.root / "workspaces")
        self._options = Options(STORE, workspaces, auto_remove, sandbox_image=SANDBOX_IMAGE)
        self.operator: Operator | None = None
        self.deaths = 0
        #: The points of the operators' lives, once `kill_at` asks for them, and at which one to die.
        self.points: list[str] = []
        self._last_point: int | None = None
        self.is_disk_full = False
        self.booted_at: datetime | None = None

    @property
    def status(self) -> StatusDir:
        """The status directory, as anybody may read it."""
        return StatusDir(self.root / "status")

    def get_slots(self, job: JSON) -> dict[str, Slot]:
        """Return the slots of a stored job by host name."""
        key = json.dumps([job["metadata"]["uid"], job["spec"]], sort_keys=True)
        if key not in self._slots:
            view, runtime = TrainJob.of(job), self._runtimes[job["spec"]["runtimeRef"]["name"]]
            slots = build_slots(view.key, build_view(view, build_jobset(view, runtime)), SANDBOX_IMAGE)
            self._slots[key] = {slot.hostname: slot for slot in slots}
        return self._slots[key]

    def kill_at(self, point: int) -> None:
        """Let the operator die at the n-th point of its life, see deaths.py; 0 only counts them."""
        self._last_point = point

    def run(self, *, look: bool = True) -> None:
        """Let the operator do all it can at this moment; one that dies meanwhile is started again."""
        is_watched = self._last_point is not None or self.is_disk_full
        deaths.watch(str(self.root), self._meet if is_watched else None)
        try:
            self._run(look=look)
        finally:
            deaths.watch("", None)

    def _run(self, *, look: bool) -> None:
        for _ in range(3):
            try:
                self._start()
                if self.operator is not None:
                    if look:
                        self.operator.look()
                    self.operator.work()
                return
            except OperatorKilled:
                self.deaths += self.operator is None  # it dies before it is whole
                self.kill()
                self._check_documents()
        raise AssertionError("the operator dies again and again")

    def _meet(self, point: str) -> None:
        """Count a point and die at the last one; who is dead does nothing more, not even in a handler."""
        if self.engine.is_operator_dead:
            raise OperatorKilled
        self.points.append(point)
        if self.is_disk_full and point.startswith("open "):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), point)
        if len(self.points) == self._last_point:
            self.engine.is_operator_dead = True
            raise OperatorKilled

    def _check_documents(self) -> None:
        """Check that whoever died left no document half written. Raises TrainletError."""
        for path in self.status.root.rglob("*.yaml"):
            assert get_objects(path), f"{path} is empty"

    def kill(self) -> None:
        """Let the operator die between two calls."""
        if self.operator is not None:
            self.operator.bury()
            self.operator = None
            self.deaths += 1
        self.engine.is_operator_dead = False

    def reboot(self, code: int = 255) -> None:
        """Let the machine go down and come up a minute later: everything on it has ended."""
        self.kill()
        for name in self.engine.running:
            self.engine.exit(name, code)
        self.clock.advance(60)
        self.booted_at = self.clock.now()

    def advance(self, seconds: float) -> None:
        """Let time go on and the operator do what is then due."""
        self.clock.advance(seconds)
        self.run()

    def _start(self) -> None:
        """Start an operator if there is none; with an engine that is down or a full disk there will be none."""
        if self.operator is not None:
            return
        try:
            self.operator = Operator(self.root, self.engine, self.clock, self._options, self.booted_at)
            self.operator.start()
        except TrainletError:
            self.kill()


@contextmanager
def open_machine(*runtimes: JSON, **options: Any) -> Iterator[Machine]:
    """Give a machine in a directory of its own."""
    directory = tempfile.mkdtemp(dir=FAST_DIRECTORY)
    machine = Machine(Path(directory), *runtimes, **options)
    try:
        yield machine
    finally:
        machine.kill()
        shutil.rmtree(directory)


def write_job(machine: Machine, file: str, name: str, namespace: str = "default", **spec: Any) -> None:
    """Write a manifest; keywords are fields of the job's spec."""
    job = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    write_file(machine, file, yaml.safe_dump(job))


def write_file(machine: Machine, file: str, text: str) -> None:
    """Replace a file, as editors do."""
    new = machine.root / f".{file}.new"
    new.write_text(text, encoding="utf-8")
    new.replace(machine.root / file)


def read_records(machine: Machine, namespace: str, name: str) -> dict[str, PodRecord]:
    """Return what is written of a job's nodes, by host name."""
    stored = machine.status.read_job(namespace, name)
    slots = machine.get_slots(stored.job) if stored is not None and stored.job is not None else {}
    pods = {pod["spec"]["hostname"]: pod for pod in machine.status.read_part(namespace, name, "pods")}
    return {hostname: read_record(slots[hostname], pod) for hostname, pod in pods.items()}


def find_jobset(machine: Machine, namespace: str, name: str) -> JSON | None:
    """Return what is written of a job's JobSet, or None."""
    return next(iter(machine.status.read_part(namespace, name, "jobset")), None)


def list_documents(machine: Machine) -> list[str]:
    """Return the files of the status directory, those of the directory itself and of what is no job left out."""
    root = machine.status.root
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return [file for file in files if not file.startswith((".gitignore", ".objects/", FILE, INDEX))]
