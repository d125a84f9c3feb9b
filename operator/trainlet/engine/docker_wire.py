"""Translates between our specs and the Docker API's JSON. Pure: makes no request, knows no library."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainlet.engine.base import EngineFacts
from trainlet.engine.explain import find_start_failure
from trainlet.engine.images import read_architecture
from trainlet.engine.wire import build_gateway, build_tmpfs_options, parse_engine_time
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ContainerState, ObservedContainer, ObservedNetwork
from trainlet.planning.specs import ContainerSpec, Limits, NetworkSpec, Privileges

_LOG = {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "3"}}
_NVIDIA = "nvidia.com/gpu"

STATES = {
    "created": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "restarting": ContainerState.RUNNING,
    "removing": ContainerState.EXITED,
    "exited": ContainerState.EXITED,
    "dead": ContainerState.EXITED,
}


def build_container(
    spec: ContainerSpec, network_id: str, cpus_at_most: float | None, covers: Sequence[str] = ()
) -> JSON:
    """Build the body of a create call.

    `network_id` is empty for the engine's default network; `covers` are directories with an anonymous volume each.
    """
    body: JSON = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "Labels": dict(spec.labels),
        # Who joins another has its name too, and may not say another one.
        "Hostname": "" if spec.joins else spec.hostname,
        "StopTimeout": spec.stop_timeout_seconds,
        "HostConfig": _build_host_config(spec, network_id, cpus_at_most, covers),
    }
    chosen = {"Entrypoint": spec.command, "Cmd": spec.args, "User": spec.user, "WorkingDir": spec.working_dir}
    body |= {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items() if value}
    if network_id:
        body["NetworkingConfig"] = {"EndpointsConfig": {network_id: _build_endpoint(spec)}}
    return body


def _build_host_config(spec: ContainerSpec, network_id: str, cpus_at_most: float | None, covers: Sequence[str]) -> JSON:
    config: JSON = {
        "Init": True,
        "LogConfig": _LOG,
        "RestartPolicy": {"Name": "no"},
        "Mounts": _build_mounts(spec, covers),
        "ExtraHosts": [f"{name}:{address}" for address, names in spec.hosts for name in names],
        **_build_limits(spec.limits, cpus_at_most),
        **_build_privileges(spec.privileges),
    }
    if network_id:
        config["NetworkMode"] = network_id
    dns = {"Dns": spec.dns.servers, "DnsSearch": spec.dns.searches, "DnsOptions": spec.dns.options}
    config |= {key: list(values) for key, values in dns.items() if values}
    if spec.runtime:
        config["Runtime"] = spec.runtime
    if spec.is_joined:
        config["IpcMode"] = "shareable"
    if spec.joins:
        config |= {"NetworkMode": f"container:{spec.joins}", "IpcMode": f"container:{spec.joins}"}
    if spec.joins_processes:
        config["PidMode"] = f"container:{spec.joins}"
    if spec.groups:
        config["GroupAdd"] = [str(group) for group in spec.groups]
    if spec.tmpfs:
        config["Tmpfs"] = {each.target: ",".join(build_tmpfs_options(each)) for each in spec.tmpfs}
    return config


def _build_mounts(spec: ContainerSpec, covers: Sequence[str]) -> list[JSON]:
    """Build mounts and not binds: so a missing source is an error and not a new directory owned by root."""
    return [
        *(
            {"Type": "bind", "Source": each.source, "Target": each.target, "ReadOnly": each.read_only}
            for each in spec.mounts
        ),
        *(
            {
                "Type": "volume",
                "Source": each.volume,
                "Target": each.target,
                "ReadOnly": each.read_only,
                "VolumeOptions": {"NoCopy": True},
            }
            for each in spec.volumes
        ),
        # With what the image has there: under a read-only root these stand for directories of the image.
        *({"Type": "volume", "Target": path} for path in covers),
    ]


def _build_limits(limits: Limits, cpus_at_most: float | None) -> JSON:
    chosen: JSON = {
        "NanoCpus": round(min(limits.cpus, cpus_at_most or limits.cpus) * 1e9) if limits.cpus else None,
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory_bytes,
        # Swap counts within the limit, as on a cluster without swap.
        "MemorySwap": limits.memory_bytes,
        "MemoryReservation": limits.memory_reservation_bytes,
        "ShmSize": limits.shm_bytes,
        "PidsLimit": limits.pids,
        "Ulimits": [{"Name": each.name, "Soft": each.soft, "Hard": each.hard} for each in limits.ulimits],
        "DeviceRequests": [_build_device_request(limits)] if limits.gpus else None,
    }
    return {key: value for key, value in chosen.items() if value}


def _build_privileges(privileges: Privileges) -> JSON:
    chosen: JSON = {
        "Privileged": privileges.privileged,
        "ReadonlyRootfs": privileges.read_only_root,
        "SecurityOpt": [
            *(["no-new-privileges"] if privileges.no_new_privileges else []),
            *(["seccomp=unconfined"] if privileges.unconfined else []),
        ],
        "CapAdd": list(privileges.added),
        "CapDrop": list(privileges.dropped),
    }
    return {key: value for key, value in chosen.items() if value}


def _build_device_request(limits: Limits) -> JSON:
    """Ask for GPUs: NVIDIA's through its toolkit, which takes numbers and uuids, any other by its CDI name."""
    names = list(limits.devices or ())
    if limits.gpu_resource in ("", _NVIDIA):
        which: JSON = {"DeviceIDs": names} if names else {"Count": limits.gpus}
        return {"Driver": "", **which, "Capabilities": [["gpu"]]}
    return {"Driver": "cdi", "DeviceIDs": [f"{limits.gpu_resource}={name}" for name in names or range(limits.gpus)]}


def _build_endpoint(spec: ContainerSpec) -> JSON:
    endpoint: JSON = {"Aliases": list(spec.aliases)}
    if spec.address:
        endpoint["IPAMConfig"] = {"IPv4Address": spec.address}
    return endpoint


def build_ipam(spec: NetworkSpec) -> JSON | None:
    """Build the address part of a network; None leaves the choice to the engine."""
    if spec.subnet is None:
        return None
    return {"Driver": "default", "Config": [{"Subnet": spec.subnet, "Gateway": build_gateway(spec.subnet)}]}


def read_network(row: Mapping[str, Any]) -> ObservedNetwork:
    """Read one row of a network list."""
    subnets = read_subnets(row)
    return ObservedNetwork(row["Id"], row["Name"], row.get("Labels") or {}, subnets[0] if subnets else "")


def read_subnets(row: Mapping[str, Any]) -> list[str]:
    """Return the subnets of one network row."""
    return [config["Subnet"] for config in (row.get("IPAM") or {}).get("Config") or () if config.get("Subnet")]


def read_container(row: Mapping[str, Any], state: Mapping[str, Any]) -> ObservedContainer:
    """Join a row of the container list with the `State` of an inspect call (empty for one not inspected)."""
    seen = STATES.get(row["State"], ContainerState.EXITED)
    return ObservedContainer(
        id=row["Id"],
        name=row["Names"][0].removeprefix("/") if row.get("Names") else "",
        labels=row.get("Labels") or {},
        state=seen,
        exit_code=_read_exit_code(seen, state),
        started_at=parse_engine_time(state.get("StartedAt")),
        finished_at=parse_engine_time(state.get("FinishedAt")) if seen is ContainerState.EXITED else None,
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        networks=frozenset((row.get("NetworkSettings") or {}).get("Networks") or ()),
    )


def _read_exit_code(seen: ContainerState, state: Mapping[str, Any]) -> int | None:
    if seen is ContainerState.EXITED:
        return int(state.get("ExitCode", 0))
    if seen is ContainerState.RUNNING:
        return None
    # Docker notes 128 also for what may pass, such as an address still held; only a hopeless start counts.
    failure = find_start_failure(state.get("Error") or "")
    return failure.exit_code if failure else None


def read_facts(info: JSON) -> EngineFacts:
    """Return what the engine says of itself (GET /info)."""
    return EngineFacts(
        "docker",
        is_rootless=any("name=rootless" in option for option in info.get("SecurityOptions") or ()),
        is_in_vm=str(info.get("OperatingSystem")).startswith("Docker Desktop"),
        architecture=read_architecture(info.get("Architecture")),
    )
