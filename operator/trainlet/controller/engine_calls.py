"""Times the calls of an engine, and counts those that fail. To everybody else it is the engine."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from trainlet.controller.metrics import ENGINE_CALL_DURATION, ENGINE_CALL_ERRORS
from trainlet.engine.base import Engine

#: What ends when its work is done; streams and connections last as long as somebody wants them.
VERBS = frozenset(
    {
        "ping",
        "find_facts",
        "observe",
        "find_owners",
        "find_image",
        "pull_image",
        "import_image",
        "find_subnets",
        "create_network",
        "remove_network",
        "create_volume",
        "remove_volume",
        "measure_volume",
        "find_ports",
        "run_in_container",
        "create_container",
        "start_container",
        "stop_container",
        "kill_container",
        "remove_container",
    }
)


def time_calls(engine: Engine) -> Engine:
    """Return the engine with its verbs timed."""
    return cast(Engine, _TimedEngine(engine))


class _TimedEngine:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        return _time(self._engine.name, name, found) if name in VERBS else found


def _time(engine: str, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def timed(*arguments: Any, **options: Any) -> Any:
        with ENGINE_CALL_DURATION.timing(engine, verb):
            try:
                return call(*arguments, **options)
            except Exception as error:
                ENGINE_CALL_ERRORS.add(engine, verb, type(error).__name__)
                raise

    return timed
