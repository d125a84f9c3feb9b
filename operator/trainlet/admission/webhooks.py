"""The rules of upstream's validating webhooks (kubeflow/trainer pkg/webhooks and the plugins' Validate)."""

from collections.abc import Callable

from trainlet.admission import jobset_rules
from trainlet.apis.trainer import (
    CLUSTER_TRAINING_RUNTIME,
    GROUP,
    RUNTIME_KINDS,
    TRAINING_RUNTIME,
    RuntimeRef,
    TrainJob,
)
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning import labels
from trainlet.planning.policies import find_rules
from trainlet.planning.policies.refusals import invalid
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


def validate_train_job(document: JSON, old: JSON | None, find_runtime: FindRuntime) -> Verdict:
    """Judge a TrainJob against its live runtime, also when it is an update; return errors and warnings.

    `old` is the stored job with its status. Upstream's plugins have no order among them; ours have one.
    """
    if find(document, "spec", "runtimeRef") is None:
        # The definition does not require `spec`, and there is nothing to look up without it.
        return [FieldError("spec.runtimeRef", "Required value", "", stage="webhook")], []
    job = TrainJob.of(document)
    ref = job.spec.runtime_ref
    if ref.kind not in RUNTIME_KINDS or ref.api_group != GROUP:
        # Upstream says it of no field.
        return [invalid("", ref.to_wire(), f"unsupported runtime: {ref.kind}.{ref.api_group}")], []
    runtime = find_runtime(ref.key(job.metadata.namespace))
    if runtime is None:
        return [_refuse_missing_runtime(ref)], []
    info = build_info(job, runtime)
    errors = jobset_rules.validate(job, None if old is None else TrainJob.of(old), info)
    errors += [error for rules in find_rules(info) for error in rules.validate(job, info)]
    warnings = _warn_deprecated(runtime, "Referenced ") if ref.kind == CLUSTER_TRAINING_RUNTIME else []
    return _drop_repeated(errors), warnings


def validate_runtime(document: JSON, old: JSON | None) -> Verdict:
    """Judge a runtime; upstream does not look at an updated TrainingRuntime at all."""
    kind = document.get("kind")
    # A webhook's selector is asked of both objects, and one that matches is enough to call it.
    if all(find(each, "metadata", "labels", _VALIDATION_LABEL) == "disabled" for each in (document, old or document)):
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
        errors.append(invalid(f"{path}.replicas", replicas, "always must be 1"))
    containers = find(rjob, "template", "spec", "template", "spec", "containers") or []
    if not any(container.get("name") == required for container in containers):
        detail = f"must contain the required container for the ancestor: {ancestor}"
        errors.append(invalid(f"{path}.template.spec.template.spec.containers", containers, detail))
    return errors


def _drop_repeated(errors: list[FieldError]) -> list[FieldError]:
    """Keep the first of equal errors, as the webhook's answer does (field.ErrorList.ToAggregate)."""
    kept: list[FieldError] = []
    for error in errors:
        if error not in kept:
            kept.append(error)
    return kept


def _refuse_missing_runtime(ref: RuntimeRef) -> FieldError:
    # The capital R of the cluster kind is upstream's.
    path, word = ("spec.RuntimeRef", "clusterTrainingRuntime")
    if ref.kind == TRAINING_RUNTIME:
        path, word = "spec.runtimeRef", "trainingRuntime"
    missing = f'{ref.kind}.{GROUP} "{ref.name}" not found'
    return invalid(path, ref.to_wire(), f"{missing}: specified {word} must be created before the TrainJob is created")


def _warn_deprecated(runtime: JSON, prefix: str) -> list[str]:
    if find(runtime, "metadata", "labels", _SUPPORT_LABEL) != "deprecated":
        return []
    name = find(runtime, "metadata", "name")
    return [
        f'{prefix}ClusterTrainingRuntime "{name}" is deprecated and will be removed in a future release of '
        f"Kubeflow Trainer. See runtime deprecation policy: {_POLICY_URL}"
    ]
