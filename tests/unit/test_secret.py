"""The secret of a status directory: one for all who ask, private, whole or not there."""

import fcntl
import multiprocessing
import stat
import threading
from pathlib import Path

import pytest

from trainlet.documents.secret import SECRET_BYTES, load_secret, lock_private
from trainlet.kube.errors import TrainletError

SPAWN = multiprocessing.get_context("spawn")


def get_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_once(tmp_path: Path) -> None:
    secret = load_secret(tmp_path / "a" / "keys")
    assert len(secret) == SECRET_BYTES
    assert load_secret(tmp_path / "a" / "keys") == secret
    assert load_secret(tmp_path / "b") != secret


def test_it_is_its_owner_s_alone(tmp_path: Path) -> None:
    load_secret(tmp_path / "keys")
    assert get_mode(tmp_path / "keys") == 0o700
    assert {get_mode(path) for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_a_directory_that_others_may_enter_is_closed(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o755)
    load_secret(directory)
    assert get_mode(directory) == 0o700


def test_processes_that_come_at_once_get_the_same(tmp_path: Path) -> None:
    with SPAWN.Pool(4) as pool:
        secrets = pool.map(load_secret, [tmp_path / "keys"] * 12, chunksize=1)
    assert set(secrets) == {load_secret(tmp_path / "keys")}


def test_nobody_ever_sees_a_part_of_it(tmp_path: Path) -> None:
    """Who looks without asking sees no file or a whole one, in a hundred directories while each gets its secret."""
    directories = [tmp_path / str(number) for number in range(100)]
    done, seen = threading.Event(), set[int]()

    def look() -> None:
        while not done.is_set():
            seen.update((d / "secret").stat().st_size for d in directories if (d / "secret").exists())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        secrets = {load_secret(directory) for directory in directories}
    finally:
        done.set()
        watcher.join()
    assert len(secrets) == len(directories)
    assert seen <= {2 * SECRET_BYTES + 1}


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"00" * 31, b"00" * 33, b"zz" * 32, bytes(range(32)), b"\xff" * 64], ids=repr
)
def test_a_damaged_one_is_not_used_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(TrainletError, match=r"the secret is damaged \(.*/secret\): restore the file"):
        load_secret(tmp_path)
    assert (tmp_path / "secret").read_bytes() == content


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_where_no_directory_can_be_the_user_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainletError, match=rf"cannot keep keys and secrets: .* \(.*{place}\): make the directory"):
        load_secret(tmp_path / place)


def test_a_secret_that_cannot_be_read_is_no_reason_for_another(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    with pytest.raises(TrainletError, match="cannot keep keys and secrets: Is a directory"):
        load_secret(tmp_path)


def test_one_at_a_time_holds_the_directory(tmp_path: Path) -> None:
    with lock_private(tmp_path), (tmp_path / "lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
