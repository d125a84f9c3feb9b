"""What people are told when an engine fails: each text users meet has its exit code and its remedy."""

import errno

import pytest
import requests
import urllib3

from trainlet.engine.base import StartFailed
from trainlet.engine.explain import (
    Refused,
    build_name_taken,
    build_pull_error,
    build_start_error,
    build_unreachable,
    explain_unreachable,
    find_remedy,
    find_start_failure,
)

RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
NOT_FOUND = "OCI runtime attempted to invoke a command that was not found"


@pytest.mark.parametrize(
    ("text", "exit_code", "remedy"),
    [
        (RUNC + 'exec: "nope": executable file not found in $PATH: unknown', 127, "check the command"),
        (RUNC + 'exec: "/nope": stat /nope: no such file or directory: unknown', 127, "check the command"),
        (f"crun: executable file `nope` not found in $PATH: No such file or directory: {NOT_FOUND}", 127, "check"),
        (RUNC + 'exec: "/etc/passwd": permission denied: unknown', 126, "executable"),
        ("crun: open executable: Permission denied: OCI permission denied: cannot be invoked", 126, "executable"),
        (RUNC + 'exec: "/etc": is a directory: unknown', 126, "name a program"),
        ("exec /bin/sh: exec format error", 128, "architecture"),
        ("unable to find user nobodyhere: no matching entries in passwd file", 128, "numeric"),
        ('could not select device driver "" with capabilities: [[gpu]]', 128, "nvidia-container-toolkit"),
        ("setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=0", 128, "nvidia-ctk"),
        ("runc: unable to set memory limit to 1000000: container init too large", 128, "raise the memory limit"),
    ],
)
def test_a_start_that_can_never_be(text: str, exit_code: int, remedy: str) -> None:
    error = build_start_error(Refused("start container x", status=500, text=text, where="unix:///x"))
    assert isinstance(error, StartFailed)
    assert error.exit_code == exit_code
    assert remedy in error.remedy
    assert text in str(error)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("mkdir /var/lib/docker/overlay2/x: no space left on device", "free disk space"),
        ("Address already in use", "still held"),
        ("IPAM error: requested ip address 10.0.0.2 is already allocated to container ID x", "ipam.db"),
        ('invalid mount config for type "bind": bind source path does not exist: /nono', "create the directory"),
        ("statfs /nono: no such file or directory", "create the directory"),
        (
            "container_linux.go:380: process_linux.go:545: container init caused: rootfs_linux.go:76: mounting",
            "namespaces",
        ),
        ("network mnist-net not found", "made again"),
        ("failed to mount runtime directory for rootless netns: no such file or directory", "/run/user"),
        ("error setting rlimit type 7: operation not permitted", "default_ulimits"),
        ("cannot clone: Operation not permitted", "max_user_namespaces"),
        ("cannot re-exec process: permission denied", "max_user_namespaces"),
        ("potentially insufficient UIDs or GIDs available in user namespace", "--add-subuids"),
        ("the requested cgroup controller `cpu` is not available: OCI runtime error", "set limits"),
        ("crun: controller `pids` is not available under /sys/fs/cgroup/x/cgroup.controllers", "set limits"),
        ("mkdir /sys/fs/cgroup/x: permission denied: unable to apply cgroup configuration", "set limits"),
        ('failed to find plugin "dnsname" in path [/usr/lib/cni]', "CNI plugin dnsname"),
        ("accept4: too many open files", "LimitNOFILE"),
        ("could not find netavark in one of [/usr/lib/podman]", "install netavark"),
        ("Minimum memory limit allowed is 6MB", "raise the memory limit"),
        ("remove x: volume is in use - [40f1d0547c49]", "have to go first"),
        ("volume x is being used by the following container(s): ffa79f85: volume is being used", "have to go first"),
        (
            RUNC + "mkdir /var/lib/docker/overlay2/1/merged/data/conf: read-only file system: unknown",
            "mount it writable",
        ),
        ('cannot overwrite directory "/etc" with non-directory "/"', "another path"),
        ('copier: put: error creating file at "/etc": open /etc: file exists', "another path"),
    ],
)
def test_what_may_pass_is_retried_and_explained(text: str, remedy: str) -> None:
    refused = Refused("do it", status=500, text=text, where="unix:///x")
    assert remedy in find_remedy(text)
    assert remedy in str(refused)


@pytest.mark.parametrize(
    "text",
    [
        "Address already in use",
        "network x not found",
        "no space left on device",
        RUNC + 'error mounting "/gone" to rootfs at "/data": stat /gone: no such file or directory: unknown',
    ],
)
def test_what_may_pass_is_no_failure_of_the_container(text: str) -> None:
    assert find_start_failure(text) is None
    refused = Refused("start container x", status=500, text=text, where="")
    assert build_start_error(refused) is refused


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("pull access denied for x, repository does not exist or may require 'docker login'", "log in"),
        ("manifest for x:9 not found: manifest unknown", "name and tag"),
        ("no matching manifest for linux/arm64 in the manifest list entries", "architecture"),
        ('short-name "x" did not resolve to an alias', "docker.io/library"),
        ("pinging container registry localhost:1: dial tcp 127.0.0.1:1: connect: connection refused", "the network"),
        ("dial tcp: lookup registry.invalid: no such host", "the network"),
        ("toomanyrequests: You have reached your pull rate limit", "log in to the registry, or wait"),
    ],
)
def test_a_pull_that_fails_keeps_the_registry_s_words(text: str, remedy: str) -> None:
    error = build_pull_error("x:9", text, "unix:///x")
    assert text in str(error)
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("kind", "command"),
    [("container", "podman rm -f x"), ("network", "podman network rm x"), ("volume", "podman volume rm x")],
)
def test_what_has_our_name_can_be_removed_by_hand(kind: str, command: str) -> None:
    error = build_name_taken("podman", kind, "x", "unix:///x.sock")
    assert str(error).startswith(f"{kind} x exists and is not this job's (unix:///x.sock): ")
    assert f"`{command}`" in error.remedy


@pytest.mark.parametrize(
    ("found", "whose"),
    [
        (None, "is not this job's (unix"),
        ({}, "it belongs to somebody else, no label tells whom (unix"),
        ({"com.docker.compose.project": "shop"}, "it belongs to the Compose project shop"),
        ({"io.podman.compose.project": "shop"}, "it belongs to the Compose project shop"),
        ({"trainer.kubeflow.org/trainjob-name": "x"}, "it belongs to the Kubeflow SDK's job x"),
        (
            {
                "trainer.kubeflow.org/trainjob-name": "x",
                "kubeflow.org/job-name": "x",
                "trainlet.dev/owner-uid": "1",
                "trainlet.dev/namespace": "team",
                "trainlet.dev/store": "abc",
            },
            "it belongs to the trainlet job team/x of another directory or of an earlier time (store abc)",
        ),
    ],
)
def test_whose_it_is_what_has_our_name(found: dict[str, str] | None, whose: str) -> None:
    assert whose in str(build_name_taken("docker", "network", "x-net", "unix:///x.sock", found))


def nest(error: OSError) -> requests.exceptions.ConnectionError:
    """Wrap a system error as requests and urllib3 do."""
    inner = urllib3.exceptions.ProtocolError("Connection aborted.", error)
    return requests.exceptions.ConnectionError(inner)


@pytest.mark.parametrize(
    ("number", "engine", "system", "reason", "remedy"),
    [
        (errno.ENOENT, "docker", "Linux", "no such socket", "sudo systemctl start docker"),
        (errno.ENOENT, "docker", "Darwin", "no such socket", "Docker Desktop"),
        (errno.ENOENT, "podman", "Linux", "no such socket", "systemctl --user start podman.socket"),
        (errno.ENOENT, "podman", "Darwin", "no such socket", "podman machine init"),
        (errno.ECONNREFUSED, "docker", "Linux", "nobody answers", "sudo systemctl start docker"),
        (errno.ECONNREFUSED, "docker", "Darwin", "nobody answers", "colima start"),
        (errno.ECONNREFUSED, "podman", "Linux", "nobody answers", "sudo systemctl start podman.socket"),
        (errno.ECONNREFUSED, "podman", "Darwin", "nobody answers", "podman machine start"),
        (errno.ECONNREFUSED, "docker", "FreeBSD", "nobody answers", "systemctl start docker"),
        (errno.EACCES, "docker", "Linux", "permission denied", "newgrp docker"),
        (errno.EACCES, "podman", "Linux", "permission denied", "your own service"),
    ],
)
def test_an_engine_that_cannot_be_reached_has_a_remedy_for_this_system(
    number: int, engine: str, system: str, reason: str, remedy: str
) -> None:
    told, what_to_do = explain_unreachable(nest(OSError(number, "text")), engine, system)
    assert reason in told
    assert remedy in what_to_do


def test_an_engine_that_cannot_be_reached_is_named_with_its_place() -> None:
    error = build_unreachable(nest(OSError(errno.EACCES, "text")), "podman", "unix:///x.sock")
    assert str(error).startswith("podman cannot be reached: permission denied on the socket (unix:///x.sock): use your")


def test_the_system_error_may_be_a_cause() -> None:
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = PermissionError(errno.EACCES, "text")
    assert "permission denied" in build_unreachable(wrapped, "podman", "").what


def test_a_timeout_is_told_from_a_refusal() -> None:
    error = requests.exceptions.ReadTimeout("Read timed out.")
    assert "no answer in time" in build_unreachable(error, "docker", "").what
