"""What this version cannot do with a JobSet, said at admission: never run half of what was asked.

`find_unsupported` refuses what the training would miss; `find_ignored` warns of what only a cluster needs.
"""

from collections.abc import Iterator

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.policies import POLICIES

_KNOWN_POLICIES = frozenset({"numNodes", *POLICIES})
_CHOICE = f"the policy {', '.join(sorted(POLICIES))}, or none"
_ENV_SOURCES = frozenset({"fieldRef"})

#: Pod fields that only place pods on a cluster's nodes; there is one machine here.
_PLACEMENT = (
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "schedulerName",
    "priorityClassName",
    "serviceAccountName",
)
#: Fields of a pod and of a container that are not carried out, and that training can do without.
_POD_EXTRAS = (
    "imagePullSecrets",
    "dnsConfig",
    "hostAliases",
    "runtimeClassName",
    "shareProcessNamespace",
    "activeDeadlineSeconds",
)
_CONTAINER_EXTRAS = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "volumeDevices")
#: What a pod may not ask for, because it would believe to have it: the host's namespaces, and any safety.
_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_POD_SECURITY = frozenset({"runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile"})
_CONTAINER_SECURITY = _POD_SECURITY | {
    "allowPrivilegeEscalation",
    "capabilities",
    "privileged",
    "readOnlyRootFilesystem",
}
#: Policies that tell nodes of each other only where the job has a trainer.
_TELLING = frozenset({"torch", "jax", "xgboost"})
_VOLUMES = frozenset({"emptyDir", "hostPath"})
_JOBSET_RULES = ("successPolicy", "failurePolicy", "startupPolicy", "volumeClaimPolicies", "ttlSecondsAfterFinished")


def find_unsupported(job: JSON, runtime: JSON, jobset: JSON) -> list[FieldError]:
    """Return one error for everything the nodes would run without; paths are the runtime's."""
    errors = [
        _refuse("spec.runtimeRef.name", f"the runtime has spec.mlPolicy.{policy}; use one with {_CHOICE}")
        for policy in sorted(set(find(runtime, "spec", "mlPolicy") or {}) - _KNOWN_POLICIES)
    ]
    if find(job, "spec", "initializer"):
        errors.append(_refuse("spec.initializer", "fetch the data in the training script or put it into the image"))
    for path, rjob in _replicated_jobs(jobset):
        errors.extend(_judge_pod(f"{path}.template.spec.template.spec", find(rjob, *_POD) or {}))
    return errors


def find_unset(job: TrainJob, runtime: JSON) -> list[str]:
    """Return a warning if upstream tells the nodes nothing of each other, because the job has no trainer."""
    policy = find(runtime, "spec", "mlPolicy") or {}
    if job.spec.trainer is not None or int(policy.get("numNodes") or 1) < 2 or not _TELLING & policy.keys():
        return []
    return ["spec.trainer is not given, so the nodes are not told of each other: `trainer: {}` is enough"]


def find_ignored(jobset: JSON) -> list[str]:
    """Return a warning for each field that has no effect on one machine."""
    warnings = [
        f"spec.template.spec.{name} of the runtime has no effect yet: the defaults apply"
        for name in _JOBSET_RULES
        if find(jobset, "spec", name)
    ]
    for path, rjob in _replicated_jobs(jobset):
        pod = find(rjob, *_POD) or {}
        warnings += [
            f"{path}.template.spec.template.spec.{name} has no effect: there is one machine"
            for name in _PLACEMENT
            if pod.get(name)
        ]
        warnings += [
            f"{path}.template.spec.template.spec.{name} has no effect yet" for name in _POD_EXTRAS if pod.get(name)
        ]
        warnings += [
            f"{path}.template.spec.template.spec.containers[{i}].{name} has no effect yet"
            for i, container in enumerate(pod.get("containers") or [])
            for name in _CONTAINER_EXTRAS
            if container.get(name)
        ]
        warnings += [
            f"{path}.template.spec.template.spec.volumes[{i}] ({volume.get('name')}) is not mounted: "
            "an emptyDir lives as long as the container's own file system here"
            for i, volume in enumerate(pod.get("volumes") or [])
            if "emptyDir" in volume
        ]
    return warnings


_POD = ("template", "spec", "template", "spec")


def _replicated_jobs(jobset: JSON) -> Iterator[tuple[str, JSON]]:
    for index, rjob in enumerate(find(jobset, "spec", "replicatedJobs") or []):
        yield f"spec.template.spec.replicatedJobs[{index}]", rjob


def _judge_pod(path: str, pod: JSON) -> Iterator[FieldError]:
    if pod.get("initContainers"):
        yield _refuse(f"{path}.initContainers", "do their work in the image or at the start of the command")
    if not pod.get("containers"):
        yield _refuse(
            f"{path}.containers", "a replicated job that only a patch names has none; name one of the runtime"
        )
    if pod.get("schedulingGates"):
        yield _refuse(f"{path}.schedulingGates", "leave them out; nothing here would hold the pods")
    if len(pod.get("containers") or []) > 1:
        yield _refuse(f"{path}.containers", "keep the container that trains; others would not run beside it")
    for name in _HOST_NAMESPACES:
        if pod.get(name):
            yield _refuse(f"{path}.{name}", "leave it out; nodes have a network and processes of their own")
    yield from _judge_security(f"{path}.securityContext", pod, _POD_SECURITY)
    for index, volume in enumerate(pod.get("volumes") or []):
        if not _VOLUMES & volume.keys():
            yield _refuse(f"{path}.volumes[{index}]", "use the workspace, which is at /workspace in every node")
    for index, container in enumerate(pod.get("containers") or []):
        yield from _judge_container(f"{path}.containers[{index}]", container, pod)


def _judge_security(path: str, owner: JSON, known: frozenset[str]) -> Iterator[FieldError]:
    given = owner.get("securityContext") or {}
    for name in sorted(given.keys() - known):
        yield _refuse(f"{path}.{name}", f"leave it out; only {', '.join(sorted(known))} are carried out")
    if find(given, "seccompProfile", "type") not in (None, "RuntimeDefault"):
        yield _refuse(f"{path}.seccompProfile.type", "use RuntimeDefault, which every node has")


def _judge_user(path: str, container: JSON, pod: JSON) -> Iterator[FieldError]:
    """Refuse to promise that nobody is root where only the image could tell."""
    own, all_ = (each.get("securityContext") or {} for each in (container, pod))
    if own.get("runAsNonRoot", all_.get("runAsNonRoot")) and not own.get("runAsUser", all_.get("runAsUser")):
        yield _refuse(f"{path}.runAsNonRoot", "say with runAsUser who it is; the image is not asked")


def _judge_container(path: str, container: JSON, pod: JSON) -> Iterator[FieldError]:
    yield from _judge_security(f"{path}.securityContext", container, _CONTAINER_SECURITY)
    yield from _judge_user(f"{path}.securityContext", container, pod)
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("subPath") or mount.get("subPathExpr"):
            yield _refuse(f"{path}.volumeMounts[{index}].subPath", "give the whole path in the volume")
    if container.get("envFrom"):
        yield _refuse(f"{path}.envFrom", "give the variables in env")
    for index, entry in enumerate(container.get("env") or []):
        sources = set(entry.get("valueFrom") or {}) - _ENV_SOURCES
        if sources:
            yield _refuse(f"{path}.env[{index}].valueFrom.{min(sources)}", "give a value or a fieldRef")


def _refuse(path: str, remedy: str) -> FieldError:
    return FieldError(path, "Forbidden", f"not supported by this version of trainlet: {remedy}", stage="webhook")
