"""What becomes of pods and their containers."""

import re
from typing import Any

from trainlet.admission.portability import (
    HONOURED,
    Fields,
    Keys,
    Place,
    Rule,
    Verdict,
    honoured,
    no_effect,
    only,
    refused,
)
from trainlet.admission.portability_metadata import METADATA
from trainlet.admission.portability_security import CONTAINER_SECURITY, POD_SECURITY
from trainlet.admission.portability_volumes import VOLUME, VOLUME_MOUNT
from trainlet.kube.quantity import parse_quantity
from trainlet.planning.runtime import NODE_CONTAINER, find_gpu_resource

ONE_MACHINE = no_effect("there is one machine")
_YET = no_effect("it is not carried out yet")
_NO_SERVER = no_effect("there is no API server that a node could talk to")
_NOT_ASKED = no_effect("a probe is not asked yet: the node is ready when it runs")
_NO_TERMINAL = no_effect("nobody is at the other end")
_NO_SOURCE = refused("give a value, or a fieldRef; ConfigMaps and Secrets cannot be read yet")
NO_ENV_FROM = refused("give the variables in env; ConfigMaps and Secrets cannot be read yet")
_NO_DEVICE = refused("leave it out; cpu, memory and GPUs are all that is given to nodes")
_FIELD_PATH = re.compile(r"metadata\.(name|namespace)|status\.podIP|metadata\.(labels|annotations)\['[^']+'\]")
_UNKNOWN_FIELD = no_effect(
    "the variable is empty; metadata.name, metadata.namespace, metadata.labels['KEY'], metadata.annotations['KEY'] "
    "and status.podIP are known"
)
_HOST = refused("leave it out; nodes have a network and processes of their own")
_HOST_USERS = refused("leave it out; for users of their own run the engine rootless")
_INIT_CONTAINERS = refused(
    "do their work in the image or at the start of the command; a runtime with the flux policy, which adds one of its "
    "own, cannot be used yet"
)


def _judge_container(value: Any, place: Place) -> Verdict | None:
    """Refuse all but the container that the slot is (planning/slots.py)."""
    siblings = place.owners[-1]["containers"]
    worker = next((c for c in siblings if c.get("name") == NODE_CONTAINER), siblings[0])
    return None if value is worker else refused("keep the container that trains; others would not run beside it")


def _judge_field_path(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    return HONOURED if _FIELD_PATH.fullmatch(value) else _UNKNOWN_FIELD


def _judge_limit(resource: str, place: Place) -> Verdict:
    if resource in ("cpu", "memory") or _is_given(resource, place):
        return HONOURED
    return _NO_DEVICE if "/" in resource else no_effect("no engine limits it")


def _judge_request(resource: str, place: Place) -> Verdict:
    limits = place.owners[-2].get("limits") or {}
    if resource in limits or _is_given(resource, place):
        return HONOURED  # the limit, where there is one, has its own verdict
    return _NO_DEVICE if "/" in resource else no_effect("nothing is reserved: there is one machine")


def _is_given(resource: str, place: Place) -> bool:
    """Tell whether a resource is a GPU, or none of it is asked for."""
    amount = place.owners[-1][resource]
    return find_gpu_resource({resource: amount}) is not None or parse_quantity(amount) == 0


def _judge_env_from(value: Any, place: Place) -> Verdict | None:
    """Leave the Secret of an initializer to where the job names it."""
    given = place.subject.job.spec.initializer
    configs = (given.dataset, given.model) if given else ()
    names = [config["secretRef"].get("name") for config in configs if config and config.get("secretRef")]
    of_job = [{"secretRef": {"name": name}} for name in names]
    return None if all(source in of_job for source in value) else NO_ENV_FROM


def _judge_readiness(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
    return None if value.get("tcpSocket") else _NOT_ASKED


ENV = Fields(
    {
        **honoured("name", "value"),
        "valueFrom": Fields(
            {
                "fieldRef": Fields({"apiVersion": HONOURED, "fieldPath": _judge_field_path}, is_whole=True),
                **dict.fromkeys(("configMapKeyRef", "secretKeyRef", "fileKeyRef", "resourceFieldRef"), _NO_SOURCE),
            },
            others=_NO_SOURCE,
            is_whole=True,
        ),
    },
    is_whole=True,
)
PORT = Fields(
    {
        **honoured("containerPort", "name", "protocol"),
        **dict.fromkeys(("hostPort", "hostIP"), no_effect("reach the node by its own address: every port is open")),
    },
    is_whole=True,
)
RESOURCES = Fields(
    {
        "limits": Keys(_judge_limit),
        "requests": Keys(_judge_request),
        "claims": _NO_DEVICE,
    },
    is_whole=True,
)
READINESS = Fields(
    {
        "tcpSocket": Fields({"port": HONOURED, "host": no_effect("the node's own port is looked at")}, is_whole=True),
        **honoured("initialDelaySeconds", "periodSeconds"),
        **dict.fromkeys(
            ("timeoutSeconds", "successThreshold", "failureThreshold", "terminationGracePeriodSeconds"),
            no_effect("one look at the port decides"),
        ),
        **dict.fromkeys(("exec", "grpc", "httpGet"), _NOT_ASKED),
    },
    _judge_readiness,
    is_whole=True,
)
CONTAINER = Fields(
    {
        **honoured("name", "image", "imagePullPolicy", "command", "args", "workingDir"),
        "env": ENV,
        "envFrom": _judge_env_from,
        "ports": PORT,
        "resources": RESOURCES,
        "volumeMounts": VOLUME_MOUNT,
        "securityContext": CONTAINER_SECURITY,
        "readinessProbe": READINESS,
        **dict.fromkeys(("livenessProbe", "startupProbe", "lifecycle", "volumeDevices"), _YET),
        **dict.fromkeys(("restartPolicy", "restartPolicyRules"), no_effect("the pod's restartPolicy counts")),
        "resizePolicy": no_effect("resources stay as they are while a node runs"),
        **dict.fromkeys(("stdin", "stdinOnce", "tty"), only(False, otherwise=_NO_TERMINAL)),
        **dict.fromkeys(
            ("terminationMessagePath", "terminationMessagePolicy"),
            no_effect("why a node ended is told by its exit code and its log"),
        ),
    },
    _judge_container,
)

#: What only places pods on a cluster's nodes.
_PLACEMENT = (
    "affinity",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "schedulerName",
    "schedulingGroup",
    "tolerations",
    "topologySpreadConstraints",
)
_OTHER: dict[str, Rule] = {
    **dict.fromkeys(
        ("activeDeadlineSeconds", "dnsConfig", "hostAliases", "imagePullSecrets", "runtimeClassName"), _YET
    ),
    **dict.fromkeys(("shareProcessNamespace", "setHostnameAsFQDN"), only(False, otherwise=_YET)),
    **dict.fromkeys(("hostname", "hostnameOverride", "subdomain"), no_effect("it comes from the Job")),
    **dict.fromkeys(("serviceAccount", "serviceAccountName"), _NO_SERVER),
    "automountServiceAccountToken": only(False, otherwise=_NO_SERVER),
    "dnsPolicy": only("ClusterFirst", otherwise=_YET),
    "enableServiceLinks": only(False, otherwise=no_effect("there are no Services")),
    "readinessGates": no_effect("nobody here sets such conditions"),
    "resources": no_effect("give the resources to the container"),
}
POD = Fields(
    {
        "containers": CONTAINER,
        "initContainers": _INIT_CONTAINERS,
        "ephemeralContainers": refused("leave them out; no template may have them"),
        "volumes": VOLUME,
        "restartPolicy": only("OnFailure", "Never", otherwise=refused("use OnFailure or Never, as every Job must")),
        "terminationGracePeriodSeconds": HONOURED,
        "securityContext": POD_SECURITY,
        "schedulingGates": refused("leave them out; nothing here would hold the pods"),
        "resourceClaims": _NO_DEVICE,
        "os": Fields({"name": only("linux", otherwise=refused("use linux"))}, is_whole=True),
        **dict.fromkeys(("hostNetwork", "hostPID", "hostIPC"), only(False, otherwise=_HOST)),
        "hostUsers": only(True, otherwise=_HOST_USERS),
        **dict.fromkeys(_PLACEMENT, ONE_MACHINE),
        **_OTHER,
    }
)
POD_TEMPLATE = Fields({"metadata": METADATA, "spec": POD})
