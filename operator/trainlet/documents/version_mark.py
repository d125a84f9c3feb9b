"""A number on disk that no version ever given out is above, so that versions never go back over a restart."""

import logging
from pathlib import Path

from trainlet.documents.write import write_atomic

log = logging.getLogger(__name__)

FILE = ".resource-version"
#: How many versions one write covers: the disk is asked once for so many changes.
BLOCK = 1000
#: Nothing has it. A list of nothing has a version too, and 0 has another meaning to clients.
FIRST = 1
#: How soon it is tried again where it could not be written.
_RETRY = 50


class VersionMark:
    """The mark of one status directory. Whoever asks it has its lock."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE

    def read(self) -> int:
        """Return the mark; the first version if there is none or it was damaged."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return FIRST
        return int(text) if text.isdigit() and len(text) < 19 else FIRST

    def reserve(self, version: int) -> int:
        """Let the mark be above a version that is about to be given out; return up to which more may be."""
        try:
            write_atomic(self._path, f"{version + BLOCK}\n")
        except OSError as error:
            log.warning("cannot keep the resource version (%s): %s", self._path, error.strerror or error)
            return version + _RETRY
        return version + BLOCK
