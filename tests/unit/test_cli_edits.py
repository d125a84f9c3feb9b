"""`trainlet delete`, `suspend` and `resume`: what they do to files, and what they refuse."""

import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import build_job, build_runtime
from stored import Place, write_yaml
from trainlet.cli.main import main
from waiting import wait_for

MANIFEST = """\
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata:
  name: mnist   # the first
spec:
  runtimeRef: {name: torch-distributed}
  # Stop it here.
  suspend: false
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def operator(place: Place) -> Iterator[None]:
    """Hold the lock of a running operator."""
    place.status.prepare()
    with (place.root / "status" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(place: Place, *words: str) -> int:
    return main([*place.arguments, *words])


def test_suspend_and_resume_change_one_word(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.write_manifest(MANIFEST)
    assert run(place, "suspend", "mnist") == 0
    assert path.read_text() == MANIFEST.replace("suspend: false", "suspend: true")
    before = path.stat().st_mtime_ns
    assert run(place, "suspend", "tj/mnist") == 0
    assert path.stat().st_mtime_ns == before
    assert run(place, "resume", "mnist") == 0
    assert path.read_text() == MANIFEST
    assert capsys.readouterr().out.splitlines() == [
        "trainjob.trainer.kubeflow.org/mnist suspended",
        "trainjob.trainer.kubeflow.org/mnist suspended already",
        "trainjob.trainer.kubeflow.org/mnist resumed",
    ]


def test_the_file_that_the_report_names_is_edited(place: Place) -> None:
    other = place.write_manifest(MANIFEST, "a.yaml")
    mine = place.write_manifest(f"# first\nkind: Other\n---\n{MANIFEST}", "b.yaml")
    place.write_job(source={"file": str(mine), "document": 1})
    assert run(place, "suspend", "mnist") == 0
    assert other.read_text() == MANIFEST
    assert "suspend: true" in mine.read_text()


def test_an_edit_that_could_do_damage_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    text = MANIFEST.replace("suspend: false", "suspend: &s false\nother: *s")
    path = place.write_manifest(text)
    assert run(place, "suspend", "mnist") == 4
    assert "edit the file by hand" in capsys.readouterr().err
    assert path.read_text() == text


def test_a_manifest_that_is_not_there(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_manifest(MANIFEST.replace("kind: TrainJob", "kind: TrainJob\n  bad"), "broken.yaml")
    assert run(place, "suspend", "mnist") == 1
    assert capsys.readouterr().err == (
        "error: no manifest of trainjob.trainer.kubeflow.org 'mnist' found "
        f"(namespace default, {place.root}): give the directory that trainlet run watches with --dir\n"
    )


def test_delete_removes_the_file_or_only_the_document(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    alone = place.write_manifest(MANIFEST)
    shared = place.write_manifest(
        f"{MANIFEST.replace('mnist', 'bert')}---\n# mine\n{write_yaml(build_runtime())[4:]}", "x.yml"
    )
    assert run(place, "delete", "tj", "mnist", "bert") == 0
    assert not alone.exists()
    assert shared.read_text() == f"---\n# mine\n{write_yaml(build_runtime())[4:]}"
    assert run(place, "delete", "ctr/torch-distributed") == 0
    assert not shared.exists()
    assert capsys.readouterr().out.splitlines() == [
        'trainjob.trainer.kubeflow.org "mnist" deleted',
        'trainjob.trainer.kubeflow.org "bert" deleted',
        'clustertrainingruntime.trainer.kubeflow.org "torch-distributed" deleted',
    ]


def test_delete_looks_at_the_namespace_and_not_into_status(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_manifest(write_yaml(build_job(namespace="research")))
    place.write_job()
    assert run(place, "delete", "tj", "mnist") == 1
    assert "no manifest of" in capsys.readouterr().err
    assert place.status.read_job("default", "mnist") is not None
    assert run(place, "delete", "tj", "mnist", "-n", "research") == 0


def test_delete_of_several_removes_nothing_if_one_is_missing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.write_manifest(MANIFEST)
    assert run(place, "delete", "tj", "mnist", "x") == 1
    assert '"x" not found' in capsys.readouterr().err
    assert path.exists()


def test_waiting_needs_an_operator(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.write_manifest(MANIFEST)
    workspace = place.root / "workspaces" / "default" / "mnist"
    workspace.mkdir(parents=True)
    for flag in ("--wait", "--workspace"):
        assert run(place, "delete", "tj", "mnist", flag) == 1
        assert "nothing was removed, because no operator is running" in capsys.readouterr().err
    assert path.exists()
    assert workspace.exists()


@pytest.mark.usefixtures("operator")
def test_the_workspace_goes_after_the_job(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.write_manifest(MANIFEST)
    place.write_job()
    workspace = place.root / "workspaces" / "default" / "mnist"
    workspace.mkdir(parents=True)
    (workspace / "model.pt").write_text("weights")

    def operate() -> None:
        wait_for(lambda: not path.exists(), "the manifest to go")
        assert workspace.exists()
        place.status.forget("default", "mnist")

    thread = threading.Thread(target=operate)
    thread.start()
    assert run(place, "delete", "tj", "mnist", "--workspace") == 0
    thread.join()
    assert not workspace.exists()
    assert f"workspace {workspace} removed" in capsys.readouterr().out


@pytest.mark.usefixtures("operator")
def test_a_job_that_does_not_go_keeps_its_workspace(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_manifest(MANIFEST)
    place.write_job()
    workspace = place.root / "elsewhere" / "default" / "mnist"
    workspace.mkdir(parents=True)
    words = ["--workspace", "--timeout", "0", "--workspace-dir", str(place.root / "elsewhere")]
    assert run(place, "delete", "tj", "mnist", *words) == 1
    assert "default/mnist is not gone after 0s" in capsys.readouterr().err
    assert workspace.exists()
    place.status.forget("default", "mnist")
    assert run(place, "delete", "tj", "mnist", *words) == 0
    assert not workspace.exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["po", "x"], "pods have no manifest"),
        (["tj"], "which one is not said"),
        (["ctr", "x", "--wait"], "--wait and --workspace are for TrainJobs"),
    ],
)
def test_wrong_usage_of_delete(place: Place, capsys: pytest.CaptureFixture[str], words: list[str], what: str) -> None:
    assert run(place, "delete", *words) == 2
    assert what in capsys.readouterr().err
