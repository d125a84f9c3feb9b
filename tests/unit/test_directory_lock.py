"""One directory has one operator, whatever path leads to it."""

import os
import shutil
from pathlib import Path

import pytest

from trainlet.documents import directory_lock
from trainlet.documents.directory_lock import hold_directories
from trainlet.kube.errors import TrainletError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with one for status in it."""
    (tmp_path / "jobs" / "status").mkdir(parents=True)
    return tmp_path / "jobs"


def try_to_hold(directory: Path, status: Path) -> str:
    """Return why both cannot be held now, or nothing."""
    status.mkdir(parents=True, exist_ok=True)
    try:
        hold_directories(directory, status).close()
    except TrainletError as error:
        return str(error)
    return ""


def test_who_comes_second_is_told_who_was_first(place: Path) -> None:
    with hold_directories(place, place / "status"):
        told = try_to_hold(place, place / "status")
        assert told.startswith(f"another trainlet works on this directory (process {os.getpid()}) ({place / 'status'})")
        assert (place / "status" / ".lock").read_text(encoding="ascii") == f"{os.getpid()}\n"
    assert try_to_hold(place, place / "status") == ""


def test_another_path_to_it_is_the_same_directory(place: Path) -> None:
    link = place.with_name("link")
    link.symlink_to(place)
    with hold_directories(place, place / "status"):
        assert "another trainlet" in try_to_hold(link, link / "status")


def test_another_place_for_the_status_is_no_way_around_it(place: Path) -> None:
    with hold_directories(place, place / "status"):
        assert "another trainlet" in try_to_hold(place, place.with_name("other"))
        shutil.rmtree(place / "status")
        assert "another trainlet" in try_to_hold(place, place / "status")


def test_two_directories_do_not_share_one_status_directory(place: Path) -> None:
    second = place.with_name("second")
    second.mkdir()
    with hold_directories(place, place / "status"):
        told = try_to_hold(second, place / "status")
        assert f"(process {os.getpid()}) ({place / 'status'})" in told
        assert try_to_hold(second, second / "status") == ""


def test_a_kernel_that_tells_of_no_locks_names_nobody(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_lock, "_LOCKS", place / "nothing")
    with hold_directories(place, place / "status"):
        assert "(process unknown)" in try_to_hold(place, place / "status")
