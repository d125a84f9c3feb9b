"""Pods in kubectl's words."""

from typing import Any

import pytest

from trainlet.kube.meta import JSON
from trainlet.kube.pod_summary import PodSummary, summarize_pod

RUNNING: JSON = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
DONE: JSON = {"terminated": {"exitCode": 0, "reason": "Completed"}}
FAILED: JSON = {"terminated": {"exitCode": 3, "reason": "Error"}}


def wait(reason: str) -> JSON:
    return {"waiting": {"reason": reason}}


def status(name: str, state: JSON, ready: bool = False, restarts: int = 0, **more: Any) -> JSON:
    return {"name": name, "state": state, "ready": ready, "restartCount": restarts, **more}


def build_pod(mains: list[JSON], inits: list[JSON] | None = None, phase: str = "Running", **metadata: str) -> JSON:
    """Return a pod; an init container called `beside` is a sidecar."""
    specs = [{"name": s["name"], **({"restartPolicy": "Always"} if s["name"] == "beside" else {})} for s in inits or []]
    return {
        "metadata": {"name": "pod", **metadata},
        "spec": {"containers": [{"name": each["name"]} for each in mains], "initContainers": specs},
        "status": {"phase": phase, "containerStatuses": mains, "initContainerStatuses": inits or []},
    }


UP = status("node", RUNNING, ready=True)
NEXT = status("node", wait("PodInitializing"))
BESIDE = status("beside", RUNNING, ready=True, started=True)
PODS: dict[str, tuple[JSON, PodSummary]] = {
    "nothing is known": ({"metadata": {}}, PodSummary(0, 1, "Unknown", 0)),
    "it runs": (build_pod([UP]), PodSummary(1, 1, "Running", 0)),
    "it was restarted": (build_pod([status("node", RUNNING, True, 2)]), PodSummary(1, 1, "Running", 2)),
    "it waits": (
        build_pod([status("node", wait("ErrImagePull"))], phase="Pending"),
        PodSummary(0, 1, "ErrImagePull", 0),
    ),
    "it has ended well": (build_pod([status("node", DONE)], phase="Succeeded"), PodSummary(0, 1, "Completed", 0)),
    "it has failed": (build_pod([status("node", FAILED)]), PodSummary(0, 1, "Error", 0)),
    "it is to end": (build_pod([UP], deletionTimestamp="2026-01-02T03:04:05Z"), PodSummary(1, 1, "Terminating", 0)),
    "the first of two is told": (
        build_pod([status("node", wait("CrashLoopBackOff"), restarts=1), status("other", FAILED)]),
        PodSummary(0, 2, "CrashLoopBackOff", 1),
    ),
    "one has ended, the other runs": (
        build_pod([status("node", RUNNING, ready=True), status("other", DONE)]),
        PodSummary(1, 2, "Running", 0),
    ),
    "the first init container runs": (
        build_pod([NEXT], [status("first", RUNNING), status("beside", wait("PodInitializing"))], phase="Pending"),
        PodSummary(0, 2, "Init:0/2", 0),
    ),
    "the second is to begin": (
        build_pod([NEXT], [status("first", DONE), status("second", wait("PodInitializing"))], phase="Pending"),
        PodSummary(0, 1, "Init:1/2", 0),
    ),
    "an init container failed": (
        build_pod([NEXT], [status("first", FAILED, restarts=2)], phase="Pending"),
        PodSummary(0, 1, "Init:Error", 2),
    ),
    "an init container is to be tried again": (
        build_pod([NEXT], [status("first", wait("CrashLoopBackOff"), restarts=3)], phase="Pending"),
        PodSummary(0, 1, "Init:CrashLoopBackOff", 3),
    ),
    "a sidecar has begun": (build_pod([UP], [BESIDE]), PodSummary(2, 2, "Running", 0)),
    "a sidecar has not": (
        build_pod([NEXT], [status("beside", RUNNING, started=False)], phase="Pending"),
        PodSummary(0, 2, "Init:0/1", 0),
    ),
    "an end without a word": (
        build_pod([status("node", {"terminated": {"exitCode": 9}})]),
        PodSummary(0, 1, "ExitCode:9", 0),
    ),
}


@pytest.mark.parametrize(("pod", "summary"), PODS.values(), ids=PODS.keys())
def test_a_pod_is_told_as_kubectl_tells_it(pod: JSON, summary: PodSummary) -> None:
    assert summarize_pod(pod) == summary
