"""The status directory: one job's documents never touch another's, and damage is read as absence."""

from pathlib import Path

import pytest

from builders import build_job
from trainlet.documents.status_dir import StatusDir, StoredJob
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import JSON

REPORT: JSON = {"apiVersion": "trainlet.dev/v1alpha1", "kind": "TrainJobReport", "status": {"phase": "Running"}}


@pytest.fixture
def status(tmp_path: Path) -> StatusDir:
    directory = StatusDir(tmp_path / "status")
    directory.prepare()
    return directory


def list_files(status: StatusDir) -> list[str]:
    return sorted(str(p.relative_to(status.root)) for p in status.root.rglob("*") if p.is_file())


def test_it_keeps_itself_out_of_version_control(status: StatusDir) -> None:
    assert (status.root / ".gitignore").read_text() == "*\n"
    (status.root / ".gitignore").write_text("mine\n")
    status.prepare()
    assert (status.root / ".gitignore").read_text() == "mine\n"


def test_a_place_that_cannot_be_written_is_an_error_to_act_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        TrainletError, match=r"^cannot write status documents: Not a directory \(.*/file/status\): .*--status-dir"
    ):
        StatusDir(tmp_path / "file" / "status").prepare()


def test_a_job_is_read_as_it_was_written(status: StatusDir) -> None:
    status.write_job("default", "mnist", [build_job(), REPORT])
    status.write_job("default", "refused", [REPORT])
    assert status.read_job("default", "mnist") == StoredJob("default", "mnist", build_job(), REPORT)
    assert status.read_job("default", "refused") == StoredJob("default", "refused", None, REPORT)
    assert status.read_job("default", "other") is None


def test_jobs_come_in_the_order_of_names_and_by_namespace(status: StatusDir) -> None:
    for namespace, name in [("team", "b"), ("default", "z"), ("team", "a")]:
        status.write_job(namespace, name, [build_job(name, namespace)])
    status.write_part("team", "a", "pods", [{"kind": "Pod"}])
    status.write_errors([{"file": "x"}])
    assert [(s.namespace, s.name) for s in status.read_jobs()] == [("default", "z"), ("team", "a"), ("team", "b")]
    assert [(s.namespace, s.name) for s in status.read_jobs("team")] == [("team", "a"), ("team", "b")]


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"a: [", b"- 1\n", b"--- 1\n", b"kind: Other\n"])
def test_a_damaged_document_is_none_and_hides_no_other(status: StatusDir, damage: bytes) -> None:
    status.write_job("default", "good", [build_job("good")])
    status.job_path("default", "bad").write_bytes(damage)
    found = {stored.name: stored.job for stored in status.read_jobs()}
    assert found.pop("good") == build_job("good")
    assert set(found.values()) <= {None}


def test_a_directory_that_looks_like_a_document_is_none(status: StatusDir) -> None:
    (status.root / "default" / "odd.yaml").mkdir(parents=True)
    assert list(status.read_jobs()) == []


def test_parts_come_and_go(status: StatusDir) -> None:
    pods = [{"kind": "Pod", "metadata": {"name": "a"}}, {"kind": "Pod", "metadata": {"name": "b"}}]
    status.write_part("default", "mnist", "pods", pods)
    assert status.read_part("default", "mnist", "pods") == pods
    status.write_part("default", "mnist", "pods", [])
    assert status.read_part("default", "mnist", "pods") == []
    assert list_files(status) == [".gitignore"]


def test_errors_come_and_go(status: StatusDir) -> None:
    status.write_errors([{"file": "a.yaml", "errors": [{"line": 1}]}])
    assert status.read_errors() == [{"file": "a.yaml", "errors": [{"line": 1}]}]
    status.write_errors([])
    assert status.read_errors() == []
    assert list_files(status) == [".gitignore"]


def test_a_forgotten_job_leaves_nothing_and_takes_nothing_along(status: StatusDir) -> None:
    for name in ("mnist", "mnist-2"):
        status.write_job("default", name, [build_job(name)])
        status.write_part("default", name, "events", [{"kind": "Event"}])
        log = status.log_path("default", name, "node-0")
        log.parent.mkdir(parents=True)
        log.write_text("line\n")
    status.forget("default", "mnist")
    status.forget("default", "never-there")
    assert list_files(status) == [
        ".gitignore",
        "default/mnist-2.yaml",
        "default/mnist-2/events.yaml",
        "default/mnist-2/logs/node-0.log",
    ]


def test_the_log_of_the_attempt_before_has_a_name_of_its_own(status: StatusDir) -> None:
    assert status.log_path("ns", "job", "node-0") == status.root / "ns/job/logs/node-0.log"
    assert status.log_path("ns", "job", "node-0", previous=True) == status.root / "ns/job/logs/node-0.previous.log"
