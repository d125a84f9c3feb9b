"""What `trainlet doctor` says of the watched directory and of who works on it."""

import fcntl
from pathlib import Path

import pytest

from trainlet.doctor.machine import Finding
from trees import FAIL, OK, WARN, Tree, levels, run


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_directory_that_is_not_there_fails(tree: Tree) -> None:
    (tree.root / "jobs").rmdir()
    assert levels("directory", tree.look()) == [FAIL]


def test_a_status_directory_that_cannot_be_made_fails(tree: Tree) -> None:
    tree.write("taken")
    machine = tree.look(settings={"status_dir": tree.root / "taken" / "status"})
    assert levels("directory", machine) == [OK, FAIL, OK]


def test_an_operator_at_work_is_seen_by_its_lock(tree: Tree) -> None:
    assert levels("operator", tree.look()) == [WARN]
    tree.write("jobs/status/.lock", "4711\n")
    assert levels("operator", tree.look()) == [WARN]
    with (tree.root / "jobs/status/.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        [finding] = run("operator", tree.look())
    assert finding == Finding(OK, f"an operator works on {tree.root / 'jobs'} (process 4711)")
