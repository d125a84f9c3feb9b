"""Stored objects -> what the API shows of them: all that clients of a cluster rely on is there. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from trainlet.apis.trainer import API_VERSION, TRAIN_JOB
from trainlet.kube import claim_status
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON, derive_uid, get_metadata
from trainlet.server.api.types import Resource


@dataclass(frozen=True)
class Viewer:
    """Shows stored objects. `born` is the creation time of those that have none; `find_uid` that of a TrainJob."""

    node_name: str
    node_address: str
    born: str
    find_uid: Callable[[str, str], str | None]

    def show(self, resource: Resource, stored: JSON) -> JSON:
        """Return an object with kind, apiVersion and complete metadata."""
        metadata = get_metadata(stored)
        name = f"{metadata.get('namespace', '')}/{metadata['name']}"
        shown: JSON = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            **stored,
            "metadata": {
                "name": metadata["name"],
                "uid": derive_uid(resource.full_name, name),
                "creationTimestamp": self.born,
                **metadata,
            },
        }
        match resource.kind:
            case "Pod":
                return self._show_pod(shown)
            case "Event":
                return self._show_event(shown)
            case claim_status.PERSISTENT_VOLUME_CLAIM:
                return claim_status.bind(shown)
        return shown

    def _show_pod(self, pod: JSON) -> JSON:
        """Add where it runs and how it is, which are written nowhere."""
        status = pod.get("status") or {}
        if "startTime" in status or "podIP" in status:
            pod = put(pod, ("spec", "nodeName"), self.node_name)
            status = {**status, "hostIP": self.node_address, "hostIPs": [{"ip": self.node_address}]}
        containers = [_drop_empty_limits(each) for each in find(pod, "spec", "containers") or []]
        pod = put(pod, ("spec", "containers"), containers)
        return put(pod, ("status",), {**status, "conditions": _build_conditions(pod)})

    def _show_event(self, event: JSON) -> JSON:
        """Add the uid of what it is about: kubectl describe asks by it."""
        involved = event.get("involvedObject") or {}
        if involved.get("kind") != TRAIN_JOB or "uid" in involved:
            return event
        uid = self.find_uid(str(involved.get("namespace")), str(involved.get("name")))
        known = {"apiVersion": API_VERSION, "uid": uid} if uid else {"apiVersion": API_VERSION}
        source = find(event, "source", "component") or ""
        told = {"eventTime": None, "reportingComponent": source, "reportingInstance": ""}
        return {**told, **event, "involvedObject": {**involved, **known}}


def _drop_empty_limits(container: JSON) -> JSON:
    """Leave limits out that say nothing: the Kubeflow SDK takes empty ones for a mistake."""
    resources = container.get("resources") or {}
    if "limits" not in resources or resources["limits"]:
        return container
    return {**container, "resources": {key: value for key, value in resources.items() if key != "limits"}}


def _build_conditions(pod: JSON) -> list[JSON]:
    """Return a pod's conditions as a kubelet keeps them."""
    status = pod["status"]
    since = status.get("startTime") or pod["metadata"]["creationTimestamp"]
    containers, inits = status.get("containerStatuses") or [], status.get("initContainerStatuses") or []
    is_over = status.get("phase") in ("Succeeded", "Failed")
    is_ready = bool(containers) and all(each.get("ready") for each in containers) and not is_over
    is_initialized = all(each.get("ready") or _has_succeeded(each) for each in inits)
    states = {
        "PodScheduled": bool(find(pod, "spec", "nodeName")),
        "Initialized": is_initialized,
        "ContainersReady": is_ready,
        "Ready": is_ready,
    }
    why = {} if is_ready else {"reason": "PodCompleted" if is_over else "ContainersNotReady"}
    return [
        {
            "type": type,
            "status": "True" if holds else "False",
            "lastProbeTime": None,
            "lastTransitionTime": since,
            **(why if type.endswith("Ready") else {}),
        }
        for type, holds in states.items()
    ]


def _has_succeeded(status: JSON) -> bool:
    return bool(find(status, "state", "terminated", "exitCode") == 0)
