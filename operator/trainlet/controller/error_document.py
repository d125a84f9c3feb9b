"""What is wrong with files that yield no object: said once in the log, and written down while it lasts."""

import logging
from collections.abc import Mapping, Sequence

from trainlet.documents.locate import write_errors
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON

log = logging.getLogger(__name__)

#: By the text of a file's path.
Errors = Mapping[str, Sequence[FieldError]]


class ErrorDocument:
    """Keeps the errors of one directory's files."""

    def __init__(self, status_dir: StatusDir) -> None:
        self._status_dir = status_dir
        self._written: list[JSON] = []
        self._told: set[str] = set()

    def write(self, errors: Errors) -> None:
        """Take these for all that is wrong. Raises TrainletError when that cannot be written down."""
        written = [{"file": file, "errors": write_errors(found)} for file, found in sorted(errors.items())]
        if written == self._written and self._status_dir.has_errors() == bool(written):
            return
        lines = [f"{_render_place(file, e)}: {e}" for file, found in sorted(errors.items()) for e in found]
        for line in lines:
            if line not in self._told:
                log.warning("%s", line)
        self._written, self._told = written, set(lines)
        self._status_dir.write_errors(written)


def _render_place(file: str, error: FieldError) -> str:
    return file if error.line is None else f"{file}:{error.line}:{error.column}"
