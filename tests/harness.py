"""The operator's real parts, from files to engine calls, put together without threads, sleeping or the machine's clock.

What `manager.py` runs in threads is called here in turn: a scan of the files, the workers' passes, the end of pulls.
The pool for engine calls has one thread, so that one script gives one history. The streams of engine events and of
file changes are left out: `tell` hands events on, `look` scans. So is the watch over engine outages, which needs them.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from scripted_engine import OperatorKilled, ScriptedEngine
from trainlet.admission.admit import Rules
from trainlet.admission.crd import parse_crd
from trainlet.controller.engine_source import EngineSource
from trainlet.controller.executor import Executor
from trainlet.controller.file_source import FileSource
from trainlet.controller.images import ImageKeeper
from trainlet.controller.logs import LogKeeper
from trainlet.controller.reconciler import OWNER, Reconciler
from trainlet.controller.subnets import SubnetAllocator
from trainlet.controller.workqueue import WorkQueue
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import EngineError, TrainletError
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.loading import load_runtimes
from trainlet.package_data import read_crds
from trainlet.planning.options import Options
from trainlet.registry import Registry
from trainlet.store import Store

CRDS = [parse_crd(document) for document in read_crds()]
STORE = "simulated"
POOL = "10.250.0.0/16"
#: Later than this machine's start: what ran before that is taken for ended by it.
START = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)
_MAX_PASSES = 300
_JOIN_SECONDS = 20


class Clock:
    """A clock that moves when told to, and by a microsecond at every look: no two moments are one."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """Return the time of day."""
        self.time += timedelta(microseconds=1)
        return self.time

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return (self.time - START).total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time go on."""
        self.time += timedelta(seconds=seconds)


class Operator:
    """One life of the operator on a directory and an engine. Its calls raise OperatorKilled when the engine says so."""

    def __init__(self, root: Path, engine: ScriptedEngine, clock: Clock, options: Options) -> None:
        self._engine = engine
        self.status_dir = StatusDir(root / "status")
        self.status_dir.prepare()
        self.registry = Registry(Store(), self.status_dir, Rules(tuple(CRDS)), clock.now)
        load_runtimes(root.with_name("runtimes"), self.registry.add_base_runtime)
        self.queue: WorkQueue[ObjectKey] = WorkQueue(clock.monotonic)
        self._pool = ThreadPoolExecutor(1)
        self._pulled: list[str] = []
        images = ImageKeeper(engine, clock.now, lambda image, _note: self._pulled.append(image))
        source = EngineSource(engine, clock.now, lambda _uid, _after: None, self.wake_all)
        subnets, logs = SubnetAllocator(engine, POOL), LogKeeper(engine, self.status_dir)
        executor = Executor(engine, self._pool, images, subnets, logs)
        reconciler = Reconciler(self.registry, engine, executor, images, source, options, clock.now)
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
        """Look at the files."""
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

    def __init__(self, directory: Path, runtime: JSON, *, auto_remove: bool = True) -> None:
        self.root, runtimes = directory / "jobs", directory / "runtimes"
        self.root.mkdir()
        runtimes.mkdir()
        (runtimes / "runtime.yaml").write_text(yaml.safe_dump(runtime), encoding="utf-8")
        self.clock = Clock()
        self.engine = ScriptedEngine(self.clock.now)
        self.engine.images = {"image:1"}
        self.engine.registry = {"image:1"}
        self._options = Options(store=STORE, workspace_dir=str(self.root / "workspaces"), auto_remove=auto_remove)
        self.operator: Operator | None = None
        self.deaths = 0

    @property
    def status(self) -> StatusDir:
        """The status directory, as anybody may read it."""
        return StatusDir(self.root / "status")

    def run(self, *, look: bool = True) -> None:
        """Let the operator do all it can at this moment; one that dies meanwhile is started again."""
        for _ in range(3):
            try:
                self._start()
                if self.operator is not None:
                    if look:
                        self.operator.look()
                    self.operator.work()
                return
            except OperatorKilled:
                self.kill()
        raise AssertionError("the operator dies again and again")

    def kill(self) -> None:
        """Let the operator die between two calls."""
        if self.operator is not None:
            self.operator.bury()
            self.operator = None
            self.deaths += 1
        self.engine.is_operator_dead = False

    def advance(self, seconds: float) -> None:
        """Let time go on and the operator do what is then due."""
        self.clock.advance(seconds)
        self.run()

    def _start(self) -> None:
        """Start an operator if there is none; with an engine that is down there will be none."""
        if self.operator is not None:
            return
        self.operator = Operator(self.root, self.engine, self.clock, self._options)
        try:
            self.operator.start()
        except EngineError:
            self.kill()
