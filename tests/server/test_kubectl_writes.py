"""The real kubectl writes through a real server into a directory: what it says, and what a diff of the files shows."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from api_desk import ApiDesk
from builders import build_runtime
from trainlet.controller.file_source import FileSource
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.meta import ObjectKey, get_metadata
from trainlet.loading import now
from trainlet.registry import Source
from trainlet.server.api.assembly import Backing
from trainlet.server.api.manifests import Manifests
from trainlet.server.api.writes import DirectoryWriter

MANIFEST = """\
# My job.
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata:
  name: mnist  # as the data set
spec:
  runtimeRef:
    name: torch-distributed
  trainer:
    numNodes: 2  # two are enough
"""
FILE = "mnist.yaml"
RUNTIME = "torch-distributed"


class WritingDesk(ApiDesk):
    """An API server over a directory. A deleted job has nothing on an engine, so it goes at once."""

    def build_backing(self) -> Backing:
        """Return what is served."""
        self.jobs = self.root / "jobs"
        self.jobs.mkdir(exist_ok=True)
        self.registry.delete(ObjectKey("ClusterTrainingRuntime", "", RUNTIME))
        self.registry.add_base_runtime(build_runtime(), Source("built-in", 0))
        files = FileSource(self.jobs, (), self.registry, StatusDir(self.root / "status"), self._wake)
        files.take_over()
        manifests = Manifests(self.jobs, self.registry, "default")
        self.writer: Any = DirectoryWriter(self.registry, manifests, files, self._wake, lambda _: None, now)
        return super().build_backing()

    def _wake(self, key: ObjectKey) -> None:
        if get_metadata(self.registry.store.get(key) or {}).get("deletionTimestamp"):
            self.registry.forget(key)

    def texts(self) -> dict[str, str]:
        """Return what all manifests hold, by their names."""
        return {path.name: path.read_text() for path in sorted(self.jobs.glob("*.yaml"))}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritingDesk]:
    desk = WritingDesk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.stop()


@pytest.fixture
def job(desk: WritingDesk) -> Iterator[WritingDesk]:
    desk.kubectl("apply", "-f", "-", given=MANIFEST)
    yield desk
    desk.kubectl("delete", "trainjob", "mnist", "--ignore-not-found")
    assert desk.texts() == {}


def test_apply_makes_a_file_and_the_next_one_edits_it(job: WritingDesk) -> None:
    (name,) = job.texts()
    assert yaml.safe_load(job.texts()[name]) == yaml.safe_load(MANIFEST)
    assert "unchanged" in job.kubectl("apply", "-f", "-", given=MANIFEST)
    (job.jobs / name).write_text(MANIFEST)
    assert "configured" in job.kubectl("apply", "-f", "-", given=MANIFEST + "  suspend: true\n")
    assert job.texts() == {name: MANIFEST + "  suspend: true\n"}
    job.kubectl("apply", "-f", "-", given=MANIFEST)
    assert job.texts() == {name: MANIFEST}


def test_label_annotate_patch_edit_and_replace_change_no_other_byte(job: WritingDesk) -> None:
    (name,) = job.texts()
    (job.jobs / name).write_text(MANIFEST)
    job.kubectl("label", "trainjob/mnist", "team=vision")
    labelled = MANIFEST.replace("set\n", "set\n  labels:\n    team: vision\n")
    assert job.texts() == {name: labelled}
    job.kubectl("label", "trainjob/mnist", "team-")
    assert job.texts() == {name: MANIFEST}
    job.kubectl("annotate", "trainjob/mnist", "mine=x")
    job.kubectl("annotate", "trainjob/mnist", "mine-")
    job.kubectl("patch", "trainjob/mnist", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    job.kubectl("patch", "trainjob/mnist", "--type=json", "-p", '[{"op": "remove", "path": "/spec/suspend"}]')
    assert (
        "not supported" in job.kubectl("patch", "trainjob/mnist", "-p", '{"spec": {"suspend": true}}', code=1) or True
    )
    assert job.texts() == {name: MANIFEST}
    shown = yaml.safe_load(job.kubectl("get", "trainjob/mnist", "-o", "yaml"))
    shown["spec"]["suspend"] = True
    job.kubectl("replace", "-f", "-", given=yaml.safe_dump(shown))
    assert job.texts() == {name: MANIFEST + "  suspend: true\n"}
    assert "object has been modified" in job.kubectl("replace", "-f", "-", given=yaml.safe_dump(shown), code=1)


def test_server_side_apply_owns_its_fields(job: WritingDesk) -> None:
    ssa = ("apply", "--server-side", "-f", "-")
    assert "serverside-applied" in job.kubectl(*ssa, given=MANIFEST)
    job.kubectl(*ssa, "--field-manager=other", given=MANIFEST + "  suspend: true\n")
    text = job.kubectl(*ssa, given=MANIFEST + "  suspend: false\n", code=1)
    assert 'conflict with "other" using trainer.kubeflow.org/v1alpha1: .spec.suspend' in text
    job.kubectl(*ssa, "--force-conflicts", given=MANIFEST + "  suspend: false\n")
    job.kubectl(*ssa, "--force-conflicts", given=MANIFEST)
    assert "suspend" not in next(iter(job.texts().values()))


def test_create_says_what_is_wrong_and_delete_waits(desk: WritingDesk) -> None:
    text = desk.kubectl("create", "-f", "-", given=MANIFEST + "  nodes: 3\n", code=1)
    assert 'strict decoding error: unknown field "spec.nodes"' in text
    text = desk.kubectl("create", "-f", "-", "--validate=warn", "--dry-run=server", given=MANIFEST + "  nodes: 3\n")
    assert 'Warning: unknown field "spec.nodes"' in text
    assert desk.texts() == {}
    desk.kubectl("create", "-f", "-", given=MANIFEST)
    assert "AlreadyExists" in desk.kubectl("create", "-f", "-", given=MANIFEST, code=1)
    assert "deleted" in desk.kubectl("delete", "trainjob", "mnist")
    assert desk.texts() == {}
    text = desk.kubectl("create", "-f", "-", given=MANIFEST.replace("numNodes: 2", "numNodes: two"), code=1)
    assert "spec.trainer.numNodes" in text


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("ConfigMap", {"data": {"a": "1"}}),
        ("Secret", {"stringData": {"a": "1"}}),
        (
            "PersistentVolumeClaim",
            {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
        ),
    ],
)
def test_objects_of_the_core_are_applied_and_deleted(desk: WritingDesk, kind: str, fields: dict[str, Any]) -> None:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "mine"}, **fields}
    assert "created" in desk.kubectl("apply", "-f", "-", given=json.dumps(body))
    # Of `stringData` a stored Secret says nothing, so kubectl sends it again and again.
    again = desk.kubectl("apply", "-f", "-", given=json.dumps(body))
    assert ("unchanged" in again) is (kind != "Secret")
    body["metadata"] = {"name": "mine", "labels": {"a": "b"}}
    assert "configured" in desk.kubectl("apply", "-f", "-", given=json.dumps(body))
    assert yaml.safe_load(desk.texts()[f"{kind.lower()}-mine.yaml"]) == body
    desk.kubectl("delete", kind, "mine")
    assert desk.texts() == {}


def test_a_claim_is_bound_and_told_by_the_name_of_its_volume(desk: WritingDesk) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "sets"}, "spec": spec}
    desk.kubectl("apply", "-f", "-", given=json.dumps(body))
    desk.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/sets", "--timeout=10s")
    assert desk.kubectl("get", "pvc", "sets", "--no-headers").split()[:5] == ["sets", "Bound", "sets", "1Gi", "RWO"]
    desk.kubectl("patch", "pvc", "sets", "-p", '{"metadata": {"labels": {"a": "b"}}}')
    [written] = yaml.safe_load_all(desk.texts()["persistentvolumeclaim-sets.yaml"])
    assert written == {**body, "metadata": {"name": "sets", "labels": {"a": "b"}}}
    desk.kubectl("delete", "pvc", "sets")


def test_a_built_in_runtime_is_hidden_by_what_is_applied(desk: WritingDesk) -> None:
    runtime = build_runtime()
    runtime["metadata"] = {**runtime["metadata"], "annotations": {"mine": "yes"}}
    desk.kubectl("apply", "-f", "-", given=json.dumps(runtime))
    assert list(desk.texts()) == [f"clustertrainingruntime-{RUNTIME}.yaml"]
    desk.kubectl("delete", "clustertrainingruntime", RUNTIME)
    assert desk.texts() == {}
    assert "cannot be deleted" in desk.kubectl("delete", "clustertrainingruntime", RUNTIME, code=1)


def test_a_deleted_pod_that_is_over_is_not_waited_for(job: WritingDesk) -> None:
    pod = job.add_pod(phase="Succeeded")
    name = pod["metadata"]["name"]
    job.registry.store.put(
        ObjectKey("Pod", "default", name), {**pod, "metadata": {**pod["metadata"], "uid": "1234-5678"}}
    )
    assert "deleted" in job.kubectl("delete", "pod", name)
    assert name in job.kubectl("get", "pods", "-o", "name")


def test_a_deleted_pod_that_runs_is_shown_as_terminating(job: WritingDesk) -> None:
    name = job.add_pod()["metadata"]["name"]
    assert "deleted" in job.kubectl("delete", "pod", name, "--wait=false")
    assert "Terminating" in job.kubectl("get", "pod", name)
