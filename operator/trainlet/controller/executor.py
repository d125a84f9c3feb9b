"""Carries plans out. It holds no decisions: one action is one call, and what fails is told, not judged."""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from trainlet.controller.host_paths import secure_mounts
from trainlet.controller.images import ImageKeeper
from trainlet.controller.logs import LogKeeper
from trainlet.controller.subnets import SubnetAllocator
from trainlet.controller.workspaces import create_workspace
from trainlet.engine.base import Engine, StartFailed
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import ObjectKey
from trainlet.planning.plan import (
    Action,
    ContainerAction,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    CreateWorkspace,
    Failure,
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


class Executor:
    """The hands of the operator on one engine. `pool` is shared by all workers and bounds the engine's load."""

    def __init__(
        self,
        engine: Engine,
        pool: ThreadPoolExecutor,
        images: ImageKeeper,
        subnets: SubnetAllocator,
        logs: LogKeeper,
        host_path_roots: Sequence[str] = (),
    ) -> None:
        self._engine, self._pool = engine, pool
        self._images, self._subnets, self._logs = images, subnets, logs
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
        futures = [self._pool.submit(self._run_row, job, row, ban) for row in rows.values()]
        return [failure for future in futures for failure in future.result()]

    def _run_row(self, job: ObjectKey, actions: Iterable[Action], ban: str) -> list[Failure]:
        for action in actions:
            log.info("%s/%s: %s", job.namespace, job.name, action)
            try:
                self._run(job, action, ban)
            except StartFailed as error:
                return [Failure(action, str(error), error.exit_code)]
            except TrainletError as error:
                return [Failure(action, str(error))]
        return []

    def _run(self, job: ObjectKey, action: Action, ban: str) -> None:
        match action:
            case CreateWorkspace(path=path, owner_uid=uid):
                create_workspace(Path(path), uid)
            case PullImage(image=image):
                self._images.start_pull(image)
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
            case StartContainer(id=id):
                self._engine.start_container(id)
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
