"""Puts line and column to errors that name a field, and brings them into the form that is written down."""

import re
from collections.abc import Iterable
from dataclasses import replace

from trainlet.documents.parse import Document, Path
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON

_STEP = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")


def locate(errors: Iterable[FieldError], document: Document) -> list[FieldError]:
    """Return the errors in the text's order, with the position of their field, or of its nearest parent there."""
    located = []
    for error in errors:
        line, column = document.find_position(_find_written(_parse_path(error.path), document))
        located.append(replace(error, line=line, column=column))
    return sorted(located, key=lambda error: (error.line or 0, error.column or 0))


def write_errors(errors: Iterable[FieldError]) -> list[JSON]:
    """Return the errors as `validate -o json` and the status documents have them."""
    return [
        {
            "stage": e.stage,
            "path": e.path,
            "type": e.type,
            "value": e.value,
            "detail": e.detail,
            "line": e.line,
            "column": e.column,
        }
        for e in errors
    ]


def _find_written(path: Path, document: Document) -> Path:
    """Return as much of a path as the text has; a key there may itself hold dots or be a number."""
    written: Path = ()
    while path:
        joined = [(size, ".".join(map(str, path[:size]))) for size in range(len(path), 0, -1)]
        steps = ((size, (*written, key)) for size, key in [*joined, (1, path[0])])
        step = next((step for step in steps if step[1] in document.marks), None)
        if step is None:
            break
        path, written = path[step[0] :], step[1]
    return written


def _parse_path(text: str) -> Path:
    return tuple(int(inner) if inner.isdigit() else (inner or name) for name, inner in _STEP.findall(text))
