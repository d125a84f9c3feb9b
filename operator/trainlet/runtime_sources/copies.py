"""What sources gave, kept on disk: one file a source, replaced in one step, and taken for nothing when damaged."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trainlet.documents.write import write_atomic
from trainlet.kube.meta import parse_time


@dataclass(frozen=True)
class File:
    """One file of a source; `name` is its path, or its URL, which is a source too."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Copy:
    """What a source gave when it was `checked`; `conditions` are the headers that ask if it has changed since."""

    files: tuple[File, ...]
    checked: datetime
    conditions: Mapping[str, str]


class Copies:
    """The copies below one directory. Processes may share it: who writes last is right."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, source: str) -> Copy | None:
        """Return the copy of a source, or None."""
        try:
            stored = json.loads(self._get_path(source).read_bytes())
            *content, digest = (stored[name] for name in (*_NAMES, "digest"))
            if digest != _hash(content):
                return None
            files = tuple(File(name, _encode(text)) for name, text in stored["files"])
            return Copy(files, parse_time(stored["checked"]), stored["conditions"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it is fetched again

    def keep(self, source: str, copy: Copy) -> None:
        """Put a copy in the place of the one before it. Raises OSError."""
        files = [[file.name, _decode(file.data)] for file in copy.files]
        content = [source, copy.checked.isoformat(), dict(copy.conditions), files]
        stored = {**dict(zip(_NAMES, content, strict=True)), "digest": _hash(content)}
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self._get_path(source), json.dumps(stored, indent=1), mode=0o600)

    def _get_path(self, source: str) -> Path:
        return self._directory / f"{hashlib.sha256(source.encode()).hexdigest()[:32]}.json"


_NAMES = ("source", "checked", "conditions", "files")


def _hash(content: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _decode(data: bytes) -> str:
    return data.decode(errors="surrogateescape")  # JSON escapes what is no text


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
