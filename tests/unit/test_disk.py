"""What files take on disk: blocks, each file once, and nothing that is elsewhere."""

import os
from pathlib import Path

from trainlet.engine.disk import measure

MEBIBYTE = 1 << 20


def fill(path: Path, size: int = MEBIBYTE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def measure_whole(directory: Path) -> int:
    """Return what is there in whole MiB: directories take a little too."""
    taken = measure(directory)
    assert taken is not None
    return taken // MEBIBYTE


def test_files_below_count_however_deep(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    fill(tmp_path / "b" / "c" / "d", 2 * MEBIBYTE)
    assert measure_whole(tmp_path) == 3


def test_a_file_with_two_names_counts_once_and_a_hole_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "other").hardlink_to(fill(tmp_path / "a"))
    with (tmp_path / "hole").open("wb") as hole:
        hole.truncate(100 * MEBIBYTE)
    assert measure_whole(tmp_path) == 1


def test_links_lead_nowhere(tmp_path: Path) -> None:
    fill(tmp_path / "outside" / "big", 5 * MEBIBYTE)
    volume = tmp_path / "volume"
    fill(volume / "a")
    (volume / "file").symlink_to(tmp_path / "outside" / "big")
    (volume / "directory").symlink_to(tmp_path / "outside")
    (volume / "round").symlink_to(volume)
    assert measure_whole(volume) == 1


def test_what_is_not_there_is_told_from_what_is_empty(tmp_path: Path) -> None:
    assert measure(tmp_path / "ghost") is None
    assert measure(fill(tmp_path / "file")) is None
    (tmp_path / "empty").mkdir()
    assert measure(tmp_path / "empty") == 0
