"""A status directory of an earlier layout is read as if it had always been of this one; a later one is refused.

tests/stored_status holds what that version wrote: `v0` a job with two running nodes, `v0-pods.yaml` one pod a case.
"""

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from builders import NOW
from trainlet import __version__
from trainlet.documents.migrations import FILE, VERSION, migrate
from trainlet.documents.status_dir import StatusDir, read_objects
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import JSON
from trainlet.planning.records import ContainerRecord, PodRecord, Termination, Waiting, read_record
from worlds import build_world

STORED = Path(__file__).parents[1] / "stored_status"
SLOT = build_world().slot("node-0")


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


FAILED = Termination(1, "Error", "", at(1), at(3))
DONE = replace(FAILED, exit_code=0, reason="Completed")
RUNNING = ContainerRecord(started_at=at(5), started=True, ready=True, previous=FAILED)


def read_tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A status directory of layout 0."""
    return Path(shutil.copytree(STORED / "v0", tmp_path / "status"))


@pytest.fixture
def old_pods(tmp_path: Path) -> dict[str, JSON]:
    """The pods of layout 0 as they are read now, by their cases."""
    directory = tmp_path / "status" / "default" / "mnist"
    directory.mkdir(parents=True)
    shutil.copy(STORED / "v0-pods.yaml", directory / "pods.yaml")
    assert migrate(tmp_path / "status") == 1
    pods = StatusDir(tmp_path / "status").read_part("default", "mnist", "pods")
    return {pod["metadata"]["annotations"]["example.com/case"]: pod for pod in pods}


@pytest.mark.parametrize(
    ("case", "pod", "container"),
    [
        ("waiting", PodRecord(NOW), ContainerRecord(waiting=Waiting("ImagePullBackOff", "no"))),
        ("running again", PodRecord(NOW, failures=2), replace(RUNNING, attempt=2)),
        ("to end", PodRecord(NOW, failures=1), replace(RUNNING, attempt=1, stopping_since=at(8), asked=True)),
        (
            "failed for good",
            PodRecord(NOW, restart=1, failures=4, given_up=True),
            ContainerRecord(attempt=3, started_at=at(1), termination=FAILED),
        ),
        (
            "done",
            PodRecord(NOW, failures=1),
            ContainerRecord(attempt=1, started_at=at(1), termination=DONE, previous=FAILED),
        ),
    ],
)
def test_all_that_a_pod_of_layout_0_remembers_is_remembered(
    old_pods: dict[str, JSON], case: str, pod: PodRecord, container: ContainerRecord
) -> None:
    assert read_record(SLOT, old_pods[case]) == replace(pod, containers={"node": container})
    assert not {"trainlet.dev/attempt", "trainlet.dev/asked-to-end"} & old_pods[case]["metadata"]["annotations"].keys()


def test_only_what_has_to_change_is_changed_and_only_once(old: Path) -> None:
    before = read_tree(old)
    assert migrate(old) == 1
    after = read_tree(old)
    assert {path for path in after if after[path] != before.get(path)} == {"default/mnist/pods.yaml", FILE}
    assert after[FILE].decode() == f"{VERSION} trainlet {__version__}\n"
    assert migrate(old) == 0
    assert read_tree(old) == after


def test_who_died_in_the_middle_begins_again(old: Path) -> None:
    migrate(old)
    after = read_tree(old)
    (old / FILE).unlink()
    assert migrate(old) == 0
    assert read_tree(old) == after


def test_a_new_directory_is_of_this_layout(tmp_path: Path) -> None:
    StatusDir(tmp_path).prepare()
    assert migrate(tmp_path) == 0
    assert (tmp_path / FILE).read_text().split()[0] == str(VERSION)


def test_a_damaged_document_is_left_as_it_is(old: Path) -> None:
    (old / "default" / "mnist" / "pods.yaml").write_bytes(b"a: [\n")
    assert migrate(old) == 0
    assert (old / "default" / "mnist" / "pods.yaml").read_bytes() == b"a: [\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{VERSION + 1} trainlet 9.1\n", rf"^trainlet 9\.1 wrote this directory in layout {VERSION + 1}, and .* none"),
        (f"{VERSION + 7}\n", r"^a newer trainlet wrote .* \(.*/status\): run that one again, or give another"),
        ("what\n", r"^the layout of the status directory is not known: 'what' is no number \(.*/\.version\): remove"),
    ],
)
def test_a_directory_that_is_not_understood_is_refused_and_left_alone(old: Path, text: str, words: str) -> None:
    (old / FILE).write_text(text)
    before = read_tree(old)
    with pytest.raises(TrainletError, match=words):
        migrate(old)
    assert read_tree(old) == before


def test_the_stored_job_can_be_read(old: Path) -> None:
    migrate(old)
    job = StatusDir(old).read_job("default", "mnist")
    assert job is not None
    assert job.job is not None
    assert job.job["spec"]["trainer"]["numNodes"] == len(read_objects(old / "default" / "mnist" / "pods.yaml"))
