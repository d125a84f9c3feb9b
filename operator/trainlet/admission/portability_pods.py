"""What becomes of pods and their containers."""

import re
from typing import Any

from trainlet.admission.formats import FORMATS
from trainlet.admission.portability import (
    HONOURED,
    Fields,
    Keys,
    Place,
    Rule,
    Verdict,
    emulated,
    fitting,
    honoured,
    needs,
    no_effect,
    only,
    refused,
    single,
)
from trainlet.admission.portability_metadata import METADATA
from trainlet.admission.portability_security import CONTAINER_SECURITY, POD_SECURITY
from trainlet.admission.portability_volumes import (
    FIELD_REF,
    RESOURCE_FIELD_REF,
    VOLUME,
    VOLUME_MOUNT,
    count_containers,
)
from trainlet.kube.names import is_label, is_subdomain
from trainlet.kube.quantity import parse_quantity
from trainlet.planning.containers import RUNTIMES
from trainlet.planning.runtime import find_gpu_resource

ONE_MACHINE = no_effect("there is one machine")
_YET = no_effect("it is not carried out yet")
_NO_SERVER = no_effect("there is no API server that a node could talk to")
_NOT_ASKED = no_effect("gRPC is not spoken here: the node counts as healthy while it runs")
_ONE_HANDLER = refused("give it one of exec, httpGet and tcpSocket")
_NO_HOOK = refused("let it run a command, send a request or sleep")
_SIGTERM = no_effect("nodes are asked to end with SIGTERM")
_NO_TERMINAL = no_effect("nobody is at the other end")
_NO_SOURCE = refused("give a value, or one of configMapKeyRef, fieldRef, resourceFieldRef, secretKeyRef")
_NO_DEVICE = refused("leave it out; cpu, memory and GPUs are all that is given to nodes")
_NOT_LIMITED = no_effect("no engine limits or reserves it")
_HUGE_PAGES = no_effect("nodes may take those that the machine has: reserve them with vm.nr_hugepages")
#: A limit of the container; as a request its weight beside others, and what memory is left to it.
_GIVEN = ("cpu", "memory")
#: A variable's name (validation.IsRelaxedEnvVarName).
_VARIABLE = re.compile("[ -<>-~]+")
_NO_VARIABLE = refused("name the variable with printable ASCII characters without `=`")
_TWO_VALUES = refused("give it a value or a valueFrom")
_SAME_NAME = refused("give each container of a pod a name of its own, init containers too")
_SAME_PLACE = refused("mount each volume at a path of its own")
_ASKED = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle")
_NO_SIDECAR = refused("leave out its probes and hooks, or make it a sidecar with restartPolicy: Always")
_HOST = refused("leave it out; nodes have a network and processes of their own")
_HOST_USERS = refused("leave it out; for users of their own run the engine rootless")


def _judge_container(value: Any, place: Place) -> Verdict | None:
    if place.ask(count_containers, -1)[value["name"]] > 1:
        return _SAME_NAME
    paths = [str(mount.get("mountPath")).rstrip("/") for mount in value.get("volumeMounts") or []]
    return _SAME_PLACE if len(set(paths)) < len(paths) else None


def _judge_init_container(value: Any, place: Place) -> Verdict | None:
    if value.get("restartPolicy") != "Always" and any(value.get(name) for name in _ASKED):
        return _NO_SIDECAR
    return _judge_container(value, place)


def _judge_variable(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
    if not _VARIABLE.fullmatch(value.get("name") or ""):
        return _NO_VARIABLE
    return _TWO_VALUES if value.get("value") and value.get("valueFrom") else None


def _judge_limit(resource: str, place: Place) -> Verdict:
    if resource in _GIVEN or _is_given(resource, place):
        return HONOURED
    return _NO_DEVICE if "/" in resource else _judge_machine_resource(resource)


def _judge_request(resource: str, place: Place) -> Verdict:
    limits = place.owners[-2].get("limits") or {}
    if resource in (*_GIVEN, *limits) or _is_given(resource, place):
        return HONOURED  # the limit, where there is one, has its own verdict
    return _NO_DEVICE if "/" in resource else _judge_machine_resource(resource)


def _judge_machine_resource(resource: str) -> Verdict:
    return _HUGE_PAGES if resource.startswith("hugepages-") else _NOT_LIMITED


def _is_given(resource: str, place: Place) -> bool:
    """Tell whether a resource is a GPU, or none of it is asked for."""
    amount = place.owners[-1][resource]
    return find_gpu_resource({resource: amount}) is not None or parse_quantity(amount) == 0


def _judge_probe(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
    handlers = [name for name in ("exec", "grpc", "httpGet", "tcpSocket") if value.get(name)]
    return None if len(handlers) == 1 else _ONE_HANDLER


_KEY = Fields(honoured("name", "key", "optional"), needs("name", "key"), is_whole=True)
ENV = Fields(
    {
        **honoured("name", "value"),
        "valueFrom": Fields(
            {
                "fieldRef": FIELD_REF,
                "resourceFieldRef": RESOURCE_FIELD_REF,
                **dict.fromkeys(("configMapKeyRef", "secretKeyRef"), _KEY),
                "fileKeyRef": _NO_SOURCE,
            },
            single(),
            others=_NO_SOURCE,
            is_whole=True,
        ),
    },
    _judge_variable,
    is_whole=True,
)
_ALL_KEYS = Fields(honoured("name", "optional"), needs("name"), is_whole=True)
ENV_FROM = Fields(
    {
        "prefix": fitting(lambda prefix: _VARIABLE.fullmatch(prefix) is not None, otherwise=_NO_VARIABLE),
        **dict.fromkeys(("configMapRef", "secretRef"), _ALL_KEYS),
    },
    single("prefix"),
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
_COMMAND = Fields(honoured("command"), is_whole=True)
_REQUEST = Fields(
    {**honoured("host", "path", "port", "scheme"), "httpHeaders": Fields(honoured("name", "value"), is_whole=True)},
    is_whole=True,
)


def _build_probe(*, may_succeed_later: bool) -> Fields:
    """Return the table of a probe; Kubernetes lets only readiness ask for several successes in a row."""
    threshold: Rule = HONOURED if may_succeed_later else only(1, otherwise=refused("leave it out, or 1"))
    return Fields(
        {
            "exec": _COMMAND,
            "httpGet": _REQUEST,
            "tcpSocket": Fields(honoured("host", "port"), is_whole=True),
            "grpc": _NOT_ASKED,
            "successThreshold": threshold,
            **honoured("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold"),
            "terminationGracePeriodSeconds": HONOURED,
        },
        _judge_probe,
        is_whole=True,
    )


_HOOK = Fields(
    {"exec": _COMMAND, "httpGet": _REQUEST, "sleep": Fields(honoured("seconds"), is_whole=True), "tcpSocket": _NO_HOOK},
    single(),
    is_whole=True,
)
_CONTAINER: dict[str, Rule] = {
    "name": fitting(is_label, otherwise=refused("name it with lowercase letters, digits and dashes")),
    **honoured("image", "imagePullPolicy", "command", "args", "workingDir"),
    "env": ENV,
    "envFrom": ENV_FROM,
    "ports": PORT,
    "resources": RESOURCES,
    "volumeMounts": VOLUME_MOUNT,
    "securityContext": CONTAINER_SECURITY,
    "readinessProbe": _build_probe(may_succeed_later=True),
    **dict.fromkeys(("livenessProbe", "startupProbe"), _build_probe(may_succeed_later=False)),
    "lifecycle": Fields({**dict.fromkeys(("postStart", "preStop"), _HOOK), "stopSignal": _SIGTERM}, is_whole=True),
    "volumeDevices": _YET,
    **dict.fromkeys(("restartPolicy", "restartPolicyRules"), no_effect("the pod's restartPolicy counts")),
    "resizePolicy": no_effect("resources stay as they are while a node runs"),
    **dict.fromkeys(("stdin", "stdinOnce", "tty"), only(False, otherwise=_NO_TERMINAL)),
    **dict.fromkeys(
        ("terminationMessagePath", "terminationMessagePolicy"),
        no_effect("why a node ended is told by its exit code and its log"),
    ),
}
CONTAINER = Fields(_CONTAINER, needs("name", "image", of=_judge_container))
INIT_CONTAINER = Fields(
    {**_CONTAINER, "restartPolicy": only("Always", otherwise=no_effect("it is restarted as the pod says"))},
    needs("name", "image", of=_judge_init_container),
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
    "activeDeadlineSeconds": emulated("its containers are ended as failed and begin again, in the same pod"),
    "dnsConfig": Fields(
        {**honoured("nameservers", "searches"), "options": Fields(honoured("name", "value"), is_whole=True)},
        is_whole=True,
    ),
    "runtimeClassName": only(*RUNTIMES, otherwise=no_effect(f"engines know {', '.join(RUNTIMES)} here")),
    "hostAliases": Fields(
        {
            "ip": fitting(lambda ip: FORMATS["ipv4"](ip) or FORMATS["ipv6"](ip), otherwise=refused("give an address")),
            "hostnames": fitting(lambda names: all(map(is_subdomain, names)), otherwise=refused("give names of DNS")),
        },
        needs("ip"),
        is_whole=True,
    ),
    "imagePullSecrets": Fields(honoured("name"), is_whole=True),
    "shareProcessNamespace": HONOURED,
    "setHostnameAsFQDN": only(False, otherwise=_YET),
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
        "initContainers": INIT_CONTAINER,
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
