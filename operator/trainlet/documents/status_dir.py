"""The status directory: where what happened is written for people, for the other verbs, and for a restart.

.gitignore              the directory is not for version control
errors.yaml             files of the watched directory that yield no object
NS/JOB.yaml             the TrainJob as an API server returns it, then its TrainJobReport
NS/JOB/pods.yaml  jobset.yaml  runtime.yaml (the snapshot)  events.yaml
NS/JOB/logs/NODE.log    and NODE.previous.log
.finished               what the lists of finished jobs are quick by (see skim_index.py); it may be removed
.objects/KIND/NS/NAME.yaml  what is known of a runtime, ConfigMap, Secret or claim that its manifest does not say
"""

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainlet.documents.skim import Unclear
from trainlet.documents.skim_index import SkimIndex
from trainlet.kube.digests import hash_text
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import JSON, ObjectKey

KEPT = ".objects"
#: A file's name may have 255 bytes, a temporary one's too.
_LONGEST_NAME = 200
TRAIN_JOB, REPORT = "TrainJob", "TrainJobReport"
_FULL, _FREE_SPACE = (errno.ENOSPC, errno.EDQUOT), "free disk space there: jobs wait until they can be written down"


@dataclass(frozen=True)
class StoredJob:
    """What the directory holds of one job. `job` is None for one that was never accepted."""

    namespace: str
    name: str
    job: JSON | None
    report: JSON | None


class StatusDir:
    """Reads and writes one status directory. Writers do not share a job; readers may come at any time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the directory and keep it out of version control. Raises TrainletError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            from trainlet.documents.write import write_atomic

            ignore = self.root / ".gitignore"
            if not ignore.exists():
                write_atomic(ignore, "*\n")
        except OSError as error:
            raise build_write_error(error, self.root) from None

    def job_path(self, namespace: str, name: str) -> Path:
        """Return the path of the job's status document."""
        return self.root / namespace / f"{name}.yaml"

    def log_path(self, namespace: str, name: str, step: str, *, previous: bool = False) -> Path:
        """Return the path of a node's kept log."""
        return self.root / namespace / name / "logs" / (f"{step}.previous.log" if previous else f"{step}.log")

    def list_jobs(self, namespace: str | None = None) -> Iterator[tuple[str, str]]:
        """Yield the namespaces and names of all documents in their order."""
        for each in [namespace] if namespace else _list_names(self.root):
            for file in _list_names(self.root / each):
                if file.endswith(".yaml"):
                    yield each, file.removesuffix(".yaml")

    def read_jobs(self, namespace: str | None = None) -> Iterator[StoredJob]:
        """Yield every stored job in the order of names; a document that cannot be read is left out."""
        for place in self.list_jobs(namespace):
            stored = self.read_job(*place)
            if stored is not None:
                yield stored

    def read_job(self, namespace: str, name: str) -> StoredJob | None:
        """Return one stored job, or None."""
        return _sort(namespace, name, read_objects(self.job_path(namespace, name)))

    def get_job(self, namespace: str, name: str) -> StoredJob | None:
        """Return one stored job, or None if it is not there. Raises TrainletError for one that cannot be read."""
        return _sort(namespace, name, get_objects(self.job_path(namespace, name)))

    def skim_jobs(self, namespace: str | None = None) -> Iterator[StoredJob]:
        """Yield every stored job as `read_jobs` does, with a few fields of each where that is quicker (see skim.py)."""
        index = SkimIndex(self.root).read()
        for place in self.list_jobs(namespace):
            try:
                stored = _sort(*place, index.skim(place))
            except (OSError, ValueError, Unclear):
                stored = self.read_job(*place)
            if stored is not None:
                yield stored

    def index_job(self, namespace: str, name: str) -> None:
        """Make the next skim of a finished job's document a quick one."""
        SkimIndex(self.root).add((namespace, name))

    def index_jobs(self, places: Sequence[tuple[str, str]]) -> None:
        """Do the same for all finished jobs there are."""
        SkimIndex(self.root).read().bring_up(places)

    def read_text(self, namespace: str, name: str) -> bytes:
        """Return a job's status document as it is; nothing if it cannot be read."""
        try:
            return self.job_path(namespace, name).read_bytes()
        except OSError:
            return b""

    def read_part(self, namespace: str, name: str, part: str) -> list[JSON]:
        """Return the objects of one of a job's files: `pods`, `jobset`, `runtime` or `events`."""
        return read_objects(self._part_path(namespace, name, part))

    def get_part(self, namespace: str, name: str, part: str) -> list[JSON]:
        """Return the same, none if the file is not there. Raises TrainletError for one that cannot be read."""
        return get_objects(self._part_path(namespace, name, part))

    def has_in_part(self, namespace: str, name: str, part: str, sought: bytes) -> bool:
        """Tell whether one of a job's files has these bytes anywhere; one that cannot be read has."""
        try:
            return sought in self._part_path(namespace, name, part).read_bytes()
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def read_errors(self) -> list[JSON]:
        """Return what is wrong with files that yield no object."""
        return read_objects(self.root / "errors.yaml")

    def has_job(self, namespace: str, name: str) -> bool:
        """Tell whether the job's status document is there."""
        return self.job_path(namespace, name).exists()

    def has_part(self, namespace: str, name: str, part: str) -> bool:
        """Tell whether one of a job's files is there."""
        return self._part_path(namespace, name, part).exists()

    def has_errors(self) -> bool:
        """Tell whether files that yield no object have been written of."""
        return (self.root / "errors.yaml").exists()

    def write_job(self, namespace: str, name: str, objects: Sequence[JSON]) -> None:
        """Write the job's status document. Raises TrainletError."""
        self._write(self.job_path(namespace, name), objects)

    def write_text(self, namespace: str, name: str, text: bytes) -> None:
        """Write a job's status document as `read_text` gave it. Raises TrainletError."""
        self._write_text(self.job_path(namespace, name), text.decode())

    def write_part(self, namespace: str, name: str, part: str, objects: Sequence[JSON]) -> None:
        """Write one of a job's files; without objects it is removed. Raises TrainletError."""
        self._write(self._part_path(namespace, name, part), objects)

    def write_errors(self, errors: Sequence[JSON]) -> None:
        """Write what is wrong with files that yield no object. Raises TrainletError."""
        self._write(self.root / "errors.yaml", errors)

    def read_kept(self) -> Iterator[JSON]:
        """Yield what is known of every object that is no job; a document that cannot be read is left out."""
        for path in sorted((self.root / KEPT).rglob("*.yaml")):
            yield from read_objects(path)

    def write_kept(self, key: ObjectKey, known: Sequence[JSON]) -> None:
        """Write what is known of an object; without anything known its document is removed. Raises TrainletError."""
        name = key.name
        if len(name) > _LONGEST_NAME:
            name = f"{name[:_LONGEST_NAME]}-{hash_text(name)[:16]}"
        self._write(self.root / KEPT / key.kind / key.namespace / f"{name}.yaml", known)

    def forget(self, namespace: str, name: str) -> None:
        """Remove everything of a job, its kept logs included. Raises TrainletError."""
        import shutil  # loads what packs archives, and those who only read need none

        shutil.rmtree(self.root / namespace / name, ignore_errors=True)
        self._write(self.job_path(namespace, name), ())

    def _part_path(self, namespace: str, name: str, part: str) -> Path:
        return self.root / namespace / name / f"{part}.yaml"

    def _write(self, path: Path, objects: Sequence[JSON]) -> None:
        from trainlet.documents.write import dump_documents  # YAML takes its time to import

        self._write_text(path, dump_documents(objects) if objects else "")

    def _write_text(self, path: Path, text: str) -> None:
        from trainlet.documents.write import write_atomic  # as above

        if not self.root.exists():
            self.prepare()  # somebody removed it while we run
        try:
            if text:
                write_atomic(path, text)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise build_write_error(error, path) from None


def read_objects(path: Path) -> list[JSON]:
    """Return the objects of a file that we wrote; none if it is not there or was damaged."""
    try:
        return get_objects(path)
    except TrainletError:
        return []


def get_objects(path: Path) -> list[JSON]:
    """Return the objects of a file that we wrote; none if it is not there. Raises TrainletError."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        what = f"cannot read a status document: {error.strerror or error}"
        raise TrainletError(what, where=str(path), remedy="make it readable") from None
    from trainlet.documents.parse import ParseError, parse_documents  # as above

    try:
        found = [d.value for d in parse_documents(data) if isinstance(d.value, dict)]
        problem = "" if found else "there is no object in it"
    except ParseError as error:
        problem = error.what
    if problem:
        what = f"a status document is damaged: {problem}"
        raise TrainletError(what, where=str(path), remedy="restore it, or remove it")
    return found


def _list_names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return []


def _sort(namespace: str, name: str, objects: Sequence[JSON]) -> StoredJob | None:
    kinds = {str(each.get("kind")): each for each in objects}
    return StoredJob(namespace, name, kinds.get(TRAIN_JOB), kinds.get(REPORT)) if kinds else None


def build_write_error(error: OSError, path: Path) -> TrainletError:
    """Say what to do about a document that cannot be written."""
    return TrainletError(
        f"cannot write status documents: {error.strerror or error}",
        where=str(path),
        remedy=_FREE_SPACE if error.errno in _FULL else "make the directory writable or give another with --status-dir",
    )
