"""The API verbs: what is stored of a job is what is on disk, whoever writes at the same time."""

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from builders import UID, StillClock, build_job, build_runtime
from trainlet.admission.admit import Rules
from trainlet.admission.core_kinds import CORE_KINDS
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import CLUSTER_TRAINING_RUNTIME, REPORT, TRAIN_JOB
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import ApiError, TrainletError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds
from trainlet.planning.events import EVENT, Note
from trainlet.planning.reconcile import Decision
from trainlet.planning.report import wrap_report
from trainlet.registry import JOBSET, POD, Registry, Source
from trainlet.store import Store

CRDS = [parse_crd(document) for document in read_crds()]
KEY = ObjectKey(TRAIN_JOB, "default", "mnist")
RUNTIME_KEY = ObjectKey(CLUSTER_TRAINING_RUNTIME, "", "torch-distributed")
SOURCE = Source("/jobs/mnist.yaml", 0)


@dataclass
class Place:
    """A registry on a directory; `restart` gives the next one on the same."""

    root: Path
    clock: StillClock = field(default_factory=StillClock)

    def __post_init__(self) -> None:
        self.status = StatusDir(self.root)
        self.registry = Registry(Store(), self.status, Rules(tuple(CRDS)), self.clock)
        self.registry.apply(build_runtime(), Source("/runtimes/torch.yaml", 0))

    def apply(self, name: str = "mnist", source: Source = SOURCE, **spec: Any) -> JSON:
        self.registry.apply(build_manifest(name, **spec), source)
        return self.job(name)

    def job(self, name: str = "mnist") -> JSON:
        return self.registry.store.get(ObjectKey(TRAIN_JOB, "default", name)) or {}

    def report(self, name: str = "mnist") -> JSON:
        stored = self.registry.store.get(ObjectKey(REPORT, "default", name)) or {}
        return dict(stored.get("status") or {})

    def condition(self, type: str) -> tuple[str, str, str]:
        [found] = [c for c in self.report()["conditions"] if c["type"] == type]
        return found["status"], found["reason"], found["message"]

    def assert_written(self, name: str = "mnist") -> None:
        """Check that what is on disk is what is stored."""
        key = ObjectKey(TRAIN_JOB, "default", name)
        stored = self.status.read_job("default", name)
        assert (stored.job if stored else None) == self.registry.store.get(key)
        assert (stored.report if stored else None) == self.registry.store.get(ObjectKey(REPORT, "default", name))

    def restart(self, adoptable: dict[tuple[str, str], str] | None = None) -> "Place":
        again = Place(self.root, self.clock)
        again.registry.load(adoptable or {})
        return again


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "status")


def build_manifest(name: str = "mnist", **spec: Any) -> JSON:
    job = build_job(name, **spec)
    return {**job, "metadata": {"name": name}}


def build_decision(phase: str = "Running", pods: int = 2, **fields: Any) -> Decision:
    conditions = [
        {
            "type": "Running",
            "status": "True",
            "reason": phase,
            "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
    ]
    return Decision(
        status={"jobsStatus": [{"name": "node", "active": pods}]},
        report=wrap_report("default", "mnist", {"phase": phase, "conditions": conditions, "nodes": []}),
        jobset={"kind": "JobSet", "metadata": {"name": "mnist"}},
        pods=tuple(build_pod(number) for number in range(pods)),
        **fields,
    )


def build_pod(number: int) -> JSON:
    labels = {"jobset.sigs.k8s.io/jobset-name": "mnist"}
    return {"kind": "Pod", "metadata": {"name": f"mnist-node-0-{number}", "namespace": "default", "labels": labels}}


def list_files(place: Place) -> dict[str, int]:
    """Return when each document was written."""
    return {str(p.relative_to(place.root)): p.stat().st_mtime_ns for p in place.root.rglob("*.yaml")}


# Create and update


def test_a_new_job_is_stored_as_a_server_would_and_reported(place: Place) -> None:
    job = place.apply()
    assert job["metadata"] | {"uid": "", "resourceVersion": ""} == {
        "name": "mnist",
        "namespace": "default",
        "uid": "",
        "generation": 1,
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "resourceVersion": "",
    }
    assert len(job["metadata"]["uid"]) == 36
    assert job["spec"]["suspend"] is False, "defaults are stored"
    assert "status" not in job
    assert place.condition("Accepted") == ("True", "Admitted", "the manifest was admitted")
    assert place.report()["phase"] == "Pending"
    assert place.report()["source"] == {"file": "/jobs/mnist.yaml", "document": 0}
    place.assert_written()


def test_an_update_keeps_who_the_job_is_and_counts_generations(place: Place) -> None:
    first = place.apply()
    place.registry.record(KEY, build_decision(), (), {})
    place.clock.now += timedelta(hours=1)
    second = place.apply(trainer={"numNodes": 2}, suspend=True)
    for field_name in ("uid", "creationTimestamp"):
        assert second["metadata"][field_name] == first["metadata"][field_name]
    assert (first["metadata"]["generation"], second["metadata"]["generation"]) == (1, 2)
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert second["status"] == build_decision().status, "an update leaves status alone"
    place.assert_written()


def test_labels_are_no_new_generation(place: Place) -> None:
    place.apply()
    manifest = build_manifest()
    manifest["metadata"]["labels"] = {"team": "a"}
    place.registry.apply(manifest, SOURCE)
    assert place.job()["metadata"]["labels"] == {"team": "a"}
    assert place.job()["metadata"]["generation"] == 1


def test_the_same_again_changes_nothing_not_even_a_file(place: Place) -> None:
    place.apply()
    files, version = list_files(place), place.job()["metadata"]["resourceVersion"]
    place.clock.now += timedelta(hours=1)
    place.apply()
    assert place.job()["metadata"]["resourceVersion"] == version
    assert list_files(place) == files


def test_what_only_the_server_says_is_not_believed(place: Place) -> None:
    manifest = build_manifest()
    manifest["metadata"] |= {
        "uid": "mine",
        "generation": 7,
        "resourceVersion": "9",
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    }
    manifest["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    place.registry.apply(manifest, SOURCE)
    assert "status" not in place.job()
    assert place.job()["metadata"]["generation"] == 1
    assert "deletionTimestamp" not in place.job()["metadata"]
    assert place.job()["metadata"]["uid"] != "mine"


def test_a_runtime_knows_its_file_and_has_no_document(place: Place) -> None:
    place.registry.apply(build_runtime(), Source("/jobs/mine.yaml", 1))
    assert place.registry.get_runtime_file(RUNTIME_KEY) == "/jobs/mine.yaml"
    assert list_files(place) == {}


# Refusals


def test_a_refused_new_job_is_nothing_but_a_report_that_says_why(place: Place) -> None:
    with pytest.raises(ApiError) as refusal:
        place.apply(runtimeRef={"name": "nowhere"})
    place.registry.reject(KEY, SOURCE, refusal.value, [{"path": "spec.runtimeRef", "line": 4}])
    assert place.job() == {}
    assert place.report()["phase"] == "Rejected"
    assert place.report()["errors"] == [{"path": "spec.runtimeRef", "line": 4}]
    status, reason, message = place.condition("Accepted")
    assert (status, reason) == ("False", "Forbidden")
    assert "must be created before the TrainJob is created" in message
    place.assert_written()


def test_a_refused_update_keeps_the_old_object_and_says_why(place: Place) -> None:
    old = place.apply()
    place.registry.record(KEY, build_decision(), (), {})
    with pytest.raises(ApiError) as refusal:
        place.apply(trainer={"numNodes": "two"})
    place.registry.reject(KEY, SOURCE, refusal.value, [{"path": "spec.trainer.numNodes"}])
    assert place.job()["spec"] == old["spec"]
    assert place.report()["phase"] == "Running", "it runs on"
    assert place.condition("Accepted")[:2] == ("False", "Invalid")
    place.assert_written()
    place.apply()
    assert place.condition("Accepted")[:2] == ("True", "Admitted")
    assert "errors" not in place.report()


def test_a_job_that_was_refused_first_is_pending_once_it_is_admitted(place: Place) -> None:
    place.registry.reject(KEY, SOURCE, ApiError("no"), [])
    place.apply()
    assert place.report()["phase"] == "Pending"
    place.assert_written()


def test_warnings_are_reported_as_long_as_they_hold(place: Place) -> None:
    place.registry.apply(build_runtime(pod={"nodeSelector": {"gpu": "yes"}}), SOURCE)
    place.apply()
    [warning] = place.report()["warnings"]
    assert "nodeSelector has no effect" in warning
    place.registry.apply(build_runtime(), SOURCE)
    place.apply(suspend=True)
    assert "warnings" not in place.report()


# Passes


def test_a_pass_is_written_down_whole(place: Place) -> None:
    place.apply()
    notes = [Note("Normal", "Created", "mnist-node-0: one"), Note("Normal", "Created", "mnist-node-1: two")]
    place.registry.record(KEY, build_decision(), notes, {"name": "docker"})
    place.assert_written()
    assert place.report()["engine"] == {"name": "docker"}
    assert place.report()["source"] == {"file": "/jobs/mnist.yaml", "document": 0}
    assert [c["type"] for c in place.report()["conditions"]] == ["Accepted", "Running"]
    assert [p["metadata"]["name"] for p in place.status.read_part("default", "mnist", "pods")] == [
        "mnist-node-0-0",
        "mnist-node-0-1",
    ]
    assert place.status.read_part("default", "mnist", "jobset")[0]["kind"] == "JobSet"
    assert [e["message"] for e in place.status.read_part("default", "mnist", "events")] == [n.message for n in notes]


def test_a_pass_without_news_writes_nothing(place: Place) -> None:
    place.apply()
    place.registry.record(KEY, build_decision(), (), {})
    files = list_files(place)
    place.registry.record(KEY, build_decision(), (), {})
    assert list_files(place) == files
    place.registry.record(KEY, build_decision(pods=1), (), {})
    assert {name for name, time in list_files(place).items() if files[name] != time} == {
        "default/mnist.yaml",
        "default/mnist/pods.yaml",
    }


def test_documents_that_somebody_removed_are_written_again(place: Place) -> None:
    place.apply()
    place.registry.record(KEY, build_decision(), (), {})
    files = set(list_files(place))
    for name in files:
        (place.root / name).unlink()
    place.registry.record(KEY, build_decision(), (), {})
    assert set(list_files(place)) == files


def test_documents_that_cannot_be_written_are_an_error_and_written_when_they_can(place: Place) -> None:
    place.apply()
    (place.root / "default" / "mnist").write_text("in the way")
    with pytest.raises(TrainletError, match=r"cannot write status documents: .*: make the directory writable"):
        place.registry.record(KEY, build_decision(), (), {})
    (place.root / "default" / "mnist").unlink()
    place.registry.record(KEY, build_decision(), (), {})
    place.assert_written()
    assert len(place.status.read_part("default", "mnist", "pods")) == 2


def test_what_is_true_between_two_steps_is_written_when_it_is_asked_for(place: Place) -> None:
    place.apply()
    files = list_files(place)
    place.registry.record(KEY, build_decision(), (), {}, is_interim=True)
    assert list_files(place) == files
    place.registry.write_owed(KEY)
    place.assert_written()
    assert len(place.status.read_part("default", "mnist", "pods")) == 2
    files = list_files(place)
    place.registry.write_owed(KEY)
    assert list_files(place) == files


def test_what_is_owed_is_written_at_the_end_as_far_as_it_can(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    other = ObjectKey(TRAIN_JOB, "default", "other")
    place.apply()
    place.apply(name="other")
    for key in (KEY, other):
        place.registry.record(key, build_decision(), (), {}, is_interim=True)
    (place.root / "default" / "mnist").write_text("in the way")
    place.registry.write_all_owed()
    assert "cannot write status documents" in caplog.text
    place.assert_written("other")
    (place.root / "default" / "mnist").unlink()
    place.registry.write_all_owed()
    place.assert_written()


def test_an_event_that_comes_again_is_counted(place: Place) -> None:
    place.apply()
    place.registry.note(KEY, Note("Warning", "BackOff", "again"))
    place.clock.now += timedelta(minutes=1)
    place.registry.note(KEY, Note("Warning", "BackOff", "again"))
    [event] = place.status.read_part("default", "mnist", "events")
    assert (event["count"], event["reason"]) == (2, "BackOff")
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z")


def test_only_the_latest_events_are_kept(place: Place) -> None:
    place.apply()
    place.registry.record(KEY, build_decision(), [Note("Normal", "N", str(number)) for number in range(230)], {})
    kept = [e["message"] for e in place.status.read_part("default", "mnist", "events")]
    assert kept == [str(number) for number in range(30, 230)]


def test_a_problem_with_the_engine_is_a_condition(place: Place) -> None:
    place.apply()
    place.registry.report_problem(KEY, "EngineUnavailable", "nobody answers")
    assert place.condition("Running") == ("False", "EngineUnavailable", "nobody answers")
    place.assert_written()
    place.registry.report_problem(ObjectKey(TRAIN_JOB, "default", "unknown"), "EngineUnavailable", "x")
    assert not place.status.has_job("default", "unknown")


def test_a_job_keeps_the_runtime_that_it_started_with(place: Place) -> None:
    place.apply()
    first = place.registry.get_case(KEY)
    place.registry.record(KEY, build_decision(), (), {})
    place.registry.apply(build_runtime(container={"image": "image:2"}), SOURCE)
    again = place.registry.get_case(KEY)
    assert first is not None
    assert again is not None
    assert first.runtime == again.runtime == place.status.read_part("default", "mnist", "runtime")[0]


def test_a_runtime_that_went_before_the_first_pass_is_an_error_to_act_on(place: Place) -> None:
    place.apply()
    place.registry.delete(RUNTIME_KEY)
    with pytest.raises(
        ApiError, match=r"not found ClusterTrainingRuntime .*: put the runtime into the watched directory"
    ):
        place.registry.get_case(KEY)


# Deletion


def test_a_deleted_job_stays_until_it_is_forgotten(place: Place) -> None:
    place.apply()
    place.registry.record(KEY, build_decision(), [Note("Normal", "Created", "x")], {})
    place.registry.delete(KEY)
    assert place.job()["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
    place.clock.now += timedelta(hours=1)
    place.registry.delete(KEY)
    assert place.job()["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z", "the first time counts"
    place.registry.forget(KEY)
    assert list_files(place) == {}
    assert [place.registry.store.list(kind) for kind in (TRAIN_JOB, REPORT, POD, JOBSET, EVENT)] == [[]] * 5
    assert place.registry.get_case(KEY) is None


def test_a_pass_that_ends_after_the_job_was_forgotten_brings_nothing_back(place: Place) -> None:
    place.apply()
    place.registry.delete(KEY)
    place.registry.forget(KEY)
    place.registry.record(KEY, build_decision(), [Note("Normal", "Created", "x")], {})
    assert list_files(place) == {}
    assert place.registry.store.list(POD) == []


def test_a_job_of_a_name_that_is_being_deleted_has_to_wait(place: Place) -> None:
    uid = place.apply()["metadata"]["uid"]
    place.registry.delete(KEY)
    with pytest.raises(ApiError, match="object is being deleted") as refusal:
        place.apply()
    assert refusal.value.code == 409
    place.registry.forget(KEY)
    assert place.apply()["metadata"]["uid"] != uid


def test_the_report_of_a_refused_job_goes_with_its_file(place: Place) -> None:
    place.registry.reject(KEY, SOURCE, ApiError("no"), [])
    place.registry.delete(KEY)
    assert list_files(place) == {}


def test_the_end_of_a_job_is_nothing_to_others_of_nearly_its_name(place: Place) -> None:
    for name in ("mnist", "mnist-2"):
        place.apply(name)
    place.registry.delete(KEY)
    place.registry.forget(KEY)
    place.assert_written("mnist-2")


@pytest.mark.parametrize("name", ["default", "errors", "mnist"])
def test_a_runtime_that_goes_takes_no_document_along_whatever_its_name(place: Place, name: str) -> None:
    place.apply()
    place.status.write_errors([{"file": "x"}])
    files = list_files(place)
    place.registry.delete(ObjectKey(CLUSTER_TRAINING_RUNTIME, "", name))
    assert list_files(place) == files


# Restarts


def test_a_restart_takes_up_all_that_was_written(place: Place) -> None:
    place.apply()
    place.registry.get_case(KEY)
    place.registry.record(KEY, build_decision(), [Note("Normal", "Created", "x")], {})
    place.registry.reject(ObjectKey(TRAIN_JOB, "default", "bad"), SOURCE, ApiError("no"), [])
    again = place.restart()
    assert again.registry.get_case(KEY) == place.registry.get_case(KEY)
    assert again.report("bad") == place.report("bad")
    assert again.registry.find_source(KEY) == SOURCE
    assert again.registry.list_jobs() == [KEY]
    files = list_files(again)
    again.registry.record(KEY, build_decision(), (), {})
    assert list_files(again) == files, "what was found is not written again"


def test_versions_go_on_after_a_restart(place: Place) -> None:
    before = place.apply()
    after = place.restart().apply(suspend=True)
    assert int(after["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
    assert after["metadata"]["generation"] == 2


def test_a_lost_status_directory_is_rebuilt_with_the_uid_on_the_engine(place: Place) -> None:
    place.registry.load({("default", "mnist"): UID, ("team", "mnist"): "another"})
    assert place.apply()["metadata"]["uid"] == UID
    place.registry.delete(KEY)
    place.registry.forget(KEY)
    assert place.apply()["metadata"]["uid"] != UID, "a uid is taken over once"


def test_what_is_on_disk_counts_more_than_what_is_on_the_engine(place: Place) -> None:
    uid = place.apply()["metadata"]["uid"]
    again = place.restart({("default", "mnist"): UID})
    assert again.apply()["metadata"]["uid"] == uid
    assert again.registry.find_job(uid) == KEY
    assert again.registry.find_job(UID) is None


# Threads


def test_passes_and_edits_at_the_same_time_lose_nothing(place: Place) -> None:
    place.apply()
    rounds = 60
    errors: list[Exception] = []

    def run(step: Any) -> None:
        try:
            for number in range(rounds):
                step(number)
        except Exception as error:
            errors.append(error)

    steps = [
        lambda number: place.apply(suspend=number % 2 == 0),
        lambda number: place.registry.record(KEY, build_decision(pods=number % 3), (), {"round": number}),
        lambda number: place.registry.note(KEY, Note("Warning", "W", str(number))),
    ]
    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert place.job()["spec"]["suspend"] is False
    assert place.job()["metadata"]["generation"] == rounds + 1
    assert place.report()["engine"] == {"round": rounds - 1}
    assert place.condition("Accepted")[0] == "True"
    assert len(place.status.read_part("default", "mnist", "events")) == rounds
    place.assert_written()


def test_a_manifest_hides_the_base_runtime_of_its_name_for_as_long_as_it_is_there(place: Place) -> None:
    base, own = build_runtime(container={"image": "base:1"}), build_runtime(container={"image": "own:1"})
    # Not an update: what may not change of a stored runtime may be different in another one.
    base["spec"]["template"]["spec"]["successPolicy"] = {"operator": "All"}
    own["spec"]["template"]["spec"]["successPolicy"] = {"operator": "Any"}
    place.registry.add_base_runtime(base, Source("/runtimes/base.yaml", 0))
    place.registry.apply(own, Source("/jobs/own.yaml", 0))
    assert place.registry.get_runtime_file(RUNTIME_KEY) == "/jobs/own.yaml"
    assert get_image(place) == "own:1"
    place.registry.delete(RUNTIME_KEY)
    assert place.registry.get_runtime_file(RUNTIME_KEY) == "/runtimes/base.yaml"
    assert get_image(place) == "base:1"


def get_image(place: Place) -> object:
    """Return the image of the stored runtime's node."""
    runtime = place.registry.store.get(RUNTIME_KEY)
    return find(runtime, "spec", "template", "spec", "replicatedJobs", 0, *POD_SPEC, "containers", 0, "image")


POD_SPEC = ("template", "spec", "template", "spec")


# Objects beside the jobs


def build_object(kind: str, name: str = "a", namespace: str = "default", **fields: Any) -> JSON:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **fields}


def test_a_job_is_given_the_objects_of_its_namespace(place: Place) -> None:
    registry = Registry(Store(), place.status, Rules((*CRDS, *CORE_KINDS)), place.clock)
    registry.apply(build_runtime(), Source("/runtimes/torch.yaml", 0))
    registry.apply(build_manifest(), SOURCE)
    for document in (
        build_object("Secret", stringData={"a": "1"}),
        build_object("ConfigMap", "b"),
        build_object("ConfigMap"),
        build_object("ConfigMap", namespace="team"),
    ):
        registry.apply(document, Source("/jobs/objects.yaml", 0))
    case = registry.get_case(KEY)
    assert case is not None
    assert [(o["kind"], o["metadata"]["name"]) for o in case.objects] == [
        ("ConfigMap", "a"),
        ("ConfigMap", "b"),
        ("Secret", "a"),
    ]
    assert case.objects[2]["data"] == {"a": "MQ=="}
    assert "generation" not in case.objects[2]["metadata"]
    registry.delete(ObjectKey("Secret", "default", "a"))
    case = registry.get_case(KEY)
    assert case is not None
    assert {o["kind"] for o in case.objects} == {"ConfigMap"}
    assert not [path for path in list_files(place) if "ConfigMap" in (place.root / path).read_text()]
