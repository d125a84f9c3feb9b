"""The watched directory -> the registry. Watch events only wake it up; what counts is what a rescan finds.

A file that no longer parses or admits, or that is not to be believed, keeps its last good objects. Of two files
with one name the first keeps it. A directory that cannot be listed deletes nothing. No value of a Secret is told.

What events hint at is looked at alone, and everything once in a while and before anything is deleted. A look costs
what has changed, not what there is.
"""

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from trainlet.admission.core_kinds import CLAIM, OBJECT_KINDS
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.controller.deletions import FEWEST_FOR_MASS, Absence, DeletionGuard
from trainlet.controller.directory_watch import DirectoryWatch
from trainlet.controller.error_document import ErrorDocument, Errors
from trainlet.controller.manifest_file import Entry, Reader, build_hash, build_unread
from trainlet.controller.manifest_index import ManifestIndex
from trainlet.controller.metrics import SCAN_DURATION, WATCHED_FILES
from trainlet.documents.locate import locate, write_errors
from trainlet.documents.parse import Document
from trainlet.documents.scan import Identity, Listing, scan_directory, scan_files
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import ApiError, FieldError, TrainletError
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.kube.names import is_label
from trainlet.planning.status import is_finished
from trainlet.registry import Registry, Source

log = logging.getLogger(__name__)

#: Events get lost, and a job that is still being deleted is asked for again.
RESCAN_SECONDS = 3.0
#: To list 10,000 files takes some 60 ms: more than this part of the time is not spent on it,
LISTING_SHARE = 0.002
#: unless nothing would be seen for longer.
LONGEST_RESCAN_SECONDS = 30.0
#: An editor's way from the old file to the new one; to take the gap for a deletion would end the job.
SAVING_SECONDS = 0.1
#: A file that is written in parts is for a while without the objects of the last part; one that an editor has open
#: may be long under way on a slow disk.
WRITING_SECONDS = 1.0
#: What Vim and Emacs keep beside a file: its backup while it is saved, and that they have it open.
_EDITORS_FILES = ("{}~", ".{}.swp", ".#{}", "#{}#")


@dataclass(frozen=True)
class _Look:
    """One look at the files: in which directory it was, and which of them are not as they were."""

    root: Identity
    is_patient: bool
    changed: frozenset[Path] = frozenset()


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
        self._registry, self._wake = registry, wake
        self._guard, self._monotonic = DeletionGuard(deletion_grace_seconds, monotonic), monotonic
        self._looked_at = monotonic()
        self._recheck_seconds = RESCAN_SECONDS
        self._whole_due = float("-inf")
        self._seen_root: Identity | None = None
        self._reader, self._index = Reader(root, registry, trusting), ManifestIndex()
        self._listing: Listing | None = None
        self._owners: dict[ObjectKey, Source] = {}
        self._unnamed: set[ObjectKey] = set()
        self._touched: set[ObjectKey] = set()
        self._applied: dict[ObjectKey, bytes] = {}
        self._pending: dict[ObjectKey, tuple[object, ...]] = {}
        self._refusals: dict[ObjectKey, tuple[str, list[FieldError]]] = {}
        self._errors = ErrorDocument(status_dir)
        self._foreign: set[tuple[Path, str]] = set()
        self._root_problem = ""
        self._lock = threading.RLock()
        self._watch = DirectoryWatch(root, self._list_directories, self._scan_safely)

    def start(self) -> None:
        """Take over what is stored, look once at everything, then start to follow."""
        self.take_over()
        self._watch.start()

    def take_over(self) -> None:
        """Bring what an earlier run stored up to the directory, without following it."""
        for key in self._registry.list_told():
            self._owners[key] = source = self._registry.find_source(key) or Source("", 0)
            if source.digest and self._registry.store.is_away(key):
                self._reader.settled[source.file] = (key, source)
        self._unnamed = set(self._owners)
        self.scan()
        self._reader.settled.clear()
        self._registry.settle()

    @property
    def age_seconds(self) -> float:
        """How long ago the directory was last looked at."""
        return self._monotonic() - self._looked_at

    @property
    def root_problem(self) -> str:
        """Why the directory cannot be read, or nothing."""
        return self._root_problem

    def stop(self, timeout_seconds: float) -> None:
        """Stop following."""
        self._watch.stop(timeout_seconds)

    def find_source(self, key: ObjectKey) -> Source | None:
        """Return which document an object is made of, or is to be made of once it is not refused any more."""
        with self._lock:
            entry = self._choose(key)
        return entry.source if entry is not None else None

    def catch_up(self, file: Path) -> None:
        """Bring all objects of a file up to it, as it is now."""
        self.scan({file}, patient=True)

    def take_in(self, file: Path, key: ObjectKey) -> str:
        """Bring an object up to a file that is written just now; return why that cannot be, or nothing.

        If the file does not name it any more, it is deleted at once: nobody saves it, and no disk is away.
        """
        with self._lock:
            self.scan({file}, patient=True, given_up=key)
            reading = self._index.files.get(file)
            problems = [*(reading.errors if reading is not None else ()), *self._refusals.get(key, ("", []))[1]]
        return self._root_problem or "; ".join(map(str, problems))

    def scan(
        self, hints: Collection[Path] | None = None, *, patient: bool = False, given_up: ObjectKey | None = None
    ) -> None:
        """Bring the registry up to the directory. Raises TrainletError when that cannot be written down.

        With `hints` only to these files, where that is enough. A `patient` scan leaves time for a file to be saved
        before it takes what is missing for deleted, but for what is `given_up`.
        """
        with self._lock:
            look = self._look_at(hints, patient) if hints is not None else None
            self._give_up(given_up)
            if look is None or self._list_missing():
                look = self._look_at_all(patient, look.changed if look is not None else frozenset())
                self._give_up(given_up)
            if look is not None:
                self._sync(look)

    def _give_up(self, key: ObjectKey | None) -> None:
        if key in self._unnamed and not self._is_held(self._owners[key]):
            self._delete(key)

    def _look_at(self, hints: Collection[Path], patient: bool) -> _Look | None:
        """Read some files; None where everything has to be looked at."""
        if self._listing is None or self._monotonic() >= self._whole_due:
            return None
        try:
            listing = scan_files(hints, self._root, self._listing, trusting=self._trusting)
        except OSError:
            return None
        gone = [path for path in hints if path in self._index.files] if listing is not None else []
        return self._read(listing, gone, _Look(listing.identity, patient)) if listing is not None else None

    def _look_at_all(self, patient: bool, changed: frozenset[Path]) -> _Look | None:
        """Read all files that are not as they were; None if they cannot be listed. `changed` are read already."""
        begun = self._monotonic()
        try:
            listing = scan_directory(self._root, self._excluded, trusting=self._trusting, before=self._listing)
        except OSError as error:
            self._note_root(f"cannot list {self._root}: {error.strerror}; nothing is deleted until it is back")
            return None
        self._note_root("")
        seconds = (self._monotonic() - begun) / LISTING_SHARE
        self._registry.write_all_owed()
        self._whole_due = begun + min(max(RESCAN_SECONDS, seconds), LONGEST_RESCAN_SECONDS)
        self._listing = listing
        return self._read(listing, list(self._index.files), _Look(listing.identity, patient, changed))

    def _list_directories(self) -> dict[Path, int]:
        return self._listing.directories if self._listing is not None else {}

    def _note_root(self, problem: str) -> None:
        if problem and problem != self._root_problem:
            log.warning("%s", problem)
        self._root_problem = problem

    def _read(self, listing: Listing, known: Iterable[Path], look: _Look) -> _Look:
        """Read what is not as it was; of the `known` files what is not listed is gone."""
        index, touched = self._index, self._touched
        for path in [path for path in known if path not in listing.files and not _is_within(path, listing.problems)]:
            touched |= index.remove(path)
        files = index.files
        changed = [path for path, seen in listing.files.items() if path not in files or files[path].fingerprint != seen]
        for path in changed:
            file, documents = self._reader.read(path, listing.files[path])
            touched |= index.put(path, file, documents)
            for kind in file.foreign:
                self._note_foreign(path, kind)
        for path, problem in listing.problems.items():
            touched |= index.put(path, build_unread(problem), {})
        WATCHED_FILES.set(len(index.files))
        for key in touched & self._owners.keys():
            (self._unnamed.discard if index.find(key) else self._unnamed.add)(key)
        return replace(look, changed=look.changed.union(changed))

    def _sync(self, look: _Look) -> None:
        notice = self._delete_missing(look)
        # Jobs last: one that comes together with its runtime or its Secret finds it.
        for are_jobs in (False, True):
            due = [key for key, grounds in self._pending.items() if grounds != self._registry.get_grounds(key)]
            for key in sorted(key for key in {*self._touched, *due} if (key.kind == TRAIN_JOB) is are_jobs):
                self._settle(key)
                self._touched.discard(key)
        self._errors.write(self._collect_errors(notice))

    def _note_foreign(self, path: Path, kind: str) -> None:
        if (path, kind) not in self._foreign:
            self._foreign.add((path, kind))
            log.info("%s: a %s is nothing to trainlet and is ignored", path, kind)

    def _choose(self, key: ObjectKey) -> Entry | None:
        """Return which document an object is made of: of several the one that has the name, else the first."""
        entries = self._index.find(key)
        owner = self._owners.get(key)
        return next((entry for entry in entries if entry.source == owner), entries[0] if entries else None)

    def _settle(self, key: ObjectKey) -> None:
        """Bring one object up to its document."""
        self._pending.pop(key, None)
        self._refusals.pop(key, None)
        entry = self._choose(key)
        document = self._index.documents.get(entry.source) if entry is not None else None
        if entry is None or document is None:
            return  # nothing names it, or what does is stored
        if entry.problem is not None:
            self._applied.pop(key, None)
            self._refusals[key] = (entry.source.file, locate([entry.problem], document))
            return
        digest = build_hash(document.value)
        if self._applied.get(key) != digest or self._owners.get(key) != entry.source:
            self._apply(entry, document, digest)
        else:
            self._index.documents.pop(entry.source)

    def _apply(self, entry: Entry, document: Document, digest: bytes) -> None:
        key = entry.key
        try:
            admitted = self._registry.apply(document.value, entry.source)
        except ApiError as error:
            self._refuse(entry, document, error)
            return
        except TrainletError as error:
            self._pending[key] = ()
            self._refusals[key] = (entry.source.file, [FieldError("", "Internal error", str(error))])
            return
        for warning in admitted.warnings:
            log.warning("%s (%s): %s", key, entry.source.file, warning)
        self._owners[key] = entry.source
        if admitted.replaces:  # what only made room for itself is asked for again
            self._pending[key] = ()
        else:
            self._applied[key] = digest
            self._index.documents.pop(entry.source)
        self._wake_jobs(key)

    def _refuse(self, entry: Entry, document: Document, error: ApiError) -> None:
        """Say why, and judge it again when what it was judged by is not the same any more."""
        key = entry.key
        self._applied.pop(key, None)
        self._pending[key] = self._registry.get_grounds(key)
        causes = locate(error.list_causes(), document)
        if key.kind == TRAIN_JOB and is_label(key.name):
            self._owners.setdefault(key, entry.source)
            self._registry.reject(key, entry.source, error, write_errors(causes))
        else:
            self._refusals[key] = (entry.source.file, causes)

    def _list_missing(self) -> list[ObjectKey]:
        """Return what no file names any more; an unclear file still holds what it named."""
        return [key for key in self._unnamed if not self._is_held(self._owners[key])]

    def _delete_missing(self, look: _Look) -> str:
        """Delete what is missing, unless the guard keeps it; return what is to be told of that."""
        missing = {key: self._get_absence(self._owners[key], look) for key in self._list_missing()}
        running = self._list_running() if 2 * len(missing) > FEWEST_FOR_MASS else frozenset()
        is_moved, self._seen_root = look.root != self._seen_root, look.root
        present = self._index.list_keys() if is_moved else {key for key in self._touched if self._index.find(key)}
        verdict = self._guard.judge(present, missing, running, look.root)
        self._recheck_seconds = min(RESCAN_SECONDS, verdict.recheck_seconds)
        # Jobs first: one that goes together with its Secret does not miss it.
        for key in sorted(missing, key=lambda key: (key.kind != TRAIN_JOB, key)):
            if key in verdict.due:
                self._delete(key)
            else:
                log.debug("%s: its manifest is away, an editor may be saving it", key)
        return verdict.notice

    def _is_held(self, source: Source) -> bool:
        unclear = self._index.unclear
        return bool(unclear) and (self._root in unclear or _is_within(Path(source.file), unclear))

    def _get_absence(self, source: Source, look: _Look) -> Absence:
        path = Path(source.file)
        if not look.is_patient:
            return Absence()
        is_written = path in self._index.files or _is_edited(path)
        return Absence(WRITING_SECONDS if is_written else SAVING_SECONDS, path in look.changed)

    def _list_running(self) -> frozenset[ObjectKey]:
        """Return the jobs that have anything to lose."""
        return frozenset(key for key, job in self._list_unfinished() if not job["spec"].get("suspend"))

    def _list_unfinished(self) -> list[tuple[ObjectKey, JSON]]:
        jobs = ((key, self._registry.store.get(key)) for key in self._registry.list_awake())
        return [(key, job) for key, job in jobs if job is not None and not _is_over(job)]

    def _delete(self, key: ObjectKey) -> None:
        source = self._owners.pop(key)
        self._unnamed.discard(key)
        log.info("%s: its manifest is gone (%s)", key, source.file)
        self._applied.pop(key, None)
        self._registry.delete(key)
        if key.kind == CLAIM:
            log.info("%s: its volume stays on the engine, with all that is in it", key)
        self._wake_jobs(key)

    def _wake_jobs(self, key: ObjectKey) -> None:
        """Wake a job, or all that may wait for an object; who waits for a runtime is asked again at every scan."""
        if key.kind == TRAIN_JOB:
            self._wake(key)
        elif key.kind in OBJECT_KINDS:
            for job, _ in self._list_unfinished():
                if job.namespace == key.namespace:
                    self._wake(job)

    def _collect_errors(self, notice: str) -> Errors:
        errors: defaultdict[str, list[FieldError]] = defaultdict(list)
        for path in sorted(self._index.troubled):
            errors[str(path)].extend(self._index.files[path].errors)
        for key in sorted(self._index.contested):
            winner = self._choose(key)
            for loser in self._index.find(key):
                if winner is not None and loser is not winner:
                    detail = f"{key} is already defined in {winner.source.file}: rename one of them"
                    error = FieldError("metadata.name", "Duplicate value", detail, key.name, stage="parse")
                    errors[loser.source.file].extend(locate([error], self._index.documents[loser.source]))
        if notice:
            errors[str(self._root)].append(FieldError("", "Forbidden", notice, stage="parse"))
        for file, found in self._refusals.values():
            errors[file].extend(found)
        return errors

    def _scan_safely(self, hints: frozenset[Path] | None) -> float:
        """Scan whatever happens, and return in how many seconds to scan again."""
        try:
            with SCAN_DURATION.timing():
                self.scan(hints, patient=True)
        except TrainletError as error:
            log.warning("%s; looking again at the next change", error)
        except Exception:
            log.exception("a scan of %s ended in a bug of trainlet; the next one follows", self._root)
        self._looked_at = self._monotonic()
        return self._recheck_seconds


def _is_within(path: Path, places: Collection[Path]) -> bool:
    return any(place in places for place in (path, *path.parents))


def _is_edited(path: Path) -> bool:
    """Tell whether an editor seems to have a file open."""
    return any(os.path.lexists(path.with_name(name.format(path.name))) for name in _EDITORS_FILES)


def _is_over(job: JSON) -> bool:
    """Tell whether a job has ended or is to go."""
    return is_finished(job.get("status") or {}) or bool(get_metadata(job).get("deletionTimestamp"))
