"""What becomes of volumes, of where they are mounted, and of the claims that a JobSet makes."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

from trainlet.admission.portability import (
    HONOURED,
    Fields,
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
from trainlet.kube.meta import JSON
from trainlet.kube.names import is_label, is_subdomain
from trainlet.planning.policies.status import get_audience

_IN_CONTAINER = emulated("it is memory of the container's own: a restart empties it, as it does not on a cluster")
_NAMED_VOLUME = emulated("it is a volume of the engine with the claim's name, made if there is none, and kept")
_OF_THE_POD = emulated("it is a volume of the engine that lives as long as the pod")
_OWN_PATH = emulated("each subPath is a volume of the engine of its own, for all that mount it by this path")
_WORKSPACE = "use a hostPath, a claim, or the workspace, which is at /workspace in every node"
_NO_OBJECT = refused("put the file into the workspace, which is at /workspace in every node, or its text into env")
_NOT_HERE = refused(f"nothing here serves it; {_WORKSPACE}")
_FIELD_PATH = re.compile(
    r"metadata\.(name|namespace|uid|labels|annotations)|metadata\.(labels|annotations)\['[^']+'\]"
    r"|spec\.(nodeName|serviceAccountName)|status\.(podIPs?|hostIPs?)"
)
_UNKNOWN_FIELD = no_effect("it is empty: no pod here has this field")
_RESOURCE = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)")
_CPU_DIVISOR, _DIVISOR = re.compile("0|1|1m"), re.compile("0|1([kMGTPE]|[KMGTPE]i)?")
_BELOW = refused("give a path below the volume, without `..`")
_TWICE = refused("give each file a path of its own, which is no directory of another one's")

#: Volumes of a cluster, its clouds and its storage.
_CLUSTER_VOLUMES = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
)


def count_containers(pod: JSON) -> Counter[str]:
    """Return how many containers of a pod have each name."""
    return Counter(str(container.get("name")) for container in _list_containers(pod))


def _judge_medium(value: Any, place: Place) -> Verdict:
    if value != "Memory":
        return refused("use Memory, or none for the disk")
    return _IN_CONTAINER if place.ask(count_containers, -3).total() == 1 else HONOURED


def _judge_size_limit(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    if str(value).startswith("-"):
        return refused("give a size, or leave it out")
    return HONOURED


def _judge_claim(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    return _NAMED_VOLUME if is_subdomain(value.get("claimName")) else refused("name a claim with claimName")


def _judge_field_path(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    return HONOURED if _FIELD_PATH.fullmatch(value) else _UNKNOWN_FIELD


def _judge_sub_path(value: Any, place: Place) -> Verdict:
    """Judge a path below a volume: one of the engine's shows only as a whole, so that each path is one of its own."""
    mount = place.owners[-1]
    if mount.get("subPath") and mount.get("subPathExpr"):
        return refused("give it one of subPath, subPathExpr")
    if not _is_below(value):
        return _BELOW
    if mount["name"] in place.ask(_find_shown, -3):
        return HONOURED
    if _read_path(mount) in place.ask(_find_entangled, -3):
        return refused("mount the volume by paths that are not within each other, or only as a whole")
    return _OWN_PATH


def _is_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _read_path(mount: JSON) -> tuple[str, str]:
    """Return a volume's name and the path in it, with a slash at its end but for the whole."""
    path = str(mount.get("subPath") or mount.get("subPathExpr") or "").strip("/")
    return str(mount.get("name")), f"{path}/" if path else ""


def _find_shown(pod: JSON) -> frozenset[str]:
    """Return the volumes of which a path below shows what is there."""
    return frozenset(str(volume.get("name")) for volume in pod.get("volumes") or [] if volume.keys() & _FILES)


def _find_entangled(pod: JSON) -> frozenset[tuple[str, str]]:
    """Return the paths, by volume, that others of the pod's mounts lie within, or that lie within others."""
    mounts = (mount for container in _list_containers(pod) for mount in container.get("volumeMounts") or [])
    entangled, top = set(), ("", "")
    for path in sorted(set(map(_read_path, mounts))):  # what lies within a path comes right after it
        if path[0] == top[0] and path[1].startswith(top[1]):
            entangled |= {top, path}
        else:
            top = path
    return frozenset(entangled)


def _list_containers(pod: JSON) -> list[JSON]:
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def _judge_container_name(value: Any, place: Place) -> Verdict:
    depth = next((n for n, owner in enumerate(place.owners) if "containers" in owner), 0)
    return HONOURED if value in place.ask(count_containers, depth) else refused("name one of the pod's containers")


def _judge_divisor(value: Any, place: Place) -> Verdict:
    is_cpu = str(place.owners[-1].get("resource")).endswith(".cpu")
    divisor, words = (_CPU_DIVISOR, "1 or 1m") if is_cpu else (_DIVISOR, "1, or 1 with a suffix like k, Mi or G")
    return HONOURED if divisor.fullmatch(str(value)) else refused(f"use {words}")


def _judge_files(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
    """Judge the paths of a volume of files, or of one of its sources, beside each other."""
    sources = [each[kind] for each in value.get("sources") or [] for kind in _PROJECTED if each.get(kind)]
    items = [item for source in sources or [value] for item in source.get("items") or [source]]
    paths = sorted(f"{str(item['path']).rstrip('/')}/" for item in items if item.get("path"))
    return _TWICE if any(later.startswith(path) for path, later in pairwise(paths)) else None


def _judge_token(value: Any, place: Place) -> Verdict | None:
    if value.get("audience") == get_audience(place.subject.job):
        return None
    return refused("leave it out: there is no API server that would take the token")


def _judge_mount(value: Any, place: Place) -> Verdict:
    is_there = value in place.ask(_list_volumes, -3) or value in place.ask(_list_claims, 0)
    return HONOURED if is_there else refused("name one of the pod's volumes, or of the JobSet's claims")


def _list_volumes(pod: JSON) -> frozenset[Any]:
    return frozenset(volume.get("name") for volume in pod.get("volumes") or [])


def _list_claims(jobset: JSON) -> frozenset[Any]:
    policies = (jobset.get("spec") or {}).get("volumeClaimPolicies") or []
    return frozenset(
        (t.get("metadata") or {}).get("name") for policy in policies for t in policy.get("templates") or []
    )


FIELD_REF = Fields({"apiVersion": HONOURED, "fieldPath": _judge_field_path}, is_whole=True)
RESOURCE_FIELD_REF = Fields(
    {
        "containerName": _judge_container_name,
        "divisor": _judge_divisor,
        "resource": fitting(
            lambda name: _RESOURCE.fullmatch(name) is not None,
            otherwise=refused("use limits or requests of cpu, memory, ephemeral-storage or huge pages"),
        ),
    },
    is_whole=True,
)
#: A file's place in its volume, and its permissions.
_FILE: dict[str, Rule] = {
    "path": fitting(_is_below, otherwise=_BELOW),
    "mode": only(*range(0o1000), otherwise=refused("give a mode from 0 to 0777 (511)")),
}
_DOWNWARD_ITEMS = Fields(
    {**_FILE, "fieldRef": FIELD_REF, "resourceFieldRef": RESOURCE_FIELD_REF},
    needs("path", of=single(*_FILE)),
    is_whole=True,
)
#: Volumes of which a path below shows what is there, by a kubelet's rules.
_FILES = frozenset({"configMap", "secret", "projected", "downwardAPI", "hostPath"})
_ITEMS = Fields({"key": HONOURED, **_FILE}, needs("key", "path"), is_whole=True)
_OF_OBJECT: dict[str, Rule] = {**honoured("name", "optional"), "items": _ITEMS}
_DEFAULT_MODE: dict[str, Rule] = {"defaultMode": _FILE["mode"]}
_PROJECTED: dict[str, Rule] = {
    **dict.fromkeys(("configMap", "secret"), Fields(_OF_OBJECT, needs("name"), is_whole=True)),
    "downwardAPI": Fields({"items": _DOWNWARD_ITEMS}, is_whole=True),
    "serviceAccountToken": Fields(
        {
            "audience": HONOURED,
            "path": _FILE["path"],
            "expirationSeconds": emulated("the token holds as long as its job"),
        },
        _judge_token,
        is_whole=True,
    ),
    **dict.fromkeys(("clusterTrustBundle", "podCertificate"), _NO_OBJECT),
}

VOLUME = Fields(
    {
        "name": fitting(is_label, otherwise=refused("name it with lowercase letters, digits and dashes")),
        "hostPath": Fields(honoured("path", "type"), is_whole=True),
        "emptyDir": Fields({"medium": _judge_medium, "sizeLimit": _judge_size_limit}, is_whole=True, keeps_empty=True),
        "ephemeral": _OF_THE_POD,
        "persistentVolumeClaim": _judge_claim,
        "configMap": Fields({**_DEFAULT_MODE, **_OF_OBJECT}, needs("name", of=_judge_files), is_whole=True),
        "secret": Fields(
            {**_DEFAULT_MODE, **honoured("secretName", "optional"), "items": _ITEMS},
            needs("secretName", of=_judge_files),
            is_whole=True,
        ),
        "projected": Fields(
            {**_DEFAULT_MODE, "sources": Fields(_PROJECTED, single(), others=_NO_OBJECT)}, _judge_files, is_whole=True
        ),
        "downwardAPI": Fields({**_DEFAULT_MODE, "items": _DOWNWARD_ITEMS}, _judge_files, is_whole=True),
        **dict.fromkeys(_CLUSTER_VOLUMES, _NOT_HERE),
    },
    single("name"),
    others=_NOT_HERE,
    is_whole=True,
    keeps_empty=True,
)

VOLUME_MOUNT = Fields(
    {
        "name": _judge_mount,
        "mountPath": fitting(
            lambda path: path.startswith("/") and path.strip("/") != "", otherwise=refused("give a path from / on")
        ),
        "readOnly": HONOURED,
        **dict.fromkeys(("subPath", "subPathExpr"), _judge_sub_path),
        "mountPropagation": only("None", otherwise=no_effect("mounts are not passed on")),
        "recursiveReadOnly": only("Disabled", otherwise=refused("leave it out; mounts below are not judged yet")),
    },
    needs("name", "mountPath"),
    is_whole=True,
)

_OF_A_CLAIM = no_effect("the engine's volume has labels of its own")
#: A template of a JobSet's volumeClaimPolicies.
CLAIM_TEMPLATE = Fields(
    {
        **honoured("apiVersion", "kind"),
        "metadata": Fields(
            {
                "name": HONOURED,
                **dict.fromkeys(("labels", "annotations", "finalizers", "namespace"), _OF_A_CLAIM),
            }
        ),
        "spec": Fields(
            {
                "accessModes": no_effect("every node is on this machine"),
                "resources": no_effect("the volume takes what the disk has"),
                "storageClassName": no_effect("the engine has one kind of volume"),
                "volumeAttributesClassName": no_effect("the engine has one kind of volume"),
                **dict.fromkeys(("selector", "volumeName"), no_effect("the volume is made when there is none")),
                "volumeMode": only("Filesystem", otherwise=refused("use Filesystem")),
                **dict.fromkeys(("dataSource", "dataSourceRef"), refused("let a first step put the data there")),
            }
        ),
        "status": no_effect("only a cluster says it"),
    }
)
