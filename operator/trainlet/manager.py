"""The composition root: builds every object, starts and stops the threads, handles signals."""

import contextlib
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trainlet.admission.cel import find_match
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.controller.controller import Controller
from trainlet.controller.engine_source import EngineSource
from trainlet.controller.executor import Executor
from trainlet.controller.file_source import FileSource
from trainlet.controller.images import ImageKeeper
from trainlet.controller.logs import LogKeeper
from trainlet.controller.reconciler import OWNER, Reconciler
from trainlet.controller.subnets import SubnetAllocator
from trainlet.controller.workqueue import WorkQueue
from trainlet.documents.scan import scan_directory
from trainlet.documents.secret import load_secret
from trainlet.documents.status_dir import StatusDir, build_write_error
from trainlet.engine.base import Engine, Owner
from trainlet.initializer.program import build_program
from trainlet.kube.errors import ApiError, TrainletError, UsageError
from trainlet.kube.meta import ObjectKey, get_metadata
from trainlet.loading import build_registry, now
from trainlet.planning import labels
from trainlet.planning.events import Note
from trainlet.planning.initializers import InitializerOptions
from trainlet.planning.options import Options
from trainlet.planning.policies.status import Features
from trainlet.planning.scene import survey
from trainlet.planning.status import is_finished
from trainlet.settings import Settings, get_default_shm_bytes, get_surroundings

if TYPE_CHECKING:
    from trainlet.server.credentials import Credentials
    from trainlet.server.status_server import StatusServer

log = logging.getLogger(__name__)

#: The measured optimum of calls at once for one engine is 2 to 4 on two cores.
ENGINE_CALLS_AT_ONCE = 4
STOP_TIMEOUT_SECONDS = 20.0


def build_options(settings: Settings, secret: bytes = bytes(32)) -> Options:
    """Return what the planner needs of the settings and the machine; without the secret, for plans only."""
    return Options(
        store=settings.store_id,
        workspace_dir=str(settings.workspace_path),
        auto_remove=settings.auto_remove,
        pull_policy=settings.pull_policy,
        restart_backoff_seconds=settings.restart_backoff,
        default_shm_bytes=get_default_shm_bytes(),
        features=Features(settings.status_port),
        initializer=InitializerOptions(settings.initializer_image, build_program(), str(settings.cache_path)),
        secret=secret,
        find_match=find_match,
    )


class Manager:
    """One running operator: a directory, a store and an engine."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, self._engine = settings, engine
        self._status_dir = StatusDir(settings.status_path)
        self._status_dir.prepare()
        self._lock = _lock_directory(settings.status_path)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(time.monotonic)
        self._pool = ThreadPoolExecutor(ENGINE_CALLS_AT_ONCE, thread_name_prefix="engine")
        self.registry = build_registry(settings)
        self._options, self._server = self._open_server(build_options(settings, load_secret(settings.private_path)))
        _make_cache(settings.cache_path)
        self._engine_source = EngineSource(engine, now, self._wake_owner, self._wake_all)
        self._images = ImageKeeper(engine, now, self._tell_of_image)
        self._files = FileSource(
            settings.dir,
            (settings.status_path, settings.workspace_path),
            self.registry,
            self._status_dir,
            self._queue.add,
            trusting=settings.allow_unsafe_files,
            deletion_grace_seconds=settings.deletion_grace,
        )
        self._controller = Controller(self._queue, self._build_reconciler().reconcile, settings.workers)

    def start(self) -> None:
        """Take up what is on disk and on the engine, then start all threads."""
        owners = self._engine.find_owners(self._settings.store_id)
        self._refuse_to_forget(owners)
        self.registry.load({(owner.namespace, owner.name): owner.uid for owner in owners})
        self._files.start()
        known = {get_metadata(job).get("uid") for job in self.registry.store.list(TRAIN_JOB)}
        for owner in owners:
            if owner.uid not in known:
                self._queue.add(ObjectKey(OWNER, owner.namespace, owner.uid))
        self._wake_all()
        if self._server is not None:
            self._server.start()
        self._engine_source.start()
        self._controller.start()

    def _refuse_to_forget(self, owners: Collection[Owner]) -> None:
        """Raise TrainletError where nothing is known of jobs that the engine has: a disk may not be mounted yet.

        To go on would remove them, and make them anew, from the beginning, when the disk is there.
        """
        if not owners or any(self._status_dir.read_jobs()):
            return
        excluded = frozenset({self._settings.status_path, self._settings.workspace_path})
        if scan_directory(self._settings.dir, excluded).files:
            return
        remedy = (
            f"mount its disk; if they are to go, remove what has the label {labels.STORE}={self._settings.store_id}"
        )
        what = f"the directory is empty, and {self._engine.name} has {len(owners)} jobs of it"
        raise TrainletError(what, where=str(self._settings.dir), remedy=remedy)

    def stop(self) -> None:
        """End all threads; containers are left running."""
        self._engine.close()
        self._files.stop(STOP_TIMEOUT_SECONDS)
        if self._server is not None:
            self._server.stop(STOP_TIMEOUT_SECONDS)
        self._engine_source.stop(STOP_TIMEOUT_SECONDS)
        self._controller.stop(STOP_TIMEOUT_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._lock.close()

    def is_settled(self) -> bool:
        """Tell whether nothing is left to do or to wait for."""
        jobs = self.registry.store.list(TRAIN_JOB)
        waiting = [j for j in jobs if not (is_finished(j.get("status") or {}) or j["spec"].get("suspend"))]
        return not waiting and self._queue.is_idle(float("inf"))

    def _open_server(self, options: Options) -> tuple[Options, "StatusServer | None"]:
        """Return the server of what training code reports, if it is asked for, and how containers find it."""
        port, keys = self._settings.status_port, self._settings.private_path
        if port is None:
            return options, None
        from trainlet.server.credentials import load_credentials
        from trainlet.server.host_address import find_host_address, find_own_address
        from trainlet.server.status_server import StatusServer

        def renew() -> "Credentials":
            return load_credentials(keys, now())

        networks = (self._settings.network_pool,)
        server = StatusServer(self.registry, options.secret, renew, port=port, networks=networks)
        features = Features(port, renew().authority)
        host = find_host_address(self._engine.find_facts(), find_own_address())
        return replace(options, features=features, host_address=host), server

    def _build_reconciler(self) -> Reconciler:
        logs = LogKeeper(self._engine, self._status_dir)
        subnets = SubnetAllocator(self._engine, self._settings.network_pool)
        roots = self._settings.allow_host_path
        executor = Executor(self._engine, self._pool, self._images, subnets, logs, roots)
        return Reconciler(
            self.registry,
            self._engine,
            executor,
            self._images,
            self._engine_source,
            self._options,
            now,
            inline_status=self._settings.status == "inline",
        )

    def _wake_owner(self, uid: str, after_seconds: float) -> None:
        key = self.registry.find_job(uid)
        if key is not None:
            self._queue.add_after(key, after_seconds)

    def _tell_of_image(self, image: str, note: Note) -> None:
        for key in self.registry.list_jobs():
            with contextlib.suppress(ApiError):  # a job that cannot be built waits for no image
                case = self.registry.get_case(key)
                if case is not None and image in survey(case, self._options).images:
                    self.registry.note(key, note)
                    self._queue.add(key)

    def _wake_all(self) -> None:
        for key in self.registry.list_jobs():
            self._queue.add(key)


def _make_cache(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot keep what initializers fetch: {error.strerror or error}"
        raise UsageError(what, where=str(path), remedy="give another directory with --cache-dir") from None


def run(settings: Settings, *, once: bool = False) -> None:
    """Run the operator until SIGTERM or SIGINT, or with `once` until nothing is left to do."""
    from trainlet.engine.detect import find_engine
    from trainlet.engine.process import ISOLATION_NOTICE, ProcessEngine

    if not settings.dir.is_dir():
        raise UsageError("the watched directory does not exist", where=str(settings.dir), remedy="make it first")
    engine = find_engine(settings.container_runtime, settings.container_host, get_surroundings())
    try:
        with _stopping_signals() as stopping:
            manager = Manager(settings, engine)
            log.info("%s %s at %s", engine.name, engine.ping(), engine.endpoint)
            if isinstance(engine, ProcessEngine):
                log.warning(ISOLATION_NOTICE)
            log.info("watching %s, status in %s", settings.dir, settings.status_path)
            manager.start()
            while not stopping.wait(0.2):
                if once and manager.is_settled():
                    break
            manager.stop()
    finally:
        engine.close()


@contextlib.contextmanager
def _stopping_signals() -> Iterator[threading.Event]:
    """Turn SIGTERM and SIGINT into an event for as long as the block lasts."""
    stopping = threading.Event()
    previous = {s: signal.signal(s, lambda *_: stopping.set()) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _lock_directory(status_path: Path) -> IO[str]:
    """Hold the directory against a second operator for as long as the file is open. Raises TrainletError."""
    path = status_path / ".lock"
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise build_write_error(error, path) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise TrainletError(
            f"another trainlet works on this directory (process {holder})",
            where=str(status_path),
            remedy="stop it first, or give another --status-dir and directory",
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
