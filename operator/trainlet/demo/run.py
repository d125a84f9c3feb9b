"""The demo's run: an engine is chosen, a TrainJob is dropped into a directory, and an operator makes it come true.

It takes no short cut: the operator is the real one. Knows no terminal and reads no status; whoever calls it does.
"""

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainlet.apis.trainer import API_VERSION, TRAIN_JOB
from trainlet.demo import image
from trainlet.documents.write import dump_documents, write_atomic
from trainlet.engine.base import Engine, EngineUnavailable
from trainlet.engine.detect import Surroundings, find_engine
from trainlet.engine.process import ISOLATION_NOTICE
from trainlet.kube.errors import EngineError, TrainletError
from trainlet.kube.meta import JSON
from trainlet.manager import Manager
from trainlet.runtime_sources.address import BUILT_IN
from trainlet.settings import Settings

NAMESPACE = "default"

_NO_ENGINE = "no container engine answers (`trainlet doctor` tells why), so the nodes are plain processes"
#: So few rounds, because nobody watches for long; more make the model hardly better.
_ARGUMENTS = ("--epochs", "12", "--model", "/workspace/model.json")
_POLL_SECONDS = 0.2
_TIMEOUT_SECONDS = 300.0
_CLEAR_TIMEOUT_SECONDS = 20.0

Say = Callable[[str], None]
#: Looks at the job, and tells whether it has ended.
Look = Callable[[], bool]


@dataclass(frozen=True)
class Stage:
    """Where the training runs, and how it is started there. `image` is empty for plain processes."""

    engine: Engine
    command: tuple[str, ...]
    image: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def build_demo_settings(settings: Settings, directory: Path) -> Settings:
    """Return the settings for a demo in this directory: what the user said of engines, and nothing of other jobs."""
    kept = ("container_runtime", "container_host", "network_pool", "restart_backoff")
    # Never: the image is there, and no registry knows it.
    own: dict[str, Any] = {"pull_policy": "Never", "runtime_source": (BUILT_IN,)}
    return Settings(dir=directory, **own, **{name: getattr(settings, name) for name in kept})


def open_stage(settings: Settings, surroundings: Surroundings, say: Say) -> Stage:
    """Choose where to run: the container engine that answers, else processes. The caller closes the engine.

    Raises EngineError when the engine that the settings ask for is not to be had, or cannot run the demo.
    """
    if settings.container_runtime == "process":
        return _open_processes(surroundings, say)
    try:
        return _open_containers(find_engine(settings.container_runtime, settings.container_host, surroundings), say)
    except EngineError as error:
        if settings.container_runtime or settings.container_host:
            raise
        say(_NO_ENGINE if isinstance(error, EngineUnavailable) else f"no containers: {error}")
        return _open_processes(surroundings, say)


def _open_processes(surroundings: Surroundings, say: Say) -> Stage:
    say(ISOLATION_NOTICE)
    engine = find_engine("process", None, surroundings)
    return Stage(engine, (str(image.find_python()), str(image.PROGRAM)))


def _open_containers(engine: Engine, say: Say) -> Stage:
    try:
        name = _provide_image(engine, say)
    except BaseException:
        engine.close()
        raise
    return Stage(engine, image.build_command(), name, image.build_environment())


def _provide_image(engine: Engine, say: Say) -> str:
    if platform.system() != "Linux" or not engine.endpoint.startswith("unix:"):
        raise EngineError(
            "the demo makes its image of this machine's own Python, which runs on a local engine on Linux only",
            where=engine.endpoint,
            remedy="leave out --container-runtime and --container-host to use processes",
        )
    name = image.build_name()
    if engine.find_image(name) is None:
        say(f"making the image {name} of this machine's Python (it is kept for the next time)")
        try:
            engine.import_image(name, image.stream_image())
        except TrainletError as error:
            raise EngineError(error.what, where=error.where, remedy=error.remedy) from error
    return name


def build_manifest(stage: Stage, name: str, nodes: int) -> JSON:
    """Return the TrainJob."""
    trainer: JSON = {"numNodes": nodes}
    if stage.image:
        trainer["image"] = stage.image
    trainer |= {"command": list(stage.command), "args": [*_ARGUMENTS]}
    if stage.environment:
        trainer["env"] = [{"name": variable, "value": value} for variable, value in stage.environment.items()]
    return {
        "apiVersion": API_VERSION,
        "kind": TRAIN_JOB,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer},
    }


def run_demo(engine: Engine, settings: Settings, manifest: JSON, look: Look) -> None:
    """Train, and leave nothing on the engine, however it ends. `look` is called all the while. Closes the engine."""
    file = settings.dir / f"{manifest['metadata']['name']}.yaml"
    write_atomic(file, dump_documents([manifest]))
    manager = Manager(settings, engine)
    manager.start()
    has_ended = False
    try:
        has_ended = _wait(look, _TIMEOUT_SECONDS)
    finally:
        if not has_ended:
            file.unlink(missing_ok=True)
        with suppress(EngineError):
            _wait(lambda: _is_clear(manager, engine, settings), _CLEAR_TIMEOUT_SECONDS)
        manager.stop()


def _is_clear(manager: Manager, engine: Engine, settings: Settings) -> bool:
    """Tell whether nothing is left of the job, and no pass goes on that could still make something."""
    return manager.is_settled() and not engine.find_owners(settings.store_id)


def _wait(is_done: Callable[[], bool], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not (done := is_done()) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return done
