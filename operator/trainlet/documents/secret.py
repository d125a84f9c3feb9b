"""The secret that tokens and keys are derived from, and the directory it is kept in, which is its owner's alone."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from trainlet.documents.write import write_atomic
from trainlet.kube.errors import TrainletError

T = TypeVar("T")

SECRET_BYTES = 32
_FILE, _LOCK = "secret", "lock"


def load_secret(directory: Path) -> bytes:
    """Return the directory's secret, made when first asked for; all processes get the same. Raises TrainletError."""
    return load_private(directory / _FILE, lambda: os.urandom(SECRET_BYTES).hex(), _parse_secret)


def load_private(path: Path, build: Callable[[], str], parse: Callable[[bytes, Path], T]) -> T:
    """Return what a file for nobody else's eyes says, written when first asked for. Raises TrainletError."""
    with lock_private(path.parent):
        try:
            if not path.exists():
                write_atomic(path, f"{build()}\n", mode=0o600)
            return parse(path.read_bytes(), path)
        except OSError as error:
            raise build_private_error(error, path) from None


@contextmanager
def lock_private(directory: Path) -> Iterator[None]:
    """Make the directory if need be, for nobody else to enter, and hold it against other processes meanwhile.

    Raises TrainletError.
    """
    try:
        descriptor = _open_lock(directory)
    except OSError as error:
        raise build_private_error(error, directory) from None
    try:
        yield
    finally:
        os.close(descriptor)


def build_private_error(error: OSError, path: Path) -> TrainletError:
    """Say what to do about a key or secret that cannot be read or kept."""
    what = f"cannot keep keys and secrets: {error.strerror or error}"
    remedy = "make the directory writable for the user who runs trainlet, or give another with --status-dir"
    return TrainletError(what, where=str(path), remedy=remedy)


def _open_lock(directory: Path) -> int:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        directory.chmod(0o700)
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _parse_secret(data: bytes, path: Path) -> bytes:
    try:
        secret = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        remedy = "restore the file, or remove it: running jobs then cannot report their progress any more"
        raise TrainletError("the secret is damaged", where=str(path), remedy=remedy)
    return secret
