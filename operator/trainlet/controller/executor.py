"""Carries plans out. It holds no decisions: one action is one call, and what fails is told, not judged."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue

from trainlet.controller.handlers import Place
from trainlet.controller.hooks import Hooks
from trainlet.controller.host_paths import secure_mounts
from trainlet.controller.images import ImageKeeper
from trainlet.controller.logs import LogKeeper
from trainlet.controller.metrics import ACTIONS
from trainlet.controller.subnets import SubnetAllocator
from trainlet.controller.workspaces import create_workspace
from trainlet.engine import sandbox
from trainlet.engine.base import Engine, StartFailed
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import ObjectKey
from trainlet.planning.events import Note
from trainlet.planning.plan import (
    Action,
    ContainerAction,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    CreateWorkspace,
    Failure,
    Hook,
    KeepLogs,
    KillContainer,
    Plan,
    PullImage,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    StartContainer,
    StopContainer,
)

log = logging.getLogger(__name__)

#: The measured optimum of calls at once is 2 to 4 on two cores. A job whose calls hang has no more of the threads.
ROWS_AT_ONCE = 4


class Executor:
    """The hands of the operator on one engine. `pool` is shared by all workers and bounds the engine's load.

    `tell` and `wake` are called with a job when one of its hooks has something to say, and when it has ended.
    """

    def __init__(
        self,
        engine: Engine,
        pool: futures.Executor,
        images: ImageKeeper,
        subnets: SubnetAllocator,
        logs: LogKeeper,
        hooks: Hooks,
        tell: Callable[[ObjectKey, Note], None],
        wake: Callable[[ObjectKey], None],
        host_path_roots: Sequence[str] = (),
    ) -> None:
        self._engine, self._pool = engine, pool
        self._images, self._subnets, self._logs = images, subnets, logs
        self._hooks, self._tell, self._wake = hooks, tell, wake
        self._host_path_roots = host_path_roots
        self._sockets = (engine.endpoint.removeprefix("unix://"),) if engine.endpoint.startswith("unix://") else ()

    def execute(self, job: ObjectKey, plan: Plan, ban: str = "") -> list[Failure]:
        """Do the actions: those on containers side by side, in order for each container; any other alone.

        An action that fails ends its container's row; one that others build on ends the plan. With a `ban`, why
        the job's pods are forbidden, no container is made.
        """
        failures: list[Failure] = []
        for parallel, group in groupby(plan, lambda a: isinstance(a, ContainerAction | CreateContainer)):
            if parallel:
                failures += self._run_rows(job, list(group), ban)
            else:
                failures += self._run_row(job, group, ban)
            if failures:
                break
        return failures

    def _run_rows(self, job: ObjectKey, actions: list[Action], ban: str) -> list[Failure]:
        rows: dict[str, list[Action]] = {}
        for action in actions:
            rows.setdefault(action.target, []).append(action)
        left = SimpleQueue[list[Action]]()
        for row in rows.values():
            left.put(row)
        takers = [self._pool.submit(self._run_left, job, left, ban) for _ in range(min(len(rows), ROWS_AT_ONCE))]
        return [failure for taker in takers for failure in taker.result()]

    def _run_left(self, job: ObjectKey, left: "SimpleQueue[list[Action]]", ban: str) -> list[Failure]:
        """Run rows until none is left."""
        failures: list[Failure] = []
        with contextlib.suppress(Empty):
            while True:
                failures += self._run_row(job, left.get_nowait(), ban)
        return failures

    def _run_row(self, job: ObjectKey, actions: Iterable[Action], ban: str) -> list[Failure]:
        for action in actions:
            log.info("%s: %s", job, action)
            try:
                self._run(job, action, ban)
            except TrainletError as error:
                ACTIONS.add(type(action).__name__, "error")
                return [Failure(action, str(error), error.exit_code if isinstance(error, StartFailed) else None)]
            ACTIONS.add(type(action).__name__, "success")
        return []

    def _run(self, job: ObjectKey, action: Action, ban: str) -> None:
        match action:
            case CreateWorkspace(path=path, owner_uid=uid):
                create_workspace(Path(path), uid)
            case PullImage(image=sandbox.IMAGE):
                self._engine.import_image(sandbox.IMAGE, sandbox.build_image(self._engine.find_facts().architecture))
            case PullImage(image=image, logins=logins):
                self._images.start_pull(image, logins)
            case CreateNetwork(spec=spec):
                self._subnets.create_network(spec)
            case RemoveNetwork(id=id):
                self._engine.remove_network(id)
            case CreateVolume(spec=volume):
                self._engine.create_volume(volume)
            case RemoveVolume(name=name):
                self._engine.remove_volume(name)
            case CreateContainer() if ban:
                raise TrainletError(ban)
            case CreateContainer(spec=container):
                self._engine.create_container(secure_mounts(container, self._host_path_roots, self._sockets))
            case StartContainer(id=id, name=name, hook=hook):
                self._engine.start_container(id)
                if hook is not None:
                    place, tell, wake = Place(name, hook.address), partial(self._tell, job), partial(self._wake, job)
                    self._hooks.run_post_start(name, place, hook.handler, tell, wake)
            case StopContainer(name=name, hook=Hook() as hook, grace_seconds=seconds) if seconds > 0:
                place, tell = Place(name, hook.address), partial(self._tell, job)
                self._hooks.stop(name, place, hook.handler, seconds, tell)
            case StopContainer(id=id):
                self._engine.stop_container(id)
            case KillContainer(id=id):
                self._engine.kill_container(id)
            case KeepLogs(id=id, step=step):
                self._logs.keep(job, id, step)
            case RemoveContainer(id=id):
                self._engine.remove_container(id)
            case _:
                raise TypeError(f"no call for {action!r}")
