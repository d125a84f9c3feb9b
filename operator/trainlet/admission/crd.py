"""A custom resource definition as admission needs it: its names and the schema of its stored version.

Takes parsed documents; who reads them from where is not known here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trainlet.kube.errors import UsageError

SCOPES = ("Namespaced", "Cluster")

_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "format": "int64"}
_OBJECTS = {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
_NAMES = {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"}

_METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "annotations": (_TEXTS, "Notes of people and programs, which nothing selects by."),
    "creationTimestamp": (_TIME, "When the object was stored. Set by the server."),
    "deletionGracePeriodSeconds": (_COUNT, "How long the deletion may take. Set by the server."),
    "deletionTimestamp": (_TIME, "When the deletion was asked for. Set by the server."),
    "finalizers": (_NAMES, "What must be done before the object goes."),
    "generateName": (_TEXT, "The beginning of a name that a server completes; a file must give a whole name."),
    "generation": (_COUNT, "How often the spec changed. Set by the server."),
    "labels": (_TEXTS, "Names and values that objects are selected by."),
    "managedFields": (_OBJECTS, "Who last set which field. Set by the server."),
    "name": (_TEXT, "The object's name, unlike those of all others of its kind in the namespace."),
    "namespace": (_TEXT, "The namespace that the name is in; without one, the operator's."),
    "ownerReferences": (_OBJECTS, "The objects that this one goes with."),
    "resourceVersion": (_TEXT, "Another text after every change. Set by the server."),
    "selfLink": (_TEXT, "Without meaning since Kubernetes 1.20."),
    "uid": (_TEXT, "What tells the object from later ones of its name. Set by the server."),
}
# ObjectMeta, which every definition leaves out because the API server knows it.
OBJECT_METADATA: dict[str, Any] = {
    "type": "object",
    "description": "What every object has: its name, its labels, and what the server says of it.",
    "properties": {name: {**schema, "description": text} for name, (schema, text) in _METADATA.items()},
}


@dataclass(frozen=True, eq=False)
class Crd:
    """One kind of object; those of Kubernetes' core have an empty group.

    `schema` is the definition's own with ObjectMeta filled in; it is shared by everyone and never changed.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    scope: str
    schema: dict[str, Any]

    @property
    def api_version(self) -> str:
        """Group and version, as objects of this kind write them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> str:
        """Kind and group, as the API server names them in errors."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def is_namespaced(self) -> bool:
        """Whether its objects live in a namespace."""
        return self.scope == "Namespaced"


def parse_crd(document: dict[str, Any]) -> Crd:
    """Take from a CustomResourceDefinition what admission needs.

    Raises UsageError when a part is absent or of the wrong type.
    """
    if document.get("kind") != "CustomResourceDefinition":
        raise _malformed(document, "kind", f"is {document.get('kind')!r}, not CustomResourceDefinition")
    version = _get_stored_version(document)
    kind = _get(document, "spec.names.kind", str)
    scope = _get(document, "spec.scope", str)
    if scope not in SCOPES:
        raise _malformed(document, "spec.scope", f"is {scope!r}, not one of {', '.join(SCOPES)}")
    return Crd(
        group=_get(document, "spec.group", str),
        version=_get(version, "name", str),
        kind=kind,
        plural=_get(document, "spec.names.plural", str),
        singular=_get(document, "spec.names.singular", str, kind.lower()),
        short_names=tuple(_get(document, "spec.names.shortNames", list, [])),
        scope=scope,
        schema=add_metadata(_get(version, "schema.openAPIV3Schema", dict)),
    )


def find_crd(crds: Iterable[Crd], api_version: str, kind: str) -> Crd | None:
    """Find the definition of a kind, if there is one."""
    return next((crd for crd in crds if (crd.api_version, crd.kind) == (api_version, kind)), None)


def add_metadata(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with ObjectMeta filled in."""
    return schema | {"properties": schema.get("properties", {}) | {"metadata": OBJECT_METADATA}}


def _get_stored_version(document: dict[str, Any]) -> dict[str, Any]:
    for version in _get(document, "spec.versions", list):
        if isinstance(version, dict) and version.get("storage") is True:
            return version
    raise _malformed(document, "spec.versions", "has no version with `storage: true`")


def _get(document: dict[str, Any], path: str, expected: type, default: Any = None) -> Any:
    value: Any = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if value is None and default is not None:
        return default
    if not isinstance(value, expected):
        raise _malformed(document, path, f"must be a {expected.__name__}")
    return value


def _malformed(document: dict[str, Any], path: str, problem: str) -> UsageError:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return UsageError(
        f"a custom resource definition cannot be used, {path} {problem}",
        where=name or "no name",
        remedy="restore the file or give another directory of definitions",
    )
