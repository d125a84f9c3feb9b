"""The composition root: builds every object, starts and stops the threads, handles signals."""

import contextlib
import logging
import platform
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trainlet.admission.cel import find_match
from trainlet.controller.calls import CallPool
from trainlet.controller.controller import Controller
from trainlet.controller.devices import DeviceKeeper
from trainlet.controller.engine_calls import time_calls
from trainlet.controller.engine_source import EngineSource
from trainlet.controller.executor import ROWS_AT_ONCE, Executor
from trainlet.controller.file_source import FileSource
from trainlet.controller.gpus import read_inventory
from trainlet.controller.hooks import Hooks
from trainlet.controller.images import ImageKeeper, Want
from trainlet.controller.logs import LogKeeper
from trainlet.controller.metrics import CONTENT_TYPE
from trainlet.controller.pod_removal import remove_pod
from trainlet.controller.prober import Prober
from trainlet.controller.reconciler import OWNER, Reconciler
from trainlet.controller.subnets import SubnetAllocator
from trainlet.controller.vitals import QUEUE, Vitals
from trainlet.controller.workqueue import WorkQueue
from trainlet.documents.directory_lock import hold_directories
from trainlet.documents.migrations import migrate
from trainlet.documents.scan import scan_directory
from trainlet.documents.secret import load_secret
from trainlet.documents.status_dir import StatusDir
from trainlet.documents.version_mark import VersionMark
from trainlet.engine import sandbox
from trainlet.engine.base import Engine, Owner
from trainlet.engine.registry_login import LoginFiles
from trainlet.initializer.program import build_program
from trainlet.kube.errors import ApiError, TrainletError, UsageError
from trainlet.kube.meta import ObjectKey
from trainlet.loading import build_registry, follow_sources, now
from trainlet.planning import labels
from trainlet.planning.device_ledger import Request
from trainlet.planning.events import Note
from trainlet.planning.initializers import InitializerOptions
from trainlet.planning.options import Options
from trainlet.planning.policies.status import Features
from trainlet.planning.scene import build_request, is_ours, survey
from trainlet.planning.specs import Limits
from trainlet.planning.status import is_finished
from trainlet.sd_notify import READY, STOPPING, Notifier
from trainlet.settings import (
    Settings,
    get_capacity,
    get_default_pids_limit,
    get_default_shm_bytes,
    get_environ,
    get_surroundings,
)
from trainlet.stopping import Stopped, StopSignals
from trainlet.store import Store

if TYPE_CHECKING:
    from trainlet.server.credentials import Credentials
    from trainlet.server.metrics_server import MetricsServer
    from trainlet.server.operator_api import OperatorApi
    from trainlet.server.status_server import StatusServer

log = logging.getLogger(__name__)

#: A pass in hand ends in this time, or its engine hangs and it is left to the next run.
STOP_TIMEOUT_SECONDS = 10.0
#: When the program has ended, whatever has not.
LEAVE_SECONDS = 12.0


def build_options(settings: Settings, runtime: str | None = None, secret: bytes = bytes(32)) -> Options:
    """Return what the planner needs of the settings, the machine and the engine's kind; the secret is not for plans."""
    return Options(
        store=settings.store_id,
        workspace_dir=str(settings.workspace_path),
        auto_remove=settings.auto_remove,
        pull_policy=settings.pull_policy,
        restart_backoff_seconds=settings.restart_backoff,
        limits=Limits(
            shm_bytes=get_default_shm_bytes(),
            pids=settings.pids_limit or get_default_pids_limit(),
            ulimits=settings.ulimit,
        ),
        sandbox_image="" if "process" in (runtime, settings.container_runtime) else sandbox.IMAGE,
        node_name=platform.node() or "localhost",
        capacity=get_capacity(),
        features=Features(settings.status_port),
        initializer=InitializerOptions(settings.initializer_image, build_program(), str(settings.cache_path)),
        secret=secret,
        find_match=find_match,
    )


class Manager:
    """One running operator: a directory, a store and an engine."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, engine = settings, time_calls(engine)
        self._engine = engine
        self._status_dir = StatusDir(settings.status_path)
        self._status_dir.prepare()
        self._lock = hold_directories(settings.dir, settings.status_path)
        if changed := migrate(settings.status_path):
            log.info("brought %d status documents to the layout of this version", changed)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(time.monotonic, QUEUE)
        self._pool = CallPool(ROWS_AT_ONCE * settings.workers, "engine")
        mark = VersionMark(settings.status_path)
        self.registry = build_registry(settings, store=Store(mark.read(), mark.reserve))
        self._sources = follow_sources(self.registry, settings)
        self._options, self._server = self._open_server(
            build_options(settings, engine.name, load_secret(settings.private_path))
        )
        _make_cache(settings.cache_path)
        self._engine_source = EngineSource(engine, now, self._wake_owner, self._wake_all)
        around = get_surroundings()
        logins = LoginFiles(engine.name, around.environ, around.home)
        self._images = ImageKeeper(engine, now, self._tell_of_image, logins.find, settings.max_parallel_pulls)
        self._prober = Prober(engine, now, self._queue.add)
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
        self.vitals = self._build_vitals()
        self._metrics_server = self._open_metrics_server()
        self._api = self._open_api()

    def start(self) -> None:
        """Take up what is on disk and on the engine, then start all threads."""
        owners = self._engine.find_owners(self._settings.store_id)
        self._refuse_to_forget(owners)
        self.registry.load({(owner.namespace, owner.name): owner.uid for owner in owners})
        self._files.start()
        self._sources.start()
        for owner in owners:
            self._queue.add(self.registry.find_job(owner.uid) or ObjectKey(OWNER, owner.namespace, owner.uid))
        self._wake_all()
        if self._server is not None:
            self._server.start()
        self._engine_source.start()
        self._prober.start()
        self._controller.start()
        for server in (self._metrics_server, self._api):
            if server is not None:
                server.start()

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
        """End all threads that do in time; containers are left running."""
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        self._prober.close()
        self._engine.close()
        self._sources.stop()
        for part in (self._api, self._files, self._metrics_server, self._server, self._controller):
            if part is not None:
                part.stop(max(0.0, deadline - time.monotonic()))
        self.registry.write_all_owed()
        self._engine_source.stop(0)  # at most it waits for an answer that nobody needs any more
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._lock.close()

    def is_settled(self) -> bool:
        """Tell whether nothing is left to do or to wait for."""
        jobs = filter(None, map(self.registry.store.get, self.registry.list_awake()))
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

    def _build_vitals(self) -> Vitals:
        workers = (f"worker-{number}" for number in range(self._settings.workers))
        threads = ("files", "engine-events", "engine-heartbeat", "prober", *workers)
        threads += ("api-server",) * bool(self._settings.listen)
        return Vitals(self.registry.store, self._queue, self._files, self._engine_source.check, threads)

    def _open_metrics_server(self) -> "MetricsServer | None":
        """Return the server of what the operator tells of itself, if it is asked for."""
        if self._settings.metrics_listen is None:
            return None
        from trainlet.server.listener import parse_address
        from trainlet.server.metrics_server import MetricsServer, Pages

        vitals = self.vitals
        pages = Pages(vitals.write_metrics, CONTENT_TYPE, vitals.find_dead, vitals.find_unready)
        return MetricsServer(parse_address(self._settings.metrics_listen), pages)

    def _open_api(self) -> "OperatorApi | None":
        """Return the Kubernetes API, if it is asked for."""
        if not self._settings.listen:
            return None
        from trainlet.server.api.manifests import Manifests
        from trainlet.server.api.writes import DirectoryWriter
        from trainlet.server.operator_api import Operator, OperatorApi

        manifests = Manifests(self._settings.dir, self.registry, self._settings.namespace)
        remove = partial(remove_pod, self.registry.store, self._engine)
        writer = DirectoryWriter(self.registry, manifests, self._files, self._queue.add, remove, now)
        operator = Operator(
            self._settings,
            self.registry,
            self._engine,
            self._status_dir,
            self._options.secret,
            writer,
            self.vitals.find_dead,
            self.vitals.find_unready,
            now,
        )
        return OperatorApi(operator)

    def _build_reconciler(self) -> Reconciler:
        logs = LogKeeper(self._engine, self._status_dir)
        subnets = SubnetAllocator(self._engine, self._settings.network_pool)
        roots = self._settings.allow_host_path
        hooks = Hooks(self._engine)
        executor = Executor(
            self._engine, self._pool, self._images, subnets, logs, hooks, self.registry.note, self._queue.add, roots
        )
        return Reconciler(
            self.registry,
            self._engine,
            executor,
            self._images,
            self._engine_source,
            self._options,
            self._build_device_keeper(),
            self._prober,
            hooks,
            now,
            inline_status=self._settings.status == "inline",
        )

    def _build_device_keeper(self) -> DeviceKeeper:
        look = partial(read_inventory, self._engine, get_surroundings(), self._settings.gpus)
        store = self._settings.store_id
        return DeviceKeeper(self._engine, store, look, self._list_requests, self._queue.add, time.monotonic)

    def _list_requests(self) -> Iterator[Request]:
        """Yield the GPUs that jobs want; those of one that cannot be built are nobody's."""
        for key in self.registry.list_awake():
            with contextlib.suppress(ApiError):
                case = self.registry.get_case(key)
                if case is not None and is_ours(case):
                    yield build_request(case, survey(case, self._options))

    def _wake_owner(self, uid: str, after_seconds: float) -> None:
        key = self.registry.find_job(uid)
        if key is not None:
            self._queue.add_after(key, after_seconds)

    def _tell_of_image(self, want: Want, note: Note) -> None:
        """Wake all jobs that ask for the image, and tell it to those that ask for it with the same logins."""
        for key in self.registry.list_awake():
            with contextlib.suppress(ApiError):  # a job that cannot be built waits for no image
                case = self.registry.get_case(key)
                images = survey(case, self._options).images if case is not None else {}
                if want.image in images:
                    if images[want.image] == want.logins:
                        self.registry.note(key, note)
                    self._queue.add(key)

    def _wake_all(self) -> None:
        for key in self.registry.list_awake():
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
    notifier = Notifier(get_environ())
    engine = find_engine(settings.container_runtime, settings.container_host, get_surroundings())
    try:
        with contextlib.suppress(Stopped), StopSignals(LEAVE_SECONDS) as signals:
            manager = Manager(settings, engine)
            log.info("%s %s at %s", engine.name, engine.ping(), engine.endpoint)
            if isinstance(engine, ProcessEngine):
                log.warning(ISOLATION_NOTICE)
            log.info("watching %s, status in %s", settings.dir, settings.status_path)
            manager.start()
            signals.started()
            notifier.tell(READY, f"STATUS=watching {settings.dir}")
            while not (signals.asked.wait(0.2 if once else 1.0) or (once and manager.is_settled())):
                notifier.beat(lambda: not manager.vitals.find_dead())
            notifier.tell(STOPPING)
            manager.stop()
    finally:
        engine.close()
