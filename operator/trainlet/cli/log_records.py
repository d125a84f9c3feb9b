"""How the operator's log looks: on standard error, as text for people or as one JSON object a line for programs."""

import json
import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning.plan import Action, ContainerAction, CreateContainer, KeepLogs

#: Both forms put all of an exception where the format says; the text form needs as many lines as it has.
_TEXT = "%(asctime)s %(levelname)s %(message)s"
#: What a call may give as `extra`, beside what its arguments tell.
_EXTRAS = ("image",)


def set_up_logging(form: str, level: str = "info", *, debug: bool = False) -> None:
    """Write our log, and the warnings of libraries, to standard error; `debug` beats the level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("trainlet").setLevel(logging.DEBUG if debug else level.upper())
    threading.excepthook = _log_thread_end


class JsonFormatter(logging.Formatter):
    """One JSON object a record. What a record is about is among its arguments: a job, an action, an error."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        for argument in record.args if isinstance(record.args, tuple) else ():
            entry |= _describe(argument)
        entry |= {name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _describe(argument: object) -> JSON:
    """Return the fields that one argument of a record gives; none for a text or a number."""
    return next((describe(argument) for kind, describe in _DESCRIPTIONS.items() if isinstance(argument, kind)), {})


def _describe_action(action: Action) -> JSON:
    is_container = isinstance(action, ContainerAction | CreateContainer)
    fields = {"action": type(action).__name__, "container" if is_container else "target": action.target}
    return fields | {"reason": action.reason} | ({"node": action.step} if isinstance(action, KeepLogs) else {})


#: What is read of arguments, by their type.
_DESCRIPTIONS: dict[type, Callable[[Any], JSON]] = {
    ObjectKey: lambda key: {"kind": key.kind, "namespace": key.namespace, "name": key.name},
    Action: _describe_action,
    TrainletError: lambda error: {"error": type(error).__name__, "where": error.where, "remedy": error.remedy},
}


def _log_thread_end(end: threading.ExceptHookArgs) -> None:
    """Tell of a thread that an exception has ended as of anything else."""
    name = end.thread.name if end.thread is not None else "unknown"
    cause = end.exc_value or end.exc_type()
    logging.getLogger("trainlet").critical("thread %s has ended: this is a bug of trainlet", name, exc_info=cause)
