"""The kinds that verbs know, and how their objects are found on disk. Nothing here talks to an engine."""

from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from trainlet.documents.scan import scan_directory
from trainlet.documents.status_dir import StatusDir, StoredJob
from trainlet.kube.claim_status import PERSISTENT_VOLUME_CLAIM, bind
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, format_time, get_metadata
from trainlet.settings import Settings

#: What stands for every value of a Secret.
HIDDEN = "<hidden>"
#: What an operator says of an object while it runs, and a look at the files cannot.
_OPERATORS_METADATA = frozenset({"uid", "resourceVersion", "creationTimestamp"})
#: Here kubectl leaves a copy of the manifest, values included.
_COPY = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Resource:
    """One object. `wire` is what `-o yaml` prints, `report` the body of a job's report.

    `source` is the file of what has no status document, `written` when that was; `sizes`, in bytes, the entries of
    an object's data.
    """

    wire: JSON
    report: JSON = field(default_factory=dict)
    source: str = ""
    written: str = ""
    sizes: dict[str, int] = field(default_factory=dict)

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
    """One kind: its names, how to list its objects in a namespace (None: all), and the files they are in.

    `skim` lists with no more than the short table shows, where that is quicker.
    """

    kind: str
    plural: str
    short: str
    group: str
    list: Lister = field(compare=False)
    find_files: Watcher = field(compare=False)
    is_namespaced: bool = True
    skim: Lister | None = field(default=None, compare=False)

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


def _skim_jobs(settings: Settings, namespace: str | None) -> Iterator[Resource]:
    return map(_wrap_job, StatusDir(settings.status_path).skim_jobs(namespace))


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


def _list_objects(kind: str) -> Lister:
    def list_kind(settings: Settings, namespace: str | None) -> Iterator[Resource]:
        from trainlet.loading import list_objects  # heavy, as for runtimes

        for file, stored in list_objects(settings):
            if stored["kind"] == kind and namespace in (None, get_metadata(stored)["namespace"]):
                yield _wrap_object(stored, file)

    return list_kind


def _wrap_object(stored: JSON, file: str) -> Resource:
    written = format_time(datetime.fromtimestamp(Path(file).stat().st_mtime, UTC))
    sizes = {key: len(text.encode()) for key, text in (stored.get("data") or {}).items()}
    encoded = "data" if stored["kind"] == "Secret" else "binaryData"
    sizes |= {key: len(a2b_base64(text)) for key, text in (stored.get(encoded) or {}).items()}
    metadata = {key: value for key, value in stored["metadata"].items() if key not in _OPERATORS_METADATA}
    show = {"Secret": _hide, PERSISTENT_VOLUME_CLAIM: bind}.get(stored["kind"], dict)
    return Resource(show({**stored, "metadata": metadata}), source=file, written=written, sizes=sizes)


def _hide(secret: JSON) -> JSON:
    """Return a Secret without its values."""
    metadata: JSON = secret["metadata"]
    annotations = {key: text for key, text in (metadata.get("annotations") or {}).items() if key != _COPY}
    hidden = {"metadata": {**metadata, **({"annotations": annotations} if "annotations" in metadata else {})}}
    return {**secret, **hidden, **({"data": dict.fromkeys(secret["data"], HIDDEN)} if "data" in secret else {})}


def _find_status_files(pattern: str) -> Watcher:
    return lambda settings: settings.status_path.glob(pattern)


def _find_manifests(settings: Settings) -> Iterable[Path]:
    return scan_directory(settings.dir, frozenset({settings.status_path, settings.workspace_path})).files


_GROUP = "trainer.kubeflow.org"

TRAIN_JOBS = Kind("TrainJob", "trainjobs", "tj", _GROUP, _list_jobs, _find_status_files("*/*.yaml"), skim=_skim_jobs)
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

CONFIG_MAPS = Kind("ConfigMap", "configmaps", "cm", "", _list_objects("ConfigMap"), _find_manifests)
SECRETS = Kind("Secret", "secrets", "secret", "", _list_objects("Secret"), _find_manifests)
CLAIMS = Kind(
    PERSISTENT_VOLUME_CLAIM,
    "persistentvolumeclaims",
    "pvc",
    "",
    _list_objects(PERSISTENT_VOLUME_CLAIM),
    _find_manifests,
)

KINDS = (TRAIN_JOBS, CLUSTER_RUNTIMES, RUNTIMES, PODS, EVENTS, CONFIG_MAPS, SECRETS, CLAIMS)


def list_sorted(kind: Kind, settings: Settings, namespace: str | None, *, briefly: bool = False) -> list[Resource]:
    """Return the objects of a kind by namespace and name, events by time."""
    lister = kind.skim if briefly and kind.skim is not None else kind.list
    resources = list(lister(settings, namespace if kind.is_namespaced else None))
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
