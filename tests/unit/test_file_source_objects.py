"""ConfigMaps, Secrets and claims come and go with their documents, and no value of a Secret is written anywhere."""

import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import NOW, build_job, build_runtime
from trainlet.admission.admit import REPLACE, Rules
from trainlet.admission.core_kinds import CLAIM, CONFIG_MAP, CORE_KINDS, SECRET
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.controller.file_source import FileSource
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds
from trainlet.planning.reconcile import Decision
from trainlet.registry import Registry, Source
from trainlet.store import Store
from waiting import wait_for

CRDS = (*map(parse_crd, read_crds()), *CORE_KINDS)
VALUE = "hunter2hunter2"
ENCODED = base64.b64encode(VALUE.encode()).decode()


class Place:
    """A watched directory, the registry that follows it, and which jobs were woken in which order."""

    def __init__(self, base: Path) -> None:
        self.root = base / "jobs"
        self.root.mkdir()
        self.status = StatusDir(self.root / "status")
        self.open()

    def open(self, *, trusting: bool = False) -> None:
        """Begin as a new operator does."""
        self.woken: list[str] = []
        self.registry = Registry(Store(), self.status, Rules(CRDS), lambda: NOW)
        self.registry.apply(build_runtime(), Source("built-in", 0))
        self.registry.load({})
        excluded = (self.status.root, self.root / "workspaces")
        self.source = FileSource(
            self.root, excluded, self.registry, self.status, lambda key: self.woken.append(key.name), trusting=trusting
        )

    def write(self, name: str, *documents: Any, mode: int = 0o600) -> Path:
        path = self.root / name
        text = documents[0] if documents and isinstance(documents[0], str) else yaml.safe_dump_all(documents)
        path.write_text(text)
        path.chmod(mode)
        return path

    def scan(self) -> list[str]:
        """Look at the files and return which jobs that woke."""
        self.woken.clear()
        self.source.scan()
        return sorted(set(self.woken))

    def get(self, kind: str, name: str = "a", namespace: str = "default") -> JSON:
        return self.registry.store.get(ObjectKey(kind, namespace, name)) or {}

    def errors(self) -> dict[str, list[str]]:
        return {
            Path(entry["file"]).name: [f"{e['line']}: {e['path']}: {e['detail']}" for e in entry["errors"]]
            for entry in self.status.read_errors()
        }

    def told(self, caplog: pytest.LogCaptureFixture) -> str:
        """Return all that was written below the status directory, and all that was logged."""
        files = [path.read_text() for path in self.root.rglob("status/**/*") if path.is_file()]
        return "\n".join([*files, caplog.text, *(repr(record.__dict__) for record in caplog.records)])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def build(kind: str, name: str = "a", namespace: str | None = None, **fields: Any) -> JSON:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def build_secret(value: str = VALUE, name: str = "a", **fields: Any) -> JSON:
    return build(SECRET, name, stringData={"token": value}, **fields)


def build_train_job(name: str = "mnist", namespace: str | None = None) -> JSON:
    job = build_job(name)
    return {**job, "metadata": {"name": name} if namespace is None else {"name": name, "namespace": namespace}}


CLAIMED = build(CLAIM, spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}})


# They come and go


def test_objects_are_stored_as_a_server_would(place: Place) -> None:
    place.write("a.yaml", build_secret(), build(CONFIG_MAP, data={"a": "1"}), CLAIMED)
    assert place.scan() == []
    assert place.errors() == {}
    for kind in (SECRET, CONFIG_MAP, CLAIM):
        stored = place.get(kind)["metadata"]
        assert set(stored) == {"name", "namespace", "uid", "creationTimestamp", "resourceVersion"}
        assert (stored["namespace"], stored["creationTimestamp"]) == ("default", "2026-01-02T03:04:05Z")
    assert place.get(SECRET)["data"] == {"token": ENCODED}
    assert [each["kind"] for each in place.registry.list_objects("default")] == [CONFIG_MAP, SECRET, CLAIM]
    place.registry.settle()
    written = [path.read_text() for path in place.status.root.rglob("*.yaml")]
    assert written
    assert not any(VALUE in text or ENCODED in text for text in written)


def test_an_edit_keeps_who_it_is_and_a_deletion_ends_it(place: Place) -> None:
    place.write("a.yaml", build_secret())
    place.scan()
    before = place.get(SECRET)["metadata"]
    place.write("a.yaml", build_secret("another"))
    place.scan()
    after = place.get(SECRET)
    assert after["data"] == {"token": base64.b64encode(b"another").decode()}
    assert after["metadata"]["uid"] == before["uid"]
    assert int(after["metadata"]["resourceVersion"]) > int(before["resourceVersion"])
    (place.root / "a.yaml").unlink()
    place.scan()
    assert place.get(SECRET) == {}
    assert place.registry.list_objects() == ()


def test_a_job_finds_what_comes_with_it_whatever_the_order(place: Place) -> None:
    """By the names alone, the Secret would be applied last."""
    seen: list[list[str]] = []
    place.registry.store.subscribe(lambda change: seen.append([change.type, change.key.kind]))
    place.write("a.yaml", build_train_job("a"), build_secret())
    assert place.scan() == ["a"]
    kinds = [kind for _, kind in seen if kind in (TRAIN_JOB, SECRET)]
    assert kinds == [SECRET, TRAIN_JOB]
    case = place.registry.get_case(ObjectKey(TRAIN_JOB, "default", "a"))
    assert case is not None
    assert [each["kind"] for each in case.objects] == [SECRET]
    seen.clear()
    (place.root / "a.yaml").unlink()
    place.scan()
    assert [kind for _, kind in seen if kind in (TRAIN_JOB, SECRET)] == [TRAIN_JOB, SECRET], "the job goes first"


def test_two_files_with_one_name(place: Place) -> None:
    place.write("a.yaml", build_secret("first"))
    place.write("b.yaml", build_secret("second"))
    place.scan()
    assert place.errors() == {
        "b.yaml": [f"4: metadata.name: Secret default/a is already defined in {place.root}/a.yaml: rename one of them"]
    }
    (place.root / "a.yaml").unlink()
    place.scan()
    assert (place.get(SECRET)["data"], place.errors()) == ({"token": base64.b64encode(b"second").decode()}, {})


def test_the_same_name_in_other_kinds_and_namespaces(place: Place) -> None:
    place.write("a.yaml", build_secret(), build(CONFIG_MAP), build(SECRET, namespace="team"), build_train_job("a"))
    place.scan()
    assert place.errors() == {}
    uids = {find(each, "metadata", "uid") for each in place.registry.list_objects()}
    assert len(uids | {find(place.get(TRAIN_JOB), "metadata", "uid")}) == 4


def test_what_is_refused_keeps_what_it_was(place: Place) -> None:
    place.write("a.yaml", build(CONFIG_MAP, data={"a": "1"}, immutable=True))
    place.scan()
    uid = place.get(CONFIG_MAP)["metadata"]["uid"]
    place.write("a.yaml", build(CONFIG_MAP, data={"a": "2"}, immutable=True))
    place.scan()
    assert place.errors() == {"a.yaml": ["3: data: field is immutable when `immutable` is set"]}
    assert place.get(CONFIG_MAP)["data"] == {"a": "1"}
    wish = put(build(CONFIG_MAP, data={"a": "2"}), ("metadata", "annotations"), {REPLACE: "2"})
    place.write("a.yaml", wish)
    place.scan()
    assert (place.get(CONFIG_MAP)["data"], place.errors()) == ({"a": "2"}, {})
    assert place.get(CONFIG_MAP)["metadata"]["uid"] != uid


def test_a_claim_that_goes_leaves_its_volume(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = place.write("a.yaml", CLAIMED)
    place.scan()
    path.unlink()
    place.scan()
    assert place.get(CLAIM) == {}
    assert f"{CLAIM} default/a: its volume stays on the engine, with all that is in it" in caplog.messages


def test_an_object_of_an_earlier_run_is_there_again_from_its_file(place: Place) -> None:
    place.write("a.yaml", build_secret(), build_train_job())
    place.scan()
    job = place.get(TRAIN_JOB, "mnist")["metadata"]["uid"]
    place.open()
    assert place.get(SECRET) == {}
    place.source.take_over()
    assert place.get(SECRET)["data"] == {"token": ENCODED}
    assert place.get(TRAIN_JOB, "mnist")["metadata"]["uid"] == job


def test_an_object_takes_no_uid_that_a_job_is_to_get_back(place: Place) -> None:
    place.registry.load({("default", "mnist"): "the-uid-on-the-engine"})
    place.write("a.yaml", build_secret(name="mnist"), build_train_job("mnist"))
    place.scan()
    assert place.get(TRAIN_JOB, "mnist")["metadata"]["uid"] == "the-uid-on-the-engine"
    assert place.get(SECRET, "mnist")["metadata"]["uid"] != "the-uid-on-the-engine"


# Who is woken


def test_a_change_wakes_all_unfinished_jobs_of_the_namespace(place: Place) -> None:
    place.write("jobs.yaml", *map(build_train_job, ("one", "over", "two")), build_train_job("other", "team"))
    place.scan()
    ended = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}
    place.registry.record(ObjectKey(TRAIN_JOB, "default", "over"), Decision(status=ended), (), {})
    assert place.scan() == []
    path = place.write("a.yaml", build_secret())
    assert place.scan() == ["one", "two"]
    assert place.scan() == [], "nothing changed"
    place.write("a.yaml", f"# a remark\n{path.read_text()}")
    assert place.scan() == [], "nor does a remark change anything"
    place.write("a.yaml", build_secret("another"))
    assert place.scan() == ["one", "two"]
    place.write("b.yaml", build(CONFIG_MAP, namespace="team"))
    assert place.scan() == ["other"]
    path.unlink()
    assert place.scan() == ["one", "two"]


def test_a_running_source_sees_a_secret_come(place: Place) -> None:
    place.write("jobs.yaml", build_train_job())
    place.source.start()
    try:
        place.woken.clear()
        place.write("a.yaml", build_secret())
        wait_for(lambda: "mnist" in place.woken, "the job is woken")
    finally:
        place.source.stop(10)


# Who may read a Secret's file

MODES = {0o600: "", 0o400: "", 0o644: "every user of this machine", 0o604: "every user of this machine", 0o700: ""}


@pytest.mark.parametrize(("mode", "who"), MODES.items(), ids=map(oct, MODES))
def test_a_secret_is_taken_only_from_a_file_that_nobody_else_may_read(place: Place, mode: int, who: str) -> None:
    path = place.write("a.yaml", "# mine\n---\n" + yaml.safe_dump(build_secret()), mode=mode)
    place.scan()
    if not who:
        assert (place.get(SECRET)["data"], place.errors()) == ({"token": ENCODED}, {})
        return
    remedy = f"chmod 600 {path}, or run with --allow-unsafe-files"
    assert place.errors() == {"a.yaml": [f"3: : {who} may read this file, in which there is a Secret: {remedy}"]}
    assert place.get(SECRET) == {}
    path.chmod(0o600)
    place.scan()
    assert (place.get(SECRET)["data"], place.errors()) == ({"token": ENCODED}, {})


def test_only_the_secrets_of_such_a_file_are_refused(place: Place) -> None:
    path = place.write("a.yaml", build_secret(), build_train_job(), build(CONFIG_MAP), CLAIMED, mode=0o644)
    assert place.scan() == ["mnist"]
    assert [each["kind"] for each in place.registry.list_objects()] == [CONFIG_MAP, CLAIM]
    assert len(place.errors()["a.yaml"]) == 1
    place.write("a.yaml", build_secret(), mode=0o644)
    place.scan()
    assert place.registry.list_objects() == (), "what is not in the file any more is gone"
    assert find(place.get(TRAIN_JOB, "mnist"), "metadata", "deletionTimestamp"), "the job too"
    path.chmod(0o600)
    place.scan()
    assert place.get(SECRET)["data"] == {"token": ENCODED}


def test_a_secret_whose_file_is_opened_keeps_what_it_was(place: Place) -> None:
    path = place.write("a.yaml", build_secret())
    place.scan()
    path.chmod(0o644)
    place.scan()
    place.write("a.yaml", build_secret("another"), mode=0o644)
    place.scan()
    assert place.get(SECRET)["data"] == {"token": ENCODED}
    assert list(place.errors()) == ["a.yaml"]


def test_unsafe_files_are_taken_where_that_is_wished(place: Place) -> None:
    place.write("a.yaml", build_secret(), mode=0o644)
    place.open(trusting=True)
    place.scan()
    assert (place.get(SECRET)["data"], place.errors()) == ({"token": ENCODED}, {})


# Nobody is told

TEXTS = {
    "good": yaml.safe_dump(build_secret()),
    "no base64": yaml.safe_dump(build(SECRET, data={"token": VALUE})),
    "a list": yaml.safe_dump(build(SECRET, stringData={"token": [VALUE]})),
    "no mapping": yaml.safe_dump(build(SECRET, stringData=VALUE)),
    "at the wrong place": yaml.safe_dump(build(SECRET, token=VALUE, annotations={"token": VALUE})),
    "an annotation": yaml.safe_dump(put(build(SECRET), ("metadata", "annotations"), VALUE)),
    "a login that is none": yaml.safe_dump(build_secret(type="kubernetes.io/dockerconfigjson")),
    "an alias": f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData:\n  token: *{VALUE}\n",
    "no YAML": f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData:\n  token: '{VALUE}\n",
    "a key twice": f"apiVersion: v1\nkind: Secret\nstringData:\n  token: {VALUE}\n  token: {VALUE}\n",
    "a bad name": yaml.safe_dump(build_secret(name="A_b")),
    "immutable by a word": yaml.safe_dump(build_secret(immutable=VALUE)),
}


@contextmanager
def listening(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG):
        yield


@pytest.mark.parametrize("mode", [0o600, 0o644], ids=oct)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_value_is_logged_or_written(place: Place, caplog: pytest.LogCaptureFixture, text: str, mode: int) -> None:
    with listening(caplog):
        place.write("jobs.yaml", build_train_job())
        place.write("a.yaml", text, mode=mode)
        place.scan()
        place.registry.get_case(ObjectKey(TRAIN_JOB, "default", "mnist"))
        place.registry.record(ObjectKey(TRAIN_JOB, "default", "mnist"), Decision(status=None), (), {})
        place.write("a.yaml", build_secret(f"{VALUE}2", type="acme.io/other"), mode=mode)
        place.scan()
        (place.root / "a.yaml").unlink()
        place.scan()
    told = place.told(caplog)
    assert "mnist" in told, "there is something that could tell"
    assert VALUE not in told
    assert ENCODED.rstrip("=") not in told


def test_only_who_follows_the_directory_writes_down_who_an_object_is(place: Place) -> None:
    place.registry.apply(build(CONFIG_MAP, data={"a": "1"}), Source("/jobs/a.yaml", 0))
    assert list(place.status.root.rglob("*.yaml")) == []
    place.registry.settle()
    names = {str(path.relative_to(place.status.root)) for path in place.status.root.rglob("*.yaml")}
    assert ".objects/ConfigMap/default/a.yaml" in names
