"""A job's directory is its own, and what an earlier job left in it is never lost."""

from pathlib import Path

import pytest

from trainlet.controller.workspaces import create_workspace
from trainlet.kube.errors import TrainletError


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def test_it_is_made_with_all_above_it(tmp_path: Path) -> None:
    create_workspace(tmp_path / "default" / "job", "uid-1")
    assert (tmp_path / "default" / "job").is_dir()


def test_its_own_job_finds_its_files_again(tmp_path: Path) -> None:
    for text in ("one", "two"):
        create_workspace(tmp_path / "job", "uid-1")
        (tmp_path / "job" / text).touch()
    assert list_names(tmp_path / "job") == ["one", "two"]
    assert list_names(tmp_path) == ["job"]


def test_what_a_user_prepared_is_the_first_jobs(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "train.py").touch()
    create_workspace(tmp_path / "job", "uid-1")
    assert list_names(tmp_path / "job") == ["train.py"]


def test_a_later_job_gets_a_fresh_one_and_the_old_keeps_its_uid(tmp_path: Path) -> None:
    for uid in ("uid-1", "uid-2", "uid-3"):
        create_workspace(tmp_path / "job", uid)
        assert list_names(tmp_path / "job") == []
        (tmp_path / "job" / uid).touch()
    assert list_names(tmp_path) == ["job", "job.uid-1", "job.uid-2"]
    assert list_names(tmp_path / "job.uid-1") == ["uid-1"]


def test_an_empty_one_is_simply_taken_over(tmp_path: Path) -> None:
    create_workspace(tmp_path / "job", "uid-1")
    create_workspace(tmp_path / "job", "uid-2")
    assert list_names(tmp_path) == ["job"]


def test_nothing_that_was_set_aside_is_overwritten(tmp_path: Path) -> None:
    create_workspace(tmp_path / "job", "uid-1")
    (tmp_path / "job" / "mine").touch()
    for taken in ("job.uid-1", "job.uid-1.1"):
        (tmp_path / taken).mkdir()
    create_workspace(tmp_path / "job", "uid-2")
    assert list_names(tmp_path) == ["job", "job.uid-1", "job.uid-1.1", "job.uid-1.2"]
    assert list_names(tmp_path / "job.uid-1.2") == ["mine"]


def test_one_that_was_removed_is_made_again(tmp_path: Path) -> None:
    create_workspace(tmp_path / "job", "uid-1")
    (tmp_path / "job").rmdir()
    create_workspace(tmp_path / "job", "uid-1")
    create_workspace(tmp_path / "job", "uid-2")
    assert list_names(tmp_path) == ["job"]


@pytest.mark.parametrize("in_the_way", ["job", "parent"])
def test_what_is_in_the_way_is_an_error_to_act_on(tmp_path: Path, in_the_way: str) -> None:
    path = tmp_path / "job" if in_the_way == "job" else tmp_path / "parent" / "job"
    (tmp_path / in_the_way).touch()
    with pytest.raises(
        TrainletError, match=r"^cannot make the job's workspace: .*: make its parent writable or .*--workspace-dir$"
    ):
        create_workspace(path, "uid-1")
