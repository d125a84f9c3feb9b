"""The rules of upstream's validating webhooks (kubeflow/trainer pkg/webhooks and the plugins' Validate)."""

from collections.abc import Callable

from trainlet.admission.support import find_ignored, find_unsupported
from trainlet.apis.trainer import CLUSTER_TRAINING_RUNTIME, GROUP, RUNTIME_KINDS, TRAINING_RUNTIME, TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning import labels
from trainlet.planning.jobset import build_jobset
from trainlet.planning.policies import get_policy
from trainlet.planning.runtime import build_info

FindRuntime = Callable[[ObjectKey], JSON | None]
Verdict = tuple[list[FieldError], list[str]]

_VALIDATION_LABEL = "trainer.kubeflow.org/webhook-validation"
_SUPPORT_LABEL = "trainer.kubeflow.org/support"
_POLICY_URL = "https://trainer.kubeflow.org/en/latest/operator-guides/runtime.html#runtime-deprecation-policy"
#: The container that a replicated job needs when it serves a step of the TrainJob.
_REQUIRED_CONTAINER = {
    "trainer": "node",
    "dataset-initializer": "dataset-initializer",
    "model-initializer": "model-initializer",
}


def validate_train_job(document: JSON, find_runtime: FindRuntime) -> Verdict:
    """Judge a TrainJob against its live runtime; return errors and warnings."""
    if find(document, "spec", "runtimeRef") is None:
        # The definition does not require `spec`, and there is nothing to look up without it.
        return [FieldError("spec.runtimeRef", "Required value", "", stage="webhook")], []
    job = TrainJob.of(document)
    ref = job.spec.runtime_ref
    if ref.kind not in RUNTIME_KINDS or ref.api_group != GROUP:
        detail = f"unsupported runtime: {ref.kind}.{ref.api_group}"
        return [_invalid("spec.runtimeRef", ref.name, detail)], []
    runtime = find_runtime(ref.key(job.metadata.namespace))
    if runtime is None:
        return [_missing_runtime(ref.kind, ref.name, job.metadata.namespace)], []
    jobset = build_jobset(job, runtime)
    info = build_info(job, runtime)
    errors = [*get_policy(info).validate(job, info), *find_unsupported(document, runtime, jobset)]
    warnings = [*_warn_deprecated(runtime, "Referenced "), *find_ignored(jobset)]
    return errors, warnings


def validate_runtime(document: JSON, old: JSON | None) -> Verdict:
    """Judge a runtime; upstream does not look at an updated TrainingRuntime at all."""
    kind = document.get("kind")
    if find(document, "metadata", "labels", _VALIDATION_LABEL) == "disabled":
        return [], []
    if kind == TRAINING_RUNTIME and old is not None:
        return [], []
    errors: list[FieldError] = []
    for index, rjob in enumerate(find(document, "spec", "template", "spec", "replicatedJobs") or []):
        errors += _judge_replicated_job(rjob, f"spec.template.spec.replicatedJobs[{index}]")
    warnings = _warn_deprecated(document, "") if kind == CLUSTER_TRAINING_RUNTIME and old is None else []
    return errors, warnings


def _judge_replicated_job(rjob: JSON, path: str) -> list[FieldError]:
    ancestor = find(rjob, "template", "metadata", "labels", labels.ANCESTOR_STEP)
    required = _REQUIRED_CONTAINER.get(str(ancestor))
    if required is None:
        return []
    errors = []
    replicas = rjob.get("replicas", 1)
    if replicas != 1:
        errors.append(_invalid(f"{path}.replicas", replicas, "always must be 1"))
    containers = find(rjob, "template", "spec", "template", "spec", "containers") or []
    if not any(container.get("name") == required for container in containers):
        detail = f"must contain the required container for the ancestor: {ancestor}"
        errors.append(_invalid(f"{path}.template.spec.template.spec.containers", containers, detail))
    return errors


def _missing_runtime(kind: str, name: str, namespace: str) -> FieldError:
    # The capital R of the cluster kind is upstream's.
    path, word = ("spec.RuntimeRef", "clusterTrainingRuntime")
    if kind == TRAINING_RUNTIME:
        path, word, name = "spec.runtimeRef", "trainingRuntime", f"{namespace}/{name}"
    short = name.rsplit("/", 1)[-1]
    detail = f'{kind}.{GROUP} "{short}" not found: specified {word} must be created before the TrainJob is created'
    return _invalid(path, {"name": short, "apiGroup": GROUP, "kind": kind}, detail)


def _warn_deprecated(runtime: JSON, prefix: str) -> list[str]:
    if find(runtime, "metadata", "labels", _SUPPORT_LABEL) != "deprecated":
        return []
    name = find(runtime, "metadata", "name")
    return [
        f'{prefix}ClusterTrainingRuntime "{name}" is deprecated and will be removed in a future release of '
        f"Kubeflow Trainer. See runtime deprecation policy: {_POLICY_URL}"
    ]


def _invalid(path: str, value: object, detail: str) -> FieldError:
    return FieldError(path, "Invalid value", detail, value, stage="webhook")
