"""The index of finished jobs makes lists quick and changes nothing that they say, whatever is in it."""

import json
import os
from pathlib import Path

import pytest

from builders import build_job
from trainlet.documents.status_dir import StatusDir, StoredJob
from trainlet.kube.meta import JSON

REPORT: JSON = {"apiVersion": "trainlet.dev/v1alpha1", "kind": "TrainJobReport", "metadata": {"name": "x"}}
UID = "01234567-89ab-4def-8123-456789abcdef"


@pytest.fixture
def status(tmp_path: Path) -> StatusDir:
    directory = StatusDir(tmp_path / "status")
    directory.prepare()
    for name in ("a", "b"):
        write(directory, name, "Complete")
        directory.index_job("default", name)
    return directory


def write(status: StatusDir, name: str, phase: str) -> None:
    job = build_job(name)
    job["metadata"] |= {"uid": UID}
    report = {**REPORT, "metadata": {"name": name, "namespace": "default"}, "status": {"phase": phase}}
    status.write_job("default", name, [job, report])


def read_index(status: StatusDir) -> list[str]:
    lines = (status.root / ".finished").read_text().splitlines()
    return [json.loads(line)[0][1] for line in lines if line]


def list_phases(status: StatusDir) -> dict[str, str]:
    def get_phase(stored: StoredJob) -> str:
        assert stored.job is not None
        assert stored.job["metadata"]["uid"] == UID
        return str((stored.report or {})["status"]["phase"])

    return {stored.name: get_phase(stored) for stored in status.skim_jobs()}


def test_what_is_in_it_is_told_without_a_look_into_the_document(status: StatusDir) -> None:
    path = status.job_path("default", "a")
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Complete", b"Rejected"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list_phases(status) == {"a": "Complete", "b": "Complete"}


def test_a_document_that_changed_is_read(status: StatusDir) -> None:
    write(status, "a", "Running")
    assert list_phases(status) == {"a": "Running", "b": "Complete"}
    status.index_job("default", "a")
    assert list_phases(status) == {"a": "Running", "b": "Complete"}


def test_a_document_that_is_gone_is_not_listed(status: StatusDir) -> None:
    status.forget("default", "a")
    assert list_phases(status) == {"b": "Complete"}


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe\n", b'[["default","a"],[1,2', b"[]\n", b'[["default"],[1,2,3],[]]\n', b"7\n"]
)
def test_damage_costs_time_only(status: StatusDir, damage: bytes) -> None:
    path = status.root / ".finished"
    path.write_bytes(path.read_bytes() + damage)
    write(status, "c", "Failed")
    status.index_job("default", "c")
    phases = {"a": "Complete", "b": "Complete", "c": "Failed"}
    assert list_phases(status) == phases
    assert '["default","c"]' in path.read_text(errors="replace").splitlines()[-1]
    path.write_bytes(damage)
    assert list_phases(status) == phases
    path.unlink()
    assert list_phases(status) == phases


def test_it_is_brought_up_to_the_jobs_there_are(status: StatusDir) -> None:
    path, places = status.root / ".finished", [("default", "b"), ("default", "c")]
    write(status, "c", "Failed")
    for _ in range(3):
        status.index_job("default", "b")
    assert read_index(status) == ["a", "b", "b", "b", "b"]
    status.index_jobs(places)
    assert read_index(status) == ["b", "c"]
    before = path.stat()
    status.index_jobs(places)
    assert path.stat() == before, "there was nothing to do"
    write(status, "c", "Complete")
    status.index_jobs(places)
    assert path.stat() != before
    assert list_phases(status) == {"a": "Complete", "b": "Complete", "c": "Complete"}


def test_where_it_cannot_be_written_it_is_done_without(status: StatusDir) -> None:
    path = status.root / ".finished"
    path.unlink()
    path.mkdir()
    status.index_job("default", "a")
    status.index_jobs([("default", "a")])
    assert list_phases(status) == {"a": "Complete", "b": "Complete"}
