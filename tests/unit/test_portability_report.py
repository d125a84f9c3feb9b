"""The portability report of a job: made at admission, and kept by every pass until the job asks for something else."""

from pathlib import Path
from typing import Any

import pytest

from builders import StillClock, build_job, build_runtime
from trainlet.admission.admit import Rules
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import REPORT, TRAIN_JOB
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import ApiError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds
from trainlet.planning.reconcile import Decision
from trainlet.planning.report import wrap_report
from trainlet.registry import Registry, Source
from trainlet.store import Store

KEY = ObjectKey(TRAIN_JOB, "default", "mnist")
SOURCE = Source("/jobs/mnist.yaml", 0)
RULES = Rules(tuple(map(parse_crd, read_crds())))
POD = "spec.template.spec.replicatedJobs[0].template.spec.template.spec"
VOLUMES = [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]
PLACED = build_runtime(pod={"nodeSelector": {"gpu": "yes"}, "volumes": VOLUMES})


def start(root: Path, runtime: JSON) -> Registry:
    """Return the registry of this directory, with one runtime."""
    registry = Registry(Store(), StatusDir(root), RULES, StillClock())
    registry.apply(runtime, SOURCE)
    registry.load({})
    return registry


def apply(registry: Registry, **spec: Any) -> None:
    registry.apply({**build_job(**spec), "metadata": {"name": "mnist"}}, SOURCE)


def report(registry: Registry) -> JSON:
    stored = registry.store.get(ObjectKey(REPORT, "default", "mnist"))
    assert stored is not None
    return dict(stored["status"])


def assert_placed(status: JSON) -> None:
    assert status["portability"]["noEffect"] == [{"path": f"{POD}.nodeSelector", "message": "there is one machine"}]
    [entry] = status["portability"]["emulated"]
    assert entry["path"] == f"{POD}.volumes[0].ephemeral"
    assert f"{POD}.containers[0].image" in status["portability"]["honoured"]
    warned = {warning.partition(" ")[0] for warning in status["warnings"]}
    assert warned == {f"{POD}.volumes[0].ephemeral", f"{POD}.nodeSelector"}


def test_it_is_made_at_admission_and_kept_by_a_pass(tmp_path: Path) -> None:
    registry = start(tmp_path, PLACED)
    apply(registry)
    assert_placed(report(registry))
    pass_report = wrap_report("default", "mnist", {"phase": "Running", "conditions": [], "nodes": []})
    registry.record(KEY, Decision(status={}, report=pass_report), (), {"name": "docker"})
    assert report(registry)["phase"] == "Running"
    assert_placed(report(registry))


def test_it_outlives_the_operator_and_a_runtime_that_changes(tmp_path: Path) -> None:
    apply(start(tmp_path, PLACED))
    again = start(tmp_path, build_runtime())
    apply(again)  # the same manifest is no request
    assert_placed(report(again))


def test_a_changed_job_has_a_new_one(tmp_path: Path) -> None:
    registry = start(tmp_path, PLACED)
    apply(registry)
    registry.apply(build_runtime(), SOURCE)
    apply(registry, suspend=True)
    status = report(registry)
    assert "warnings" not in status
    assert (status["portability"]["emulated"], status["portability"]["noEffect"]) == ([], [])


def test_a_refused_job_has_none(tmp_path: Path) -> None:
    registry = start(tmp_path, build_runtime(pod={"schedulingGates": [{"name": "g"}]}))
    with pytest.raises(ApiError) as refusal:
        apply(registry)
    [cause] = refusal.value.causes
    assert (cause.path, cause.stage) == (f"{POD}.schedulingGates", "webhook")
