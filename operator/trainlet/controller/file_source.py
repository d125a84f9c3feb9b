"""The watched directory -> the registry. Watch events only wake it up; what counts is what a rescan finds.

A file that no longer parses or admits, or that is not to be believed, keeps its last good objects. Of two files
with one name the first keeps it. A directory that cannot be listed deletes nothing.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.controller.deletions import Absence, DeletionGuard
from trainlet.controller.directory_watch import DirectoryWatch
from trainlet.controller.manifest_file import ManifestFile, build_unread, identify_document, read_file
from trainlet.documents.locate import locate, write_errors
from trainlet.documents.parse import Document
from trainlet.documents.scan import Identity, Listing, scan_directory
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import ApiError, FieldError, TrainletError
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.kube.names import is_label
from trainlet.planning.status import is_finished
from trainlet.registry import Registry, Source, describe_errors

log = logging.getLogger(__name__)

#: A look costs 29 ms for 10,000 files; events get lost, and a job that is still being deleted is asked for again.
RESCAN_SECONDS = 3.0
#: An editor's way from the old file to the new one; to take the gap for a deletion would end the job.
SAVING_SECONDS = 0.25
#: A file that is written in parts is for a while without the objects of the last part.
WRITING_SECONDS = 1.0


@dataclass(frozen=True)
class _Entry:
    """One document that names an object of ours."""

    key: ObjectKey
    source: Source
    document: Document


@dataclass
class _Look:
    """What one look at the files finds; a file in `unclear` may still hold what it held."""

    root: Identity
    changed: frozenset[Path]
    is_patient: bool
    entries: dict[ObjectKey, _Entry] = field(default_factory=dict)
    errors: defaultdict[str, list[FieldError]] = field(default_factory=lambda: defaultdict(list))
    unclear: set[Path] = field(default_factory=set)


class FileSource:
    """Follows one directory in a thread of its own; `wake` is called with the key of every job that changed."""

    def __init__(
        self,
        root: Path,
        excluded: Iterable[Path],
        registry: Registry,
        status_dir: StatusDir,
        wake: Callable[[ObjectKey], None],
        *,
        trusting: bool = False,
        deletion_grace_seconds: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._excluded, self._trusting = root, frozenset(excluded), trusting
        self._registry, self._status_dir, self._wake = registry, status_dir, wake
        self._guard = DeletionGuard(deletion_grace_seconds, monotonic)
        self._recheck_seconds = RESCAN_SECONDS
        self._files: dict[Path, ManifestFile] = {}
        self._owners: dict[ObjectKey, Source] = {}
        self._applied: dict[Source, JSON] = {}
        self._errors: list[JSON] = []
        self._told: set[str] = set()
        self._foreign: set[tuple[Path, str]] = set()
        self._directories: dict[Path, int] = {}
        self._root_problem = ""
        self._watch = DirectoryWatch(root, lambda: self._directories, self._scan_safely)

    def start(self) -> None:
        """Take over what is stored, look once at everything, then start to follow."""
        self.take_over()
        self._watch.start()

    def take_over(self) -> None:
        """Bring what an earlier run stored up to the directory, without following it."""
        for key in self._registry.list_told():
            self._owners[key] = self._registry.find_source(key) or Source("", 0)
        self.scan()

    def stop(self, timeout_seconds: float) -> None:
        """Stop following."""
        self._watch.stop(timeout_seconds)

    def scan(self, *, patient: bool = False) -> None:
        """Bring the registry up to the directory. Raises TrainletError when that cannot be written down.

        A `patient` scan leaves time for a file to be saved before it takes what is missing for deleted.
        """
        self._recheck_seconds = RESCAN_SECONDS
        listing = self._list()
        if listing is not None:
            look = _Look(listing.identity, self._read_changes(listing), patient)
            self._sync(look)

    def _list(self) -> Listing | None:
        try:
            listing = scan_directory(self._root, self._excluded, trusting=self._trusting)
        except OSError as error:
            self._note_root(f"cannot list {self._root}: {error.strerror}; nothing is deleted until it is back")
            return None
        self._note_root("")
        self._directories = listing.directories
        return listing

    def _note_root(self, problem: str) -> None:
        if problem and problem != self._root_problem:
            log.warning("%s", problem)
        self._root_problem = problem

    def _read_changes(self, listing: Listing) -> frozenset[Path]:
        """Read what is not as it was, and return which files that are."""
        for path in set(self._files) - set(listing.files):
            if not _is_within(path, listing.problems):
                del self._files[path]
        known = {path: file.fingerprint for path, file in self._files.items()}
        changed = frozenset(path for path, seen in listing.files.items() if known.get(path) != seen)
        for path in changed:
            self._files[path] = read_file(path, self._root, listing.files[path], trusting=self._trusting)
        for path, problem in listing.problems.items():
            self._files[path] = build_unread(problem)
        return changed

    def _sync(self, look: _Look) -> None:
        for path in sorted(self._files):
            self._take(path, self._files[path], look)
        self._delete_missing(look)
        # Runtimes first: a job that comes together with its runtime finds it.
        for entry in sorted(look.entries.values(), key=lambda e: (e.key.kind == TRAIN_JOB, e.key)):
            self._apply(entry, look.errors)
        self._write_errors(look.errors)

    def _take(self, path: Path, file: ManifestFile, look: _Look) -> None:
        """Take what a file names into the look; a document that names nothing may be any of those it held."""
        if file.problem is not None:
            look.errors[str(path)].append(file.problem)
        if file.documents is None:
            look.unclear.add(path)
        for document in file.documents or ():
            try:
                key = identify_document(document, self._registry)
            except ApiError as error:
                look.unclear.add(path)
                look.errors[str(path)].extend(locate(describe_errors(error), document))
                continue
            if key is None:
                self._note_foreign(path, document.value)
            else:
                self._claim(_Entry(key, Source(str(path), document.index), document), look)

    def _note_foreign(self, path: Path, value: JSON) -> None:
        kind = f"{value['kind']} ({value['apiVersion']})"
        if (path, kind) not in self._foreign:
            self._foreign.add((path, kind))
            log.info("%s: a %s is nothing to trainlet and is ignored", path, kind)

    def _claim(self, entry: _Entry, look: _Look) -> None:
        """Give the name to the file that has it already, else to the first; refuse the other by name."""
        rival = look.entries.get(entry.key)
        if rival is None:
            look.entries[entry.key] = entry
            return
        owner = self._owners.get(entry.key)
        winner, loser = (entry, rival) if owner == entry.source else (rival, entry)
        look.entries[entry.key] = winner
        detail = f"{entry.key} is already defined in {winner.source.file}: rename one of them"
        error = FieldError("metadata.name", "Duplicate value", detail, entry.key.name, stage="parse")
        look.errors[loser.source.file].extend(locate([error], loser.document))

    def _apply(self, entry: _Entry, errors: defaultdict[str, list[FieldError]]) -> None:
        if self._applied.get(entry.source) == entry.document.value and self._owners.get(entry.key) == entry.source:
            return
        try:
            admitted = self._registry.apply(entry.document.value, entry.source)
        except ApiError as error:
            self._refuse(entry, error, errors)
            return
        except TrainletError as error:
            errors[entry.source.file].append(FieldError("", "Internal error", str(error)))
            return
        for warning in admitted.warnings:
            log.warning("%s (%s): %s", entry.key, entry.source.file, warning)
        self._owners[entry.key] = entry.source
        if not admitted.replaces:  # what only made room for itself is asked for again
            self._applied[entry.source] = entry.document.value
        self._wake_job(entry.key)

    def _refuse(self, entry: _Entry, error: ApiError, errors: defaultdict[str, list[FieldError]]) -> None:
        self._applied.pop(entry.source, None)
        causes = locate(describe_errors(error), entry.document)
        if entry.key.kind == TRAIN_JOB and is_label(entry.key.name):
            self._owners.setdefault(entry.key, entry.source)
            self._registry.reject(entry.key, entry.source, error, write_errors(causes))
        else:
            errors[entry.source.file].extend(causes)

    def _delete_missing(self, look: _Look) -> None:
        """Delete what no file names any more, unless the guard keeps it; an unclear file still holds what it named."""
        missing = {
            key: self._get_absence(source, look)
            for key, source in self._owners.items()
            if key not in look.entries and not self._is_held(source, look)
        }
        running = self._list_running() if missing else frozenset()
        verdict = self._guard.judge(look.entries.keys(), missing, running, look.root)
        self._recheck_seconds = min(RESCAN_SECONDS, verdict.recheck_seconds)
        if verdict.notice:
            look.errors[str(self._root)].append(FieldError("", "Forbidden", verdict.notice, stage="parse"))
        for key in sorted(missing):
            if key in verdict.due:
                self._delete(key)
            else:
                log.debug("%s: its manifest is away, an editor may be saving it", key)

    def _is_held(self, source: Source, look: _Look) -> bool:
        return self._root in look.unclear or _is_within(Path(source.file), look.unclear)

    def _get_absence(self, source: Source, look: _Look) -> Absence:
        path = Path(source.file)
        if not look.is_patient:
            return Absence()
        return Absence(WRITING_SECONDS if path in self._files else SAVING_SECONDS, path in look.changed)

    def _list_running(self) -> frozenset[ObjectKey]:
        jobs = ((key, self._registry.store.get(key) or {}) for key in self._registry.list_jobs())
        return frozenset(key for key, job in jobs if _is_running(job))

    def _delete(self, key: ObjectKey) -> None:
        source = self._owners.pop(key)
        log.info("%s: its manifest is gone (%s)", key, source.file)
        self._applied.pop(source, None)
        self._registry.delete(key)
        self._wake_job(key)

    def _wake_job(self, key: ObjectKey) -> None:
        """Wake a job; a runtime has nothing to reconcile, and who waits for it is asked again at every scan."""
        if key.kind == TRAIN_JOB:
            self._wake(key)

    def _write_errors(self, errors: Mapping[str, list[FieldError]]) -> None:
        written = [{"file": file, "errors": write_errors(found)} for file, found in sorted(errors.items())]
        if written == self._errors and self._status_dir.has_errors() == bool(written):
            return
        lines = [f"{_render_place(file, e)}: {e}" for file, found in sorted(errors.items()) for e in found]
        for line in lines:
            if line not in self._told:
                log.warning("%s", line)
        self._errors, self._told = written, set(lines)
        self._status_dir.write_errors(written)

    def _scan_safely(self) -> float:
        """Scan whatever happens, and return in how many seconds to scan again."""
        try:
            self.scan(patient=True)
        except TrainletError as error:
            log.warning("%s; looking again at the next change", error)
        except Exception:
            log.exception("a scan of %s ended in a bug of trainlet; the next one follows", self._root)
        return self._recheck_seconds


def _render_place(file: str, error: FieldError) -> str:
    return file if error.line is None else f"{file}:{error.line}:{error.column}"


def _is_within(path: Path, places: Collection[Path]) -> bool:
    return any(place in places for place in (path, *path.parents))


def _is_running(job: JSON) -> bool:
    """Tell whether a job has anything to lose."""
    is_over = is_finished(job.get("status") or {}) or bool(get_metadata(job).get("deletionTimestamp"))
    return bool(job) and not is_over and not job["spec"].get("suspend")
