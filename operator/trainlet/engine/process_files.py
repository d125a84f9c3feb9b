"""The files of one node's directory, and how JSON is read and written there.

Shared by the engine and the supervisor, so it imports only what starts fast and knows nothing else of trainlet.
"""

import json
import os
from typing import Any

JSON = dict[str, Any]

#: What the node is and how it is started; written once by the engine.
CONTAINER = "container.json"
#: How it is: written by the supervisor. Keys in order of appearance: `supervisor` and `leader` (pid and start
#: time), `started_at`, `exit_code`, `finished_at`; of a failed start only `exit_code` and `error`.
STATE = "state.json"
#: Held by the supervisor while it lives, so that a node is never started twice.
LOCK = "supervisor.lock"
#: What the supervisor itself had to say, if it broke.
COMPLAINTS = "supervisor.err"
#: The log, and the part that was rotated away.
LOG, LOG_BEFORE = "node.log", "node.log.1"


def read_json(path: str) -> JSON | None:
    """Read a JSON object; None if there is no such file. Raises OSError, ValueError."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  pathlib would double the supervisor's start time
            document: JSON = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return document


def write_json(path: str, document: JSON) -> None:
    """Write a JSON object so that readers see the old one or the new one, also after a power cut."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)  # noqa: PTH104
