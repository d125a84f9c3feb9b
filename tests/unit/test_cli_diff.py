"""`trainlet diff` with processes as the engine: what the operator would do, and that nothing of it is done."""

import json
from pathlib import Path

import pytest

from builders import build_job, build_runtime
from manifests import Desk, build_manifest
from trainlet.documents.status_dir import StatusDir


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TRAINLET_CONTAINER_RUNTIME", "process")
    return Desk(tmp_path, capsys, monkeypatch)


def test_without_a_job_nothing_is_to_be_done(desk: Desk) -> None:
    assert desk.run("diff") == 0
    assert desk.stdout == ""


def test_a_new_job_needs_its_network_first(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", build_manifest(numNodes=2))
    assert desk.run("diff") == 1
    assert desk.stdout == "default/mnist: CreateNetwork mnist-net: for 2 nodes\n"


def test_scripts_get_one_entry_an_action(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", build_manifest("b"), build_manifest("a", "team"))
    assert desk.run("diff", "-o", "json") == 1
    assert json.loads(desk.stdout) == [
        {"job": "default/b", "action": "CreateNetwork", "target": "b-net", "reason": "for 1 nodes"},
        {"job": "team/a", "action": "CreateNetwork", "target": "team.a-net", "reason": "for 1 nodes"},
    ]


def test_nothing_is_written_or_made(desk: Desk, tmp_path: Path) -> None:
    desk.write(desk.jobs, "a.yaml", build_manifest())
    desk.write(desk.jobs, "bad.yaml", "a: [")
    StatusDir(desk.jobs / "status").write_job("default", "gone", [build_job("gone")])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    desk.run("diff")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_suspended_and_refused_jobs_need_nothing(desk: Desk) -> None:
    suspended = build_manifest("one")
    suspended["spec"]["suspend"] = True
    desk.write(desk.jobs, "a.yaml", suspended, build_manifest("two", numNode=1))
    assert desk.run("diff") == 0


def test_a_job_whose_stored_runtime_cannot_be_built_is_told(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", build_manifest(runtime="own"))
    job = build_job(runtimeRef={"name": "own"})
    StatusDir(desk.jobs / "status").write_job("default", "mnist", [job])
    (desk.jobs / "own.yaml").unlink()
    assert desk.run("diff") == 1
    assert "default/mnist: nothing can be done: not found ClusterTrainingRuntime" in desk.stderr


def test_a_job_keeps_the_runtime_it_began_with(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", build_manifest())
    status_dir = StatusDir(desk.jobs / "status")
    status_dir.write_job("default", "mnist", [build_job(runtimeRef={"name": "own"})])
    status_dir.write_part("default", "mnist", "runtime", [build_runtime("own", ml_policy={"numNodes": 3, "torch": {}})])
    desk.run("diff")
    assert desk.stdout == "default/mnist: CreateNetwork mnist-net: for 3 nodes\n"


def test_a_directory_that_is_not_there_is_wrong_usage(desk: Desk) -> None:
    assert desk.run("diff", "--dir", str(desk.out / "absent")) == 2


def test_an_engine_that_is_down_is_told_as_such(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRAINLET_CONTAINER_RUNTIME")
    assert desk.run("diff", "--container-host", f"unix://{desk.out}/no.sock") == 3
