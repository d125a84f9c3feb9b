"""Which file of the watched directory, and which document in it, an object comes from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainlet.cli.resources import TRAIN_JOBS, Kind, read_job
from trainlet.documents.parse import Document, ParseError, parse_documents
from trainlet.documents.scan import scan_directory
from trainlet.kube.errors import ApiError
from trainlet.kube.merge import find
from trainlet.kube.meta import get_metadata
from trainlet.settings import Settings


@dataclass(frozen=True)
class Manifest:
    """One document of a file. `index` counts all documents of the file; `is_alone`: the file holds no other."""

    path: Path
    document: Document
    is_alone: bool

    @property
    def index(self) -> int:
        """Its place in the file."""
        return self.document.index


def find_manifest(settings: Settings, kind: Kind, namespace: str, name: str) -> Manifest | None:
    """Return where an object is written, or None: first where its report says, else the first in the directory."""
    for path in _list_candidates(settings, kind, namespace, name):
        for manifest in read_manifests(path):
            if _is_of(manifest, settings, kind, namespace, name):
                return manifest
    return None


def get_manifest(settings: Settings, kind: Kind, namespace: str, name: str) -> Manifest:
    """Return where an object is written. Raises ApiError."""
    manifest = find_manifest(settings, kind, namespace, name)
    if manifest is None:
        raise ApiError(
            f"no manifest of {kind.full_singular} {name!r} found",
            code=404,
            reason="NotFound",
            where=f"namespace {namespace}, {settings.dir}" if kind.is_namespaced else str(settings.dir),
            remedy="give the directory that trainlet run watches with --dir",
        )
    return manifest


def read_manifests(path: Path) -> list[Manifest]:
    """Return the documents of a file; none of one that cannot be read."""
    try:
        documents = parse_documents(path.read_bytes())
    except (OSError, ParseError):
        return []
    return [Manifest(path, document, is_alone=len(documents) == 1) for document in documents]


def _list_candidates(settings: Settings, kind: Kind, namespace: str, name: str) -> Iterator[Path]:
    job = read_job(settings, namespace, name) if kind is TRAIN_JOBS else None
    reported = find(job.report, "source", "file") if job else None
    if reported:
        yield Path(reported)
    yield from scan_directory(settings.dir, frozenset({settings.status_path, settings.workspace_path})).files


def _is_of(manifest: Manifest, settings: Settings, kind: Kind, namespace: str, name: str) -> bool:
    document = manifest.document.value
    if not isinstance(document, dict) or document.get("kind") != kind.kind:
        return False
    metadata = get_metadata(document)
    is_there = not kind.is_namespaced or metadata.get("namespace", settings.namespace) == namespace
    return is_there and metadata.get("name") == name
