"""Keeps a container's log as a file before the container goes: one line `TIME TEXT` for each of its lines."""

import os
from collections.abc import Iterator
from pathlib import Path

from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import ObjectKey, format_micro_time


class LogKeeper:
    """Writes `logs/STEP.log` of a job; the log of the attempt before becomes `STEP.previous.log`."""

    def __init__(self, engine: Engine, status_dir: StatusDir) -> None:
        self._engine, self._status_dir = engine, status_dir

    def keep(self, job: ObjectKey, container: str, step: str) -> None:
        """Write the whole log of a container that has ended."""
        path = self._status_dir.log_path(job.namespace, job.name, step)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(self._read(container))
                file.flush()
                os.fsync(file.fileno())
            self._rotate(job, step, path, temporary)
            temporary.replace(path)
        except OSError as error:
            raise TrainletError(
                f"cannot keep the log of {step}: {error.strerror}", where=str(path), remedy="free disk space there"
            ) from None

    def _read(self, container: str) -> Iterator[str]:
        for line in self._engine.read_logs(container):
            yield f"{format_micro_time(line.time)} {line.text}\n" if line.time else f"- {line.text}\n"

    def _rotate(self, job: ObjectKey, step: str, path: Path, new: Path) -> None:
        """Set the earlier attempt's log aside; a second try on the same container is not another attempt."""
        if path.exists() and _read_first_line(path) != _read_first_line(new):
            path.replace(self._status_dir.log_path(job.namespace, job.name, step, previous=True))


def _read_first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline()
