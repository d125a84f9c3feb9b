"""The rules of upstream's JobSet plugin: initializers and runtime patches (kubeflow/trainer plugins/jobset)."""

import re
from collections.abc import Iterator

from trainlet.admission.metadata import SUBDOMAIN_PROBLEM
from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.kube.names import is_subdomain
from trainlet.planning.patches import is_same_patch
from trainlet.planning.policies.refusals import forbid, invalid
from trainlet.planning.runtime import Info, PodSet

DATASET, MODEL = "dataset-initializer", "model-initializer"
#: The volume by which an initializer hands over what it fetched.
_VOLUME = "initializer"
#: Containers whose environment is set by spec.initializer and spec.trainer.
_NOT_PATCHED = (DATASET, MODEL, "node")
_PATCHES, _MANAGER, _RUNTIME = "spec.runtimePatches", "spec.runtimePatches.manager", "spec.runtimeRef"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"


def validate(job: TrainJob, old: TrainJob | None, info: Info) -> list[FieldError]:
    """Judge a job, or the update of `old`, by the template with its patches in it.

    Upstream also refuses patches of a replicated job, an init container or a container that the runtime does not
    have. But it looks for the names in the template after the merge, which has just added them, so on a cluster these
    refusals never come, and neither do they here. What such a patch adds is judged with the rest of the JobSet.
    """
    return [
        *_judge_initializers(job, info),
        *_judge_patch_time(job, old),
        *(error for patch in job.spec.runtime_patches for error in _judge_patch(patch, job.spec.runtime_patches)),
    ]


def _judge_initializers(job: TrainJob, info: Info) -> Iterator[FieldError]:
    given = job.spec.initializer
    if given is None:
        return
    wanted = ((given.dataset, DATASET, "datasetConfig"), (given.model, MODEL, "modelConfig"))
    for config, name, word in wanted:
        problem = _find_problem(info.find_pod_set(name), name, word) if config is not None else None
        if problem:
            yield invalid(_RUNTIME, job.spec.runtime_ref.to_wire(), problem)


def _find_problem(pod_set: PodSet | None, name: str, word: str) -> str | None:
    """Say what the template lacks to run an initializer, which job and container are called after."""
    if pod_set is None:
        return f"must have {name} job when trainJob is configured with input {word}"
    containers = [*pod_set.init_containers, *pod_set.containers]
    container = next((c for c in containers if c.get("name") == name), None)
    if container is None:
        return f"must have container with name - {name} in the {name} job"
    if not any(mount.get("name") == _VOLUME for mount in container.get("volumeMounts") or []):
        return f"must have volumeMount with name - {_VOLUME} in container {name} of the {name} job"
    return None


def _judge_patch_time(job: TrainJob, old: TrainJob | None) -> Iterator[FieldError]:
    if old is None or _is_unchanged(job.spec.runtime_patches, old.spec.runtime_patches):
        return
    if not (old.spec.suspend or job.spec.suspend):
        when = "RuntimePatches can only be modified when the TrainJob is suspended before or after the update"
        yield forbid(_PATCHES, when)
        return
    # Upstream reads the JobSet, and has an error for a read that fails; the stored job's status is its copy.
    for status in old.status.get("jobsStatus") or []:
        if status["active"] > 0:
            detail = (
                f"RuntimePatches cannot be modified when the JobSet's ReplicatedJob {status['name']} is still active"
            )
            yield forbid(_PATCHES, detail)


def _is_unchanged(new: list[JSON], old: list[JSON]) -> bool:
    return len(new) == len(old) and all(map(is_same_patch, new, old))


def _judge_patch(patch: JSON, patches: list[JSON]) -> Iterator[FieldError]:
    yield from _judge_manager(patch["manager"])
    detail = f"must not have envs for the {', '.join(_NOT_PATCHED)} containers"
    for rjob in find(patch, "trainingRuntimeSpec", "template", "spec", "replicatedJobs") or []:
        for container in find(rjob, "template", "spec", "template", "spec", "containers") or []:
            if container.get("env") and container.get("name") in _NOT_PATCHED:
                yield invalid(_PATCHES, patches, detail)


def _judge_manager(manager: str) -> Iterator[FieldError]:
    """Judge as apimachinery's IsDomainPrefixedPath (util/validation)."""
    host, _, path = manager.partition("/")
    if not manager:
        yield FieldError(_MANAGER, "Required value", "", stage="webhook")
    elif not host or not path:
        yield invalid(_MANAGER, manager, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        if not is_subdomain(host):
            yield invalid(_MANAGER, host, SUBDOMAIN_PROBLEM)
        if not re.fullmatch(_HTTP_PATH, path, re.ASCII):
            yield invalid(_MANAGER, path, f"Invalid path (regex used for validation is '{_HTTP_PATH}')")
