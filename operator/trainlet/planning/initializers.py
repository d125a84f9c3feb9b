"""Initializers whose source is https:// or file://: fetched by a program of trainlet's, in place of upstream's images.

Those serve hf://, s3:// and cache:// and are left alone (kubeflow/trainer pkg/initializers), and so is a container
that names its own command: it is somebody's own initializer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from trainlet.apis.core_v1 import Container
from trainlet.planning.specs import ContainerSpec, File, Mount, Tmpfs, VolumeMount

STORAGE_URI = "STORAGE_URI"
#: Where upstream's programs write to, by the container's name, which is also its ancestor's.
_TARGETS = {"dataset-initializer": "/workspace/dataset", "model-initializer": "/workspace/model"}
_PROGRAM, _CACHE, _SOURCE, _CERTIFICATES = "/trainlet/fetch.pyz", "/cache", "/source", "/certificates"
_WORKSPACE = "/workspace"
_IGNORE_PATTERNS, _CERTIFICATE = "IGNORE_PATTERNS", "SSL_CERT_FILE"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
#: All that the program reads. What a loader or an interpreter reads could make another program of it.
_KEPT = frozenset({STORAGE_URI, _IGNORE_PATTERNS, _CERTIFICATE, *_PROXIES, *(name.lower() for name in _PROXIES)})

_Item = File | Mount | Tmpfs | VolumeMount
_ItemT = TypeVar("_ItemT", bound=_Item)


@dataclass(frozen=True)
class InitializerOptions:
    """What fetches: an image that has python3, the program (initializer/program.py builds it), and where downloads
    are kept on the host, an absolute path.
    """

    image: str
    program: bytes = field(repr=False)
    cache_dir: str


@dataclass(frozen=True)
class Source:
    """A source that the program fetches; `host_path` is set for a file:// one that names an absolute path."""

    uri: str
    scheme: str
    host_path: str | None = None


def find_source(uri: str) -> Source | None:
    """Return the source if its scheme is one of the program's. Whether it can be had is the program's to say."""
    scheme = uri.partition(":")[0].lower()
    if scheme not in ("https", "file"):
        return None
    return Source(uri, scheme, _parse_path(uri) if scheme == "file" else None)


def find_host_path(uri: str) -> str | None:
    """Return the path of this machine that a file:// URI names."""
    source = find_source(uri)
    return source.host_path if source else None


def get_image(container: Container, ancestor: str, options: InitializerOptions) -> str:
    """Return the image that a container of a job with this ancestor will run."""
    return options.image if _find_target(container, ancestor) else container.image


def rewrite(spec: ContainerSpec, container: Container, ancestor: str, options: InitializerOptions) -> ContainerSpec:
    """Return the container's spec with the program in it, where the program serves its source.

    Of what the manifest mounts only the workspace stays: anything else could be put over the program.
    """
    target, source = _find_target(container, ancestor), find_source(spec.env.get(STORAGE_URI, ""))
    if target is None or source is None:
        return spec
    spec = _bring_certificate(spec)
    return replace(
        spec,
        image=options.image,
        command=("python3", "-I", _PROGRAM),
        args=_build_arguments(source, target, spec.env.get(_IGNORE_PATTERNS, "")),
        env={name: value for name, value in spec.env.items() if name in _KEPT},
        files=(*_keep(spec.files), File(_PROGRAM, options.program)),
        mounts=(*_keep(spec.mounts), Mount(options.cache_dir, _CACHE), *_build_source_mounts(source)),
        volumes=_keep(spec.volumes),
        tmpfs=_keep(spec.tmpfs),
        working_dir=None,
    )


def _find_target(container: Container, ancestor: str) -> str | None:
    """Return where to fetch to, None if the program does not serve the container.

    Judged by what the template says, so that the image is known before anything of the job is there.
    """
    if container.name != ancestor or container.command:
        return None
    uris = [entry.value for entry in container.env if entry.name == STORAGE_URI]
    return _TARGETS.get(ancestor) if uris and find_source(uris[-1]) else None


def _parse_path(uri: str) -> str | None:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    is_local = parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    path = unquote(parts.path)
    return path if is_local and path.startswith("/") and "\0" not in path else None


def _build_arguments(source: Source, target: str, ignore: str) -> tuple[str, ...]:
    at = ("--at", _SOURCE) if source.host_path is not None else ()
    # One word, because patterns may look like an option.
    ignored = (f"--ignore={ignore}",) if ignore else ()
    return (source.uri, target, "--cache", _CACHE, *at, *ignored)


def _build_source_mounts(source: Source) -> tuple[Mount, ...]:
    # A path type, because it is the manifest's word: judged before it is mounted, as a hostPath volume is.
    return () if source.host_path is None else (Mount(source.host_path, _SOURCE, read_only=True, host_path_type=""),)


def _bring_certificate(spec: ContainerSpec) -> ContainerSpec:
    """Return the spec with what is mounted for SSL_CERT_FILE moved to where no program is looked for."""
    path = spec.env.get(_CERTIFICATE, "")
    items: tuple[File | Mount | VolumeMount, ...] = (*spec.files, *spec.mounts, *spec.volumes)
    holders = [item for item in items if _is_below(path, _get_place(item))]
    if not holders or _is_below(path, _WORKSPACE):
        return spec
    holder = max(holders, key=lambda item: len(_split(_get_place(item))))
    rest = _split(path)[len(_split(_get_place(holder))) :]
    spec = replace(spec, env={**spec.env, _CERTIFICATE: "/".join((_CERTIFICATES, *rest))})
    match holder:
        case File():
            return replace(spec, files=(replace(holder, path=_CERTIFICATES),))
        case Mount():
            return replace(spec, mounts=(*spec.mounts, replace(holder, target=_CERTIFICATES, read_only=True)))
        case VolumeMount():
            return replace(spec, volumes=(*spec.volumes, replace(holder, target=_CERTIFICATES, read_only=True)))


def _keep(items: Iterable[_ItemT]) -> tuple[_ItemT, ...]:
    """Return what lies where the program only reads and writes data."""
    return tuple(item for item in items if any(_is_below(_get_place(item), top) for top in (_WORKSPACE, _CERTIFICATES)))


def _get_place(item: _Item) -> str:
    return item.path if isinstance(item, File) else item.target


def _is_below(path: str, top: str) -> bool:
    """Tell whether an absolute path is another or lies below it; one with `..` lies nowhere."""
    parts, above = _split(path), _split(top)
    return path.startswith("/") and ".." not in parts and bool(above) and parts[: len(above)] == above


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
