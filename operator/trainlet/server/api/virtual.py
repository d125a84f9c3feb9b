"""Objects that are stored nowhere: namespaces, the one node, definitions, and the ConfigMap that tells the version."""

import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from trainlet import __version__
from trainlet.kube.meta import JSON, derive_uid
from trainlet.server.api.types import Resource

SYSTEM_NAMESPACE = "kubeflow-system"
_ALWAYS = ("default", SYSTEM_NAMESPACE)
#: What clients take us for: the API of this Kubernetes and of this Kubeflow Trainer.
VERSION: JSON = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0-trainlet",
    "gitCommit": __version__,
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": f"{platform.system().lower()}/{platform.machine()}",
}
TRAINER_VERSION = "v2.3.0"
_PUBLIC = "kubeflow-trainer-public"


@dataclass(frozen=True)
class Machine:
    """What the node tells of this machine. `find_engine` gives the engine and its version as `docker://20.10`;
    `find_unready` what keeps the operator from its work. Memory is in bytes."""

    name: str
    capacity: Mapping[str, float]
    addresses: tuple[str, ...] = ("127.0.0.1",)
    find_engine: Callable[[], str] = lambda: ""
    find_unready: Callable[[], list[str]] = list


def _build_metadata(name: str, version: int, born: str, **more: object) -> JSON:
    uid = derive_uid("trainlet", name)
    return {"name": name, "uid": uid, "resourceVersion": str(version), "creationTimestamp": born, **more}


class Namespaces:
    """The namespaces that there are: some always, and each that any object was ever in. Thread-safe."""

    def __init__(self, names: Iterable[str], version: int, born: str) -> None:
        self._lock, self._born = threading.Lock(), born
        self._versions = dict.fromkeys((*_ALWAYS, *names), version)

    def note(self, name: str, version: int) -> JSON | None:
        """Take up the namespace of an object; return it if it is a new one."""
        with self._lock:
            if not name or name in self._versions:
                return None
            self._versions[name] = version
            return self._build(name, version)

    def list(self) -> list[JSON]:
        """Return all in the order of their names."""
        with self._lock:
            return [self._build(name, version) for name, version in sorted(self._versions.items())]

    def _build(self, name: str, version: int) -> JSON:
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": _build_metadata(name, version, self._born, labels={"kubernetes.io/metadata.name": name}),
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }


def build_node(machine: Machine, version: int, born: str) -> JSON:
    """Return the node that all pods are on."""
    system = platform.uname()
    capacity = {
        "cpu": f"{machine.capacity['cpu']:g}",
        "memory": f"{int(machine.capacity['memory']) // 1024}Ki",
        "pods": "110",
    }
    addresses = [{"type": "InternalIP", "address": each} for each in machine.addresses]
    labels = {"kubernetes.io/hostname": machine.name, "kubernetes.io/os": system.system.lower()}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": _build_metadata(machine.name, version, born, labels=labels),
        "spec": {},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [_build_ready(machine.find_unready(), born)],
            "addresses": [*addresses, {"type": "Hostname", "address": machine.name}],
            "nodeInfo": {
                "architecture": system.machine,
                "operatingSystem": system.system.lower(),
                "kernelVersion": system.release,
                "osImage": f"{system.system} {system.release}",
                "containerRuntimeVersion": machine.find_engine(),
                "kubeletVersion": f"{VERSION['gitVersion']}-{__version__}",
                **dict.fromkeys(("bootID", "machineID", "systemUUID", "kubeProxyVersion"), ""),
            },
        },
    }


def _build_ready(problems: list[str], born: str) -> JSON:
    return {
        "type": "Ready",
        "status": "False" if problems else "True",
        "reason": "OperatorNotReady" if problems else "OperatorReady",
        "message": "; ".join(problems) or "the operator watches its directory and reaches its engine",
        "lastHeartbeatTime": born,
        "lastTransitionTime": born,
    }


def build_public_config(version: int, born: str) -> JSON:
    """Return the ConfigMap by which the Kubeflow SDK asks for the trainer's version."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _build_metadata(_PUBLIC, version, born, namespace=SYSTEM_NAMESPACE),
        "data": {"kubeflow_trainer_version": TRAINER_VERSION},
    }


def complete_definition(definition: JSON, version: int, born: str) -> JSON:
    """Return a CustomResourceDefinition as a server has it that serves what it defines."""
    metadata, spec = definition["metadata"], definition["spec"]
    names = [each["name"] for each in spec["versions"] if each.get("storage")]
    accepted = {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"}
    served = {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "it is served"}
    return {
        **definition,
        "metadata": {**_build_metadata(metadata["name"], version, born), **metadata},
        "spec": {"conversion": {"strategy": "None"}, **spec},
        "status": {
            "acceptedNames": spec["names"],
            "storedVersions": names,
            "conditions": [{**each, "lastTransitionTime": born} for each in (accepted, served)],
        },
    }


def is_virtual(resource: Resource) -> bool:
    """Tell whether no object of this resource is stored."""
    return resource.kind in ("Namespace", "Node", "CustomResourceDefinition")
