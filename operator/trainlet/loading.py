"""Settings -> a registry that knows what objects are judged by and which runtimes there are; no jobs, no engine."""

import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from trainlet.admission.admit import Rules
from trainlet.admission.crd import parse_crd
from trainlet.admission.rules import check_crd
from trainlet.apis.trainer import GROUP, RUNTIME_KINDS, TRAIN_JOB
from trainlet.documents.parse import parse_documents
from trainlet.documents.safe_read import read_manifest
from trainlet.documents.scan import find_manifests, scan_directory
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import TrainletError, UsageError
from trainlet.kube.meta import JSON
from trainlet.package_data import data_dir, read_crds
from trainlet.registry import Registry, Source
from trainlet.settings import Settings
from trainlet.store import Store

log = logging.getLogger(__name__)

#: In every file that defines a runtime.
RUNTIME_MARK = b"TrainingRuntime"
_KINDS = frozenset((GROUP, kind) for kind in (TRAIN_JOB, *RUNTIME_KINDS))


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def build_registry(settings: Settings, status_dir: StatusDir | None = None) -> Registry:
    """Return a registry with the runtimes of the built-in manifests and of the runtime sources, and no jobs."""
    status_dir = status_dir or StatusDir(settings.status_path)
    registry = Registry(Store(), status_dir, build_rules(settings), now)
    for path in [data_dir("manifests") / "runtimes", *map(_get_source_path, settings.runtime_source)]:
        load_runtimes(path, registry.add_base_runtime)
    return registry


def build_rules(settings: Settings) -> Rules:
    """Return what objects are judged by. Raises UsageError for definitions that cannot be used."""
    crds = tuple(crd for crd in map(parse_crd, read_crds(settings.crds)) if (crd.group, crd.kind) in _KINDS)
    missing = _KINDS - {(crd.group, crd.kind) for crd in crds}
    if missing:
        what = f"no definition of {'.'.join(min(missing)[::-1])}"
        raise UsageError(what, where=str(settings.crds), remedy="give a directory with those of all three kinds")
    if settings.crds:
        for crd in crds:
            check_crd(crd)
    return Rules(crds, settings.namespace, settings.validation, settings.pod_security, settings.allow_host_path)


def load_runtimes(
    path: Path, add: Callable[[JSON, Source], object], read: Callable[[Path], bytes] = Path.read_bytes
) -> None:
    """Add the runtimes of a file or directory; a bad one is said and stops no other."""
    for file in find_manifests(path):
        try:
            data = read(file)
            # What names no runtime is not parsed: a directory may hold much else, and this happens at every start.
            for document in parse_documents(data) if RUNTIME_MARK in data else ():
                if isinstance(document.value, dict) and document.value.get("kind") in RUNTIME_KINDS:
                    add(document.value, Source(str(file), document.index))
        except (OSError, TrainletError) as error:
            log.warning("runtime source %s: %s", file, error)


def load_directory(registry: Registry, settings: Settings, skipped: frozenset[Path] = frozenset()) -> None:
    """Put the runtimes of the watched directory into the registry, without those of the skipped files (absolute)."""
    with contextlib.suppress(OSError):
        excluded = frozenset({settings.status_path, settings.workspace_path})
        trusting = settings.allow_unsafe_files
        read = partial(read_manifest, root=settings.dir, trusting=trusting)
        for path in scan_directory(settings.dir, excluded, trusting=trusting).files:
            if path not in skipped:
                load_runtimes(path, registry.apply, read)


def list_runtimes(settings: Settings) -> list[tuple[str, JSON]]:
    """Return every runtime that a TrainJob may name, with the file it comes from."""
    registry = build_registry(settings)
    load_directory(registry, settings)
    runtimes = [runtime for kind in RUNTIME_KINDS for runtime in registry.store.list(kind)]
    return [(registry.get_runtime_file(registry.identify(runtime)), runtime) for runtime in runtimes]


def _get_source_path(source: str) -> Path:
    path = Path(source.removeprefix("file://")).expanduser()
    if not path.exists():
        raise UsageError("no such file or directory", where=f"--runtime-source {source}", remedy="give a path that is")
    return path
