"""Jobs' directories on the host. One that holds files is never deleted here."""

import glob
from pathlib import Path

from trainlet.documents.write import write_atomic
from trainlet.kube.errors import TrainletError


def create_workspace(path: Path, owner_uid: str) -> None:
    """Make the job's directory; one that an earlier job of the name left is set aside under that job's uid.

    The owner stands in a file beside the directory, because the directory itself is the user's. A directory
    without an owner was prepared by the user for this job.
    """
    owner_file = path.parent / f".{path.name}.owner"
    try:
        owner = _read_owner(owner_file)
        if owner not in ("", owner_uid) and path.exists():
            _set_aside(path, owner)
        path.mkdir(parents=True, exist_ok=True)
        if owner != owner_uid:
            for leftover in path.parent.glob(f".{glob.escape(owner_file.name)}.*.tmp"):
                leftover.unlink(missing_ok=True)  # of an operator that was killed here
            write_atomic(owner_file, f"{owner_uid}\n")
    except OSError as error:
        raise TrainletError(
            f"cannot make the job's workspace: {error.strerror}",
            where=str(path),
            remedy="make its parent writable or give another with --workspace-dir",
        ) from None


def _read_owner(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _set_aside(path: Path, owner: str) -> None:
    if not any(path.iterdir()):
        return
    target, number = path.with_name(f"{path.name}.{owner}"), 1
    while target.exists():
        target, number = path.with_name(f"{path.name}.{owner}.{number}"), number + 1
    path.rename(target)
