"""How a ContainerSpec is said to Docker and to Podman, where a live engine here cannot show it; and read back."""

from typing import Any

import pytest

from trainlet.engine import docker_wire, podman_wire
from trainlet.engine.wire import read_path_stat, read_volume
from trainlet.planning.observed import ContainerState
from trainlet.planning.specs import ContainerSpec, Limits, Mount, Privileges, Tmpfs, VolumeMount, VolumeSpec


def spec(**fields: Any) -> ContainerSpec:
    """Return a container."""
    return ContainerSpec(name="job-node-0", image="image:1", **fields)


@pytest.mark.parametrize(
    ("resource", "docker", "podman"),
    [
        (
            "nvidia.com/gpu",
            {"Driver": "", "Count": 2, "Capabilities": [["gpu"]]},
            [{"path": "nvidia.com/gpu=0"}, {"path": "nvidia.com/gpu=1"}],
        ),
        (
            "amd.com/gpu",
            {"Driver": "cdi", "DeviceIDs": ["amd.com/gpu=0", "amd.com/gpu=1"]},
            [{"path": "amd.com/gpu=0"}, {"path": "amd.com/gpu=1"}],
        ),
    ],
)
def test_gpus(resource: str, docker: Any, podman: Any) -> None:
    wanted = spec(limits=Limits(gpus=2, gpu_resource=resource))
    assert docker_wire.build_container(wanted, "", None)["HostConfig"]["DeviceRequests"] == [docker]
    assert podman_wire.build_container(wanted, {"init": True}, None)["devices"] == podman


@pytest.mark.parametrize(("wanted", "there", "given"), [(0.5, 2.0, 0.5), (8.0, 2.0, 2.0)])
def test_cpus_are_at_most_what_the_engine_has(wanted: float, there: float, given: float) -> None:
    limited = spec(limits=Limits(cpus=wanted))
    assert docker_wire.build_container(limited, "", there)["HostConfig"]["NanoCpus"] == given * 1e9
    cpu = podman_wire.build_container(limited, {"init": True}, there)["resource_limits"]["cpu"]
    assert cpu["quota"] / cpu["period"] == given


def test_what_is_not_asked_for_is_left_to_the_image_and_the_engine() -> None:
    docker = docker_wire.build_container(spec(), "", None)
    podman = podman_wire.build_container(spec(), {"init": True}, None)
    assert not {"Entrypoint", "Cmd", "User", "WorkingDir", "NetworkingConfig"} & set(docker)
    assert not {"Memory", "NanoCpus", "ShmSize", "NetworkMode", "DeviceRequests", "Tmpfs"} & set(docker["HostConfig"])
    assert not {"entrypoint", "command", "user", "work_dir", "networks", "resource_limits"} & set(podman)


PRIVILEGES: dict[str, tuple[Privileges, Any, Any]] = {
    "the engine's own": (Privileges(), {}, {}),
    "all": (Privileges(privileged=True), {"Privileged": True}, {"privileged": True}),
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
    assert podman_wire.build_container(spec, {}, None) == podman_wire.build_container(plain, {}, None) | podman


def test_containers_rotate_their_logs_have_an_init_and_are_not_restarted_by_the_engine() -> None:
    host = docker_wire.build_container(spec(), "", None)["HostConfig"]
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "3"}}
    assert (host["Init"], host["RestartPolicy"]) == (True, {"Name": "no"})
    podman = podman_wire.build_container(spec(), {"init": True}, None)
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
    podman = podman_wire.build_container(mounted, {}, None, ("/own",))
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


def test_progress_adds_up_the_layers() -> None:
    tally = docker_wire.PullTally()
    assert tally.read({"status": "Pulling from library/x", "id": "1"}) == ("1 Pulling from library/x", None, None)
    tally.read({"status": "Downloading", "id": "a", "progressDetail": {"current": 10, "total": 100}})
    tally.read({"status": "Downloading", "id": "b", "progressDetail": {"current": 5, "total": 50}})
    last = tally.read({"status": "Downloading", "id": "a", "progressDetail": {"current": 90, "total": 100}})
    assert last == ("a Downloading", 95, 150)
