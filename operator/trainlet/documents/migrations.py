"""Brings what an earlier trainlet left in a status directory to the layout that this one writes.

What one that was killed was just writing is removed. The caller holds the directory against other operators.

`.version` holds the number of the layout and, for people, the trainlet that began it. A directory without that file is
of layout 0, or new. The file is written last, and a document that is there already is left alone, so that whoever dies
in the middle begins again.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trainlet import __version__
from trainlet.documents.status_dir import build_write_error, read_objects
from trainlet.documents.write import dump_documents, write_atomic
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import JSON, get_metadata

FILE = ".version"
#: What layouts were called in them. Nothing here may follow a later change of such a name.
_ATTEMPT, _ASKED, _STOPPING = "trainlet.dev/attempt", "trainlet.dev/asked-to-end", "trainlet.dev/stopping-since"


def _count_starts_by_container(document: JSON) -> JSON:
    """Move what was remembered of a Pod's only container from the Pod's annotations into that container's status."""
    metadata = get_metadata(document)
    notes = metadata.get("annotations") or {}
    if document.get("kind") != "Pod" or _ATTEMPT not in notes:
        return document
    stopping = metadata.get("deletionTimestamp")
    told = {"imageID": "", _ATTEMPT: int(notes[_ATTEMPT])}
    told |= {_STOPPING: stopping, _ASKED: _ASKED in notes} if stopping else {}
    entries = [
        {**each, "started": each.get("ready", False), **told} for each in document["status"]["containerStatuses"]
    ]
    kept = {name: text for name, text in notes.items() if name not in (_ATTEMPT, _ASKED)}
    metadata, status = {**metadata, "annotations": kept}, {**document["status"], "containerStatuses": entries}
    return {**document, "metadata": metadata, "status": status}


#: From each layout to the next: what becomes of every stored object.
MIGRATIONS: Mapping[int, Callable[[JSON], JSON]] = {0: _count_starts_by_container}
VERSION = len(MIGRATIONS)


def migrate(root: Path) -> int:
    """Bring a status directory to this layout and return how many documents that changed.

    Raises TrainletError for one of a later layout, and where it cannot be written.
    """
    found = _read_version(root / FILE)
    _sweep(root)
    changed = sum(_migrate_file(path, found) for path in _list_documents(root)) if found < VERSION else 0
    if found < VERSION:
        _write(root / FILE, f"{VERSION} trainlet {__version__}\n")
    return changed


def _sweep(root: Path) -> None:
    """Remove new texts that nothing was replaced by; those of a job's parts go with the job."""
    for pattern in (".*.tmp", "*/.*.tmp", ".*/**/.*.tmp"):
        for path in root.glob(pattern):
            path.unlink(missing_ok=True)


def _read_version(path: Path) -> int:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    except (OSError, UnicodeDecodeError) as error:
        raise TrainletError(f"the layout cannot be read: {error}", where=str(path), remedy="make it readable") from None
    number, _, writer = text.strip().partition(" ")
    if not number.isdecimal():
        what = f"the layout of the status directory is not known: {text.strip()[:40]!r} is no number"
        raise TrainletError(what, where=str(path), remedy="remove the file if no newer trainlet wrote it")
    if int(number) > VERSION:
        what = f"{writer or 'a newer trainlet'} wrote this directory in layout {number}"
        what += f", and trainlet {__version__} knows none after {VERSION}"
        raise TrainletError(what, where=str(path.parent), remedy="run that one again, or give another --status-dir")
    return int(number)


def _list_documents(root: Path) -> Iterator[Path]:
    for pattern in ("*/*.yaml", "*/*/*.yaml"):
        yield from sorted(root.glob(pattern))


def _migrate_file(path: Path, version: int) -> bool:
    """Rewrite one file if need be; a damaged one is left to whoever reads it."""
    before = after = read_objects(path)
    for each in range(version, VERSION):
        after = [MIGRATIONS[each](document) for document in after]
    if after != before:
        _write(path, dump_documents(after))
    return after != before


def _write(path: Path, text: str) -> None:
    try:
        write_atomic(path, text)
    except OSError as error:
        raise build_write_error(error, path) from None
