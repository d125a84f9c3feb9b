"""The watched directory -> the registry. Watch events only wake it up; what counts is what a rescan finds.

A file that no longer parses or admits keeps its last good objects. Of two files with one name the first keeps
it. A directory that cannot be listed deletes nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, watch

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.documents.locate import locate, write_errors
from trainlet.documents.parse import MAX_BYTES, Document, ParseError, parse_documents
from trainlet.documents.scan import Fingerprint, Listing, scan_directory
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import ApiError, FieldError, TrainletError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.kube.names import is_label, is_subdomain
from trainlet.registry import Registry, Source, describe_errors

log = logging.getLogger(__name__)

#: A look costs 29 ms for 10,000 files; events get lost, and a job that is still being deleted is asked for again.
RESCAN_SECONDS = 3.0
TICK_MILLISECONDS = 200
DEBOUNCE_MILLISECONDS = 50
#: An editor's way from the old file to the new one; to take the gap for a deletion would end the job.
SAVING_SECONDS = 0.25
#: How often to look where nothing can be watched.
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class _File:
    """A file as last read. `documents` is None for one that could not be read or parsed."""

    fingerprint: Fingerprint | None
    documents: tuple[Document, ...] | None
    problem: FieldError | None = None


@dataclass(frozen=True)
class _Entry:
    """One document that names an object of ours."""

    key: ObjectKey
    source: Source
    document: Document


class FileSource:
    """Follows one directory in a thread of its own; `wake` is called with the key of every job that changed."""

    def __init__(
        self,
        root: Path,
        excluded: Iterable[Path],
        registry: Registry,
        status_dir: StatusDir,
        wake: Callable[[ObjectKey], None],
    ) -> None:
        self._root, self._excluded = root, frozenset(excluded)
        self._registry, self._status_dir, self._wake = registry, status_dir, wake
        self._files: dict[Path, _File] = {}
        self._owners: dict[ObjectKey, Source] = {}
        self._applied: dict[Source, JSON] = {}
        self._errors: list[JSON] = []
        self._directories: dict[Path, int] = {}
        self._root_problem = ""
        self._is_polling = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)

    def start(self) -> None:
        """Take over what is stored, look once at everything, then start to follow."""
        self.take_over()
        self._thread.start()

    def take_over(self) -> None:
        """Bring what an earlier run stored up to the directory, without following it."""
        for key in self._registry.list_told():
            self._owners[key] = self._registry.find_source(key) or Source("", 0)
        self.scan()

    def stop(self, timeout_seconds: float) -> None:
        """Stop following."""
        self._stopping.set()
        self._thread.join(timeout_seconds)

    def scan(self) -> None:
        """Bring the registry up to the directory. Raises TrainletError when that cannot be written down."""
        listing = self._list()
        if listing is not None:
            self._read_changes(listing)
            self._sync()

    def _list(self) -> Listing | None:
        try:
            listing = scan_directory(self._root, self._excluded)
        except OSError as error:
            self._note_root(f"cannot list {self._root}: {error.strerror}; nothing is deleted until it is back")
            return None
        self._note_root("")
        self._directories = listing.directories
        return listing

    def _is_being_saved(self) -> bool:
        """Tell whether a known file is away or empty just now, as for a moment while an editor saves it."""
        listing = self._list()
        if listing is None:
            return False
        return any(path not in listing.files or listing.files[path].size == 0 for path in self._files)

    def _note_root(self, problem: str) -> None:
        if problem and problem != self._root_problem:
            log.warning("%s", problem)
        self._root_problem = problem

    def _read_changes(self, listing: Listing) -> None:
        for path in set(self._files) - set(listing.files):
            if not _is_within(path, listing.problems):
                del self._files[path]
        for path, fingerprint in listing.files.items():
            known = self._files.get(path)
            if known is None or known.fingerprint != fingerprint:
                self._files[path] = _read_file(path, fingerprint)
        for path, problem in listing.problems.items():
            self._files[path] = _File(None, None, FieldError("", "Invalid value", problem, stage="parse"))

    def _sync(self) -> None:
        errors: dict[str, list[FieldError]] = {}
        entries: dict[ObjectKey, _Entry] = {}
        for path in sorted(self._files):
            file = self._files[path]
            if file.problem is not None:
                errors.setdefault(str(path), []).append(file.problem)
            for entry in self._identify(path, file, errors):
                self._claim(entry, entries, errors)
        self._delete_missing(entries)
        # Runtimes first: a job that comes together with its runtime finds it.
        for entry in sorted(entries.values(), key=lambda e: (e.key.kind == TRAIN_JOB, e.key)):
            self._apply(entry, errors)
        self._write_errors(errors)

    def _identify(self, path: Path, file: _File, errors: dict[str, list[FieldError]]) -> Iterator[_Entry]:
        for document in file.documents or ():
            try:
                if not isinstance(document.value, dict):
                    raise ApiError("", causes=[FieldError("", "Invalid value", "this document is not a mapping")])
                key = self._registry.identify(document.value)
                _check_names(key)
            except ApiError as error:
                errors.setdefault(str(path), []).extend(locate(describe_errors(error), document))
                continue
            yield _Entry(key, Source(str(path), document.index), document)

    def _claim(self, entry: _Entry, entries: dict[ObjectKey, _Entry], errors: dict[str, list[FieldError]]) -> None:
        """Give the name to the file that has it already, else to the first; refuse the other by name."""
        rival = entries.get(entry.key)
        if rival is None:
            entries[entry.key] = entry
            return
        owner = self._owners.get(entry.key)
        winner, loser = (entry, rival) if owner == entry.source else (rival, entry)
        entries[entry.key] = winner
        detail = f"{entry.key} is already defined in {winner.source.file}: rename one of them"
        error = FieldError("metadata.name", "Duplicate value", detail, entry.key.name, stage="parse")
        errors.setdefault(loser.source.file, []).extend(locate([error], loser.document))

    def _apply(self, entry: _Entry, errors: dict[str, list[FieldError]]) -> None:
        if self._applied.get(entry.source) == entry.document.value and self._owners.get(entry.key) == entry.source:
            return
        try:
            admitted = self._registry.apply(entry.document.value, entry.source)
        except ApiError as error:
            self._refuse(entry, error, errors)
            return
        except TrainletError as error:
            errors.setdefault(entry.source.file, []).append(FieldError("", "Internal error", str(error)))
            return
        for warning in admitted.warnings:
            log.warning("%s (%s): %s", entry.key, entry.source.file, warning)
        self._owners[entry.key] = entry.source
        self._applied[entry.source] = entry.document.value
        self._wake_job(entry.key)

    def _refuse(self, entry: _Entry, error: ApiError, errors: dict[str, list[FieldError]]) -> None:
        self._applied.pop(entry.source, None)
        causes = locate(describe_errors(error), entry.document)
        if entry.key.kind == TRAIN_JOB and is_label(entry.key.name):
            self._owners.setdefault(entry.key, entry.source)
            self._registry.reject(entry.key, entry.source, error, write_errors(causes))
        else:
            errors.setdefault(entry.source.file, []).extend(causes)

    def _delete_missing(self, entries: dict[ObjectKey, _Entry]) -> None:
        """Delete what no file names any more; a file that cannot be read still holds what it named."""
        unread = {path for path, file in self._files.items() if file.documents is None}
        for key, source in list(self._owners.items()):
            if key in entries or _is_within(Path(source.file), unread):
                continue
            log.info("%s: its manifest is gone (%s)", key, source.file)
            del self._owners[key]
            self._applied.pop(source, None)
            self._registry.delete(key)
            self._wake_job(key)

    def _wake_job(self, key: ObjectKey) -> None:
        """Wake a job; a runtime has nothing to reconcile, and who waits for it is asked again at every scan."""
        if key.kind == TRAIN_JOB:
            self._wake(key)

    def _write_errors(self, errors: dict[str, list[FieldError]]) -> None:
        written = [{"file": file, "errors": write_errors(found)} for file, found in sorted(errors.items())]
        if written == self._errors and self._status_dir.has_errors() == bool(written):
            return
        for file, found in sorted(errors.items()):
            for error in found:
                log.warning("%s:%s:%s: %s", file, error.line, error.column, error)
        self._errors = written
        self._status_dir.write_errors(written)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (OSError, RuntimeError) as error:
                self._note_watch(error)
                self._stopping.wait(POLL_SECONDS)
                self._scan_safely()

    def _follow(self) -> None:
        """Scan at every hint until the set of directories changes. Raises what watchfiles does when it cannot watch."""
        armed = dict(self._directories)
        due = 0.0  # at the first tick, because nobody told what happened before the watch was in place
        for changes in watch(
            *_existing([*armed, self._root.parent]),
            watch_filter=self._is_hint,
            debounce=DEBOUNCE_MILLISECONDS,
            step=1,
            rust_timeout=TICK_MILLISECONDS,
            yield_on_timeout=True,
            stop_event=self._stopping,
            recursive=False,
            raise_interrupt=False,
        ):
            if not changes and time.monotonic() < due:
                continue
            self._scan_safely()
            due = time.monotonic() + RESCAN_SECONDS
            if self._directories != armed:
                return

    def _is_hint(self, _: Change, path: str) -> bool:
        """Tell whether an event may matter; of the root's parent only the root does, which may come back."""
        place = Path(path)
        is_hidden = place.name.startswith(".") and not place.name.startswith("..")  # a mounted ConfigMap swaps ..data
        return not is_hidden and (place.parent != self._root.parent or place == self._root)

    def _note_watch(self, error: Exception) -> None:
        # A directory that went between listing and watching is no news; the next scan knows.
        if not isinstance(error, FileNotFoundError) and not self._is_polling:
            remedy = "raise fs.inotify.max_user_watches and max_user_instances"
            log.warning("cannot watch %s (%s), looking every %.0f s: %s", self._root, error, POLL_SECONDS, remedy)
            self._is_polling = True

    def _scan_safely(self) -> None:
        try:
            if self._is_being_saved():
                log.debug("a file of %s is away or empty: an editor may be saving it", self._root)
                self._stopping.wait(SAVING_SECONDS)
            self.scan()
        except TrainletError as error:
            log.warning("%s; looking again at the next change", error)
        except Exception:
            log.exception("a scan of %s ended in a bug of trainlet; the next one follows", self._root)


def _check_names(key: ObjectKey) -> None:
    """Refuse what could not be told safely, because names become paths. Raises ApiError."""
    if not is_subdomain(key.name):
        detail = "must be a lowercase RFC 1123 subdomain (like my-job-1)"
        raise ApiError("", causes=[FieldError("metadata.name", "Invalid value", detail, key.name)])
    if key.namespace and not is_label(key.namespace):
        detail = "must be a lowercase RFC 1123 label (like my-team)"
        raise ApiError("", causes=[FieldError("metadata.namespace", "Invalid value", detail, key.namespace)])


def _existing(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]


def _is_within(path: Path, places: Collection[Path]) -> bool:
    return any(place in places for place in (path, *path.parents))


def _read_file(path: Path, fingerprint: Fingerprint) -> _File:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # what is larger is refused, not loaded
        return _File(fingerprint, tuple(parse_documents(data)))
    except ParseError as error:
        return _File(fingerprint, None, error.to_field_error())
    except OSError as error:
        # To let it be read changes nothing of its fingerprint, so it is tried again at every scan.
        return _File(None, None, FieldError("", "Invalid value", error.strerror or str(error), stage="parse"))
