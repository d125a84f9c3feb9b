"""The kinds of Kubernetes itself that stand in the directory beside the jobs, as definitions like those in crds/.

The shapes are those of core/v1. No user's definitions replace them: on a cluster too they belong to the API server.
What their values must be is judged in core_rules.py.
"""

from typing import Any

from trainlet.admission.crd import Crd, add_metadata
from trainlet.admission.structure import INT_OR_STRING
from trainlet.kube.claim_status import PERSISTENT_VOLUME_CLAIM

CONFIG_MAP, SECRET, CLAIM = "ConfigMap", "Secret", PERSISTENT_VOLUME_CLAIM
#: What pods may name, and what is kept while its file is there.
OBJECT_KINDS = (CONFIG_MAP, SECRET, CLAIM)

Schema = dict[str, Any]

#: A null among the entries is an empty one: so Go reads it.
_ENTRY: Schema = {"type": "string", "default": ""}
_QUANTITY: Schema = {INT_OR_STRING: True}


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _map(description: str, values: Schema) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": values}


def _list(description: str, items: Schema) -> Schema:
    return {"type": "array", "description": description, "items": items, "x-kubernetes-list-type": "atomic"}


def _object(description: str, required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    schema = {"type": "object", "description": description, "properties": properties}
    return {**schema, "required": list(required)} if required else schema


_IMMUTABLE: Schema = {"type": "boolean", "description": "Whether nothing of the data may change any more."}

_CONFIG_MAP = _object(
    "Settings and files that are no secrets, for pods to read.",
    data=_map("Texts by key.", _ENTRY),
    binaryData=_map("Bytes by key, in base64.", _ENTRY),
    immutable=_IMMUTABLE,
)
_SECRET = _object(
    "Passwords, tokens and keys, for pods to read.",
    data=_map("Bytes by key, in base64.", _ENTRY),
    stringData=_map("Texts by key; they are stored as data, before which they go.", _ENTRY),
    type=_text("What the entries are, such as kubernetes.io/tls. It never changes.", default="Opaque"),
    immutable=_IMMUTABLE,
)
_SOURCE = {
    "apiGroup": _text("Group of the source's kind."),
    "kind": _text("Kind of the source."),
    "name": _text("Name of the source."),
}
_REQUIREMENT = _object(
    "One demand.",
    ("key", "operator"),
    key=_text("The label it is about."),
    operator=_text("In, NotIn, Exists or DoesNotExist."),
    values=_list("What the label is compared with.", {"type": "string"}),
)
_CLAIM_SPEC = _object(
    "What is claimed. But for a larger request it never changes.",
    accessModes=_list("How many nodes may write and read at once.", {"type": "string"}),
    dataSource=_object("What the volume is filled from.", ("kind", "name"), **_SOURCE),
    dataSourceRef=_object(
        "What the volume is filled from.", ("kind", "name"), **_SOURCE, namespace=_text("Namespace of the source.")
    ),
    resources=_object(
        "How much is claimed.",
        limits=_map("The most there may be.", _QUANTITY),
        requests=_map("The least there must be; `storage` in bytes.", _QUANTITY),
    ),
    selector=_object(
        "Which volumes will do.",
        matchExpressions=_list("Demands on labels.", _REQUIREMENT),
        matchLabels=_map("Labels that the volume must have.", {"type": "string"}),
    ),
    storageClassName=_text("The class of the storage."),
    volumeAttributesClassName=_text("The class of the volume's attributes."),
    volumeMode=_text("Filesystem, or Block for a bare device.", default="Filesystem"),
    volumeName=_text("The volume that is meant."),
)


def _define(kind: str, short_names: tuple[str, ...], schema: Schema) -> Crd:
    return Crd("", "v1", kind, f"{kind.lower()}s", kind.lower(), short_names, "Namespaced", add_metadata(schema))


CORE_KINDS = (
    _define(CONFIG_MAP, ("cm",), _CONFIG_MAP),
    _define(SECRET, (), _SECRET),
    _define(CLAIM, ("pvc",), _object("A claim of a job's files to a place that outlives it.", spec=_CLAIM_SPEC)),
)
