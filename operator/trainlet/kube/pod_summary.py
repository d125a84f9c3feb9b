"""A Pod in kubectl's words: its containers that are ready, its state in one word, its restarts.

Follows printPod (kubernetes pkg/printers/internalversion/printers.go), of what a pod here can have.
"""

from dataclasses import dataclass

from trainlet.kube.merge import find
from trainlet.kube.meta import JSON


@dataclass(frozen=True)
class PodSummary:
    """What `kubectl get pods` shows: `ready` of `total` containers, sidecars counted too."""

    ready: int
    total: int
    status: str
    restarts: int


def summarize_pod(pod: JSON) -> PodSummary:
    """Return the summary of a pod."""
    mains, inits = _list(pod, "status", "containerStatuses"), _list(pod, "status", "initContainerStatuses")
    sidecars = {c.get("name") for c in _list(pod, "spec", "initContainers") if c.get("restartPolicy") == "Always"}
    lasting = [*(status for status in inits if status.get("name") in sidecars), *mains]
    blocked = _describe_inits(inits, sidecars, len(_list(pod, "spec", "initContainers")))
    status = blocked or _describe_mains(pod, mains)
    if find(pod, "metadata", "deletionTimestamp"):
        status = "Terminating"
    counted = inits if blocked else lasting
    return PodSummary(
        ready=sum(bool(status.get("ready")) for status in lasting),
        total=max(1, len(lasting)),
        status=status,
        restarts=sum(int(status.get("restartCount") or 0) for status in counted),
    )


def _describe_inits(statuses: list[JSON], sidecars: set[object], count: int) -> str:
    """Return what the pod is held by before its main containers; empty once they may run."""
    for number, status in enumerate(statuses):
        ended, waiting = find(status, "state", "terminated"), find(status, "state", "waiting") or {}
        if (ended and ended.get("exitCode") == 0) or (status.get("name") in sidecars and status.get("started")):
            continue
        if ended:
            return f"Init:{_describe_end(ended)}"
        if waiting.get("reason") not in (None, "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{number}/{count}"
    return ""


def _describe_mains(pod: JSON, statuses: list[JSON]) -> str:
    """Return the state of the first container that has one to tell; one that runs beside others that ended counts."""
    described = str(find(pod, "status", "reason") or find(pod, "status", "phase") or "Unknown")
    for status in reversed(statuses):
        waiting, ended = find(status, "state", "waiting") or {}, find(status, "state", "terminated")
        if waiting.get("reason"):
            described = str(waiting["reason"])
        elif ended:
            described = _describe_end(ended)
    runs = any(status.get("ready") and find(status, "state", "running") for status in statuses)
    return "Running" if described == "Completed" and runs else described


def _describe_end(ended: JSON) -> str:
    return str(ended.get("reason") or f"ExitCode:{ended.get('exitCode')}")


def _list(pod: JSON, *path: str) -> list[JSON]:
    found: list[JSON] = find(pod, *path) or []
    return found
