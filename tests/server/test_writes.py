"""Writes through the API: judged as files are, put into the directory as people write, and stored as on a cluster."""

import copy
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builders import build_runtime
from desk import JOBS, KINDS, MAPS, RUNTIMES, Desk, run_at_once
from trainlet.kube.errors import ApiError
from trainlet.kube.kept import LAST_APPLIED
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning.events import Note
from trainlet.server.api.types import PatchType, Validation

MANIFEST = """\
# My job.
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata:
  name: mnist  # as the data set
  labels:
    team: vision
spec:
  # Which runtime.
  runtimeRef:
    name: torch-distributed
  trainer:
    numNodes: 2  # two are enough
"""
FILE = "mnist.yaml"
STATUS = {"trainerStatus": {"lastUpdatedTime": "2026-01-02T03:04:05Z", "progressPercentage": 5}}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def edited(desk: Desk) -> Desk:
    desk.write(FILE, MANIFEST)
    return desk


def build(name: str = "mnist", **spec: Any) -> JSON:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": 2}, **spec},
    }


def build_map(name: str = "settings", **data: str) -> JSON:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def refusal(code: int) -> Any:
    """Return a context that wants this refusal and yields it."""
    return pytest.raises(ApiError, check=lambda error: error.code == code)


# Create


def test_what_is_created_is_a_file_as_a_person_writes_it(desk: Desk) -> None:
    written = desk.create(build())
    assert written.is_new
    assert written.object == desk.get()
    assert desk.read("trainjob-mnist.yaml") == build()
    assert desk.texts()["trainjob-mnist.yaml"].startswith("apiVersion: ")
    metadata = written.object["metadata"]
    assert metadata["generation"] == 1
    assert written.object["spec"]["suspend"] is False
    assert {"uid", "resourceVersion", "creationTimestamp", "managedFields"} <= metadata.keys()
    assert metadata["managedFields"][0]["manager"] == "test"
    assert [key.name for key in desk.woken] == ["mnist"]


def test_what_only_servers_keep_is_beside_the_file_and_outlives_a_restart(desk: Desk) -> None:
    body = build()
    notes = {LAST_APPLIED: "{}", "kopf.zalando.org/last-handled-configuration": "{}", "mine": "x"}
    body["metadata"] |= {"annotations": notes, "finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]}
    created = desk.create(body).object
    assert desk.read("trainjob-mnist.yaml")["metadata"] == {"name": "mnist", "annotations": {"mine": "x"}}
    assert created["metadata"]["annotations"] == notes
    desk.open()
    again = desk.get()
    assert again == created


@pytest.mark.parametrize("kind", ["ConfigMap", "ClusterTrainingRuntime"])
def test_who_an_object_is_outlives_a_restart(desk: Desk, kind: str) -> None:
    body = build_map(a="1") if kind == "ConfigMap" else _runtime("mine")
    body["metadata"]["annotations"] = {LAST_APPLIED: "{}"}
    created = desk.create(body).object
    desk.open()
    resource = MAPS if kind == "ConfigMap" else RUNTIMES
    again = desk.registry.store.get(resource.key("default", body["metadata"]["name"]))
    versionless = [{**each["metadata"], "resourceVersion": ""} for each in (created, again or {})]
    assert versionless[0] == versionless[1]


def test_a_forgotten_object_is_another_one_when_it_comes_back(desk: Desk) -> None:
    first = desk.create(build_map(a="1")).object
    desk.delete("settings", MAPS)
    assert desk.texts() == {}
    assert desk.get("settings", MAPS) is None
    assert desk.create(build_map(a="1")).object["metadata"]["uid"] != first["metadata"]["uid"]


def test_a_name_that_is_taken_is_refused(edited: Desk) -> None:
    with refusal(409) as raised:
        edited.create(build())
    assert str(raised.value) == 'trainjobs.trainer.kubeflow.org "mnist" already exists'
    assert raised.value.reason == "AlreadyExists"


def test_a_generated_name_has_five_more_characters(desk: Desk) -> None:
    body = build()
    body["metadata"] = {"generateName": "train-"}
    name = desk.create(body).object["metadata"]["name"]
    assert name.startswith("train-")
    assert len(name) == len("train-") + 5
    assert desk.read(f"trainjob-{name}.yaml")["metadata"] == {"name": name}


def test_a_dry_run_leaves_nothing(desk: Desk) -> None:
    written = desk.create(build(), is_dry_run=True)
    assert written.object["spec"]["suspend"] is False
    assert (desk.get(), desk.texts(), desk.woken) == (None, {}, [])


def test_what_admission_refuses_is_not_written(desk: Desk) -> None:
    with refusal(403) as raised:
        desk.create(build(runtimeRef={"name": "nothing"}))
    assert "nothing" in str(raised.value)
    with refusal(422):
        desk.create(build(trainer={"numNodes": "two"}))
    assert desk.texts() == {}


def test_a_refused_file_of_the_name_is_corrected_in_its_place(desk: Desk) -> None:
    desk.write(FILE, MANIFEST.replace("numNodes: 2", "numNodes: two"))
    assert desk.get() is None
    desk.create(build())
    assert list(desk.texts()) == [FILE]
    assert desk.get() is not None


def test_another_file_of_the_usual_name_is_left_alone(desk: Desk) -> None:
    desk.write("trainjob-mnist.yaml", MANIFEST.replace("mnist", "other"))
    desk.create(build())
    assert sorted(desk.texts()) == ["trainjob-mnist-2.yaml", "trainjob-mnist.yaml"]


# Unknown fields


@pytest.mark.parametrize(
    ("validation", "warnings"),
    [(Validation.WARN, ('unknown field "spec.nodes"',)), (Validation.IGNORE, ())],
)
def test_unknown_fields_are_left_out(desk: Desk, validation: Validation, warnings: tuple[str, ...]) -> None:
    written = desk.create(build(nodes=2), validation=validation)
    assert [each for each in written.warnings if "unknown" in each] == list(warnings)
    assert "nodes" not in written.object["spec"]
    assert desk.read("trainjob-mnist.yaml") == build()


def test_unknown_fields_are_refused_if_asked_for(desk: Desk) -> None:
    with refusal(400) as raised:
        desk.create(build(nodes=2), validation=Validation.STRICT)
    assert str(raised.value).endswith('strict decoding error: unknown field "spec.nodes"')
    assert desk.texts() == {}


# Update and patch


def test_a_patch_is_an_edit_that_keeps_every_other_byte(edited: Desk) -> None:
    edited.patch({"spec": {"suspend": True}, "metadata": {"labels": {"team": "speech", "tier": "1"}}})
    wanted = MANIFEST.replace("team: vision\n", "team: speech\n    tier: '1'\n") + "  suspend: true\n"
    assert edited.texts() == {FILE: wanted}
    stored = edited.get() or {}
    assert stored["spec"]["suspend"] is True
    assert stored["metadata"]["labels"] == {"team": "speech", "tier": "1"}
    assert stored["metadata"]["generation"] == 2
    assert edited.woken[-1].name == "mnist"


def test_null_removes_what_is_in_the_file(edited: Desk) -> None:
    edited.patch({"metadata": {"labels": None}})
    assert edited.texts() == {FILE: MANIFEST.replace("  labels:\n    team: vision\n", "")}


def test_a_file_with_others_in_it_keeps_them(desk: Desk) -> None:
    other = MANIFEST.replace("mnist", "other")
    desk.write(FILE, f"{other}---\n{MANIFEST}")
    desk.patch({"spec": {"suspend": True}})
    assert desk.texts() == {FILE: f"{other}---\n{MANIFEST}  suspend: true\n"}
    desk.delete()
    assert desk.texts() == {FILE: other}
    assert (desk.get("other") or {})["metadata"].get("deletionTimestamp") is None


def test_a_patch_without_effect_changes_neither_version_nor_file(edited: Desk) -> None:
    version, inode = edited.version(), (edited.root / FILE).stat().st_ino
    edited.patch({"spec": {"suspend": False, "managedBy": "trainer.kubeflow.org/trainjob-controller"}})
    edited.patch([{"op": "test", "path": "/metadata/name", "value": "mnist"}], type=PatchType.JSON)
    edited.update(copy.deepcopy(edited.get() or {}))
    assert (edited.version(), (edited.root / FILE).stat().st_ino) == (version, inode)


def test_what_manifests_do_not_say_changes_no_file(edited: Desk) -> None:
    inode, version = (edited.root / FILE).stat().st_ino, edited.version()
    edited.patch({"metadata": {"finalizers": ["a.io/b"], "annotations": {"kopf.dev/progress": "x"}}})
    assert (edited.root / FILE).stat().st_ino == inode
    assert edited.version() != version
    edited.write(FILE, MANIFEST.replace("vision", "speech"))
    stored = edited.get() or {}
    assert find(stored, "metadata", "finalizers") == ["a.io/b"]
    assert find(stored, "metadata", "annotations") == {"kopf.dev/progress": "x"}
    assert find(stored, "metadata", "labels") == {"team": "speech"}


def test_an_update_must_say_of_what(edited: Desk) -> None:
    with refusal(422) as raised:
        edited.update(build(suspend=True))
    wanted = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    assert str(raised.value) == f'TrainJob.trainer.kubeflow.org "mnist" is invalid: {wanted}'
    stale = copy.deepcopy(edited.get() or {})
    edited.patch({"metadata": {"labels": {"a": "b"}}})
    with refusal(409) as raised:
        edited.update({**stale, "spec": {**stale["spec"], "suspend": True}})
    assert str(raised.value) == (
        'Operation cannot be fulfilled on trainjobs.trainer.kubeflow.org "mnist": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    with refusal(409):
        edited.patch({"metadata": {"resourceVersion": "1", "labels": {"c": "d"}}})
    fresh = copy.deepcopy(edited.get() or {})
    fresh["spec"]["suspend"] = True
    assert edited.update(fresh).object["spec"]["suspend"] is True


def test_an_object_that_is_not_there_is_not_found(desk: Desk) -> None:
    for write in (lambda: desk.patch({}), lambda: desk.update(build()), lambda: desk.delete()):
        with refusal(404) as raised:
            write()
        assert str(raised.value) == 'trainjobs.trainer.kubeflow.org "mnist" not found'


def test_what_may_not_change_is_refused_and_stays(edited: Desk) -> None:
    before = edited.get()
    with refusal(422) as raised:
        edited.patch({"spec": {"runtimeRef": {"name": "other"}}})
    assert "immutable" in str(raised.value)
    assert (edited.get(), edited.texts()) == (before, {FILE: MANIFEST})


def test_a_json_patch_carries_out_its_operations(edited: Desk) -> None:
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": edited.version()},
        {"op": "add", "path": "/metadata/finalizers", "value": ["a.io/b"]},
        {"op": "replace", "path": "/spec/suspend", "value": True},
    ]
    stored = edited.patch(operations, type=PatchType.JSON).object
    assert (stored["metadata"]["finalizers"], stored["spec"]["suspend"]) == (["a.io/b"], True)
    with refusal(422) as raised:
        edited.patch(operations, type=PatchType.JSON)
    assert "testing value /metadata/resourceVersion failed" in str(raised.value)


def test_a_strategic_patch_is_for_the_kinds_of_the_core(edited: Desk) -> None:
    with refusal(415) as raised:
        edited.patch({"spec": {"suspend": True}}, type=PatchType.STRATEGIC)
    assert raised.value.reason == "UnsupportedMediaType"
    edited.create(build_map(a="1", b="2"))
    edited.patch({"data": {"a": "3", "b": None}}, "settings", MAPS, PatchType.STRATEGIC)
    assert edited.read("configmap-settings.yaml")["data"] == {"a": "3"}


def test_a_change_that_nobody_has_seen_yet_is_no_loss(edited: Desk) -> None:
    (edited.root / FILE).write_text(MANIFEST.replace("vision", "speech"))
    edited.patch({"spec": {"suspend": True}})
    assert edited.texts() == {FILE: MANIFEST.replace("vision", "speech") + "  suspend: true\n"}
    assert find(edited.get(), "metadata", "labels", "team") == "speech"


def test_of_two_who_update_at_once_one_wins(edited: Desk) -> None:
    bodies = []
    for team in ("a", "b"):
        body = copy.deepcopy(edited.get() or {})
        body["metadata"]["labels"] = {"team": team}
        bodies.append(body)
    raised = run_at_once(*(lambda body=body: edited.update(body) for body in bodies))
    (lost,) = [error for error in raised if error is not None]
    assert isinstance(lost, ApiError)
    assert lost.code == 409


# Secrets


def test_the_file_of_a_secret_is_for_its_owner_alone_and_nothing_of_it_is_elsewhere(desk: Desk) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "annotations": {LAST_APPLIED: '{"stringData":{"password":"geheim"}}'}},
        "stringData": {"password": "geheim"},
    }
    stored = desk.create(body).object
    assert stored["data"] == {"password": "Z2VoZWlt"}
    path = desk.root / "secret-login.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = [each.read_text() for each in desk.status.root.rglob("*.yaml")]
    assert any("login" in text for text in kept)
    assert not any("geheim" in text or "Z2VoZWlt" in text for text in kept)


def test_a_changed_secret_is_changed_where_it_is_written(desk: Desk) -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: login\nstringData:\n  user: me  # who\n  password: old\n"
    path = desk.write("login.yaml", text)
    assert path.chmod(0o600) is None
    desk.files.scan()
    secrets = KINDS["Secret"]
    desk.patch({"data": {"password": "bmV3"}}, "login", secrets)
    assert desk.texts() == {"login.yaml": text.replace("old", "new")}
    desk.patch({"data": {"password": None}}, "login", secrets, PatchType.STRATEGIC)
    assert desk.texts() == {"login.yaml": text.replace("  password: old\n", "")}
    assert (desk.get("login", secrets) or {})["data"] == {"user": "bWU="}


# Delete


def test_a_deleted_job_goes_with_its_file(edited: Desk) -> None:
    deleted = edited.delete()
    assert deleted["metadata"]["deletionTimestamp"]
    assert edited.texts() == {}
    assert edited.woken[-1].name == "mnist"
    with refusal(409) as raised:
        edited.create(build())
    assert "object is being deleted" in str(raised.value)
    edited.finish()
    assert edited.get() is None


def test_many_deletions_are_not_held(desk: Desk) -> None:
    for number in range(12):
        desk.create(build(f"job-{number}"))
    for number in range(12):
        assert desk.delete(f"job-{number}")["metadata"]["deletionTimestamp"]
    assert desk.texts() == {}


def test_a_job_with_finalizers_stays_until_they_are_gone(edited: Desk) -> None:
    edited.patch({"metadata": {"finalizers": ["a.io/b"]}})
    edited.delete()
    edited.finish()
    assert edited.get() is not None
    with refusal(422):
        edited.patch({"metadata": {"finalizers": ["a.io/b", "a.io/c"]}})
    edited.patch({"metadata": {"finalizers": []}})
    assert edited.woken[-1].name == "mnist"
    edited.finish()
    assert edited.get() is None


def test_a_config_map_with_finalizers_keeps_its_file_until_they_are_gone(desk: Desk) -> None:
    body = build_map(a="1")
    body["metadata"]["finalizers"] = ["a.io/b"]
    desk.create(body)
    assert desk.delete("settings", MAPS)["metadata"]["deletionTimestamp"]
    desk.open()
    assert find(desk.get("settings", MAPS), "metadata", "deletionTimestamp")
    desk.patch({"metadata": {"finalizers": None}}, "settings", MAPS)
    assert (desk.get("settings", MAPS), desk.texts()) == (None, {})


@pytest.mark.parametrize("options", [{"uid": "another"}, {"resource_version": "1"}])
def test_a_deletion_of_something_else_is_refused(edited: Desk, options: dict[str, str]) -> None:
    edited.patch({"metadata": {"labels": {"a": "b"}}})
    with refusal(409):
        edited.delete(**options)
    assert edited.get() is not None


def test_a_dry_deletion_deletes_nothing(edited: Desk) -> None:
    edited.delete(is_dry_run=True)
    assert edited.texts() == {FILE: MANIFEST}
    assert not find(edited.get(), "metadata", "deletionTimestamp")


# Runtimes that no file holds


def _runtime(name: str) -> JSON:
    runtime = build_runtime()
    return {**runtime, "metadata": {**runtime["metadata"], "name": name}}


def test_a_built_in_runtime_is_hidden_by_what_is_applied_and_cannot_be_changed_or_deleted(desk: Desk) -> None:
    name = "torch-distributed"
    base = desk.registry.store.get(RUNTIMES.key("", name))
    for write in (
        lambda: desk.patch({"metadata": {"labels": {"a": "b"}}}, name, RUNTIMES),
        lambda: desk.delete(name, RUNTIMES),
    ):
        with refusal(403) as raised:
            write()
        assert "apply a manifest of its name" in str(raised.value)
    mine = _runtime(name)
    mine["metadata"]["labels"] = {**mine["metadata"].get("labels", {}), "mine": "yes"}
    desk.patch(
        {"metadata": {"annotations": {LAST_APPLIED: json.dumps(mine)}, "labels": {"mine": "yes"}}}, name, RUNTIMES
    )
    assert desk.read(f"clustertrainingruntime-{name}.yaml")["metadata"]["labels"]["mine"] == "yes"
    assert find(desk.registry.store.get(RUNTIMES.key("", name)), "metadata", "labels", "mine") == "yes"
    desk.delete(name, RUNTIMES)
    again = desk.registry.store.get(RUNTIMES.key("", name))
    assert find(again, "metadata", "uid") == find(base, "metadata", "uid")
    desk.apply(mine)
    assert desk.texts()


# Files that cannot be written


def test_a_link_is_not_edited(desk: Desk) -> None:
    (desk.root / "there").mkdir()
    (desk.root / "there" / "real.txt").write_text(MANIFEST)
    (desk.root / FILE).symlink_to(desk.root / "there" / "real.txt")
    desk.files.scan()
    assert desk.get() is not None
    for write in (lambda: desk.patch({"spec": {"suspend": True}}), lambda: desk.delete()):
        with refusal(409) as raised:
            write()
        assert "is a link to" in str(raised.value)
    assert (desk.root / "there" / "real.txt").read_text() == MANIFEST
    assert find(desk.get(), "spec", "suspend") is False


def test_a_directory_that_is_unsafe_undoes_the_write(desk: Desk) -> None:
    desk.root.chmod(0o777)
    with refusal(409):
        desk.create(build())
    assert desk.texts() == {}
    desk.root.chmod(0o755)
    desk.create(build())
    assert desk.get() is not None


def test_a_directory_that_may_not_be_written_is_told(desk: Desk) -> None:
    with _without_rights(desk.root), refusal(403) as raised:
        desk.create(build())
    assert "make the directory writable" in str(raised.value)
    assert desk.texts() == {}


@contextmanager
def _without_rights(directory: Path) -> Iterator[None]:
    """Keep this process from writing here, whoever runs it."""
    mine, mode = os.geteuid(), stat.S_IMODE(directory.stat().st_mode)
    above = [each for each in directory.parents if each != Path("/") and each.stat().st_uid == mine]
    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in above}
    for each in above:
        each.chmod(modes[each] | 0o055)
    directory.chmod(0o555)
    os.seteuid(65534 if mine == 0 else mine)
    try:
        yield
    finally:
        os.seteuid(mine)
        directory.chmod(mode)
        for each in above:
            each.chmod(modes[each])


# Server-side apply


def test_what_is_applied_makes_the_object_and_gives_up_what_it_no_longer_says(desk: Desk) -> None:
    body = build(suspend=True)
    body["metadata"]["labels"] = {"team": "vision", "tier": "1"}
    written = desk.apply(body)
    assert written.is_new
    body["metadata"]["labels"] = {"team": "vision"}
    again = desk.apply(body)
    assert not again.is_new
    assert desk.read("trainjob-mnist.yaml") == body
    version = desk.version()
    assert desk.apply(body).object["metadata"]["resourceVersion"] == version == desk.version()


def test_fields_of_others_are_refused_by_name(edited: Desk) -> None:
    edited.patch({"metadata": {"labels": {"team": "speech"}}}, manager="kubectl-label")
    body = build()
    body["metadata"]["labels"] = {"team": "text"}
    with refusal(409) as raised:
        edited.apply(body)
    (cause,) = raised.value.causes
    assert (cause.type, cause.path) == ("FieldManagerConflict", ".metadata.labels.team")
    assert cause.detail == 'conflict with "kubectl-label" using trainer.kubeflow.org/v1alpha1'
    edited.apply(body, is_forced=True)
    assert edited.texts() == {FILE: MANIFEST.replace("vision", "text")}


def test_a_file_that_changes_takes_its_fields_back(desk: Desk) -> None:
    body = build()
    body["metadata"]["labels"] = {"team": "vision"}
    desk.apply(body)
    name = "trainjob-mnist.yaml"
    desk.write(name, desk.texts()[name].replace("vision", "speech"))
    with refusal(409) as raised:
        desk.apply(body)
    assert 'conflict with "trainlet"' in str(raised.value)


def test_clients_may_rewrite_who_owns_what(edited: Desk) -> None:
    edited.patch({"metadata": {"labels": {"a": "b"}}}, manager="kubectl-client-side-apply")
    managed = copy.deepcopy(find(edited.get(), "metadata", "managedFields"))
    managed[0] |= {"manager": "kubectl", "operation": "Apply"}
    operations = [
        {"op": "replace", "path": "/metadata/managedFields", "value": managed},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": edited.version()},
    ]
    inode = (edited.root / FILE).stat().st_ino
    stored = edited.patch(operations, type=PatchType.JSON).object
    assert [each["manager"] for each in stored["metadata"]["managedFields"]] == ["kubectl"]
    assert (edited.root / FILE).stat().st_ino == inode


@pytest.mark.parametrize("extra", [{"managedFields": [{"manager": "x"}]}, {"name": "other"}, {"namespace": "other"}])
def test_a_configuration_that_makes_no_sense_is_refused(desk: Desk, extra: JSON) -> None:
    body = build()
    with refusal(400):
        desk.patch({**body, "metadata": {**body["metadata"], **extra}}, type=PatchType.APPLY)


# Status


def test_a_write_of_the_status_changes_nothing_else(edited: Desk) -> None:
    body = {"status": {**STATUS, "invented": 1}, "spec": {"suspend": True}}
    stored = edited.patch(body, subresource="status").object
    assert stored["status"] == STATUS
    assert (stored["spec"]["suspend"], stored["metadata"]["generation"]) == (False, 1)
    assert edited.texts() == {FILE: MANIFEST}
    version = edited.version()
    edited.patch({"status": STATUS}, subresource="status")
    assert edited.version() == version
    stored = edited.patch({"spec": {"suspend": True}, "status": None}).object
    assert stored["status"] == STATUS
    edited.open()
    assert find(edited.get(), "status") == stored["status"]


def test_a_status_that_the_definition_refuses_is_refused(edited: Desk) -> None:
    with refusal(422) as raised:
        edited.patch(
            {"status": {"trainerStatus": {"lastUpdatedTime": "2026-01-02T03:04:05Z", "progressPercentage": 101}}},
            subresource="status",
        )
    assert "status.trainerStatus.progressPercentage" in str(raised.value)
    assert "status" not in (edited.get() or {})


def test_a_status_is_applied_and_owned_apart(edited: Desk) -> None:
    body = {**build(), "status": STATUS}
    stored = edited.apply(body, subresource="status").object
    assert stored["status"] == body["status"]
    (entry,) = (each for each in stored["metadata"]["managedFields"] if each["operation"] == "Apply")
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:trainerStatus": {"f:lastUpdatedTime": {}, "f:progressPercentage": {}}}}
    edited.write(FILE, MANIFEST.replace("vision", "speech"))
    assert entry in find(edited.get(), "metadata", "managedFields")


# Events, pods, kinds that are only read


def test_an_event_that_is_told_is_kept_with_its_job(edited: Desk) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "kopf-event-", "namespace": "default"},
        "involvedObject": {"kind": "TrainJob", "name": "mnist", "namespace": "default"},
        "reason": "Logging",
        "message": "hello",
        "type": "Normal",
        "eventTime": "2026-01-02T03:04:05.6+01:00",
        "firstTimestamp": "2026-01-02T03:04:05.123456+00:00",
    }
    event = edited.create(body).object
    assert (event["eventTime"], event["firstTimestamp"]) == ("2026-01-02T02:04:05.600000Z", "2026-01-02T03:04:05Z")
    assert (event["lastTimestamp"], event["count"]) == ("2026-01-02T02:04:05Z", 1)
    events, name = KINDS["Event"], event["metadata"]["name"]
    edited.patch({"count": 2, "message": "again"}, name, events)
    edited.open()
    assert {**(edited.get(name, events) or {}), "metadata": {}} == {
        **event,
        "count": 2,
        "message": "again",
        "metadata": {},
    }


def test_an_event_of_our_own_may_be_told_on(edited: Desk) -> None:
    edited.registry.note(JOBS.key("default", "mnist"), Note("Normal", "Started", "it runs"))
    (event,) = edited.registry.store.list("Event")
    patched = edited.patch({"count": 7}, event["metadata"]["name"], KINDS["Event"]).object
    assert (patched["count"], patched["message"]) == (7, "it runs")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"involvedObject": None}, "involvedObject"),
        ({"involvedObject": {"name": "mnist", "namespace": "other"}}, "involvedObject.namespace"),
        ({"eventTime": "yesterday"}, "eventTime"),
    ],
)
def test_an_event_that_nobody_could_show_is_refused(desk: Desk, change: JSON, path: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"name": "mnist"},
    }
    with refusal(422) as raised:
        desk.create({**body, **change})
    assert [cause.path for cause in raised.value.causes] == [path]


PODS, POD = KINDS["Pod"], "mnist-node-0-0-x"


def put_pod(desk: Desk, phase: str = "Running") -> None:
    labels = {"jobset.sigs.k8s.io/jobset-name": "mnist"}
    metadata = {"name": POD, "namespace": "default", "uid": "1234", "labels": labels}
    desk.registry.store.put(PODS.key("default", POD), {"metadata": metadata, "status": {"phase": phase}})


@pytest.mark.parametrize(("options", "removed"), [({}, []), ({"grace_seconds": 3}, []), ({"grace_seconds": 0}, [POD])])
def test_a_deleted_pod_is_marked_and_ends_as_the_next_pass_sees_to(
    edited: Desk, options: dict[str, int], removed: list[str]
) -> None:
    put_pod(edited)
    edited.woken.clear()
    told = edited.delete(POD, PODS, **options)
    assert (told["metadata"]["uid"], bool(told["metadata"]["deletionTimestamp"])) == ("1234", True)
    assert edited.get(POD, PODS) == told
    assert edited.status.read_part("default", "mnist", "pods") == [told]
    assert (edited.removed, edited.woken) == (removed, [JOBS.key("default", "mnist")])


def test_of_a_pod_that_is_over_only_the_containers_go(edited: Desk) -> None:
    put_pod(edited, "Succeeded")
    before = edited.get(POD, PODS)
    told = edited.delete(POD, PODS)["metadata"]
    assert ("uid" in told, bool(told["deletionTimestamp"])) == (False, True), "clients do not wait for it"
    assert (edited.removed, edited.get(POD, PODS)) == ([POD], before)


@pytest.mark.parametrize("kind", ["JobSet", "Job", "Namespace", "Node", "Pod"])
def test_what_is_only_read_is_not_written(desk: Desk, kind: str) -> None:
    resource = KINDS[kind]
    body = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": "a"}}
    for write in (lambda: desk.create(body), lambda: desk.patch({}, "a", resource), lambda: desk.apply(body)):
        with refusal(405) as raised:
            write()
        assert raised.value.reason == "MethodNotAllowed"


# Files that are not what they were


def test_an_object_whose_file_is_broken_is_neither_changed_nor_deleted(edited: Desk) -> None:
    edited.write(FILE, MANIFEST + "  spec: {")
    for write in (lambda: edited.patch({"spec": {"suspend": True}}), lambda: edited.delete()):
        with refusal(409) as raised:
            write()
        assert "cannot be read" in str(raised.value)
    edited.write(FILE, MANIFEST)
    assert edited.delete()["metadata"]["deletionTimestamp"]


def test_an_object_whose_file_is_missing_can_be_deleted(edited: Desk) -> None:
    (edited.root / FILE).unlink()
    with refusal(409):
        edited.patch({"spec": {"suspend": True}})
    assert edited.delete()["metadata"]["deletionTimestamp"]


def test_an_object_in_two_files_is_deleted_from_both(edited: Desk) -> None:
    edited.write("again.yaml", MANIFEST)
    edited.delete()
    assert edited.texts() == {}


def test_whoever_follows_the_directory_may_see_a_write_first(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    seen = desk.files.take_in

    def look_first(file: Path, key: ObjectKey) -> str:
        desk.files.scan()
        return seen(file, key)

    desk.files.take_in = look_first  # type: ignore[method-assign]
    body = build()
    body["metadata"]["finalizers"] = ["a.io/b"]
    assert desk.create(body).object["metadata"]["finalizers"] == ["a.io/b"]


# Those who mean harm


def _nest(levels: int) -> JSON:
    nested: JSON = {}
    for _ in range(levels):
        nested = {"a": nested}
    return nested


def test_what_is_too_deep_or_grows_without_end_is_refused(edited: Desk) -> None:
    bomb = [{"op": "copy", "from": "/spec", "path": f"/spec/{name}"} for name in "abcdefghijklmnopqrstuvwxyz"]
    before = edited.get()
    for write in (
        lambda: edited.create(build("deep", trainer=_nest(900))),
        lambda: edited.patch({"spec": _nest(900)}),
        lambda: edited.patch(bomb, type=PatchType.JSON),
        lambda: edited.apply(build(trainer=_nest(900))),
    ):
        with refusal(400):
            write()
    assert (edited.get(), edited.texts()) == (before, {FILE: MANIFEST})


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "A", "a" * 300, 5, None, ["a"], ""])
def test_a_name_that_is_none_makes_no_file(desk: Desk, name: Any) -> None:
    for kind, version in (("ConfigMap", "v1"), ("TrainJob", "trainer.kubeflow.org/v1alpha1"), ("Event", "v1")):
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "involvedObject": {"name": "mnist"}}
        with refusal(422 if isinstance(name, str | None) else 400):
            desk.create(body)
    assert [path for path in desk.root.parent.rglob("*") if "etc" in path.name or "passwd" in path.name] == []
    assert desk.texts() == {}


def test_a_namespace_that_is_none_makes_no_file(desk: Desk) -> None:
    body = build_map(a="1")
    with refusal(422):
        desk.create({**body, "metadata": {"name": "a", "namespace": "../../x"}})
    assert desk.texts() == {}


# Many at once


def test_no_write_is_lost_while_the_directory_is_followed_and_a_pass_tells_of_the_job(edited: Desk) -> None:
    names = [f"label-{number}" for number in range(4)]

    def label(name: str) -> None:
        for value in range(12):
            edited.patch({"metadata": {"labels": {name: str(value)}}})

    def tell() -> None:
        for percent in range(30):
            told = {**STATUS["trainerStatus"], "progressPercentage": percent}
            edited.registry.record_trainer_status(JOBS.key("default", "mnist"), uid, told)

    edited.open(is_following=True)
    uid = str(find(edited.get(), "metadata", "uid"))
    try:
        raised = run_at_once(tell, *(lambda name=name: label(name) for name in names))
    finally:
        edited.files.stop(10)
    assert raised == [None] * 5
    wanted = {"team": "vision", **dict.fromkeys(names, "11")}
    assert find(edited.get(), "metadata", "labels") == wanted
    assert edited.read(FILE)["metadata"]["labels"] == wanted
    assert "# Which runtime." in edited.texts()[FILE]
    assert find(edited.get(), "status", "trainerStatus", "progressPercentage") == 29
    edited.open()
    assert find(edited.get(), "metadata", "labels") == wanted
