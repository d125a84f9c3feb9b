"""A finished job leaves the memory and is there all the same for whoever asks, whatever happens to it meanwhile."""

import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders import NOW, build_job, build_runtime
from trainlet.admission.admit import Rules
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import REPORT, TRAIN_JOB
from trainlet.documents.status_dir import StatusDir
from trainlet.job_parts import TOLD
from trainlet.kube.errors import ApiError, TrainletError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds
from trainlet.planning.events import EVENT, Note
from trainlet.planning.reconcile import Decision
from trainlet.planning.report import wrap_report
from trainlet.registry import JOBSET, POD, Registry, Source
from trainlet.store import Change, Store

CRDS = [parse_crd(document) for document in read_crds()]
KEY = ObjectKey(TRAIN_JOB, "default", "mnist")
SOURCE = Source("/jobs/mnist.yaml", 0, "sha256:0a1b")
COMPLETE = {"type": "Complete", "status": "True", "reason": "AllJobsCompleted", "message": "jobset completed"}


def open_registry(root: Path) -> Registry:
    """Begin on a status directory as a new operator does."""
    registry = Registry(Store(), StatusDir(root), Rules(tuple(CRDS)), lambda: NOW)
    registry.apply(build_runtime(), Source("/runtimes/torch.yaml", 0))
    registry.load({})
    return registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry with one job, which is finished."""
    registry = open_registry(tmp_path)
    apply(registry)
    finish(registry)
    return registry


def apply(registry: Registry, name: str = "mnist", source: Source = SOURCE, **metadata: Any) -> None:
    job = build_job(name)
    registry.apply({**job, "metadata": {"name": name, **metadata}}, source)


def finish(registry: Registry, jobset: JSON | None = None, conditions: tuple[JSON, ...] = (COMPLETE,)) -> None:
    """Record the last pass over the job."""
    registry.get_case(KEY)
    labels = {"jobset.sigs.k8s.io/jobset-name": "mnist"}
    pod = {"kind": "Pod", "metadata": {"name": "mnist-node-0-0", "namespace": "default", "labels": labels}}
    told = {"phase": "Complete", "conditions": [], "nodes": [{"name": "node-0", "state": "succeeded"}]}
    decision = Decision(
        status={"conditions": list(conditions)},
        report=wrap_report("default", "mnist", told),
        jobset={"kind": "JobSet", "metadata": {"name": "mnist", "namespace": "default"}, "spec": jobset or {}},
        pods=(pod,),
    )
    registry.record(KEY, decision, [Note("Normal", "Completed", "done")], {"name": "process"})


def look(registry: Registry) -> list[Any]:
    """Return all that is stored, and where the job is from."""
    kinds = (TRAIN_JOB, REPORT, JOBSET, POD, EVENT)
    return [*(registry.store.list(kind) for kind in kinds), registry.find_source(KEY)]


def read(root: Path) -> dict[str, str]:
    """Return all documents on disk."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.yaml")}


def test_a_job_at_rest_is_known_without_being_brought_back(registry: Registry, tmp_path: Path) -> None:
    uid = registry.store.list(TRAIN_JOB)[0]["metadata"]["uid"]
    registry.rest(KEY)
    for each in (registry, open_registry(tmp_path)):
        assert each.store.is_away(KEY)
        assert (each.list_jobs(), each.list_awake(), each.list_told()) == ([KEY], [], [KEY])
        assert each.find_job(uid) == KEY
        assert (each.find_source(KEY), (each.find_source(KEY) or SOURCE).digest) == (SOURCE, SOURCE.digest)
        assert each.store.count_by(TOLD) == {("Complete", "succeeded"): 1}
        assert each.store.is_away(KEY)


def test_all_of_it_comes_back_and_that_is_no_news(registry: Registry, tmp_path: Path) -> None:
    before, documents, told = look(registry), read(tmp_path), list[Change]()
    registry.store.subscribe(told.append)
    registry.rest(KEY)
    assert look(registry) == before
    assert not registry.store.is_away(KEY)
    assert registry.get_case(KEY) == open_registry(tmp_path).get_case(KEY)
    assert (told, read(tmp_path)) == ([], documents)


@pytest.mark.parametrize(
    "change",
    [
        lambda registry: apply(registry, labels={"team": "a"}),
        lambda registry: apply(registry),
        lambda registry: registry.note(KEY, Note("Warning", "W", "late")),
        lambda registry: registry.reject(KEY, SOURCE, ApiError("no"), []),
        lambda registry: registry.report_problem(KEY, "R", "M"),
        lambda registry: finish(registry),
        lambda registry: registry.delete(KEY),
        lambda registry: registry.forget(KEY),
        lambda registry: apply(registry, "mnist-2"),
    ],
)
def test_whatever_is_done_to_a_job_at_rest_has_the_same_result(
    tmp_path: Path, change: Callable[[Registry], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: "11111111-2222-4333-8444-555555555555")
    results = []
    for name, rests in (("awake", False), ("at-rest", True), ("restarted", True)):
        registry = open_registry(tmp_path / name)
        apply(registry)
        finish(registry)
        if rests:
            registry.rest(KEY)
        if name == "restarted":
            registry = open_registry(tmp_path / name)
        change(registry)
        # A restart leaves out versions that nobody has been told of.
        results.append([re.sub(r"resourceVersion': '\d+'", "", str(each)) for each in look(registry)])
        results[-1] += [re.sub(r"resourceVersion: '\d+'", "", text) for text in read(tmp_path / name).values()]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("restarts", [False, True], ids=["at-rest", "restarted"])
def test_its_document_is_put_back_when_somebody_removed_it(
    registry: Registry, tmp_path: Path, restarts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    registry.rest(KEY)
    if restarts:
        registry = open_registry(tmp_path)
    before = read(tmp_path)["default/mnist.yaml"]
    shutil.rmtree(tmp_path)
    registry.write_all_owed()
    assert read(tmp_path) == {"default/mnist.yaml": before}
    assert "TrainJob default/mnist: its status document was removed, and is put back" in caplog.text
    again = open_registry(tmp_path)
    assert again.store.is_away(KEY), "it is known to be finished"
    case = again.get_case(KEY)
    assert case is not None
    assert case.job["status"]["conditions"] == [COMPLETE]
    again.delete(KEY)
    again.forget(KEY)
    assert read(tmp_path) == {}


def test_who_asks_for_it_first_finds_it_too(registry: Registry, tmp_path: Path) -> None:
    before = registry.store.get(KEY)
    registry.rest(KEY)
    shutil.rmtree(tmp_path)
    assert registry.store.get(KEY) == before


def test_where_it_cannot_be_put_back_the_rest_goes_on(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.rest(KEY)
    shutil.rmtree(tmp_path / "default")
    (tmp_path / "default").write_text("in the way")
    registry.write_all_owed()
    assert "cannot write status documents" in caplog.text
    (tmp_path / "default").unlink()
    registry.write_all_owed()
    assert "default/mnist.yaml" in read(tmp_path)


def test_a_job_that_is_not_finished_does_not_rest(tmp_path: Path) -> None:
    registry = open_registry(tmp_path)
    apply(registry)
    registry.rest(KEY)
    finish(registry, conditions=())
    registry.rest(KEY)
    assert registry.list_awake() == open_registry(tmp_path).list_awake() == [KEY]


def test_a_job_that_is_to_go_does_not_rest(registry: Registry, tmp_path: Path) -> None:
    registry.delete(KEY)
    registry.rest(KEY)
    assert registry.list_awake() == [KEY]
    registry.note(KEY, Note("Normal", "N", "writes all"))
    assert open_registry(tmp_path).list_awake() == [KEY]


def test_a_job_whose_documents_are_not_as_it_is_here_does_not_rest(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "default" / "mnist" / "pods.yaml").unlink()
    registry.rest(KEY)
    assert registry.list_awake() == [KEY]
    registry.note(KEY, Note("Normal", "N", "writes all again"))
    registry.rest(KEY)
    assert registry.list_awake() == []


def test_a_job_that_will_go_by_itself_is_awake_after_a_restart(registry: Registry, tmp_path: Path) -> None:
    finish(registry, {"ttlSecondsAfterFinished": 60})
    assert open_registry(tmp_path).list_awake() == [KEY]


def test_a_job_that_was_refused_is_awake_after_a_restart(tmp_path: Path) -> None:
    open_registry(tmp_path).reject(KEY, SOURCE, ApiError("no"), [])
    again = open_registry(tmp_path)
    assert (again.list_awake(), again.list_told()) == ([], [KEY])
    assert again.store.count_by(TOLD) == {("Rejected",): 1}


@pytest.mark.parametrize("damage", [lambda path: path.write_text("{"), lambda path: (path.unlink(), path.mkdir())])
def test_a_document_that_cannot_be_read_is_an_error_and_no_new_job(
    registry: Registry, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    path = tmp_path / "default" / "mnist.yaml"
    text = path.read_text()
    registry.rest(KEY)
    damage(path)
    for ask in (registry.get_case, lambda _: apply(registry)):
        with pytest.raises(TrainletError, match="status document"):
            ask(KEY)
    path.rmdir() if path.is_dir() else path.unlink()
    path.write_text(text)
    assert registry.get_case(KEY) == open_registry(tmp_path).get_case(KEY)


def test_versions_of_what_was_at_rest_only_rise(registry: Registry, tmp_path: Path) -> None:
    versions = {int(each["metadata"]["resourceVersion"]) for found in look(registry)[:-1] for each in found}
    again = open_registry(tmp_path)
    apply(again, labels={"team": "a"})
    assert int(again.store.list(TRAIN_JOB)[0]["metadata"]["resourceVersion"]) > max(versions)


def test_passes_edits_and_rest_at_the_same_time_lose_nothing(registry: Registry, tmp_path: Path) -> None:
    rounds = 40
    errors: list[Exception] = []

    def run(step: Callable[[int], object]) -> None:
        try:
            for number in range(rounds):
                step(number)
        except Exception as error:
            errors.append(error)

    steps: list[Callable[[int], object]] = [
        lambda number: apply(registry, labels={"edit": str(number)}),
        lambda number: registry.note(KEY, Note("Warning", "W", str(number))),
        lambda _: registry.rest(KEY),
        lambda _: registry.get_case(KEY),
    ]
    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    registry.rest(KEY)
    assert registry.store.list(TRAIN_JOB)[0]["metadata"]["labels"] == {"edit": str(rounds - 1)}
    assert len(registry.store.list(EVENT)) == rounds + 1
    assert look(registry) == look(open_registry(tmp_path))
