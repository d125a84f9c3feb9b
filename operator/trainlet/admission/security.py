"""Pod security: what the pods of a JobSet may not ask for, at a level of the Pod Security Standards.

Adds to the standards what a single machine needs: its owner names the directories that hostPath volumes may be in,
and the socket of a container engine is given to nobody. Paths are judged as text; whoever mounts them must also
resolve their links.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainlet.admission.security_checks import (
    APPARMOR_ANNOTATION,
    APPARMOR_REASON,
    CONTAINER,
    CONTROLS,
    CORE_VOLUMES,
    EACH,
    POD,
    RESTRICTED,
    VOLUMES_REASON,
    Control,
    is_allowed_annotation,
)
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.initializers import STORAGE_URI, find_host_path
from trainlet.planning.labels import ANCESTOR_STEP

LEVELS = tuple(CONTROLS)

_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_RUN_DIRECTORIES = (("run",), ("var", "run"), ("private", "var", "run"), ("run", "user", EACH))
_SOCKETS = (
    ("docker.sock",),
    ("podman", "podman.sock"),
    ("containerd", "containerd.sock"),
    ("crio", "crio.sock"),
    ("buildkit", "buildkitd.sock"),
)
_SOCKET_PLACES = tuple((*directory, *socket) for directory in _RUN_DIRECTORIES for socket in _SOCKETS)
_SOCKET_NAMES = frozenset(socket[-1] for socket in _SOCKETS)


@dataclass(frozen=True)
class _Owner:
    """A pod or one of its containers, and how the standards name it."""

    kind: str
    name: str
    path: str
    fields: object


def find_violations(jobset: JSON, level: str, host_path_roots: Sequence[str]) -> list[FieldError]:
    """Return one error for each field of a built JobSet's pods that violates the level; paths are the runtime's.

    Raises KeyError for a level that is not one of LEVELS.
    """
    controls = CONTROLS[level]
    roots = [parts for root in host_path_roots if (parts := _parse_path(root)) is not None]
    allowed = ", ".join(host_path_roots) or "none"
    errors: list[FieldError] = []
    for index, rjob in enumerate(find(jobset, "spec", "replicatedJobs") or []):
        path = f"spec.template.spec.replicatedJobs[{index}].template.spec.template"
        template = find(rjob, "template", "spec", "template") or {}
        pod = template.get("spec") or {}
        for owner in _list_owners(f"{path}.spec", pod):
            errors += [error for control in controls for error in _judge(owner, control, pod, level)]
        if controls:
            errors += _judge_annotations(f"{path}.metadata.annotations", template, level)
        for where, volume in (*_walk(pod, ("volumes", EACH), f"{path}.spec"), *_find_sources(rjob, f"{path}.spec")):
            errors += _judge_volume(where, volume, level, roots, allowed)
    return errors


def _find_sources(rjob: JSON, path: str) -> Iterator[tuple[str, JSON]]:
    """Yield, as the hostPath volumes they will be, the file:// sources of an initializer."""
    ancestor = find(rjob, "template", "metadata", "labels", ANCESTOR_STEP)
    pod = find(rjob, "template", "spec", "template", "spec") or {}
    for where, container in _walk(pod, ("containers", EACH), path):
        if not isinstance(container, dict) or container.get("name") != ancestor or container.get("command"):
            continue
        for at, entry in _walk(container, ("env", EACH), where):
            source = find_host_path(str(find(entry, "value"))) if find(entry, "name") == STORAGE_URI else None
            if source is not None:
                yield at, {"name": "source", "hostPath": {"path": source}}


def _list_owners(path: str, pod: JSON) -> Iterator[_Owner]:
    yield _Owner(POD, "pod", path, pod)
    for name in _CONTAINER_LISTS:
        for where, container in _walk(pod, (name, EACH), path):
            yield _Owner(CONTAINER, f'container "{_show(find(container, "name"))}"', where, container)


def _walk(value: object, path: Sequence[str], at: str) -> Iterator[tuple[str, object]]:
    """Yield where a path leads, once for each item of the lists on the way, None where it ends early."""
    if not path:
        yield at, value
    elif path[0] == EACH:
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from _walk(item, path[1:], f"{at}[{index}]")
    else:
        below = value.get(path[0]) if isinstance(value, dict) else None
        yield from _walk(below, path[1:], f"{at}.{path[0]}")


def _judge(owner: _Owner, control: Control, pod: JSON, level: str) -> Iterator[FieldError]:
    if owner.kind not in control.owners:
        return
    for where, own in _walk(owner.fields, control.path, owner.path):
        value = find(pod, *control.path) if control.inherits and own is None else own
        if not control.allows(value):
            words = control.words.format(owner=owner.name, value=_show(value))
            yield _forbid(where, _violate(level, control.reason, words), value)


def _judge_annotations(path: str, template: JSON, level: str) -> Iterator[FieldError]:
    for key, profile in (find(template, "metadata", "annotations") or {}).items():
        if key.startswith(APPARMOR_ANNOTATION) and not is_allowed_annotation(profile):
            words = f'annotation must not set AppArmor profile type to "{_show(key)}="{_show(profile)}""'
            yield _forbid(f"{path}[{key}]", _violate(level, APPARMOR_REASON, words), profile)


def _judge_volume(
    path: str, volume: object, level: str, roots: Sequence[tuple[str, ...]], allowed: str
) -> Iterator[FieldError]:
    """Judge every source of a volume, also where it has more than the one that it should have."""
    sources = {key: value for key, value in volume.items() if key != "name"} if isinstance(volume, dict) else {}
    for kind, source in sources.items():
        if source is None:
            continue
        host_path = find(source, "path") if kind == "hostPath" else None
        parts = _parse_path(host_path)
        if parts is not None and _reaches_engine(parts):
            yield _forbid(f"{path}.{kind}", _refuse_socket(host_path), host_path)
        elif level == RESTRICTED and kind not in CORE_VOLUMES:
            words = f'volume "{_show(find(volume, "name"))}" uses restricted volume type "{_show(kind)}"'
            yield _forbid(f"{path}.{kind}", _violate(level, VOLUMES_REASON, words), host_path)
        elif kind == "hostPath" and not _is_below(parts, roots):
            detail = f'hostPath "{_show(host_path)}" is not below a directory that --allow-host-path allows: {allowed}'
            yield _forbid(f"{path}.{kind}", detail, host_path)


def _parse_path(text: object) -> tuple[str, ...] | None:
    """Return the names on an absolute path, or None for one that could lead elsewhere than its text says."""
    if not isinstance(text, str) or not text.startswith("/") or "\0" in text:
        return None
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    return None if ".." in parts else parts


def _is_below(parts: tuple[str, ...] | None, roots: Sequence[tuple[str, ...]]) -> bool:
    return parts is not None and any(parts[: len(root)] == root for root in roots)


def _reaches_engine(parts: tuple[str, ...]) -> bool:
    """Tell whether a path is an engine's socket, or holds the place of one."""
    # macOS finds DOCKER.SOCK too.
    folded = [part.casefold() for part in parts]
    if folded and folded[-1] in _SOCKET_NAMES:
        return True
    return any(all(step in (EACH, part) for step, part in zip(place, folded, strict=False)) for place in _SOCKET_PLACES)


def _refuse_socket(host_path: object) -> str:
    return (
        f'hostPath "{_show(host_path)}" is or holds the socket of a container engine, which has power over the whole '
        "machine and is given to no job: mount another directory"
    )


def _violate(level: str, reason: str, words: str) -> str:
    return f'violates PodSecurity "{level}:latest": {reason} ({words})'


def _forbid(path: str, detail: str, value: object) -> FieldError:
    return FieldError(path, "Forbidden", detail, value, stage="security")


def _show(value: object) -> str:
    """Write a value of the manifest such that it cannot break the line it is written in."""
    return json.dumps(str(value), ensure_ascii=False)[1:-1]
