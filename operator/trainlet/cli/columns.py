"""The columns of each kind's table: a title and how to read the cell from an object."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainlet.cli.explain import explain_state, get_phase
from trainlet.cli.resources import (
    CLAIMS,
    CLUSTER_RUNTIMES,
    CONFIG_MAPS,
    EVENTS,
    PODS,
    RUNTIMES,
    SECRETS,
    TRAIN_JOBS,
    Kind,
    Resource,
)
from trainlet.cli.table import flatten
from trainlet.kube.ages import format_age, format_since
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.kube.pod_summary import PodSummary, summarize_pod
from trainlet.planning.labels import JOBSET_NAME, claim_name


@dataclass(frozen=True)
class Column:
    """One column; a wide one is only shown with `-o wide`."""

    title: str
    read: Callable[[Resource, datetime], str]
    is_wide: bool = False


def build_header(kind: Kind, *, wide: bool, with_namespace: bool) -> list[str]:
    """Return the titles of a kind's table."""
    return ["NAMESPACE"] * with_namespace + [column.title for column in _get_columns(kind, wide)]


def build_row(kind: Kind, resource: Resource, now: datetime, *, wide: bool, with_namespace: bool) -> list[str]:
    """Return the cells of one object."""
    cells = [flatten(column.read(resource, now)) for column in _get_columns(kind, wide)]
    return [resource.namespace] * with_namespace + cells


def _get_columns(kind: Kind, wide: bool) -> list[Column]:
    return [column for column in _COLUMNS[kind.kind] if wide or not column.is_wide]


def _read_name(resource: Resource, _: datetime) -> str:
    return resource.name


def _read_age(resource: Resource, now: datetime) -> str:
    return format_since(get_metadata(resource.wire).get("creationTimestamp"), now)


def _read_file_age(resource: Resource, now: datetime) -> str:
    return format_since(resource.written, now)


def _count_data(resource: Resource, _: datetime) -> str:
    return str(len(resource.sizes))


def _read_volume(resource: Resource, _: datetime) -> str:
    return claim_name(ObjectKey(CLAIMS.kind, resource.namespace, resource.name), resource.name)


def _read_access_modes(resource: Resource, _: datetime) -> str:
    modes = find(resource.wire, "spec", "accessModes") or []
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in modes)


def _read_path(*path: str | int, default: str = "") -> Callable[[Resource, datetime], str]:
    def read(resource: Resource, _: datetime) -> str:
        value = find(resource.wire, *path)
        return default if value is None else str(value)

    return read


def _read_report(*path: str | int, default: str = "") -> Callable[[Resource, datetime], str]:
    def read(resource: Resource, _: datetime) -> str:
        value = find(resource.report, *path)
        return default if value is None else str(value)

    return read


def _read_time(*path: str) -> Callable[[Resource, datetime], str]:
    return lambda resource, now: format_since(find(resource.wire, *path), now)


def _count_nodes(resource: Resource, _: datetime) -> str:
    nodes = resource.report.get("nodes")
    if not nodes:
        return f"0/{find(resource.wire, 'spec', 'trainer', 'numNodes') or '?'}"
    return f"{sum(node.get('state') in ('running', 'succeeded') for node in nodes)}/{len(nodes)}"


def _read_progress(resource: Resource, _: datetime) -> str:
    """Return what the training code says of itself: how far it is, and what it believes is left."""
    told: JSON = find(resource.wire, "status", "trainerStatus") or {}
    percentage, seconds = told.get("progressPercentage"), told.get("estimatedRemainingSeconds")
    if percentage is None:
        return "-"
    return f"{percentage}% ({format_age(seconds)} left)" if seconds else f"{percentage}%"


def _summarize(read: Callable[[PodSummary], object]) -> Callable[[Resource, datetime], str]:
    return lambda resource, _: str(read(summarize_pod(resource.wire)))


def _read_object(resource: Resource, _: datetime) -> str:
    involved = resource.wire.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


#: In the order in which kubectl writes them.
_ACCESS_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}

_RUNTIME_COLUMNS: Sequence[Column] = (
    Column("NAME", _read_name),
    Column("FRAMEWORK", _read_path("metadata", "labels", "trainer.kubeflow.org/framework", default="<none>")),
    Column("NODES", _read_path("spec", "mlPolicy", "numNodes", default="1")),
    Column("SOURCE", lambda resource, _: resource.source),
)

_COLUMNS: dict[str, Sequence[Column]] = {
    TRAIN_JOBS.kind: (
        Column("NAME", _read_name),
        Column("STATE", lambda resource, _: get_phase(resource)),
        Column("NODES", _count_nodes),
        Column("RESTARTS", _read_report("restarts", default="0")),
        Column("PROGRESS", _read_progress),
        Column("AGE", _read_age),
        Column("RUNTIME", _read_path("spec", "runtimeRef", "name"), is_wide=True),
        Column("ENGINE", _read_report("engine", "name"), is_wide=True),
        Column("REASON", lambda resource, _: explain_state(resource).reason, is_wide=True),
        Column("MESSAGE", lambda resource, _: explain_state(resource).message, is_wide=True),
    ),
    CLUSTER_RUNTIMES.kind: _RUNTIME_COLUMNS,
    RUNTIMES.kind: _RUNTIME_COLUMNS,
    PODS.kind: (
        Column("NAME", _read_name),
        Column("READY", _summarize(lambda pod: f"{pod.ready}/{pod.total}")),
        Column("STATUS", _summarize(lambda pod: pod.status)),
        Column("RESTARTS", _summarize(lambda pod: pod.restarts)),
        Column("AGE", _read_age),
        Column("IP", _read_path("status", "podIP", default="<none>"), is_wide=True),
        Column("TRAINJOB", _read_path("metadata", "labels", JOBSET_NAME), is_wide=True),
    ),
    EVENTS.kind: (
        Column("LAST SEEN", _read_time("lastTimestamp")),
        Column("TYPE", _read_path("type")),
        Column("REASON", _read_path("reason")),
        Column("OBJECT", _read_object),
        Column("FIRST SEEN", _read_time("firstTimestamp"), is_wide=True),
        Column("COUNT", _read_path("count", default="1"), is_wide=True),
        Column("NAME", _read_name, is_wide=True),
        Column("MESSAGE", _read_path("message")),
    ),
    CONFIG_MAPS.kind: (Column("NAME", _read_name), Column("DATA", _count_data), Column("AGE", _read_file_age)),
    SECRETS.kind: (
        Column("NAME", _read_name),
        Column("TYPE", _read_path("type")),
        Column("DATA", _count_data),
        Column("AGE", _read_file_age),
    ),
    CLAIMS.kind: (
        Column("NAME", _read_name),
        Column("STATUS", _read_path("status", "phase")),
        Column("VOLUME", _read_volume),
        Column("CAPACITY", _read_path("status", "capacity", "storage")),
        Column("ACCESS MODES", _read_access_modes),
        Column("STORAGECLASS", _read_path("spec", "storageClassName")),
        Column("AGE", _read_file_age),
        Column("VOLUMEMODE", _read_path("spec", "volumeMode"), is_wide=True),
    ),
}
