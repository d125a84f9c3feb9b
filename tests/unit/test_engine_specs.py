"""How a ContainerSpec is said to Docker and to Podman, where a live engine here cannot show it; and read back."""

from typing import Any

import pytest

from trainlet.engine import docker_wire, podman_wire
from trainlet.engine.wire import read_path_stat, read_volume
from trainlet.planning.observed import ContainerState
from trainlet.planning.specs import (
    ContainerSpec,
    Dns,
    Limits,
    Mount,
    Privileges,
    Tmpfs,
    Ulimit,
    VolumeMount,
    VolumeSpec,
)

HOST = podman_wire.Host()


def spec(**fields: Any) -> ContainerSpec:
    """Return a container."""
    return ContainerSpec(name="job-node-0", image="image:1", **fields)


GPUS: dict[str, tuple[str, tuple[str, ...] | None, Any, list[str]]] = {
    "two of NVIDIA's": (
        "nvidia.com/gpu",
        None,
        {"Driver": "", "Count": 2, "Capabilities": [["gpu"]]},
        ["nvidia.com/gpu=0", "nvidia.com/gpu=1"],
    ),
    "two others": (
        "amd.com/gpu",
        None,
        {"Driver": "cdi", "DeviceIDs": ["amd.com/gpu=0", "amd.com/gpu=1"]},
        ["amd.com/gpu=0", "amd.com/gpu=1"],
    ),
    "these of NVIDIA's": (
        "nvidia.com/gpu",
        ("GPU-a", "3"),
        {"Driver": "", "DeviceIDs": ["GPU-a", "3"], "Capabilities": [["gpu"]]},
        ["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=3"],
    ),
    "these others": (
        "amd.com/gpu",
        ("1:0", "7"),
        {"Driver": "cdi", "DeviceIDs": ["amd.com/gpu=1:0", "amd.com/gpu=7"]},
        ["amd.com/gpu=1:0", "amd.com/gpu=7"],
    ),
}


@pytest.mark.parametrize(("resource", "devices", "docker", "podman"), GPUS.values(), ids=GPUS)
def test_gpus(resource: str, devices: tuple[str, ...] | None, docker: Any, podman: list[str]) -> None:
    wanted = spec(limits=Limits(gpus=2, gpu_resource=resource, devices=devices))
    assert docker_wire.build_container(wanted, "", None)["HostConfig"]["DeviceRequests"] == [docker]
    assert podman_wire.build_container(wanted, {"init": True}, HOST)["devices"] == [{"path": path} for path in podman]


SHARES = {"cpu": {"shares": 512}}
LIMITS: dict[str, tuple[Limits, Any, Any]] = {
    "none": (Limits(), {}, {}),
    "no GPU": (Limits(devices=()), {}, {}),
    "CPU": (
        Limits(cpus=1.5),
        {"NanoCpus": 1_500_000_000},
        {"resource_limits": {"cpu": {"quota": 150_000, "period": 100_000}}},
    ),
    "a weight": (Limits(cpu_shares=512), {"CpuShares": 512}, {"resource_limits": SHARES}),
    "memory": (
        Limits(memory_bytes=1 << 30),
        {"Memory": 1 << 30, "MemorySwap": 1 << 30},
        {"resource_limits": {"memory": {"limit": 1 << 30, "swap": 1 << 30}}},
    ),
    "memory that is left": (
        Limits(memory_reservation_bytes=1 << 24),
        {"MemoryReservation": 1 << 24},
        {"resource_limits": {"memory": {"reservation": 1 << 24}}},
    ),
    "shared memory": (Limits(shm_bytes=4096), {"ShmSize": 4096}, {"shm_size": 4096}),
    "processes": (Limits(pids=7), {"PidsLimit": 7}, {"resource_limits": {"pids": {"limit": 7}}}),
    "limits of processes": (
        Limits(ulimits=(Ulimit("memlock", -1, -1), Ulimit("nofile", 1024, 2048))),
        {
            "Ulimits": [
                {"Name": "memlock", "Soft": -1, "Hard": -1},
                {"Name": "nofile", "Soft": 1024, "Hard": 2048},
            ]
        },
        {
            "r_limits": [
                {"type": "memlock", "soft": (1 << 64) - 1, "hard": (1 << 64) - 1},
                {"type": "nofile", "soft": 1024, "hard": 2048},
            ]
        },
    ),
}


@pytest.mark.parametrize(("limits", "docker", "podman"), LIMITS.values(), ids=LIMITS)
def test_limits(limits: Limits, docker: Any, podman: Any) -> None:
    host = docker_wire.build_container(spec(), "", None)["HostConfig"]
    assert docker_wire.build_container(spec(limits=limits), "", None)["HostConfig"] == host | docker
    assert (
        podman_wire.build_container(spec(limits=limits), {}, HOST)
        == podman_wire.build_container(spec(), {}, HOST) | podman
    )


CONTROLLERS: dict[str, tuple[Limits, tuple[str, ...] | None, Any]] = {
    "all there are": (Limits(cpu_shares=512, pids=7), None, {**SHARES, "pids": {"limit": 7}}),
    "one of them": (Limits(cpu_shares=512, pids=7), ("pids", "memory"), {"pids": {"limit": 7}}),
    "a demand goes all the same": (
        Limits(cpus=1, cpu_shares=512),
        (),
        {"cpu": {"quota": 10**5, "period": 10**5, **SHARES["cpu"]}},
    ),
    "so does that for memory": (Limits(memory_bytes=9), (), {"memory": {"limit": 9, "swap": 9}}),
    "a wish for memory does not": (Limits(memory_reservation_bytes=9), ("cpu",), None),
}


@pytest.mark.parametrize(("limits", "controllers", "resources"), CONTROLLERS.values(), ids=CONTROLLERS)
def test_what_nobody_demanded_does_not_stop_podman_without_its_controller(
    limits: Limits, controllers: tuple[str, ...] | None, resources: Any
) -> None:
    body = podman_wire.build_container(spec(limits=limits), {}, podman_wire.Host(controllers=controllers))
    assert body.get("resource_limits") == resources


@pytest.mark.parametrize(("wanted", "there", "given"), [(0.5, 2.0, 0.5), (8.0, 2.0, 2.0)])
def test_cpus_are_at_most_what_the_engine_has(wanted: float, there: float, given: float) -> None:
    limited = spec(limits=Limits(cpus=wanted))
    assert docker_wire.build_container(limited, "", there)["HostConfig"]["NanoCpus"] == given * 1e9
    cpu = podman_wire.build_container(limited, {"init": True}, podman_wire.Host(there))["resource_limits"]["cpu"]
    assert cpu["quota"] / cpu["period"] == given


def test_what_is_not_asked_for_is_left_to_the_image_and_the_engine() -> None:
    docker = docker_wire.build_container(spec(), "", None)
    podman = podman_wire.build_container(spec(), {"init": True}, HOST)
    assert not {"Entrypoint", "Cmd", "User", "WorkingDir", "NetworkingConfig"} & set(docker)
    assert not {"Memory", "NanoCpus", "ShmSize", "NetworkMode", "DeviceRequests", "Tmpfs"} & set(docker["HostConfig"])
    assert not {"entrypoint", "command", "user", "work_dir", "networks", "resource_limits"} & set(podman)


PRIVILEGES: dict[str, tuple[Privileges, Any, Any]] = {
    "the engine's own": (Privileges(), {}, {}),
    "all": (Privileges(privileged=True), {"Privileged": True}, {"privileged": True}),
    "no filter": (
        Privileges(unconfined=True),
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"seccomp_profile_path": "unconfined"},
    ),
    "hardly any": (
        Privileges(no_new_privileges=True, read_only_root=True, added=("CHOWN",), dropped=("ALL",)),
        {
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "CapAdd": ["CHOWN"],
            "CapDrop": ["ALL"],
        },
        {"no_new_privileges": True, "read_only_filesystem": True, "cap_add": ["CHOWN"], "cap_drop": ["ALL"]},
    ),
}


@pytest.mark.parametrize(("privileges", "docker", "podman"), PRIVILEGES.values(), ids=PRIVILEGES)
def test_privileges(privileges: Privileges, docker: Any, podman: Any) -> None:
    spec = ContainerSpec("c", "image", privileges=privileges)
    plain = ContainerSpec("c", "image")
    host_config = docker_wire.build_container(spec, "", None)["HostConfig"]
    assert host_config == docker_wire.build_container(plain, "", None)["HostConfig"] | docker
    assert podman_wire.build_container(spec, {}, HOST) == podman_wire.build_container(plain, {}, HOST) | podman


def test_containers_rotate_their_logs_have_an_init_and_are_not_restarted_by_the_engine() -> None:
    host = docker_wire.build_container(spec(), "", None)["HostConfig"]
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "3"}}
    assert (host["Init"], host["RestartPolicy"]) == (True, {"Name": "no"})
    podman = podman_wire.build_container(spec(), {"init": True}, HOST)
    assert podman["log_configuration"]["driver"] == "k8s-file"
    assert podman["log_configuration"]["size"] > 0
    assert (podman["init"], podman["restart_policy"]) == (True, "no")


def test_what_is_mounted() -> None:
    mounted = spec(
        mounts=(Mount("/h", "/m", read_only=True),),
        volumes=(VolumeMount("v", "/v"), VolumeMount("w", "/w", read_only=True)),
        tmpfs=(Tmpfs("/t"), Tmpfs("/dev/shm", 4096)),
    )
    host = docker_wire.build_container(mounted, "", None, ("/own",))["HostConfig"]
    empty = {"VolumeOptions": {"NoCopy": True}}
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/h", "Target": "/m", "ReadOnly": True},
        {"Type": "volume", "Source": "v", "Target": "/v", "ReadOnly": False, **empty},
        {"Type": "volume", "Source": "w", "Target": "/w", "ReadOnly": True, **empty},
        {"Type": "volume", "Target": "/own"},
    ]
    assert host["Tmpfs"] == {"/t": "rw,exec,mode=1777", "/dev/shm": "rw,exec,mode=1777,size=4096"}
    podman = podman_wire.build_container(mounted, {}, HOST, ("/own",))
    memory = ["rw", "exec", "mode=1777"]
    assert podman["mounts"] == [
        {"type": "bind", "source": "/h", "destination": "/m", "options": ["rbind", "ro"]},
        {"type": "tmpfs", "destination": "/t", "options": [*memory, "notmpcopyup"]},
        {"type": "tmpfs", "destination": "/dev/shm", "options": [*memory, "size=4096", "notmpcopyup"]},
    ]
    assert podman["volumes"] == [
        {"Name": "v", "Dest": "/v", "Options": ["nocopy", "rw"]},
        {"Name": "w", "Dest": "/w", "Options": ["nocopy", "ro"]},
        {"Dest": "/own", "Options": ["nocopy"]},
    ]


def test_podman_s_volumes_are_root_s_whoever_comes_first() -> None:
    body = podman_wire.build_volume(VolumeSpec("v", {"a": "b"}))
    assert body == {"Name": "v", "Labels": {"a": "b"}, "Options": {"o": "uid=0,gid=0"}}


@pytest.mark.parametrize("labels", [None, {}, {"a": "b"}])
def test_a_volume_is_read_with_its_labels_if_it_has_any(labels: Any) -> None:
    seen = read_volume({"Name": "v", "Labels": labels})
    assert (seen.name, dict(seen.labels)) == ("v", labels or {})


STAT = "eyJuYW1lIjoicnVuIiwibW9kZSI6MTM0MjE4MjM5LCJsaW5rVGFyZ2V0IjoiL3J1biJ9"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, {}),
        ({"X-Docker-Container-Path-Stat": STAT}, {"name": "run", "mode": 0o1000000777, "linkTarget": "/run"}),
    ],
)
def test_what_a_path_in_a_container_is(headers: dict[str, str], expected: dict[str, Any]) -> None:
    assert read_path_stat(headers) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("created", ContainerState.CREATED),
        ("running", ContainerState.RUNNING),
        ("paused", ContainerState.RUNNING),
        ("exited", ContainerState.EXITED),
        ("dead", ContainerState.EXITED),
        ("removing", ContainerState.EXITED),
    ],
)
def test_docker_s_states(state: str, expected: ContainerState) -> None:
    row = {"Id": "1", "Names": ["/x"], "Labels": {}, "State": state}
    assert docker_wire.read_container(row, {"ExitCode": 0}).state is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("created", ContainerState.CREATED),
        ("initialized", ContainerState.CREATED),
        ("running", ContainerState.RUNNING),
        ("stopping", ContainerState.RUNNING),
        ("stopped", ContainerState.EXITED),
        ("exited", ContainerState.EXITED),
    ],
)
def test_podman_s_states(state: str, expected: ContainerState) -> None:
    row = {"Id": "1", "Names": ["x"], "Labels": {}, "State": state, "ExitCode": 0, "StartedAt": -62135596800}
    assert podman_wire.read_container(row, oom_killed=False).state is expected


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [('exec: "/x": permission denied: unknown', 126), ("network x not found", None), ("", None)],
)
def test_docker_remembers_a_failed_start_but_only_a_hopeless_one_counts(error: str, exit_code: int | None) -> None:
    row = {"Id": "1", "Names": ["/x"], "Labels": {}, "State": "created"}
    seen = docker_wire.read_container(row, {"ExitCode": 128, "Error": error})
    assert (seen.exit_code, seen.error) == (exit_code, error)


# Pods


def test_those_of_a_pod_join_the_one_that_holds_it() -> None:
    pod = spec(is_joined=True, hostname="pod")
    assert docker_wire.build_container(pod, "net", None)["HostConfig"]["IpcMode"] == "shareable"
    assert podman_wire.build_container(pod, {}, HOST)["ipcns"] == {"nsmode": "shareable"}
    member = spec(joins="pod", hostname="pod")
    docker = docker_wire.build_container(member, "", None)
    assert docker["Hostname"] == "", "Docker refuses a name of its own"
    modes = {key: value for key, value in docker["HostConfig"].items() if key.endswith("Mode")}
    assert modes == {"NetworkMode": "container:pod", "IpcMode": "container:pod"}
    podman = podman_wire.build_container(member, {"init": True}, HOST)
    other = {"nsmode": "container", "value": "pod"}
    assert (podman["netns"], podman["ipcns"], podman["init"]) == (other, other, True)


def test_who_shares_processes_has_no_init_of_its_own_on_podman() -> None:
    member = spec(joins="pod", joins_processes=True)
    assert docker_wire.build_container(member, "", None)["HostConfig"]["PidMode"] == "container:pod"
    podman = podman_wire.build_container(member, {"init": True}, HOST)
    assert podman["pidns"] == {"nsmode": "container", "value": "pod"}
    assert "init" not in podman


ROOTLESS = podman_wire.Host(is_rootless=True)
OWNERS = [
    # fields of the spec, the service -> user namespace
    ({}, ROOTLESS, None),
    ({"owner_ids": (1000, 100)}, HOST, None),
    ({"owner_ids": (1000, 100)}, ROOTLESS, {"nsmode": "keep-id", "value": "uid=1000,gid=100"}),
    ({"owner_ids": (1000, 100), "joins": "pod"}, ROOTLESS, {"nsmode": "container", "value": "pod"}),
]


@pytest.mark.parametrize(("fields", "host", "expected"), OWNERS)
def test_only_a_rootless_podman_is_told_who_is_its_own_user_inside(fields: Any, host: Any, expected: Any) -> None:
    assert podman_wire.build_container(spec(**fields), {}, host).get("userns") == expected


def test_resolvers_and_runtimes() -> None:
    wanted = spec(dns=Dns(("10.0.0.53",), ("lab.example",), ("ndots:2", "rotate")), runtime="nvidia")
    docker = docker_wire.build_container(wanted, "net", None)["HostConfig"]
    assert (docker["Dns"], docker["DnsSearch"], docker["DnsOptions"], docker["Runtime"]) == (
        ["10.0.0.53"],
        ["lab.example"],
        ["ndots:2", "rotate"],
        "nvidia",
    )
    podman = podman_wire.build_container(wanted, {}, HOST)
    assert (podman["dns_server"], podman["dns_search"], podman["dns_option"], podman["oci_runtime"]) == (
        ["10.0.0.53"],
        ["lab.example"],
        ["ndots:2", "rotate"],
        "nvidia",
    )
