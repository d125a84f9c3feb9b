"""Translates between our specs and libpod's JSON. Pure: makes no request, knows no library."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainlet.engine.base import EngineFacts
from trainlet.engine.images import read_architecture
from trainlet.engine.wire import build_gateway, build_memory_options, build_tmpfs_options, parse_engine_time
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ContainerState, ObservedContainer, ObservedNetwork
from trainlet.planning.specs import (
    ContainerSpec,
    Limits,
    Mount,
    NetworkSpec,
    Privileges,
    Tmpfs,
    Ulimit,
    VolumeMount,
    VolumeSpec,
)

# One file that starts anew when it is full; as much as Docker keeps in three.
_LOG = {"driver": "k8s-file", "size": 150 << 20}
_CPU_PERIOD_MICROSECONDS = 100_000
_NVIDIA = "nvidia.com/gpu"
# Not filled with what the image has in the same place.
_EMPTY = ["nocopy"]
#: How Podman maps ids so that one of them is its own user's.
_KEEP_ID = "keep-id"
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


@dataclass(frozen=True)
class Host:
    """What a service says of itself: its cores, its own cgroup controllers (None: all), whether it is a user's."""

    cpus: float | None = None
    controllers: Collection[str] | None = None
    is_rootless: bool = False


def read_host(info: JSON) -> Host:
    """Read the part of GET /info that says what containers can have."""
    host = info["host"]
    is_rootless = bool((host.get("security") or {}).get("rootless"))
    return Host(float(host["cpus"]), host.get("cgroupControllers"), is_rootless)


def build_container(spec: ContainerSpec, init: Mapping[str, Any], host: Host, covers: Sequence[str] = ()) -> JSON:
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
        # Of processes that are shared the first is another container's.
        **({} if spec.joins_processes else init),
        **_build_limits(spec.limits, host.cpus, host.controllers),
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
    dns = {"dns_server": spec.dns.servers, "dns_search": spec.dns.searches, "dns_option": spec.dns.options}
    body |= {key: list(values) for key, values in dns.items() if values}
    if spec.runtime:
        body["oci_runtime"] = spec.runtime
    if spec.is_joined:
        body["ipcns"] = {"nsmode": "shareable"}
    if spec.joins:
        other = {"nsmode": "container", "value": spec.joins}
        body |= {"netns": other, "ipcns": other, **({"pidns": other} if spec.joins_processes else {})}
    if host.is_rootless and spec.owner_ids is not None:
        body["userns"] = {"nsmode": "container", "value": spec.joins} if spec.joins else _keep_owner(*spec.owner_ids)
    if spec.network:
        body |= {"netns": {"nsmode": "bridge"}, "networks": {spec.network: _build_attachment(spec)}}
    return body


def _keep_owner(uid: int, gid: int) -> JSON:
    return {"nsmode": _KEEP_ID, "value": f"uid={uid},gid={gid}"}


def keeps_ids(body: JSON) -> bool:
    """Tell whether a container is to have the ids of its user mapped in a way of its own."""
    return bool(body.get("userns", {}).get("nsmode") == _KEEP_ID)


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


def _build_limits(limits: Limits, cpus_at_most: float | None, controllers: Collection[str] | None) -> JSON:
    memory, cpu, pids = _build_memory(limits), _build_cpu(limits, cpus_at_most), {"limit": limits.pids}
    wishes = {"memory": ("limit", memory), "cpu": ("quota", cpu), "pids": ("", pids)}
    resources = {
        name: given
        for name, (demand, wish) in wishes.items()
        # What was not demanded must not keep a container from starting.
        if (given := _drop_none(wish)) and (controllers is None or name in controllers or demand in given)
    }
    fields: JSON = {
        "resource_limits": resources,
        "shm_size": limits.shm_bytes,
        "r_limits": [_build_ulimit(each) for each in limits.ulimits],
        "devices": _build_devices(limits) if limits.gpus else None,
    }
    return {key: value for key, value in fields.items() if value}


def _build_memory(limits: Limits) -> JSON:
    # Swap counts within the limit, as on a cluster without swap.
    size = limits.memory_bytes
    return {"limit": size, "swap": size, "reservation": limits.memory_reservation_bytes}


def _build_cpu(limits: Limits, cpus_at_most: float | None) -> JSON:
    if not limits.cpus:
        return {"shares": limits.cpu_shares}
    quota = round(min(limits.cpus, cpus_at_most or limits.cpus) * _CPU_PERIOD_MICROSECONDS)
    return {"quota": quota, "period": _CPU_PERIOD_MICROSECONDS, "shares": limits.cpu_shares}


def _build_ulimit(limit: Ulimit) -> JSON:
    # libpod's numbers have no sign: unlimited is the largest.
    return {"type": limit.name, "soft": limit.soft % (1 << 64), "hard": limit.hard % (1 << 64)}


def _build_devices(limits: Limits) -> list[JSON]:
    """Ask for GPUs by their CDI names."""
    return [{"path": f"{limits.gpu_resource or _NVIDIA}={name}"} for name in limits.devices or range(limits.gpus)]


def _drop_none(wish: JSON) -> JSON:
    return {key: value for key, value in wish.items() if value is not None}


def _build_privileges(privileges: Privileges) -> JSON:
    chosen: JSON = {
        "privileged": privileges.privileged,
        "read_only_filesystem": privileges.read_only_root,
        "no_new_privileges": privileges.no_new_privileges,
        "seccomp_profile_path": "unconfined" if privileges.unconfined else "",
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
    options = build_memory_options(spec) if spec.in_memory else _ROOTS_OWN
    return {"Name": spec.name, "Labels": dict(spec.labels), "Options": options}


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
        architecture=read_architecture(host.get("arch")),
    )
