"""What one change costs does not depend on how much else there is. Work is counted in calls, not in seconds."""

import cProfile
import pstats
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from builders import NOW, build_job, build_runtime
from trainlet.admission.admit import Rules
from trainlet.admission.core_kinds import CORE_KINDS
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.controller.file_source import FileSource
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds
from trainlet.planning.events import Note
from trainlet.planning.reconcile import Decision
from trainlet.planning.report import wrap_report
from trainlet.registry import Registry, Source
from trainlet.store import Store

CRDS = [parse_crd(document) for document in read_crds()]
FEW, MANY = 3, 150
#: Calls that one of very many more objects may add to what is done about another, a lookup of the interpreter's or so.
SLACK = 1.1
#: Reading a file, parsing it, judging an object.
WORK = ("safe_read.read_manifest", "parse.parse_documents", "registry.judge")
COMPLETE = {"type": "Complete", "status": "True", "reason": "AllJobsCompleted", "message": "done"}


class Place:
    """A watched directory with so many jobs, all of them looked at once."""

    def __init__(self, base: Path, count: int, *, suspend: bool = True) -> None:
        self.root, self.woken = base / "jobs", list[ObjectKey]()
        self.root.mkdir(parents=True)
        self.names = [f"job-{number:04}" for number in range(count)]
        for name in self.names:
            self.write(name, suspend=suspend)
        self.open()

    def open(self) -> None:
        """Begin as a new operator does."""
        status = StatusDir(self.root / "status")
        self.registry = Registry(Store(), status, Rules((*CRDS, *CORE_KINDS)), lambda: NOW)
        self.registry.apply(build_runtime(), Source("built-in", 0))
        self.registry.load({})
        excluded = (status.root, self.root / "workspaces")
        self.source = FileSource(self.root, excluded, self.registry, status, self.woken.append, monotonic=lambda: 0.0)
        self.source.take_over()
        self.woken.clear()

    def write(self, name: str, *, edit: int = 0, **spec: object) -> Path:
        """Write a job's manifest."""
        job = {**build_job(name, **spec), "metadata": {"name": name, "labels": {"edit": str(edit)}}}
        path = self.root / f"{name}.yaml"
        path.write_text(yaml.safe_dump(job), encoding="utf-8")
        return path

    def finish(self) -> None:
        """Let all jobs end."""
        for name in self.names:
            key = ObjectKey(TRAIN_JOB, "default", name)
            self.registry.get_case(key)
            report = wrap_report("default", name, {"phase": "Complete", "conditions": [], "nodes": []})
            jobset: JSON = {"kind": "JobSet", "metadata": {"name": name, "namespace": "default"}}
            self.registry.record(key, Decision(status={"conditions": [COMPLETE]}, report=report, jobset=jobset), (), {})
            self.registry.rest(key)

    def look_at_edit(self) -> None:
        """Look at one file that has been edited, because an event told of it."""
        path = self.write(self.names[1], edit=1, suspend=True)
        self.source.scan([path], patient=True)

    def make_a_pass(self) -> None:
        """Do with the registry what a pass over a job does, after an event of its container."""
        uid = str((self.registry.store.get(ObjectKey(TRAIN_JOB, "default", self.names[1])) or {})["metadata"]["uid"])
        key = self.registry.find_job(uid)
        assert key is not None
        self.registry.get_case(key)
        report = wrap_report("default", key.name, {"phase": "Running", "conditions": []})
        self.registry.record(key, Decision(report=report), [Note("Normal", "Started", "x")], {})


def count_calls(action: Callable[[], object]) -> Counter[str]:
    """Return how often each function was called, by the names of its file and its own."""
    profile = cProfile.Profile()
    profile.runcall(action)
    calls: Counter[str] = Counter()
    for (file, _, name), (_, count, *_) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        calls[f"{Path(file).stem}.{name}"] += count
    return calls


@pytest.mark.parametrize("action", [Place.look_at_edit, Place.make_a_pass])
def test_one_change_costs_the_same_with_many_others(tmp_path: Path, action: Callable[[Place], None]) -> None:
    few, many = Place(tmp_path / "few", FEW), Place(tmp_path / "many", MANY)
    for place in (few, many):
        action(place)  # what is done once for the first of all
    few_calls, many_calls = (count_calls(lambda place=place: action(place)) for place in (few, many))
    assert many_calls.total() <= SLACK * few_calls.total()


def test_one_edit_is_one_file_read_and_one_job_judged(tmp_path: Path) -> None:
    place = Place(tmp_path, MANY)
    calls = count_calls(place.look_at_edit)
    assert [calls[name] for name in WORK] == [1, 1, 1]
    assert place.woken == [ObjectKey(TRAIN_JOB, "default", place.names[1])]


def test_a_look_at_everything_reads_only_what_is_new(tmp_path: Path) -> None:
    place = Place(tmp_path, MANY)
    place.write("new", suspend=True)
    calls = count_calls(place.source.scan)
    assert [calls[name] for name in WORK] == [1, 1, 1]
    calls = count_calls(place.source.scan)
    assert [calls[name] for name in WORK] == [0, 0, 0]
    # For each file a few calls: its stat, the comparison with what it was, and where that is remembered.
    assert calls.total() < 20 * MANY


def test_finished_jobs_are_neither_parsed_nor_judged_at_a_start(tmp_path: Path) -> None:
    place = Place(tmp_path, MANY, suspend=False)
    place.finish()
    calls = count_calls(place.open)
    assert place.registry.list_awake() == []
    assert len(place.registry.list_jobs()) == MANY
    assert [calls[name] for name in WORK] == [MANY, 1, 1], "what is known of the runtime is read, and it is judged"
    assert calls["job_parts._recall"] == 0
    assert place.woken == []


def test_a_finished_job_whose_file_changed_while_nobody_looked_is_judged(tmp_path: Path) -> None:
    place = Place(tmp_path, FEW, suspend=False)
    place.finish()
    place.write(place.names[1], edit=7, suspend=False)
    (place.root / f"{place.names[2]}.yaml").unlink()
    place.open()
    awake = {key.name: place.registry.store.get(key) or {} for key in place.registry.list_awake()}
    assert awake.keys() == {place.names[1], place.names[2]}
    assert awake[place.names[1]]["metadata"]["labels"] == {"edit": "7"}
    assert awake[place.names[1]]["status"] == {"conditions": [COMPLETE]}
    assert "deletionTimestamp" in awake[place.names[2]]["metadata"]


def test_a_directory_that_says_another_namespace_now_is_read_again(tmp_path: Path) -> None:
    place = Place(tmp_path, FEW, suspend=False)
    digest = place.registry.build_digest(b"kind: TrainJob")
    other = Registry(Store(), StatusDir(tmp_path), Rules(tuple(CRDS), "team"), lambda: NOW)
    assert other.build_digest(b"kind: TrainJob") != digest
