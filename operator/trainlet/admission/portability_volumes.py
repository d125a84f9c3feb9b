"""What becomes of volumes, of where they are mounted, and of the claims that a JobSet makes."""

from typing import Any

from trainlet.admission.portability import (
    HONOURED,
    Fields,
    Judge,
    Place,
    Rule,
    Verdict,
    emulated,
    honoured,
    no_effect,
    only,
    refused,
)
from trainlet.planning.policies.status import get_audience

_ON_DISK = emulated("it is a part of the container's own file system: a restart empties it, and no sizeLimit holds")
_NAMED_VOLUME = emulated("it is a volume of the engine with the claim's name, made if there is none, and kept")
_WORKSPACE = "use a hostPath, a claim, or the workspace, which is at /workspace in every node"
_NO_OBJECT = refused("put the file into the workspace, which is at /workspace in every node, or its text into env")
_NOT_HERE = refused(f"nothing here serves it; {_WORKSPACE}")

#: Volumes of a cluster, its clouds and its storage.
_CLUSTER_VOLUMES = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "ephemeral",
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


def _judge_volume(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
    sources = [name for name, source in value.items() if name != "name" and source is not None]
    if len(sources) > 1:
        return refused(f"give it one of {', '.join(sources)}")
    return None if sources else _ON_DISK  # an emptyDir, as on a cluster


def _judge_empty_dir(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
    return None if value.get("medium") else _ON_DISK


def _own(kind: str, *names: str) -> Judge:
    """Return the judge of a source that has the name of its object in one of these fields."""

    def judge(value: Any, place: Place) -> Verdict | None:
        wanted = next((value[name] for name in names if value.get(name)), "")
        return None if (kind, wanted) in place.subject.objects else _NO_OBJECT

    return judge


def _judge_token(value: Any, place: Place) -> Verdict | None:
    if value.get("audience") == get_audience(place.subject.job):
        return None
    return refused("leave it out: there is no API server that would take the token")


def _judge_mount(value: Any, place: Place) -> Verdict:
    pod, templates = place.owners[-3], _list_claims(place.owners[0])
    names = {volume.get("name") for volume in pod.get("volumes") or []} | templates
    return HONOURED if value in names else refused("name one of the pod's volumes, or of the JobSet's claims")


def _list_claims(jobset: Any) -> set[Any]:
    policies = (jobset.get("spec") or {}).get("volumeClaimPolicies") or []
    return {(t.get("metadata") or {}).get("name") for policy in policies for t in policy.get("templates") or []}


_ITEMS = Fields(honoured("key", "path", "mode"), is_whole=True)
_PROJECTED: dict[str, Rule] = {
    "configMap": Fields({**honoured("name", "optional"), "items": _ITEMS}, _own("ConfigMap", "name"), is_whole=True),
    "secret": Fields({**honoured("name", "optional"), "items": _ITEMS}, _own("Secret", "name"), is_whole=True),
    "serviceAccountToken": Fields(
        {**honoured("audience", "path"), "expirationSeconds": emulated("the token holds as long as its job")},
        _judge_token,
        is_whole=True,
    ),
    **dict.fromkeys(("clusterTrustBundle", "downwardAPI", "podCertificate"), _NO_OBJECT),
}

VOLUME = Fields(
    {
        "name": HONOURED,
        "hostPath": Fields(honoured("path", "type"), is_whole=True),
        "emptyDir": Fields(
            {
                "medium": only("Memory", otherwise=refused("use Memory")),
                "sizeLimit": HONOURED,
            },
            _judge_empty_dir,
            is_whole=True,
        ),
        "persistentVolumeClaim": _NAMED_VOLUME,
        "configMap": Fields(
            {**honoured("name", "optional", "defaultMode"), "items": _ITEMS}, _own("ConfigMap", "name"), is_whole=True
        ),
        "secret": Fields(
            {**honoured("secretName", "optional", "defaultMode"), "items": _ITEMS},
            _own("Secret", "secretName"),
            is_whole=True,
        ),
        "projected": Fields({"defaultMode": HONOURED, "sources": Fields(_PROJECTED, others=_NO_OBJECT)}, is_whole=True),
        "downwardAPI": refused("use a fieldRef in env"),
        **dict.fromkeys(_CLUSTER_VOLUMES, _NOT_HERE),
    },
    _judge_volume,
    others=_NOT_HERE,
    is_whole=True,
    keeps_empty=True,
)

VOLUME_MOUNT = Fields(
    {
        "name": _judge_mount,
        **honoured("mountPath", "readOnly"),
        **dict.fromkeys(("subPath", "subPathExpr"), refused("give the whole path in the volume")),
        "mountPropagation": only("None", otherwise=no_effect("mounts are not passed on")),
        "recursiveReadOnly": only("Disabled", otherwise=refused("leave it out; mounts below are not judged yet")),
    },
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
