"""The kinds that verbs know, and how their objects are found on disk. Nothing here talks to an engine."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainlet.documents.scan import scan_directory
from trainlet.documents.status_dir import StatusDir, StoredJob
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, get_metadata
from trainlet.settings import Settings


@dataclass(frozen=True)
class Resource:
    """One object. `wire` is what `-o yaml` prints, `report` the body of a job's report, `source` a runtime's file."""

    wire: JSON
    report: JSON = field(default_factory=dict)
    source: str = ""

    @property
    def namespace(self) -> str:
        """Its namespace, or an empty text."""
        return str(get_metadata(self.wire).get("namespace") or "")

    @property
    def name(self) -> str:
        """Its name."""
        return str(get_metadata(self.wire).get("name") or "")

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        labels = get_metadata(self.wire).get("labels")
        return labels if isinstance(labels, dict) else {}


Lister = Callable[[Settings, str | None], Iterable[Resource]]
Watcher = Callable[[Settings], Iterable[Path]]


@dataclass(frozen=True)
class Kind:
    """One kind: its names, how to list its objects in a namespace (None: all), and the files they are in."""

    kind: str
    plural: str
    short: str
    group: str
    list: Lister = field(compare=False)
    find_files: Watcher = field(compare=False)
    is_namespaced: bool = True

    @property
    def full_plural(self) -> str:
        """`trainjobs.trainer.kubeflow.org`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def full_singular(self) -> str:
        """`trainjob.trainer.kubeflow.org`."""
        return f"{self.kind.lower()}.{self.group}" if self.group else self.kind.lower()

    @property
    def words(self) -> frozenset[str]:
        """All that a command line may call it."""
        return frozenset({self.short, self.plural, self.kind.lower(), self.full_plural, self.full_singular})


def read_job(settings: Settings, namespace: str, name: str) -> Resource | None:
    """Return one job, or None."""
    stored = StatusDir(settings.status_path).read_job(namespace, name)
    return _wrap_job(stored) if stored else None


def _list_jobs(settings: Settings, namespace: str | None) -> Iterator[Resource]:
    for stored in StatusDir(settings.status_path).read_jobs(namespace):
        yield _wrap_job(stored)


def _wrap_job(stored: StoredJob) -> Resource:
    # What was never accepted has no TrainJob; then its report stands for it.
    wire = stored.job or stored.report or {}
    body = find(stored.report, "status")
    return Resource(wire, body if isinstance(body, dict) else {})


def _list_parts(part: str) -> Lister:
    def list_part(settings: Settings, namespace: str | None) -> Iterator[Resource]:
        status_dir = StatusDir(settings.status_path)
        for path in sorted(settings.status_path.glob(f"{namespace or '*'}/*/{part}.yaml")):
            for wire in status_dir.read_part(path.parent.parent.name, path.parent.name, part):
                yield Resource(wire)

    return list_part


def _list_runtimes(kind: str) -> Lister:
    def list_kind(settings: Settings, namespace: str | None) -> Iterator[Resource]:
        from trainlet.loading import list_runtimes  # heavy, and only runtimes need it

        for source, runtime in list_runtimes(settings):
            resource = Resource(runtime, source=source)
            if runtime.get("kind") == kind and namespace in (None, resource.namespace):
                yield resource

    return list_kind


def _find_status_files(pattern: str) -> Watcher:
    return lambda settings: settings.status_path.glob(pattern)


def _find_manifests(settings: Settings) -> Iterable[Path]:
    return scan_directory(settings.dir, frozenset({settings.status_path, settings.workspace_path})).files


_GROUP = "trainer.kubeflow.org"

TRAIN_JOBS = Kind("TrainJob", "trainjobs", "tj", _GROUP, _list_jobs, _find_status_files("*/*.yaml"))
CLUSTER_RUNTIMES = Kind(
    "ClusterTrainingRuntime",
    "clustertrainingruntimes",
    "ctr",
    _GROUP,
    _list_runtimes("ClusterTrainingRuntime"),
    _find_manifests,
    is_namespaced=False,
)
RUNTIMES = Kind("TrainingRuntime", "trainingruntimes", "tr", _GROUP, _list_runtimes("TrainingRuntime"), _find_manifests)
PODS = Kind("Pod", "pods", "po", "", _list_parts("pods"), _find_status_files("*/*/pods.yaml"))
EVENTS = Kind("Event", "events", "ev", "", _list_parts("events"), _find_status_files("*/*/events.yaml"))

KINDS = (TRAIN_JOBS, CLUSTER_RUNTIMES, RUNTIMES, PODS, EVENTS)


def list_sorted(kind: Kind, settings: Settings, namespace: str | None) -> list[Resource]:
    """Return the objects of a kind by namespace and name, events by time."""
    resources = list(kind.list(settings, namespace if kind.is_namespaced else None))
    if kind is EVENTS:
        # Times are whole seconds; the version tells what came after what within one.
        return sorted(resources, key=lambda r: (str(r.wire.get("lastTimestamp") or ""), _get_version(r)))
    return sorted(resources, key=lambda r: (r.namespace, r.name))


def _get_version(resource: Resource) -> int:
    version = find(resource.wire, "metadata", "resourceVersion")
    return int(version) if isinstance(version, str) and version.isdigit() else 0


def find_workspace(job: Resource | None, settings: Settings, namespace: str, name: str) -> Path:
    """Return the job's workspace: where its operator says it is, else where these settings would have it."""
    told = find(job.report, "workspace") if job else None
    return Path(told) if isinstance(told, str) else settings.workspace_path / namespace / name
