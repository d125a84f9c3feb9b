"""What a pod's volumes are in its container: directories of the host, volumes of the engine, memory, and files."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainlet.apis.core_v1 import ObjectSource, Projected, Volume, VolumeMount
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.kube.quantity import parse_quantity
from trainlet.planning import labels
from trainlet.planning.claims import Claim, find_volume
from trainlet.planning.slots import Slot
from trainlet.planning.specs import File, Mount, Tmpfs
from trainlet.planning.specs import VolumeMount as EngineMount

#: A group that files belong to may read them (kubelet's ownership of read-only volumes).
_GROUP_READS = 0o440


#: One thing that a container sees.
Part = Mount | EngineMount | Tmpfs | File


@dataclass(frozen=True)
class Storage:
    """All that a container sees beside its image."""

    mounts: tuple[Mount, ...] = ()
    volumes: tuple[EngineMount, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    files: tuple[File, ...] = ()


@dataclass(frozen=True)
class Objects:
    """The ConfigMaps, Secrets and tokens that volumes may hold; `tokens` are by audience."""

    config_maps: Mapping[str, Mapping[str, bytes]]
    secrets: Mapping[str, Mapping[str, bytes]]
    tokens: Mapping[str, str]


def read_objects(objects: Sequence[JSON], tokens: Mapping[str, str]) -> Objects:
    """Return the data of wire objects by name."""
    config_maps = {_name(o): _read_config_map(o) for o in objects if o["kind"] == "ConfigMap"}
    secrets = {_name(o): _decode(o.get("data") or {}) for o in objects if o["kind"] == "Secret"}
    return Objects(config_maps, secrets, tokens)


def build_storage(slot: Slot, objects: Objects) -> Storage:
    """Return what the container of a slot mounts. An emptyDir on disk is a part of the container's own."""
    volumes = slot.job_spec.template.spec.volumes
    parts = [
        part
        for mount in slot.container.volume_mounts
        for part in _mount(slot, mount, find_volume(slot.jobset, volumes, mount.name), objects)
    ]
    return Storage(
        mounts=tuple(part for part in parts if isinstance(part, Mount)),
        volumes=tuple(part for part in parts if isinstance(part, EngineMount)),
        tmpfs=tuple(part for part in parts if isinstance(part, Tmpfs)),
        files=tuple(part for part in parts if isinstance(part, File)),
    )


def _mount(slot: Slot, mount: VolumeMount, volume: Volume | Claim | None, objects: Objects) -> Iterator[Part]:
    target = mount.mount_path
    if isinstance(volume, Claim):
        yield EngineMount(labels.claim_name(slot.owner, volume.name), target, mount.read_only)
    elif volume is None:
        return
    elif volume.host_path is not None:
        yield Mount(volume.host_path.path, target, mount.read_only, volume.host_path.type)
    elif (claim := volume.persistent_volume_claim) is not None:
        name = labels.claim_name(slot.owner, claim.claim_name)
        yield EngineMount(name, target, mount.read_only or claim.read_only)
    elif volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
        size = volume.empty_dir.size_limit
        yield Tmpfs(target, None if size is None else int(parse_quantity(size)))
    else:
        yield from _build_files(slot, target, _project(volume), objects)


def _project(volume: Volume) -> Projected:
    """Return every volume of files as a projected one."""
    for name in ("config_map", "secret"):
        source: ObjectSource | None = getattr(volume, name)
        if source is not None:
            wire = {"sources": [{name: source}], "default_mode": source.default_mode}
            return Projected.model_validate(wire)
    return volume.projected or Projected()


def _build_files(slot: Slot, directory: str, projected: Projected, objects: Objects) -> Iterator[File]:
    group = slot.job_spec.template.spec.security_context.fs_group
    for path, content, mode in _read_sources(projected, objects):
        mode = mode if group is None else mode | _GROUP_READS
        yield File(f"{directory.rstrip('/')}/{path}", content, mode, gid=group or 0)


def _read_sources(projected: Projected, objects: Objects) -> Iterator[tuple[str, bytes, int]]:
    for source in projected.sources:
        token, config_map, secret = source.service_account_token, source.config_map, source.secret
        if token is not None and token.audience in objects.tokens:
            yield token.path, objects.tokens[token.audience].encode(), projected.default_mode
        if config_map is not None:
            yield from _pick(config_map, objects.config_maps.get(config_map.name, {}), projected.default_mode)
        if secret is not None:
            data = objects.secrets.get(secret.secret_name or secret.name, {})
            yield from _pick(secret, data, projected.default_mode)


def _pick(source: ObjectSource, data: Mapping[str, bytes], default: int) -> Iterator[tuple[str, bytes, int]]:
    if not source.items:
        yield from ((key, content, default) for key, content in data.items())
    for item in source.items:
        if item.key in data:
            yield item.path, data[item.key], default if item.mode is None else item.mode


def _read_config_map(config_map: JSON) -> dict[str, bytes]:
    texts = {key: text.encode() for key, text in (config_map.get("data") or {}).items()}
    return {**texts, **_decode(config_map.get("binaryData") or {})}


def _decode(data: Mapping[str, str]) -> dict[str, bytes]:
    return {key: base64.b64decode(text) for key, text in data.items()}


def _name(document: JSON) -> str:
    return str(find(document, "metadata", "name"))
