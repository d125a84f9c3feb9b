"""Settings -> a registry that knows what objects are judged by and which runtimes there are; no jobs, no engine."""

import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from trainlet.admission.admit import Rules
from trainlet.admission.core_kinds import CORE_KINDS, OBJECT_KINDS
from trainlet.admission.crd import parse_crd
from trainlet.admission.rules import check_crd
from trainlet.apis.trainer import GROUP, RUNTIME_KINDS, TRAIN_JOB
from trainlet.documents.parse import parse_documents
from trainlet.documents.safe_read import read_manifest
from trainlet.documents.scan import find_manifests, scan_directory
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import TrainletError, UsageError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds
from trainlet.registry import Registry, Source
from trainlet.runtime_sources.address import DEFAULT_SOURCE
from trainlet.runtime_sources.copies import Copies
from trainlet.runtime_sources.follower import LOOK_SECONDS, SourceFollower
from trainlet.runtime_sources.offers import RUNTIME_MARK as RUNTIME_MARK
from trainlet.runtime_sources.offers import Asking, Offer, RuntimeSources
from trainlet.settings import Settings, get_github
from trainlet.store import Store

log = logging.getLogger(__name__)

_KINDS = frozenset((GROUP, kind) for kind in (TRAIN_JOB, *RUNTIME_KINDS))


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Listed:
    """A runtime that a TrainJob may name, the file it is from, and what offers it (None: the watched directory)."""

    runtime: JSON
    file: str
    offer: Offer | None


def build_registry(settings: Settings, status_dir: StatusDir | None = None, store: Store | None = None) -> Registry:
    """Return a registry with the runtimes of all sources, and no jobs. Given sources are asked for what is old."""
    registry = _build_empty(settings, status_dir or StatusDir(settings.status_path), store)
    offers = open_sources(settings).read(choose_asking(settings))
    for offer in offers:
        if offer.problem:
            log.warning("runtime source %s: %s", offer.source, offer.problem)
    take_offers(registry, offers, get_level(settings))
    return registry


def open_sources(settings: Settings) -> RuntimeSources:
    """Return the runtime sources: those given, else the default one. Raises UsageError."""
    given, copies = settings.runtime_source or (DEFAULT_SOURCE,), Copies(settings.cache_path / "sources")
    return RuntimeSources(given, copies, get_github(), now, allow_http=settings.allow_http_sources)


def choose_asking(settings: Settings) -> Asking:
    """Return when a verb asks the network: only for sources that are given, and only for what is old."""
    return Asking.WHEN_OLD if settings.runtime_source else Asking.NEVER


def follow_sources(registry: Registry, settings: Settings) -> SourceFollower:
    """Return what keeps a running operator's runtimes up to their sources. The default one has not been asked yet."""
    level = get_level(settings)
    return SourceFollower(
        open_sources(settings),
        lambda offers: take_offers(registry, offers, level),
        level=level,
        first_seconds=LOOK_SECONDS if settings.runtime_source else 0.0,
    )


def get_level(settings: Settings) -> int:
    """Return how loud the sources' problems are: nobody has asked for the default one."""
    return logging.WARNING if settings.runtime_source else logging.INFO


def take_offers(registry: Registry, offers: Sequence[Offer], level: int = logging.WARNING) -> None:
    """Put the runtimes of sources into the registry: of each name the first that is admitted."""
    taken: set[ObjectKey] = set()

    def add(document: JSON, source: Source) -> None:
        key = registry.identify(document)
        if key not in taken:
            registry.add_base_runtime(document, source)
            taken.add(key)

    for offer in offers:
        for file in offer.files:
            _load_file(file.name, file.data, add, level=level)


def _build_empty(settings: Settings, status_dir: StatusDir, store: Store | None = None) -> Registry:
    return Registry(store or Store(), status_dir, build_rules(settings), now)


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
    known = (*crds, *CORE_KINDS)
    return Rules(known, settings.namespace, settings.validation, settings.pod_security, settings.allow_host_path)


def load_runtimes(
    path: Path,
    add: Callable[[JSON, Source], object],
    read: Callable[[Path], bytes] = Path.read_bytes,
    kinds: Collection[str] = RUNTIME_KINDS,
) -> None:
    """Add the runtimes, or objects of other kinds, of a file or directory; a bad one is said and stops no other."""
    for file in find_manifests(path):
        try:
            data = read(file)
        except (OSError, TrainletError) as error:
            log.warning("%s: %s", file, error)
        else:
            _load_file(str(file), data, add, kinds)


def _load_file(
    name: str,
    data: bytes,
    add: Callable[[JSON, Source], object],
    kinds: Collection[str] = RUNTIME_KINDS,
    level: int = logging.WARNING,
) -> None:
    """Add what a file holds of these kinds; a bad document is said and stops no other."""
    try:
        # What names no such kind is not parsed: a directory may hold much else, and this happens at every start.
        documents = parse_documents(data) if any(kind.encode() in data for kind in kinds) else []
    except TrainletError as error:
        log.log(level, "%s: %s", name, error)
        return
    for document in documents:
        if isinstance(document.value, dict) and document.value.get("kind") in kinds:
            try:
                add(document.value, Source(name, document.index))
            except TrainletError as error:
                log.log(level, "%s: %s", name, error)


def load_directory(
    registry: Registry,
    settings: Settings,
    skipped: frozenset[Path] = frozenset(),
    kinds: Collection[str] = RUNTIME_KINDS,
) -> None:
    """Put the runtimes, or other kinds, of the watched directory into the registry.

    What the skipped files (absolute) hold is left out.
    """
    with contextlib.suppress(OSError):
        excluded = frozenset({settings.status_path, settings.workspace_path})
        trusting = settings.allow_unsafe_files
        read = partial(read_manifest, root=settings.dir, trusting=trusting)
        for path in scan_directory(settings.dir, excluded, trusting=trusting).files:
            if path not in skipped:
                load_runtimes(path, registry.apply, read, kinds)


def survey_runtimes(settings: Settings, asking: Asking) -> tuple[list[Listed], list[Offer]]:
    """Return every runtime that a TrainJob may name, and what the sources offer; to say their problems is left."""
    registry = _build_empty(settings, StatusDir(settings.status_path))
    offers = open_sources(settings).read(asking)
    take_offers(registry, offers)
    load_directory(registry, settings)
    origins = {file.name: offer for offer in offers for file in offer.files}
    runtimes = [runtime for kind in RUNTIME_KINDS for runtime in registry.store.list(kind)]
    files = [registry.get_runtime_file(registry.identify(runtime)) for runtime in runtimes]
    return [Listed(runtime, file, origins.get(file)) for runtime, file in zip(runtimes, files, strict=True)], offers


def list_runtimes(settings: Settings) -> list[tuple[str, JSON]]:
    """Return every runtime that a TrainJob may name, with the file it comes from; no network is asked."""
    listed, _ = survey_runtimes(settings, Asking.NEVER)
    return [(each.file, each.runtime) for each in listed]


def list_objects(settings: Settings) -> list[tuple[str, JSON]]:
    """Return the ConfigMaps, Secrets and claims of the watched directory, each with its file."""
    registry = _build_empty(settings, StatusDir(settings.status_path))
    load_directory(registry, settings, kinds=OBJECT_KINDS)
    return [(registry.get_runtime_file(registry.identify(stored)), stored) for stored in registry.list_objects()]
