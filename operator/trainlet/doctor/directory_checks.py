"""Checks of the watched directory and of who works on it."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from trainlet.doctor.machine import Finding, Machine, fail, find_existing, ok, warn


def check_directory(machine: Machine) -> Iterator[Finding]:
    """Say whether manifests can be read and status documents written."""
    settings = machine.settings
    if not settings.dir.is_dir():
        yield fail(f"there is no directory {settings.dir}", "make it, or give another with --dir")
        return
    if os.access(settings.dir, os.R_OK | os.X_OK):
        yield ok(f"{settings.dir} can be read")
    else:
        yield fail(f"{settings.dir} cannot be read", "let this user read and enter the directory")
    for path, flag in ((settings.status_path, "--status-dir"), (settings.workspace_path, "--workspace-dir")):
        existing = find_existing(path)
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            yield ok(f"{path} can be written")
        else:
            yield fail(f"{path} cannot be written", f"make {existing} writable, or give another with {flag}")


def check_operator(machine: Machine) -> Iterator[Finding]:
    """Say whether an operator works on the directory."""
    directory = machine.settings.dir
    holder = _find_holder(machine.settings.status_path / ".lock")
    if holder is not None:
        yield ok(f"an operator works on {directory} (process {holder})")
    else:
        yield warn(f"no operator works on {directory}", f"start it: trainlet run {directory}")


def _find_holder(path: Path) -> str | None:
    """Return the process that holds the lock, or None."""
    try:
        file = path.open(encoding="utf-8")
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None
