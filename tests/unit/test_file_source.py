"""The files of a directory become its objects, whatever people and editors do to them."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import NOW, build_job, build_runtime
from trainlet.admission.admit import REPLACE, Rules
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import REPORT, TRAIN_JOB
from trainlet.controller.file_source import SAVING_SECONDS, WRITING_SECONDS, FileSource
from trainlet.documents.parse import MAX_BYTES
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds
from trainlet.registry import Registry, Source
from trainlet.store import Store
from waiting import wait_for

CRDS = [parse_crd(document) for document in read_crds()]
NOBODY = 65534
GRACE_SECONDS = 30.0


class Place:
    """A watched directory and what became of its files. A deleted job has nothing on an engine, so it goes at once."""

    def __init__(self, base: Path) -> None:
        self.base, self.root = base, base / "jobs"
        self.root.mkdir(exist_ok=True)
        self.status = StatusDir(self.root / "status")
        self.status.prepare()
        self.seconds = 0.0
        self.open()

    def open(self, *, trusting: bool = False) -> None:
        """Begin as a new operator does."""
        self.woken: list[str] = []
        self.is_still = True
        self.registry = Registry(Store(), self.status, Rules(tuple(CRDS)), lambda: NOW)
        self.registry.apply(build_runtime(), Source("built-in", 0))
        self.registry.load({})
        excluded = (self.status.root, self.root / "workspaces")
        self.source = FileSource(
            self.root,
            excluded,
            self.registry,
            self.status,
            self._wake,
            trusting=trusting,
            deletion_grace_seconds=GRACE_SECONDS,
            monotonic=lambda: self.seconds if self.is_still else time.monotonic(),
        )

    def _wake(self, key: ObjectKey) -> None:
        self.woken.append(key.name)
        if find(self.registry.store.get(key), "metadata", "deletionTimestamp"):
            self.registry.forget(key)

    def restart(self, *, trusting: bool = False) -> None:
        """End the operator and start the next one."""
        self.open(trusting=trusting)
        self.source.take_over()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Let the thread follow the directory, while real time goes by."""
        self.is_still = False
        self.source.start()
        try:
            yield
        finally:
            self.source.stop(10)

    # Files

    def write(self, name: str, *documents: Any) -> Path:
        """Write a manifest; text and bytes as they are."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if documents and isinstance(documents[0], bytes | str):
            text = documents[0]
        else:
            text = yaml.safe_dump_all(documents, sort_keys=False)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def scan(self, *, after_seconds: float = 0.0, patient: bool = False) -> list[str]:
        """Look at the files and return which jobs that woke."""
        self.seconds += after_seconds
        self.woken.clear()
        self.source.scan(patient=patient)
        return sorted(self.woken)

    # What became of them

    def names(self, kind: str = TRAIN_JOB) -> list[str]:
        return [o["metadata"]["name"] for o in self.registry.store.list(kind)]

    def job(self, name: str = "mnist", namespace: str = "default") -> JSON:
        return self.registry.store.get(ObjectKey(TRAIN_JOB, namespace, name)) or {}

    def uid(self, name: str = "mnist") -> str:
        return str(find(self.job(name), "metadata", "uid"))

    def edit(self, name: str = "mnist") -> int:
        """Return which edit of the job is stored."""
        return int(find(self.job(name), "metadata", "labels", "edit") or 0)

    def report(self, name: str = "mnist") -> JSON:
        return (self.registry.store.get(ObjectKey(REPORT, "default", name)) or {}).get("status") or {}

    def file_of(self, name: str = "mnist") -> str:
        return Path(self.report(name)["source"]["file"]).name

    def errors(self) -> dict[str, list[str]]:
        """Return the errors that are written down, by file, each as `LINE:COLUMN PATH: DETAIL`."""
        return {
            str(Path(entry["file"]).relative_to(self.root)): [
                f"{e['line']}:{e['column']} {e['path']}: {e['detail']}" for e in entry["errors"]
            ]
            for entry in self.status.read_errors()
        }


def build(name: str = "mnist", edit: int = 1, runtime: str = "torch-distributed", **metadata: Any) -> JSON:
    """Return a manifest as people write one; `edit` is what tells one version from another."""
    job = build_job(name, runtimeRef={"name": runtime}, trainer={"numNodes": 2})
    return {**job, "metadata": {"name": name, "labels": {"edit": str(edit)}, **metadata}}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def as_a_user(place: Place) -> Iterator[None]:
    """Run as somebody whom file modes bind."""
    if os.geteuid() != 0:
        yield
        return
    for path in [place.base, *place.base.rglob("*")]:
        shutil.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_place() -> Iterator[Place]:
    """A place that other users can enter, which they cannot with pytest's own."""
    base = Path(tempfile.mkdtemp(prefix="trainlet-files-"))
    base.chmod(0o755)
    yield Place(base)
    shutil.rmtree(base)


@pytest.fixture
def fast_place() -> Iterator[Place]:
    """A place in memory where there is such: every document is synced to disk."""
    base = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield Place(base)
    shutil.rmtree(base)


# One file


def test_a_file_that_appears_changes_and_vanishes(place: Place) -> None:
    assert place.scan() == []
    path = place.write("a.yaml", build(edit=1))
    assert place.scan() == ["mnist"]
    uid = place.uid()
    place.write("a.yaml", build(edit=2))
    assert place.scan() == ["mnist"]
    assert (place.uid(), place.edit()) == (uid, 2)
    path.unlink()
    assert place.scan() == ["mnist"]
    assert place.names() == []
    assert not place.status.has_job("default", "mnist")


def test_what_did_not_change_wakes_nobody(place: Place) -> None:
    path = place.write("a.yaml", build())
    place.scan()
    assert place.scan() == []
    os.utime(path)
    assert place.scan() == []
    place.write("a.yaml", "# a comment\n" + path.read_text())
    assert place.scan() == []


def test_a_job_that_is_to_be_replaced_makes_room_for_the_next(place: Place) -> None:
    place.write("a.yaml", build(edit=1))
    place.scan()
    uid = place.uid()
    place.write("a.yaml", build(edit=2, annotations={REPLACE: "1"}))
    assert place.scan() == ["mnist"]
    assert place.names() == [], "the first one goes"
    assert place.scan() == ["mnist"]
    assert place.edit() == 2
    assert place.uid() != uid
    assert place.scan() == [], "and then it rests"


def test_a_renamed_file_is_the_same_job(place: Place) -> None:
    path = place.write("a.yaml", build())
    place.scan()
    uid = place.uid()
    (place.root / "deep").mkdir()
    path.rename(place.root / "deep" / "b.yaml")
    place.scan()
    assert (place.uid(), place.file_of()) == (uid, "b.yaml")


def test_a_job_that_moves_to_another_file_is_the_same_job(place: Place) -> None:
    place.write("a.yaml", build("one"), build("two"))
    place.write("b.yaml", build("three"))
    place.scan()
    uid = place.uid("two")
    place.write("a.yaml", build("one"))
    place.write("b.yaml", build("two", edit=2), build("three"))
    assert place.scan() == ["three", "two"]
    assert (place.uid("two"), place.edit("two"), place.file_of("two")) == (uid, 2, "b.yaml")


def test_a_document_taken_out_of_a_file_is_deleted_alone(place: Place) -> None:
    place.write("a.yaml", build("one"), build("two"), build("three"))
    place.scan()
    uids = {name: place.uid(name) for name in ("one", "three")}
    place.write("a.yaml", build("one"), build("three"))
    place.scan()
    assert {name: place.uid(name) for name in place.names()} == uids


def test_another_name_in_a_file_is_another_job(place: Place) -> None:
    place.write("a.yaml", build("one"))
    place.scan()
    place.write("a.yaml", build("two"))
    assert place.scan() == ["one", "two"]
    assert place.names() == ["two"]
    assert place.scan() == [], "and then it rests"


def test_a_file_that_came_back_at_once_is_a_new_job(place: Place) -> None:
    path = place.write("a.yaml", build())
    place.scan()
    uid = place.uid()
    path.unlink()
    place.scan()
    place.write("a.yaml", build())
    place.scan()
    assert place.uid() not in (uid, "None")


def test_hundreds_of_files_at_once(place: Place) -> None:
    for number in range(300):
        place.write(f"team-{number % 7}/{number}.yaml", build(f"job-{number}"))
    assert len(place.scan()) == 300
    assert len(place.names()) == 300
    assert place.scan() == []


def test_jobs_of_one_name_in_two_namespaces_are_two(place: Place) -> None:
    place.write("a.yaml", build(), build(namespace="team-b"))
    place.scan()
    assert place.job()["metadata"]["uid"] != place.job(namespace="team-b")["metadata"]["uid"]
    assert place.errors() == {}


# Two files, one name


def test_the_first_file_keeps_a_name_and_the_other_is_refused(place: Place) -> None:
    place.write("b.yaml", build(edit=1))
    place.scan()
    place.write("a.yaml", "# later, though it sorts earlier\n" + yaml.safe_dump(build(edit=2)))
    assert place.scan() == []
    assert (place.edit(), place.file_of()) == (1, "b.yaml")
    [error] = place.errors()["a.yaml"]
    assert (
        error
        == f"7:9 metadata.name: TrainJob default/mnist is already defined in {place.root}/b.yaml: rename one of them"
    )
    place.restart()
    assert (place.edit(), place.file_of()) == (1, "b.yaml"), "and after a restart"


def test_the_other_file_gets_the_name_when_the_first_goes(place: Place) -> None:
    place.write("a.yaml", build(edit=1))
    place.write("b.yaml", build(edit=2))
    place.scan()
    uid = place.uid()
    (place.root / "a.yaml").unlink()
    place.scan()
    assert (place.edit(), place.uid(), place.errors()) == (2, uid, {})


def test_a_name_twice_in_one_file_is_refused_once(place: Place) -> None:
    place.write("a.yaml", build("other"), build(edit=1), build(edit=2))
    place.scan()
    assert place.edit() == 1
    assert len(place.errors()["a.yaml"]) == 1
    place.restart()
    assert place.edit() == 1


# Files that say nothing usable

BROKEN = {
    "no YAML": (b"kind: TrainJob\nmetadata: {name: x\n", "a.yaml", "3:1 : not valid YAML"),
    "no UTF-8": (b"kind: \xff\n", "a.yaml", "1:7 : this byte is not UTF-8"),
    "a key twice": (b"kind: A\nkind: B\n", "a.yaml", '2:1 : key "kind" is there twice'),
    "too large": (b"#" * (MAX_BYTES + 1), "a.yaml", "1:1 : the file has more than"),
    "no mapping": (b"- a\n", "a.yaml", "1:1 : this document is not a mapping"),
    "no kind": (b"apiVersion: v1\n", "a.yaml", "1:1 kind: give the apiVersion and kind"),
    "a kind of another version": (
        b"kind: TrainJob\napiVersion: trainer.kubeflow.org/v2\n",
        "a.yaml",
        "1:7 kind: supported values: ClusterTrainingRuntime",
    ),
}


@pytest.mark.parametrize(("text", "file", "error"), BROKEN.values(), ids=BROKEN)
def test_a_file_without_an_object_is_reported_and_hides_no_other(
    place: Place, text: bytes, file: str, error: str
) -> None:
    place.write(file, text)
    place.write("z.yaml", build())
    assert place.scan() == ["mnist"]
    assert list(place.errors()) == [file]
    assert place.errors()[file][0].startswith(error)
    (place.root / file).unlink()
    place.scan()
    assert place.errors() == {}
    assert not place.status.has_errors()


@pytest.mark.parametrize("text", [text for text, *_ in BROKEN.values()][:4], ids=list(BROKEN)[:4])
def test_a_broken_edit_keeps_the_last_good_object(place: Place, text: bytes) -> None:
    place.write("a.yaml", build(edit=2))
    place.scan()
    uid = place.uid()
    place.write("a.yaml", text)
    assert place.scan() == []
    place.restart()
    assert (place.edit(), place.uid()) == (2, uid), "also after a restart"
    assert list(place.errors()) == ["a.yaml"]
    place.write("a.yaml", build(edit=3))
    place.scan()
    assert (place.edit(), place.uid(), place.errors()) == (3, uid, {})


def test_a_broken_file_that_goes_takes_its_job_along(place: Place) -> None:
    place.write("a.yaml", build())
    place.scan()
    place.write("a.yaml", "{")
    place.scan()
    (place.root / "a.yaml").unlink()
    place.scan()
    assert (place.names(), place.errors()) == ([], {})


def test_an_edit_that_is_refused_keeps_the_last_good_object_and_says_so(place: Place) -> None:
    place.write("a.yaml", build(edit=2))
    place.scan()
    place.write("a.yaml", yaml.safe_dump(build(edit=2)).replace("numNodes: 2", "numNodes: two"))
    assert place.scan() == []
    assert place.edit() == 2
    [error] = place.report()["errors"]
    assert (error["path"], error["stage"], error["line"]) == ("spec.trainer.numNodes", "schema", 11)
    assert [c["status"] for c in place.report()["conditions"] if c["type"] == "Accepted"] == ["False"]
    place.write("a.yaml", build(edit=2))
    place.scan()
    assert "errors" not in place.report()


def test_a_refused_file_that_goes_leaves_nothing(place: Place) -> None:
    path = place.write("a.yaml", build(runtime="nowhere"))
    place.scan()
    assert place.report()["phase"] == "Rejected"
    path.unlink()
    place.scan()
    assert place.report() == {}
    assert not place.status.has_job("default", "mnist")


def test_the_report_of_a_refused_job_survives_a_restart_and_goes_with_its_file(place: Place) -> None:
    path = place.write("a.yaml", build(runtime="nowhere"))
    place.scan()
    place.restart()
    assert place.report()["phase"] == "Rejected"
    path.unlink()
    place.restart()
    assert place.report() == {}


UNSAFE = ["../evil", "..", ".", "/etc/passwd", "a/b", "", "UPPER", "a" * 254, "x\n", "-x", "ü"]


@pytest.mark.parametrize("name", UNSAFE, ids=map(repr, UNSAFE))
@pytest.mark.parametrize("field", ["name", "namespace"])
def test_no_name_leads_out_of_the_status_directory(place: Place, field: str, name: str) -> None:
    manifest = build(runtime="nowhere")
    manifest["metadata"][field] = name
    place.write("a.yaml", manifest)
    place.write("z.yaml", build("good"))
    before = {p for p in place.base.rglob("*") if place.status.root not in p.parents}
    place.scan()
    (place.root / "a.yaml").unlink()
    place.scan()
    assert {p for p in place.base.rglob("*") if place.status.root not in p.parents} == before - {place.root / "a.yaml"}
    assert place.names() == ["good"]


@pytest.mark.parametrize(
    "metadata", [{"name": "x" * 253}, {"name": "a.b"}, {"namespace": "errors.yaml"}, {"name": 7}, {"name": None}]
)
def test_a_name_that_no_job_may_have_is_an_error_of_its_file(place: Place, metadata: JSON) -> None:
    manifest = build()
    manifest["metadata"] |= metadata
    place.write("a.yaml", manifest)
    place.write("z.yaml", build("good"))
    place.scan()
    assert list(place.errors()) == ["a.yaml"]
    (place.root / "a.yaml").unlink()
    place.scan()
    assert (place.names(), place.errors()) == (["good"], {})


@pytest.mark.parametrize("metadata", [None, [], "x", {"name": ["a"]}, {"labels": 1}])
def test_metadata_of_another_shape_is_an_error_of_its_file(place: Place, metadata: Any) -> None:
    place.write("a.yaml", {**build(), "metadata": metadata})
    place.write("z.yaml", build("good"))
    place.scan()
    assert list(place.errors()) == ["a.yaml"]
    assert place.names() == ["good"]


def test_a_pipe_does_not_hang_the_operator(place: Place) -> None:
    os.mkfifo(place.root / "pipe.yaml")
    place.write("z.yaml", build())
    assert place.scan() == ["mnist"]
    assert place.errors() == {"pipe.yaml": ["None:None : not a regular file"]}


def test_one_document_that_cannot_be_written_down_does_not_hold_up_the_others(place: Place) -> None:
    (place.status.root / "default" / "mnist.yaml" / "in the way").mkdir(parents=True)
    place.write("a.yaml", build())
    place.write("z.yaml", build("good"))
    assert place.scan() == ["good"]
    [error] = place.errors()["a.yaml"]
    assert "cannot read a status document" in error
    shutil.rmtree(place.status.root / "default" / "mnist.yaml")
    assert place.scan() == ["mnist"]
    assert place.errors() == {}


def test_a_status_directory_that_was_removed_is_made_again(place: Place) -> None:
    place.write("a.yaml", "{")
    place.scan()
    shutil.rmtree(place.status.root)
    place.write("z.yaml", build())
    place.scan()
    assert list(place.errors()) == ["a.yaml"]
    assert place.status.has_job("default", "mnist")
    assert (place.status.root / ".gitignore").exists()


# What cannot be read


def test_a_file_that_may_not_be_read_keeps_its_job_and_is_read_once_it_may(open_place: Place) -> None:
    place = open_place
    path = place.write("a.yaml", build(edit=2))
    place.scan()
    with as_a_user(place):
        place.write("a.yaml", build(edit=3))
        path.chmod(0)
        place.scan()
        assert place.edit() == 2
        assert place.errors() == {"a.yaml": ["None:None : Permission denied"]}
        place.restart()
        assert place.edit() == 2, "also after a restart"
        path.chmod(0o644)
        place.scan()
        assert (place.edit(), place.errors()) == (3, {})


def test_a_directory_that_may_not_be_listed_keeps_its_jobs(open_place: Place) -> None:
    place = open_place
    place.write("team/a.yaml", build("one"))
    place.write("team/deep/b.yaml", build("two"))
    place.scan()
    with as_a_user(place):
        (place.root / "team").chmod(0)
        place.scan()
        assert place.names() == ["one", "two"]
        assert place.errors() == {"team": ["None:None : Permission denied"]}
        place.restart()
        assert place.names() == ["one", "two"], "also after a restart"
        (place.root / "team").chmod(0o755)
        place.scan()
        assert (place.names(), place.errors()) == (["one", "two"], {})


@pytest.mark.parametrize("how", ["vanished", "replaced by a file", "not to be listed"])
def test_a_root_that_cannot_be_listed_deletes_nothing(
    open_place: Place, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = open_place
    place.write("a.yaml", build())
    place.scan()
    away = place.base / "away"
    with as_a_user(place):
        if how == "not to be listed":
            place.root.chmod(0)
        else:
            place.root.rename(away)
            if how == "replaced by a file":
                place.root.touch()
        for _ in range(3):
            assert place.scan() == []
        assert place.names() == ["mnist"]
        assert [r.getMessage().endswith("nothing is deleted until it is back") for r in caplog.records] == [True]
        if how == "not to be listed":
            place.root.chmod(0o755)
        else:
            place.root.unlink(missing_ok=True)
            away.rename(place.root)
        assert place.scan() == []
        assert place.names() == ["mnist"]


# What is not to be believed


def make_world_writable(_: Place, path: Path) -> None:
    path.chmod(0o666)


def make_directory_writable(_: Place, path: Path) -> None:
    path.parent.chmod(0o777)


def move_out(place: Place, path: Path) -> None:
    outside = place.base / "outside.yaml"
    path.rename(outside)
    path.symlink_to(outside)


def move_directory_out(place: Place, path: Path) -> None:
    outside = place.base / "outside"
    path.parent.rename(outside)
    path.parent.symlink_to(outside)


UNSAFE_WAYS = {
    make_world_writable: ("team/a.yaml", "every user of this machine may write it: chmod go-w"),
    make_directory_writable: ("team", "every user of this machine may write it: chmod go-w"),
    move_out: ("team/a.yaml", "it leads out of "),
    move_directory_out: ("team", "it leads out of "),
}


@pytest.mark.parametrize(("make", "told"), UNSAFE_WAYS.items(), ids=[make.__name__ for make in UNSAFE_WAYS])
def test_what_others_may_change_keeps_its_job_as_it_was(place: Place, make: Any, told: tuple[str, str]) -> None:
    path = place.write("team/a.yaml", build(edit=1))
    place.write("z.yaml", build("good"))
    place.scan()
    uid = place.uid()
    path.write_text(yaml.safe_dump(build(edit=2)))
    make(place, path)
    assert place.scan() == []
    place.restart()
    assert (place.edit(), place.uid()) == (1, uid), "also after a restart"
    [(file, [error])] = place.errors().items()
    assert file == told[0]
    assert error.startswith(f"None:None : {told[1]}")
    assert error.endswith("or run with --allow-unsafe-files")
    place.restart(trusting=True)
    assert (place.edit(), place.uid(), place.errors()) == (2, uid, {})


def test_a_file_is_read_again_when_only_its_owner_may_write_it(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    path = place.write("a.yaml", build(edit=1))
    path.chmod(0o666)
    for _ in range(3):
        assert place.scan() == []
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: every user of this machine may write it: chmod go-w {path}, or run with --allow-unsafe-files"
    ]
    path.chmod(0o644)
    assert place.scan() == ["mnist"]
    assert place.errors() == {}


@pytest.mark.parametrize("when", ["at start", "later"])
def test_of_a_root_that_others_may_write_nothing_is_read_and_nothing_deleted(
    place: Place, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = place.write("a.yaml", build(edit=1))
    place.write("b.yaml", build("other"))
    place.scan()
    uid = place.uid()
    place.root.chmod(0o777)
    place.write("a.yaml", build(edit=2))
    (place.root / "b.yaml").unlink()
    if when == "at start":
        place.restart()
    for _ in range(3):
        assert place.scan() == []
    assert (place.uid(), place.edit(), place.names()) == (uid, 1, ["mnist", "other"])
    [error] = place.errors()["."]
    assert f"chmod go-w {place.root}, or run with --allow-unsafe-files" in error
    assert sum("chmod go-w" in record.getMessage() for record in caplog.records) == 1
    place.root.chmod(0o755)
    place.scan()
    assert (place.uid(), place.edit(), place.names(), place.errors()) == (uid, 2, ["mnist"], {})
    assert path.exists()


def test_what_it_was_told_of_other_files_stays_while_the_root_is_not_to_be_believed(place: Place) -> None:
    place.write("a.yaml", "{")
    place.scan()
    place.root.chmod(0o777)
    place.scan()
    assert sorted(place.errors()) == [".", "a.yaml"]


# Kinds of others

FOREIGN = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}


def test_documents_of_other_kinds_are_ignored_and_told_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trainlet.controller.file_source")
    path = place.write("a.yaml", FOREIGN, build(), FOREIGN)
    assert place.scan() == ["mnist"]
    place.write("a.yaml", FOREIGN, build(edit=2), FOREIGN)
    place.scan()
    assert (place.edit(), place.errors()) == (2, {})
    told = [record for record in caplog.records if "is ignored" in record.getMessage()]
    assert [(record.levelname, record.getMessage()) for record in told] == [
        ("INFO", f"{path}: a ConfigMap (v1) is nothing to trainlet and is ignored")
    ]


def test_a_document_that_becomes_another_kind_deletes_its_job(place: Place) -> None:
    place.write("a.yaml", build())
    place.scan()
    place.write("a.yaml", FOREIGN)
    place.scan()
    assert place.names() == []


UNCLEAR = {
    "no mapping": "- a\n",
    "no kind": "apiVersion: v1\n",
    "a slip in the kind": "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJbo\n",
    "no name": "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata:\n",
    "a name that none can have": "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: A}\n",
}


@pytest.mark.parametrize("text", UNCLEAR.values(), ids=UNCLEAR)
def test_a_document_that_names_nothing_usable_keeps_what_it_was(place: Place, text: str) -> None:
    place.write("a.yaml", build())
    place.scan()
    uid = place.uid()
    place.write("a.yaml", text)
    assert place.scan() == []
    place.restart()
    assert (place.uid(), list(place.errors())) == (uid, ["a.yaml"])
    place.write("a.yaml", build(edit=2))
    place.scan()
    assert (place.uid(), place.edit(), place.errors()) == (uid, 2, {})


# Many at once


def write_many(place: Place, count: int = 12, **spec: Any) -> None:
    for number in range(count):
        job = build(f"job-{number:02}")
        place.write(f"{number:02}.yaml", {**job, "spec": {**job["spec"], **spec}})


def test_a_mass_of_missing_files_deletes_nothing_until_the_grace_is_over(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    write_many(place)
    place.scan()
    for path in place.root.glob("*.yaml"):
        path.unlink()
    for seconds in (0, 10, 19.9):
        assert place.scan(after_seconds=seconds) == []
    assert len(place.names()) == 12
    [error] = place.errors()["."]
    assert "12 manifests are missing all at once" in error
    assert "put the files back to keep the jobs" in error
    assert sum("manifests are missing" in record.getMessage() for record in caplog.records) == 1
    assert len(place.scan(after_seconds=0.1)) == 12
    assert (place.names(), place.errors()) == ([], {})


def test_a_mass_of_files_that_are_back_is_as_before(place: Place) -> None:
    write_many(place)
    place.scan()
    uids = {name: place.uid(name) for name in place.names()}
    for path in place.root.glob("*.yaml"):
        path.rename(place.base / path.name)
    assert place.scan() == []
    for path in place.base.glob("*.yaml"):
        path.rename(place.root / path.name)
    assert place.scan() == []
    assert place.scan(after_seconds=100) == []
    assert ({name: place.uid(name) for name in place.names()}, place.errors()) == (uids, {})


def test_a_mass_that_went_while_the_operator_was_away_is_kept_too(place: Place) -> None:
    write_many(place)
    place.scan()
    for path in place.root.glob("*.yaml"):
        path.unlink()
    place.restart()
    assert len(place.names()) == 12
    place.scan(after_seconds=GRACE_SECONDS)
    assert place.names() == []


NOT_RUNNING: dict[str, dict[str, Any]] = {
    "suspended": {"suspend": True},
    "rejected": {"runtimeRef": {"name": "nowhere"}},
}


@pytest.mark.parametrize("spec", NOT_RUNNING.values(), ids=NOT_RUNNING)
def test_jobs_that_do_not_run_may_all_go_at_once(place: Place, spec: dict[str, Any]) -> None:
    write_many(place, **spec)
    place.scan()
    for path in place.root.glob("*.yaml"):
        path.unlink()
    place.scan()
    assert place.source._registry.list_told() == []


def test_finished_jobs_may_all_go_at_once(place: Place) -> None:
    write_many(place)
    place.scan()
    for key in place.registry.list_jobs():
        job = place.registry.store.get(key) or {}
        conditions = [{"type": "Complete", "status": "True"}]
        place.registry.store.put(key, {**job, "status": {"conditions": conditions}})
    for path in place.root.glob("*.yaml"):
        path.unlink()
    place.scan()
    assert place.names() == []


def test_one_of_many_goes_at_once(place: Place) -> None:
    write_many(place)
    place.scan()
    (place.root / "00.yaml").unlink()
    assert place.scan() == ["job-00"]
    assert len(place.names()) == 11


def test_a_replaced_root_deletes_what_it_lacks_when_the_grace_is_over(place: Place) -> None:
    place.write("a.yaml", build("one"))
    place.write("b.yaml", build("two"))
    place.scan()
    uid = place.uid("one")
    place.root.rename(place.base / "away")
    place.scan()
    place.root.mkdir()
    place.write("a.yaml", build("one", edit=2))
    place.scan()
    assert (place.names(), place.edit("one"), place.uid("one")) == (["one", "two"], 2, uid)
    assert "another directory than before, without 1 of the manifests known" in place.errors()["."][0]
    place.scan(after_seconds=GRACE_SECONDS)
    assert (place.names(), place.errors()) == (["one"], {})


def test_a_replaced_root_that_has_all_is_nothing_to_tell_of(place: Place) -> None:
    place.write("a.yaml", build(edit=1))
    place.scan()
    uid = place.uid()
    place.root.rename(place.base / "away")
    place.root.mkdir()
    place.write("a.yaml", build(edit=2))
    place.scan()
    assert (place.uid(), place.edit(), place.errors()) == (uid, 2, {})


# Runtimes


def test_a_job_waits_for_its_runtime(place: Place) -> None:
    place.write("a.yaml", build(runtime="mine"))
    assert place.scan() == []
    assert place.report()["phase"] == "Rejected"
    [error] = place.report()["errors"]
    assert (error["line"], "must be created before" in error["detail"]) == (8, True)
    place.write("z-later.yaml", build_runtime("mine"))
    assert "mnist" in place.scan()
    assert place.report()["phase"] == "Pending"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["runtime first", "job first"])
def test_a_runtime_and_its_job_may_come_in_one_file(place: Place, order: tuple[int, int]) -> None:
    documents = (build_runtime("mine"), build(runtime="mine"))
    place.write("a.yaml", *(documents[number] for number in order))
    place.scan()
    assert (place.names(), place.errors()) == (["mnist"], {})


def test_a_runtime_that_goes_leaves_its_jobs(place: Place) -> None:
    path = place.write("runtime.yaml", build_runtime("mine"))
    place.write("a.yaml", build(runtime="mine"))
    place.scan()
    path.unlink()
    place.scan()
    place.write("a.yaml", build(runtime="mine"))
    place.scan()
    assert place.names() == ["mnist"]
    assert "mine" not in place.names("ClusterTrainingRuntime")


def test_a_refused_runtime_is_an_error_of_its_file(place: Place) -> None:
    runtime = build_runtime("default")
    runtime["spec"]["template"] = {"spec": {"replicatedJobs": "none"}}
    place.write("a.yaml", runtime)
    place.write("z.yaml", build())
    place.scan()
    [error] = place.errors()["a.yaml"]
    assert "spec.template.spec.replicatedJobs" in error
    (place.root / "a.yaml").unlink()
    place.scan()
    assert place.status.has_job("default", "mnist"), "a runtime's name is not a namespace's"


# While the operator is away


def test_a_restart_sees_what_was_done_meanwhile(place: Place) -> None:
    place.write("gone.yaml", build("gone"))
    place.write("same.yaml", build("same"))
    place.write("new-name.yaml", build("edited", edit=1))
    place.scan()
    uid = place.uid("same")
    (place.root / "gone.yaml").unlink()
    (place.root / "new-name.yaml").unlink()
    place.write("other.yaml", build("edited", edit=2), build("new"))
    place.restart()
    assert place.names() == ["edited", "new", "same"]
    assert (place.uid("same"), place.edit("edited")) == (uid, 2)


# The thread that follows


def test_changes_are_seen_as_they_come(place: Place) -> None:
    with place.following():
        path = place.write("a.yaml", build(edit=1))
        wait_for(lambda: place.edit() == 1, "the file")
        place.write("a.yaml", build(edit=2))
        wait_for(lambda: place.edit() == 2, "the edit")
        path.unlink()
        wait_for(lambda: place.names() == [], "the end")


def save_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def save_by_rename(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.tmp.1234")
    new.write_text(text)
    new.replace(path)


def save_as_vim_does(path: Path, text: str) -> None:
    (path.with_name("4913")).touch()
    (path.with_name("4913")).unlink()
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


def save_as_emacs_does(path: Path, text: str) -> None:
    lock = path.with_name(f".#{path.name}")
    lock.symlink_to("user@host.1234:5678")
    path.with_name(f"#{path.name}#").write_text(text)
    path.rename(path.with_name(f"{path.name}~"))
    path.write_text(text)
    path.with_name(f"#{path.name}#").unlink()
    lock.unlink()


def save_through_a_link(path: Path, text: str) -> None:
    version = path.with_name(f"..v{len(text)}-{hash(text)}")
    version.mkdir()
    (version / path.name).write_text(text)
    link = path.with_name("..new")
    link.symlink_to(version.name)
    link.replace(path.with_name("..data"))
    if not path.is_symlink():
        path.unlink()
        path.symlink_to(f"..data/{path.name}")


def save_as_vs_code_does(path: Path, text: str) -> None:
    os.truncate(path, 0)
    with path.open("r+") as file:
        file.write(text)


def save_as_nano_does(path: Path, text: str) -> None:
    lock = path.with_name(f".{path.name}.swp")
    lock.write_bytes(b"b0nano")
    shutil.copy2(path, path.with_name(f"{path.name}~"))
    with path.open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()
    lock.unlink()


def save_as_sed_does(path: Path, text: str) -> None:
    new = path.with_name("sedAbC123")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(path)


SAVES = [
    save_in_place,
    save_by_rename,
    save_as_vim_does,
    save_as_emacs_does,
    save_as_vs_code_does,
    save_as_nano_does,
    save_as_sed_does,
    save_through_a_link,
]


@pytest.mark.parametrize("save", SAVES, ids=lambda save: save.__name__)
def test_every_way_of_saving_is_an_edit_and_never_a_deletion(place: Place, save: Any) -> None:
    path = place.write("a.yaml", build(edit=1))
    with place.following():
        uid = place.uid()
        for number in (2, 3, 4):
            save(path, yaml.safe_dump(build(edit=number)))
            wait_for(lambda number=number: place.edit() == number, f"edit {number}")  # type: ignore[misc]
        assert place.uid() == uid
        assert place.errors() == {}


@pytest.mark.parametrize("gap", ["away", "empty"])
def test_a_slow_save_is_no_deletion(
    place: Place, gap: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainlet.controller.file_source.WRITING_SECONDS", 60.0)
    caplog.set_level("DEBUG", "trainlet.controller.file_source")
    path = place.write("a.yaml", build(edit=1))
    with place.following():
        uid = place.uid()
        if gap == "away":
            path.rename(path.with_name("a.yaml~"))
        else:
            path.write_text("")
        wait_for(lambda: "an editor may be saving it" in caplog.text, "the gap to be noticed")
        assert place.uid() == uid
        place.write("a.yaml", build(edit=2))
        wait_for(lambda: place.edit() == 2, "the edit")
        assert place.uid() == uid


def test_a_file_that_is_away_longer_than_a_save_takes_is_deleted(place: Place) -> None:
    path = place.write("a.yaml", build())
    place.scan()
    path.unlink()
    place.scan(patient=True)
    place.scan(patient=True, after_seconds=SAVING_SECONDS - 0.01)
    assert place.names() == ["mnist"]
    place.scan(patient=True, after_seconds=0.01)
    assert place.names() == []


@pytest.mark.parametrize("beside", ["a.yaml~", ".a.yaml.swp", ".#a.yaml", "#a.yaml#"])
def test_a_file_that_an_editor_has_open_may_be_away_longer(place: Place, beside: str) -> None:
    path = place.write("a.yaml", build())
    place.scan()
    path.unlink()
    path.with_name(beside).symlink_to("nobody@nowhere")
    place.scan(patient=True)
    place.scan(patient=True, after_seconds=WRITING_SECONDS - 0.01)
    assert place.names() == ["mnist"]
    place.scan(patient=True, after_seconds=0.01)
    assert place.names() == []


def test_a_file_that_an_editor_lets_go_is_not_waited_for(place: Place) -> None:
    path = place.write("a.yaml", build())
    place.scan()
    backup = path.rename(path.with_name("a.yaml~"))
    place.scan(patient=True)
    place.scan(patient=True, after_seconds=SAVING_SECONDS)
    assert place.names() == ["mnist"]
    backup.unlink()
    place.scan(patient=True)
    assert place.names() == []


def test_a_file_written_in_two_halves_loses_nothing(place: Place) -> None:
    before = yaml.safe_dump_all([build("one"), build("two")])
    place.write("a.yaml", before)
    place.scan()
    uids = {name: place.uid(name) for name in ("one", "two")}
    after = yaml.safe_dump_all([build("one", edit=2), build("two", edit=2)])
    for end in range(0, len(after), 7):
        place.write("a.yaml", after[:end])
        place.scan(patient=True, after_seconds=WRITING_SECONDS * 0.9)
        assert {name: place.uid(name) for name in ("one", "two")} == uids, after[:end]
    place.write("a.yaml", after)
    place.scan(patient=True)
    assert (place.edit("one"), place.edit("two"), place.errors()) == (2, 2, {})
    assert {name: place.uid(name) for name in place.names()} == uids


def test_a_document_that_stays_away_is_deleted(place: Place) -> None:
    place.write("a.yaml", build("one"), build("two"))
    place.scan()
    place.write("a.yaml", build("one"))
    place.scan(patient=True)
    place.scan(patient=True, after_seconds=WRITING_SECONDS - 0.01)
    assert place.names() == ["one", "two"]
    place.scan(patient=True, after_seconds=0.01)
    assert place.names() == ["one"]


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_a_file_that_stays_empty_ends_its_job(place: Place, text: str) -> None:
    path = place.write("a.yaml", build())
    with place.following():
        path.write_text(text)
        wait_for(lambda: place.names() == [], "the end")


def test_directories_made_at_once_with_their_files(place: Place) -> None:
    with place.following():
        for number in range(3):
            place.write(f"a{number}/b/c/d/{number}.yaml", build(f"job-{number}"))
        wait_for(lambda: len(place.names()) == 3, "the files")
        place.write("a0/b/c/d/0.yaml", build("job-0", edit=7))
        wait_for(lambda: place.edit("job-0") == 7, "an edit far below")
        shutil.rmtree(place.root / "a1")
        wait_for(lambda: place.names() == ["job-0", "job-2"], "the end of one directory")


def test_a_tree_moved_in_is_followed(place: Place) -> None:
    (place.base / "elsewhere" / "deep").mkdir(parents=True)
    (place.base / "elsewhere" / "deep" / "a.yaml").write_text(yaml.safe_dump(build()))
    with place.following():
        (place.base / "elsewhere").rename(place.root / "here")
        wait_for(lambda: place.names() == ["mnist"], "the tree")
        place.write("here/deep/a.yaml", build(edit=5))
        wait_for(lambda: place.edit() == 5, "an edit in it")


def test_directories_that_move_away_take_their_jobs_along(place: Place) -> None:
    place.write("here/deep/a.yaml", build("one"))
    place.write("b.yaml", build("two"))
    with place.following():
        (place.root / "here").rename(place.base / "away")
        wait_for(lambda: place.names() == ["two"], "the end of what moved out")
        (place.base / "away").rename(place.root / "there")
        wait_for(lambda: place.names() == ["one", "two"], "its return")
        uid = place.uid("one")
        (place.root / "there").rename(place.root / "everywhere")
        wait_for(lambda: place.report("one")["source"]["file"].endswith("everywhere/deep/a.yaml"), "the new name")
        assert place.uid("one") == uid, "what moves within is the same"


def git(place: Place, *arguments: str) -> None:
    command = ["git", "-C", str(place.root), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(command, check=True, capture_output=True, env=environ)


def test_branches_of_300_files_are_switched_back_and_forth(fast_place: Place) -> None:
    place = fast_place
    git(place, "init", "--initial-branch=empty")
    git(place, "commit", "--allow-empty", "--message=nothing")
    for branch, edit in (("first", 1), ("second", 2)):
        git(place, "checkout", "-b", branch, "empty")
        for number in range(300):
            place.write(f"team-{number % 7}/{number}.yaml", build(f"job-{number}", edit))
        place.write("only.yaml", build(f"only-{branch}"))
        git(place, "add", "--all")
        git(place, "commit", "--message=jobs")
    everybody = sorted(f"job-{number}" for number in range(300))
    with place.following():
        uids = {name: place.uid(name) for name in everybody}
        for branch, edit in (("first", 1), ("second", 2)):
            git(place, "checkout", branch)
            wait_for(lambda b=branch: place.names() == [*everybody, f"only-{b}"], "the jobs of the branch", 30)  # type: ignore[misc]
            wait_for(lambda e=edit: all(place.edit(name) == e for name in everybody), "the edits", 30)  # type: ignore[misc]
        git(place, "checkout", "empty")
        wait_for(lambda: "301 manifests are missing" in str(place.errors().get(".")), "the loss to be noticed", 30)
        git(place, "checkout", "second")
        wait_for(lambda: place.errors() == {}, "the return to be noticed", 30)
        assert {name: place.uid(name) for name in everybody} == uids, "nothing was deleted in between"


def test_a_root_that_was_removed_and_made_again_is_followed(place: Place) -> None:
    place.write("a.yaml", build())
    with place.following():
        uid = place.uid()
        place.root.rename(place.base / "away")
        wait_for(lambda: place.source._root_problem, "the loss to be noticed")
        place.root.mkdir()
        place.write("a.yaml", build(edit=2))
        wait_for(lambda: place.edit() == 2, "the new directory")
        assert place.uid() == uid, "nothing was deleted in between"
        place.write("b.yaml", build("other"))
        wait_for(lambda: place.names() == ["mnist", "other"], "a further file")


def test_a_root_replaced_in_one_step_is_followed(place: Place) -> None:
    place.write("a.yaml", build())
    with place.following():
        new = place.base / "new"
        new.mkdir()
        (new / "b.yaml").write_text(yaml.safe_dump(build("other")))
        place.root.rename(place.base / "old")
        new.rename(place.root)
        wait_for(lambda: place.names() == ["mnist", "other"], "the new directory's jobs")
        place.write("c.yaml", build("third"))
        wait_for(lambda: place.names() == ["mnist", "other", "third"], "a further file")
        assert "another directory than before" in place.errors()["."][0]


def test_it_stops_at_once(place: Place) -> None:
    place.source.start()
    place.source.stop(5)
    assert "files" not in [thread.name for thread in threading.enumerate()]
