"""The status directory: where what happened is written for people, for the other verbs, and for a restart.

.gitignore              the directory is not for version control
errors.yaml             files of the watched directory that yield no object
NS/JOB.yaml             the TrainJob as an API server returns it, then its TrainJobReport
NS/JOB/pods.yaml  jobset.yaml  runtime.yaml (the snapshot)  events.yaml
NS/JOB/logs/NODE.log    and NODE.previous.log
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainlet.documents.parse import ParseError, parse_documents
from trainlet.documents.write import dump_documents, write_atomic
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import JSON

TRAIN_JOB, REPORT = "TrainJob", "TrainJobReport"


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

    def read_jobs(self, namespace: str | None = None) -> Iterator[StoredJob]:
        """Yield every stored job in the order of names; a document that cannot be read is left out."""
        pattern = f"{namespace}/*.yaml" if namespace else "*/*.yaml"
        for path in sorted(self.root.glob(pattern)):
            stored = self.read_job(path.parent.name, path.stem)
            if stored is not None:
                yield stored

    def read_job(self, namespace: str, name: str) -> StoredJob | None:
        """Return one stored job, or None."""
        kinds = {str(o.get("kind")): o for o in read_objects(self.job_path(namespace, name))}
        if not kinds:
            return None
        return StoredJob(namespace, name, kinds.get(TRAIN_JOB), kinds.get(REPORT))

    def read_part(self, namespace: str, name: str, part: str) -> list[JSON]:
        """Return the objects of one of a job's files: `pods`, `jobset`, `runtime` or `events`."""
        return read_objects(self.root / namespace / name / f"{part}.yaml")

    def read_errors(self) -> list[JSON]:
        """Return what is wrong with files that yield no object."""
        return read_objects(self.root / "errors.yaml")

    def has_job(self, namespace: str, name: str) -> bool:
        """Tell whether the job's status document is there."""
        return self.job_path(namespace, name).exists()

    def has_part(self, namespace: str, name: str, part: str) -> bool:
        """Tell whether one of a job's files is there."""
        return (self.root / namespace / name / f"{part}.yaml").exists()

    def has_errors(self) -> bool:
        """Tell whether files that yield no object have been written of."""
        return (self.root / "errors.yaml").exists()

    def write_job(self, namespace: str, name: str, objects: Sequence[JSON]) -> None:
        """Write the job's status document. Raises TrainletError."""
        self._write(self.job_path(namespace, name), objects)

    def write_part(self, namespace: str, name: str, part: str, objects: Sequence[JSON]) -> None:
        """Write one of a job's files; without objects it is removed. Raises TrainletError."""
        self._write(self.root / namespace / name / f"{part}.yaml", objects)

    def write_errors(self, errors: Sequence[JSON]) -> None:
        """Write what is wrong with files that yield no object. Raises TrainletError."""
        self._write(self.root / "errors.yaml", errors)

    def forget(self, namespace: str, name: str) -> None:
        """Remove everything of a job, its kept logs included. Raises TrainletError."""
        shutil.rmtree(self.root / namespace / name, ignore_errors=True)
        self._write(self.job_path(namespace, name), ())

    def _write(self, path: Path, objects: Sequence[JSON]) -> None:
        if not self.root.exists():
            self.prepare()  # somebody removed it while we run
        try:
            if objects:
                write_atomic(path, dump_documents(objects))
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise build_write_error(error, path) from None


def read_objects(path: Path) -> list[JSON]:
    """Return the objects of a file that we wrote; none if it is not there or was damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    try:
        return [d.value for d in parse_documents(data) if isinstance(d.value, dict)]
    except ParseError:
        return []


def build_write_error(error: OSError, path: Path) -> TrainletError:
    """Say what to do about a document that cannot be written."""
    return TrainletError(
        f"cannot write status documents: {error.strerror or error}",
        where=str(path),
        remedy="make the directory writable or give another with --status-dir",
    )
