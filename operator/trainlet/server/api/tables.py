"""The tables that kubectl prints: columns and cells of each kind, as a server writes them. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trainlet.kube.ages import format_age, format_since
from trainlet.kube.conditions import is_true
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, get_metadata, parse_time
from trainlet.kube.pod_summary import PodSummary, summarize_pod
from trainlet.planning.labels import claim_name
from trainlet.server.api.types import Resource

Read = Callable[[JSON, datetime], Any]
_NONE = "<none>"


@dataclass(frozen=True)
class Column:
    """One column; one of priority 1 is only shown with `-o wide`."""

    name: str
    read: Read
    priority: int = 0
    type: str = "string"
    description: str = ""

    def to_wire(self) -> JSON:
        """Return the column's definition. A name that is not marked as one loses its kind in lists of several."""
        format = "name" if self.name == "Name" else ""
        return {
            "name": self.name,
            "type": self.type,
            "format": format,
            "description": self.description,
            "priority": self.priority,
        }


def find_columns(resource: Resource, definitions: Mapping[str, JSON]) -> Sequence[Column]:
    """Return the columns of a kind: its definition's, if it has one, by full name."""
    if (definition := definitions.get(resource.full_name)) is not None:
        return _read_definition(definition, resource.version)
    return _COLUMNS.get(resource.kind, (_NAME, _AGE))


def build_table(columns: Sequence[Column], objects: Sequence[JSON], now: datetime, include: str) -> JSON:
    """Return a Table without metadata; `include` is what rows have of their objects: Metadata, Object or None."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [column.to_wire() for column in columns],
        "rows": [
            {"cells": [column.read(each, now) for column in columns], **_build_row_object(each, include)}
            for each in objects
        ],
    }


def build_partial(shown: JSON) -> JSON:
    """Return the metadata of an object as an object of its own."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": get_metadata(shown)}


def _build_row_object(shown: JSON, include: str) -> JSON:
    if include == "None":
        return {}
    return {"object": shown if include == "Object" else build_partial(shown)}


# Columns of definitions


def _read_definition(definition: JSON, version: str) -> Sequence[Column]:
    versions = definition["spec"]["versions"]
    served = next((each for each in versions if each["name"] == version), versions[0])
    printed = served.get("additionalPrinterColumns") or [
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    ]
    return (_NAME, *map(_read_column, printed))


def _read_column(column: JSON) -> Column:
    path, is_date = column["jsonPath"], column["type"] == "date"

    def read(shown: JSON, now: datetime) -> Any:
        value = read_json_path(shown, path)
        return format_since(value, now) if is_date else value

    # What is a date for a definition is a short text for a client.
    type = "string" if is_date else column["type"]
    return Column(column["name"], read, column.get("priority", 0), type, column.get("description", ""))


def read_json_path(document: Any, path: str) -> Any:
    """Return what a simple JSONPath (`.a.b[0].c`, `.a[-1:].b`) finds first, or None."""
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(-?\d+):?\]", path):
        if name:
            document = document.get(name) if isinstance(document, dict) else None
        else:
            place = int(index)
            is_there = isinstance(document, list) and -len(document) <= place < len(document)
            document = document[place] if is_there else None
    return document


# Cells of Kubernetes' own kinds (kubernetes pkg/printers/internalversion/printers.go)


def _read(*path: str | int, default: Any = "") -> Read:
    def read(shown: JSON, _: datetime) -> Any:
        value = find(shown, *path)
        return default if value in (None, "") else value

    return read


def _since(*path: str) -> Read:
    return lambda shown, now: format_since(find(shown, *path), now)


def _count(*paths: str) -> Read:
    return lambda shown, _: sum(len(shown.get(path) or ()) for path in paths)


def _summarize(read: Callable[[PodSummary], Any]) -> Read:
    return lambda pod, _: read(summarize_pod(pod))


def _read_object(event: JSON, _: datetime) -> str:
    involved = event.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _read_job_status(job: JSON, _: datetime) -> str:
    conditions = find(job, "status", "conditions") or []
    for type, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if is_true(conditions, type):
            return word
    return "Suspended" if find(job, "spec", "suspend") else "Running"


def _read_completions(job: JSON, _: datetime) -> str:
    return f"{find(job, 'status', 'succeeded') or 0}/{find(job, 'spec', 'completions') or 1}"


def _read_duration(job: JSON, now: datetime) -> str:
    begin, end = find(job, "status", "startTime"), find(job, "status", "completionTime")
    if not begin:
        return ""
    return format_age(((parse_time(end) if end else now) - parse_time(begin)).total_seconds())


def _list_containers(field: str) -> Read:
    def read(job: JSON, _: datetime) -> str:
        containers = find(job, "spec", "template", "spec", "containers") or []
        return ",".join(str(each.get(field, "")) for each in containers)

    return read


def _read_volume(claim: JSON, _: datetime) -> str:
    name = claim["metadata"]["name"]
    return claim_name(ObjectKey(claim["kind"], claim["metadata"]["namespace"], name), name)


def _read_address(type: str) -> Read:
    def read(node: JSON, _: datetime) -> str:
        addresses = find(node, "status", "addresses") or []
        return next((str(each["address"]) for each in addresses if each["type"] == type), _NONE)

    return read


def _read_node_status(node: JSON, _: datetime) -> str:
    return "Ready" if is_true(find(node, "status", "conditions") or [], "Ready") else "NotReady"


def _read_completed(jobset: JSON, _: datetime) -> str:
    return "True" if is_true(find(jobset, "status", "conditions") or [], "Completed") else ""


def _read_access_modes(claim: JSON, _: datetime) -> str:
    modes = find(claim, "spec", "accessModes") or []
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in modes)


#: In the order in which kubectl writes them.
_ACCESS_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_NAME = Column("Name", _read("metadata", "name"))
_AGE = Column("Age", _since("metadata", "creationTimestamp"))

_COLUMNS: dict[str, Sequence[Column]] = {
    "Pod": (
        _NAME,
        Column("Ready", _summarize(lambda pod: f"{pod.ready}/{pod.total}")),
        Column("Status", _summarize(lambda pod: pod.status)),
        Column("Restarts", _summarize(lambda pod: str(pod.restarts))),
        _AGE,
        Column("IP", _read("status", "podIP", default=_NONE), 1),
        Column("Node", _read("spec", "nodeName", default=_NONE), 1),
        Column("Nominated Node", lambda *_: _NONE, 1),
        Column("Readiness Gates", lambda *_: _NONE, 1),
    ),
    "Event": (
        Column("Last Seen", _since("lastTimestamp")),
        Column("Type", _read("type")),
        Column("Reason", _read("reason")),
        Column("Object", _read_object),
        Column("Subobject", _read("involvedObject", "fieldPath"), 1),
        Column("Source", _read("source", "component"), 1),
        Column("Message", lambda event, _: str(event.get("message", "")).strip()),
        Column("First Seen", _since("firstTimestamp"), 1),
        Column("Count", _read("count", default=1), 1, "integer"),
        Column("Name", _read("metadata", "name"), 1),
    ),
    "Job": (
        _NAME,
        Column("Status", _read_job_status),
        Column("Completions", _read_completions),
        Column("Duration", _read_duration),
        _AGE,
        Column("Containers", _list_containers("name"), 1),
        Column("Images", _list_containers("image"), 1),
    ),
    "JobSet": (
        _NAME,
        Column("TerminalState", _read("status", "terminalState")),
        Column("Restarts", _read("status", "restarts"), type="string"),
        Column("Completed", _read_completed),
        Column("Suspended", lambda jobset, _: str(bool(find(jobset, "spec", "suspend"))).lower()),
        _AGE,
    ),
    "Node": (
        _NAME,
        Column("Status", _read_node_status),
        Column("Roles", lambda *_: _NONE),
        _AGE,
        Column("Version", _read("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", _read_address("InternalIP"), 1),
        Column("External-IP", _read_address("ExternalIP"), 1),
        Column("OS-Image", _read("status", "nodeInfo", "osImage"), 1),
        Column("Kernel-Version", _read("status", "nodeInfo", "kernelVersion"), 1),
        Column("Container-Runtime", _read("status", "nodeInfo", "containerRuntimeVersion"), 1),
    ),
    "Namespace": (_NAME, Column("Status", _read("status", "phase")), _AGE),
    "ConfigMap": (_NAME, Column("Data", _count("data", "binaryData"), type="integer"), _AGE),
    "Secret": (_NAME, Column("Type", _read("type")), Column("Data", _count("data"), type="integer"), _AGE),
    "PersistentVolumeClaim": (
        _NAME,
        Column("Status", _read("status", "phase")),
        Column("Volume", _read_volume),
        Column("Capacity", _read("status", "capacity", "storage")),
        Column("Access Modes", _read_access_modes),
        Column("StorageClass", _read("spec", "storageClassName")),
        Column("VolumeAttributesClass", _read("spec", "volumeAttributesClassName", default="<unset>")),
        _AGE,
        Column("VolumeMode", _read("spec", "volumeMode", default="Filesystem"), 1),
    ),
    "CustomResourceDefinition": (_NAME, Column("Created At", _read("metadata", "creationTimestamp"))),
}
