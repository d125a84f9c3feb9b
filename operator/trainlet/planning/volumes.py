"""What a pod's volumes are in its containers: directories of the host, volumes of the engine, memory, and files."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trainlet.apis.core_v1 import DownwardApi, FieldFile, ObjectSource, Projected, Volume, VolumeMount
from trainlet.kube.meta import JSON
from trainlet.kube.quantity import parse_quantity
from trainlet.planning import labels
from trainlet.planning.claims import Claim, build_volume, find_volume
from trainlet.planning.downward import Fields
from trainlet.planning.environment import expand, find_unknown
from trainlet.planning.objects import CONFIG_MAP, SECRET, ConfigError, Objects, Reference
from trainlet.planning.pods import get_pod_name
from trainlet.planning.probes import SizeLimit
from trainlet.planning.records import PodRecord
from trainlet.planning.slots import Member, Role, Slot
from trainlet.planning.specs import File, Mount, Tmpfs, VolumeSpec
from trainlet.planning.specs import VolumeMount as EngineMount

#: A group that files belong to may read them (kubelet's ownership of read-only volumes).
_GROUP_READS = 0o440
#: Where a sandbox has the memory of its pod, so that it stays there while a container is restarted.
_HELD = "/volumes"
#: What the kubelet says of a volume whose object is missing.
MOUNT_FAILED = "MountVolume.SetUp failed for volume"


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
class Pod:
    """One pod of a slot, with all that its volumes may hold; `environment` is what a subPathExpr may name.

    `owner_labels` are those of everything that is made for the job; `stored` has its namespace's claims.
    """

    slot: Slot
    record: PodRecord
    objects: Objects
    fields: Fields
    environment: Mapping[str, str]
    owner_labels: Mapping[str, str]
    stored: Sequence[JSON] = ()


def build_storage(pod: Pod, member: Member) -> Storage:
    """Return what one container of a pod mounts. Raises ConfigError."""
    mounts = member.container.volume_mounts
    parts = list(_hold(pod) if member.role is Role.SANDBOX else (p for mount in mounts for p in _mount(pod, mount)))
    return Storage(
        mounts=tuple(part for part in parts if isinstance(part, Mount)),
        volumes=tuple(part for part in parts if isinstance(part, EngineMount)),
        tmpfs=tuple(part for part in parts if isinstance(part, Tmpfs)),
        files=tuple(part for part in parts if isinstance(part, File)),
    )


def build_volumes(pod: Pod, member: Member) -> tuple[VolumeSpec, ...]:
    """Return the engine's volumes that one container of a pod mounts."""
    if member.role is Role.SANDBOX:
        return _list_memory(pod)
    found = (_find_spec(pod, mount) for mount in member.container.volume_mounts)
    return tuple(spec for spec in found if spec is not None)


def find_size_limits(slot: Slot, pod_name: str) -> tuple[SizeLimit, ...]:
    """Return how much the volumes of a pod may take on disk; one in memory has no more than its size."""
    return tuple(
        SizeLimit(volume.name, labels.pod_volume_name(slot.owner, pod_name, volume.name), size, str(said))
        for volume in slot.job_spec.template.spec.volumes
        if not _is_memory(volume) and (size := _get_size(volume)) is not None
        for said in [volume.empty_dir.size_limit if volume.empty_dir is not None else ""]
    )


def _list_memory(pod: Pod) -> tuple[VolumeSpec, ...]:
    """Return the memory that containers of a pod share."""
    mounts = (mount for member in pod.slot.members for mount in member.container.volume_mounts)
    # A path that a container's environment says is known to that container alone.
    found = (_find_spec(pod, mount) for mount in mounts if not mount.sub_path_expr)
    return tuple({spec.name: spec for spec in found if spec is not None and spec.in_memory}.values())


def _hold(pod: Pod) -> Iterator[Part]:
    """Yield what must not go while no other container has it."""
    return (EngineMount(spec.name, f"{_HELD}/{spec.name}") for spec in _list_memory(pod))


def _find_spec(pod: Pod, mount: VolumeMount) -> VolumeSpec | None:
    """Return the engine's volume that a mount shows, None for one that is something else."""
    slot, sub_path = pod.slot, _get_sub_path(pod, mount)
    volume = _find_volume(slot, mount)
    if isinstance(volume, Volume) and volume.persistent_volume_claim is not None:
        volume = Claim(volume.persistent_volume_claim.claim_name)
    if isinstance(volume, Claim):
        spec = build_volume(slot.owner, volume, dict(pod.owner_labels), pod.stored)
        return replace(spec, name=labels.add_sub_path(spec.name, sub_path))
    if volume is None or not _is_of_pod(slot, volume):
        return None
    name = labels.pod_volume_name(slot.owner, get_pod_name(slot, pod.record), volume.name)
    marks = {**pod.owner_labels, labels.POD: slot.hostname}
    return VolumeSpec(
        labels.add_sub_path(name, sub_path), marks, _is_memory(volume), _get_size(volume), _get_group(pod.slot)
    )


def _find_volume(slot: Slot, mount: VolumeMount) -> Volume | Claim | None:
    return find_volume(slot.jobset, slot.job_spec.template.spec.volumes, mount.name)


def _mount(pod: Pod, mount: VolumeMount) -> Iterator[Part]:
    target, volume, spec = mount.mount_path, _find_volume(pod.slot, mount), _find_spec(pod, mount)
    sub_path = _get_sub_path(pod, mount)
    if spec is not None:
        claim = volume.persistent_volume_claim if isinstance(volume, Volume) else None
        read_only = mount.read_only or (claim is not None and claim.read_only)
        yield EngineMount(spec.name, target, read_only, None if spec.in_memory else _get_group(pod.slot))
    elif not isinstance(volume, Volume):
        return
    elif (host := volume.host_path) is not None:
        source = posixpath.join(host.path, sub_path) if sub_path else host.path
        yield Mount(source, target, mount.read_only, "" if sub_path else host.type)
    elif _is_memory(volume):
        yield Tmpfs(target, _get_size(volume))
    else:
        yield from _build_files(pod, target, sub_path, volume)


def _get_group(slot: Slot) -> int | None:
    return slot.job_spec.template.spec.security_context.fs_group


def _is_memory(volume: Volume) -> bool:
    return volume.empty_dir is not None and volume.empty_dir.medium == "Memory"


def _get_size(volume: Volume) -> int | None:
    size = volume.empty_dir.size_limit if volume.empty_dir is not None else None
    return None if size is None else int(parse_quantity(size)) or None


def _is_of_pod(slot: Slot, volume: Volume) -> bool:
    """Tell whether an engine's volume stands for it: memory is one where several containers or a group share it."""
    is_plain = not volume.model_fields_set - {"name"}
    if volume.empty_dir is None and volume.ephemeral is None and not is_plain:
        return False
    return slot.has_sandbox or not _is_memory(volume) or _get_group(slot) is not None


def _get_sub_path(pod: Pod, mount: VolumeMount) -> str:
    path = expand(mount.sub_path_expr, pod.environment) if mount.sub_path_expr else mount.sub_path
    unknown = find_unknown(mount.sub_path_expr, pod.environment)
    if unknown is not None and not pod.objects.is_lenient:
        raise ConfigError(f'missing value for "{unknown}"', "CreateContainerConfigError")
    if ".." in path.split("/") or path.startswith("/"):
        written = mount.sub_path_expr or mount.sub_path  # what a variable holds may be a secret
        raise ConfigError(f"the subPath {written} leads out of its volume", "CreateContainerConfigError")
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _build_files(pod: Pod, directory: str, sub_path: str, volume: Volume) -> Iterator[File]:
    group = _get_group(pod.slot)
    try:
        entries = {path: (content, mode) for path, content, mode in _read_sources(pod, _project(volume))}
    except ConfigError as missing:
        text = f'{MOUNT_FAILED} "{volume.name}" : {missing}'
        raise ConfigError(text, "ContainerCreating") from missing
    for path, (content, mode) in entries.items():
        mode = mode if group is None else mode | _GROUP_READS
        if sub_path == path:
            yield File(directory.rstrip("/"), content, mode, gid=group or 0)
        elif not sub_path or path.startswith(f"{sub_path}/"):
            place = path.removeprefix(sub_path).lstrip("/")
            yield File(f"{directory.rstrip('/')}/{place}", content, mode, gid=group or 0)


def _project(volume: Volume) -> Projected:
    """Return every volume of files as a projected one."""
    for name in ("config_map", "secret", "downward_api"):
        source: ObjectSource | DownwardApi | None = getattr(volume, name)
        if source is not None:
            wire = {"sources": [{name: source}], "default_mode": source.default_mode}
            return Projected.model_validate(wire)
    return volume.projected or Projected()


def _read_sources(pod: Pod, projected: Projected) -> Iterator[tuple[str, bytes, int]]:
    for source in projected.sources:
        token = source.service_account_token
        if token is not None and token.audience in pod.objects.tokens:
            yield token.path, pod.objects.tokens[token.audience], projected.default_mode
        for kind, each in ((CONFIG_MAP, source.config_map), (SECRET, source.secret)):
            if each is not None:
                yield from _pick(each, Reference(kind, each.secret_name or each.name, each.optional), pod, projected)
        for item in source.downward_api.items if source.downward_api is not None else ():
            yield item.path, _read_field(item, pod.fields).encode(), _get_mode(item.mode, projected)


def _pick(
    source: ObjectSource, reference: Reference, pod: Pod, projected: Projected
) -> Iterator[tuple[str, bytes, int]]:
    if not source.items:
        data = pod.objects.read(reference)
        yield from ((key, content, projected.default_mode) for key, content in sorted(data.items()))
    for item in source.items:
        content = pod.objects.read_key(reference, item.key)
        if content is not None:
            yield item.path, content, _get_mode(item.mode, projected)


def _read_field(item: FieldFile, fields: Fields) -> str:
    if item.resource_field_ref is not None:
        return fields.read_resource(item.resource_field_ref)
    return fields.read_field(item.field_ref.field_path) if item.field_ref is not None else ""


def _get_mode(mode: int | None, projected: Projected) -> int:
    return projected.default_mode if mode is None else mode
