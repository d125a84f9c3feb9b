"""Translates between our specs and libpod's JSON. Pure: makes no request, knows no library."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainlet.engine.base import EngineFacts
from trainlet.engine.wire import build_gateway, build_tmpfs_options, parse_engine_time
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ContainerState, ObservedContainer, ObservedNetwork
from trainlet.planning.specs import (
    ContainerSpec,
    Limits,
    Mount,
    NetworkSpec,
    Privileges,
    Tmpfs,
    VolumeMount,
    VolumeSpec,
)

# One file that starts anew when it is full; as much as Docker keeps in three.
_LOG = {"driver": "k8s-file", "size": 150 << 20}
_CPU_PERIOD_MICROSECONDS = 100_000
_NVIDIA = "nvidia.com/gpu"
# Not filled with what the image has in the same place.
_EMPTY = ["nocopy"]
# Without, the first container that mounts a volume gives it to its own user, with the image's permissions.
_ROOTS_OWN = {"o": "uid=0,gid=0"}

STATES = {
    "created": ContainerState.CREATED,
    "configured": ContainerState.CREATED,
    "initialized": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "stopping": ContainerState.RUNNING,
}


def build_container(
    spec: ContainerSpec, init: Mapping[str, Any], cpus_at_most: float | None, covers: Sequence[str] = ()
) -> JSON:
    """Build the body of a create call.

    `init` holds the fields that choose the container's init; `covers` are directories with an anonymous volume each.
    """
    body: JSON = {
        "name": spec.name,
        "image": spec.image,
        "env": dict(spec.env),
        "labels": dict(spec.labels),
        "hostname": spec.hostname,
        "hostadd": [f"{name}:{address}" for address, names in spec.hosts for name in names],
        "mounts": [*map(_build_bind, spec.mounts), *map(_build_tmpfs, spec.tmpfs)],
        "volumes": [*map(_build_volume, spec.volumes), *({"Dest": path, "Options": _EMPTY} for path in covers)],
        "log_configuration": _LOG,
        "restart_policy": "no",
        "stop_timeout": spec.stop_timeout_seconds,
        # As Docker and kubelets do; Podman by itself refuses a directory that the image has not.
        "create_working_dir": True,
        **init,
        **_build_limits(spec.limits, cpus_at_most),
        **_build_privileges(spec.privileges),
    }
    chosen = {
        "entrypoint": spec.command,
        "command": spec.args,
        "user": spec.user,
        "work_dir": spec.working_dir,
    }
    body |= {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items() if value}
    if spec.groups:
        body["groups"] = [str(group) for group in spec.groups]
    if spec.network:
        body |= {"netns": {"nsmode": "bridge"}, "networks": {spec.network: _build_attachment(spec)}}
    return body


def _build_bind(mount: Mount) -> JSON:
    options = ["rbind", "ro" if mount.read_only else "rw"]
    return {"type": "bind", "source": mount.source, "destination": mount.target, "options": options}


def _build_tmpfs(tmpfs: Tmpfs) -> JSON:
    options = [*build_tmpfs_options(tmpfs), "notmpcopyup"]
    return {"type": "tmpfs", "destination": tmpfs.target, "options": options}


def _build_volume(mount: VolumeMount) -> JSON:
    options = [*_EMPTY, "ro" if mount.read_only else "rw"]
    return {"Name": mount.volume, "Dest": mount.target, "Options": options}


def _build_attachment(spec: ContainerSpec) -> JSON:
    attachment: JSON = {"aliases": list(spec.aliases)}
    if spec.address:
        attachment["static_ips"] = [spec.address]
    return attachment


def _build_limits(limits: Limits, cpus_at_most: float | None) -> JSON:
    resources: JSON = {}
    if limits.memory_bytes is not None:
        # Swap counts within the limit, as on a cluster without swap.
        resources["memory"] = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
    if limits.cpus is not None:
        cpus = min(limits.cpus, cpus_at_most or limits.cpus)
        quota = round(cpus * _CPU_PERIOD_MICROSECONDS)
        resources["cpu"] = {"quota": quota, "period": _CPU_PERIOD_MICROSECONDS}
    fields: JSON = {"resource_limits": resources} if resources else {}
    if limits.shm_bytes is not None:
        fields["shm_size"] = limits.shm_bytes
    if limits.gpus:
        kind = limits.gpu_resource or _NVIDIA
        fields["devices"] = [{"path": f"{kind}={index}"} for index in range(limits.gpus)]
    return fields


def _build_privileges(privileges: Privileges) -> JSON:
    chosen: JSON = {
        "privileged": privileges.privileged,
        "read_only_filesystem": privileges.read_only_root,
        "no_new_privileges": privileges.no_new_privileges,
        "cap_add": list(privileges.added),
        "cap_drop": list(privileges.dropped),
    }
    return {key: value for key, value in chosen.items() if value}


def build_network(spec: NetworkSpec) -> JSON:
    """Build the body of a network create call."""
    body: JSON = {
        "name": spec.name,
        "driver": "bridge",
        "dns_enabled": True,
        "labels": dict(spec.labels),
    }
    if spec.subnet is not None:
        body["subnets"] = [{"subnet": spec.subnet, "gateway": build_gateway(spec.subnet)}]
    return body


def build_volume(spec: VolumeSpec) -> JSON:
    """Build the body of a volume create call."""
    return {"Name": spec.name, "Labels": dict(spec.labels), "Options": _ROOTS_OWN}


def read_network(row: Mapping[str, Any]) -> ObservedNetwork:
    """Read one row of a network list."""
    subnets = read_subnets(row)
    return ObservedNetwork(row["id"], row["name"], row.get("labels") or {}, subnets[0] if subnets else "")


def read_subnets(row: Mapping[str, Any]) -> list[str]:
    """Return the subnets of one network row."""
    return [each["subnet"] for each in row.get("subnets") or () if each.get("subnet")]


def read_container(row: Mapping[str, Any], oom_killed: bool) -> ObservedContainer:
    """Read one row of the container list; only an inspect call tells of `oom_killed`."""
    state = STATES.get(row["State"].lower(), ContainerState.EXITED)
    ended = state is ContainerState.EXITED
    return ObservedContainer(
        id=row["Id"],
        name=row["Names"][0] if row.get("Names") else "",
        labels=row.get("Labels") or {},
        state=state,
        exit_code=int(row.get("ExitCode") or 0) if ended else None,
        # A container that was never started has these fields too, with the time of year 1.
        started_at=None if state is ContainerState.CREATED else parse_engine_time(row.get("StartedAt")),
        finished_at=parse_engine_time(row.get("ExitedAt")) if ended else None,
        oom_killed=oom_killed,
        networks=frozenset(row.get("Networks") or ()),
    )


def read_facts(info: JSON) -> EngineFacts:
    """Return what the service says of itself (GET /info); Podman 4 does not name its slirp4netns."""
    host = info.get("host") or {}
    return EngineFacts(
        "podman",
        is_rootless=bool((host.get("security") or {}).get("rootless")),
        network_command=str(host.get("rootlessNetworkCmd") or ""),
    )
