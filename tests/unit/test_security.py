"""Every control of the Pod Security Standards with values that it takes and values that it refuses, and hostPath.

Each row changes one field of a pod that the restricted level accepts, so that every error is that row's own.
"""

from typing import Any

import pytest

from builders import build_runtime
from trainlet.admission.security import LEVELS, find_violations
from trainlet.kube.merge import put
from trainlet.kube.meta import JSON

TEMPLATE = "spec.template.spec.replicatedJobs[0].template.spec.template"
SPEC = f"{TEMPLATE}.spec"
CONTAINERS = {"initContainers": "setup", "containers": "node", "ephemeralContainers": "debug"}
APPARMOR = "container.apparmor.security.beta.kubernetes.io/node"
BASELINE = ("baseline", "restricted")
RESTRICTED = ("restricted",)
NOBODY = ()

SAFE_CONTEXT = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SAFE_POD_CONTEXT = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def build_jobset(pod: JSON, metadata: JSON | None = None) -> JSON:
    """Return a JobSet of one pod."""
    template = {"metadata": metadata or {}, "spec": pod}
    return {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": template}}}]}}


def build_pod(**fields: Any) -> JSON:
    """Return a pod that every level accepts, with a container of each kind."""
    lists = {kind: [{"name": name, "securityContext": SAFE_CONTEXT}] for kind, name in CONTAINERS.items()}
    return {"securityContext": SAFE_POD_CONTEXT, **lists, **fields}


def change_container(kind: str, path: tuple[str, ...], value: Any) -> JSON:
    """Return a safe pod with another value in its container of this kind."""
    pod = build_pod()
    return {**pod, kind: [put(pod[kind][0], path, value)]}


def judge(pod: JSON, level: str, *roots: str, metadata: JSON | None = None) -> list[tuple[str, str]]:
    """Return path and detail of each error, which are all of the type and stage of this admission."""
    errors = find_violations(build_jobset(pod, metadata), level, roots)
    assert {(error.type, error.stage) for error in errors} <= {("Forbidden", "security")}
    return [(error.path, error.detail) for error in errors]


def violate(level: str, words: str) -> str:
    return f'violates PodSecurity "{level}:latest": {words}'


def spread(table: dict[str, tuple[Any, ...]]) -> list[Any]:
    """One case for each row and level."""
    return [pytest.param(level, *row, id=f"{name}-{level}") for name, row in table.items() for level in LEVELS]


def test_the_levels_from_free_to_narrow() -> None:
    assert LEVELS == ("privileged", "baseline", "restricted")


@pytest.mark.parametrize("level", LEVELS)
def test_the_pod_that_the_rows_change_is_accepted(level: str) -> None:
    assert judge(build_pod(), level) == []


def test_a_level_that_there_is_not_lets_nothing_through() -> None:
    with pytest.raises(KeyError):
        find_violations(build_jobset(build_pod()), "Baseline", [])


# Controls that look at containers

PRIVILEGED = 'privileged (container "{name}" must not set securityContext.privileged=true)'
ADDED = 'container "{name}" must not include "%s" in securityContext.capabilities.add)'
ESCALATION = (
    'allowPrivilegeEscalation != false (container "{name}" must set securityContext.allowPrivilegeEscalation=false)'
)
DROP = 'unrestricted capabilities (container "{name}" must set securityContext.capabilities.drop=["ALL"])'
HOST_PROCESS = "hostProcess (%s must not set securityContext.windowsOptions.hostProcess=true)"
PROBE = 'probe or lifecycle host (container "{name}" uses probe or lifecycle host "%s")'
APPARMOR_TYPE = 'forbidden AppArmor profile (%s must not set AppArmor profile type to "%s")'
SELINUX = "seLinuxOptions (%s set forbidden securityContext.seLinuxOptions: %s)"
PROC_MOUNT = 'procMount (container "{name}" must not set securityContext.procMount to "%s")'
SECCOMP = 'seccompProfile (%s must not set securityContext.seccompProfile.type to "%s")'
SECCOMP_MISSING = (
    'seccompProfile (pod or container "{name}" must set securityContext.seccompProfile.type '
    'to "RuntimeDefault" or "Localhost")'
)
NON_ROOT = "runAsNonRoot != true (%s must not set securityContext.runAsNonRoot=false)"
NON_ROOT_MISSING = 'runAsNonRoot != true (pod or container "{name}" must set securityContext.runAsNonRoot=true)'
ROOT = "runAsUser=0 (%s must not set runAsUser=0)"
ONE = 'container "{name}"'

CONTEXT = ("securityContext",)
CAPABILITIES = (*CONTEXT, "capabilities")
WINDOWS = (*CONTEXT, "windowsOptions")
APPARMOR_PATH = (*CONTEXT, "appArmorProfile")
SELINUX_PATH = (*CONTEXT, "seLinuxOptions")
SECCOMP_PATH = (*CONTEXT, "seccompProfile")

#: name: (path, value, levels that refuse it, where below the changed path, words)
IN_CONTAINERS: dict[str, tuple[tuple[str, ...], Any, tuple[str, ...], str, str]] = {
    "no privileged": ((*CONTEXT, "privileged"), False, NOBODY, "", ""),
    "null privileged": ((*CONTEXT, "privileged"), None, NOBODY, "", ""),
    "privileged": ((*CONTEXT, "privileged"), True, BASELINE, "", PRIVILEGED),
    "privileged by a word": ((*CONTEXT, "privileged"), "true", BASELINE, "", PRIVILEGED),
    "no capabilities": ((*CAPABILITIES, "add"), [], NOBODY, "", ""),
    "binding low ports": ((*CAPABILITIES, "add"), ["NET_BIND_SERVICE"], NOBODY, "", ""),
    "dropping more": ((*CAPABILITIES, "drop"), ["CHOWN", "ALL"], NOBODY, "", ""),
    "dropping one": ((*CAPABILITIES, "drop"), ["CHOWN"], RESTRICTED, "", DROP),
    "dropping all in small letters": ((*CAPABILITIES, "drop"), ["all"], RESTRICTED, "", DROP),
    "dropping by a word": ((*CAPABILITIES, "drop"), "ALL", RESTRICTED, "", DROP),
    "dropping nothing": ((*CAPABILITIES, "drop"), [], RESTRICTED, "", DROP),
    "no word of capabilities": (CAPABILITIES, None, RESTRICTED, ".drop", DROP),
    "an empty port": (("ports",), [{"containerPort": 80}], NOBODY, "", ""),
    "host port 0": (("ports",), [{"containerPort": 80, "hostPort": 0}], NOBODY, "", ""),
    "a host port": (
        ("ports",),
        [{"containerPort": 80}, {"hostPort": 20}],
        BASELINE,
        "[1].hostPort",
        'hostPort (container "{name}" uses hostPort 20)',
    ),
    "no hostProcess": ((*WINDOWS, "hostProcess"), False, NOBODY, "", ""),
    "hostProcess": ((*WINDOWS, "hostProcess"), True, BASELINE, "", HOST_PROCESS % ONE),
    "a user of Windows": ((*WINDOWS, "runAsUserName"), "me", NOBODY, "", ""),
    "AppArmor's default": ((*APPARMOR_PATH, "type"), "RuntimeDefault", NOBODY, "", ""),
    "an AppArmor profile": (APPARMOR_PATH, {"type": "Localhost", "localhostProfile": "x"}, NOBODY, "", ""),
    "AppArmor off": ((*APPARMOR_PATH, "type"), "Unconfined", BASELINE, "", APPARMOR_TYPE % (ONE, "Unconfined")),
    **{
        f"SELinux type {kind}": ((*SELINUX_PATH, "type"), kind, NOBODY, "", "")
        for kind in ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
    },
    "another SELinux type": ((*SELINUX_PATH, "type"), "spc_t", BASELINE, "", SELINUX % (ONE, 'type "spc_t"')),
    "no SELinux user": ((*SELINUX_PATH, "user"), "", NOBODY, "", ""),
    "an SELinux user": ((*SELINUX_PATH, "user"), "u", BASELINE, "", SELINUX % (ONE, "user may not be set")),
    "no SELinux role": ((*SELINUX_PATH, "role"), "", NOBODY, "", ""),
    "an SELinux role": ((*SELINUX_PATH, "role"), "r", BASELINE, "", SELINUX % (ONE, "role may not be set")),
    "an SELinux level": ((*SELINUX_PATH, "level"), "s0:c1", NOBODY, "", ""),
    "procMount Default": ((*CONTEXT, "procMount"), "Default", NOBODY, "", ""),
    "procMount Unmasked": ((*CONTEXT, "procMount"), "Unmasked", BASELINE, "", PROC_MOUNT % "Unmasked"),
    "the default seccomp": ((*SECCOMP_PATH, "type"), "RuntimeDefault", NOBODY, "", ""),
    "a seccomp profile": (SECCOMP_PATH, {"type": "Localhost", "localhostProfile": "x"}, NOBODY, "", ""),
    "seccomp off": ((*SECCOMP_PATH, "type"), "Unconfined", BASELINE, "", SECCOMP % (ONE, "Unconfined")),
    "escalation": ((*CONTEXT, "allowPrivilegeEscalation"), True, RESTRICTED, "", ESCALATION),
    "no word of escalation": ((*CONTEXT, "allowPrivilegeEscalation"), None, RESTRICTED, "", ESCALATION),
    "non-root once more": ((*CONTEXT, "runAsNonRoot"), True, NOBODY, "", ""),
    "root in spite of the pod": ((*CONTEXT, "runAsNonRoot"), False, RESTRICTED, "", NON_ROOT % ONE),
    "a user": ((*CONTEXT, "runAsUser"), 1000, NOBODY, "", ""),
    "user 0": ((*CONTEXT, "runAsUser"), 0, RESTRICTED, "", ROOT % ONE),
    "group 0": ((*CONTEXT, "runAsGroup"), 0, NOBODY, "", ""),
    "a read-only root": ((*CONTEXT, "readOnlyRootFilesystem"), False, NOBODY, "", ""),
}


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize(("level", "path", "value", "refused_by", "below", "words"), spread(IN_CONTAINERS))
def test_a_container(
    kind: str, level: str, path: tuple[str, ...], value: Any, refused_by: tuple[str, ...], below: str, words: str
) -> None:
    where = ".".join((f"{SPEC}.{kind}[0]", *path)) + below
    expected = [(where, violate(level, words.format(name=CONTAINERS[kind])))] if level in refused_by else []
    assert judge(change_container(kind, path, value), level) == expected


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize(
    "capability",
    [
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP"),
        *("SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "NET_RAW", "SYS_ADMIN", "ALL", "chown", "CAP_CHOWN"),
    ],
)
def test_an_added_capability(kind: str, capability: str) -> None:
    """Baseline takes the engines' default ones, restricted one of them; each refuses in words of its own."""
    refused = ["NET_RAW", "SYS_ADMIN", "ALL", "chown", "CAP_CHOWN"]
    pod = change_container(kind, (*CAPABILITIES, "add"), ["NET_BIND_SERVICE", capability])
    where, words = f"{SPEC}.{kind}[0].securityContext.capabilities.add[1]", ADDED.format(name=CONTAINERS[kind])
    expected = [(where, violate("baseline", f"non-default capabilities ({words % capability}"))]
    assert judge(pod, "privileged") == []
    assert judge(pod, "baseline") == (expected if capability in refused else [])
    expected = [(where, violate("restricted", f"unrestricted capabilities ({words % capability}"))]
    assert judge(pod, "restricted") == (expected if capability != "NET_BIND_SERVICE" else [])


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("action", ["httpGet", "tcpSocket"])
@pytest.mark.parametrize(
    "handler",
    [
        ("livenessProbe",),
        ("readinessProbe",),
        ("startupProbe",),
        ("lifecycle", "postStart"),
        ("lifecycle", "preStop"),
    ],
    ids=lambda handler: handler[-1],
)
def test_the_host_of_a_probe_or_a_hook(kind: str, action: str, handler: tuple[str, ...]) -> None:
    path = (*handler, action, "host")
    where, words = ".".join((f"{SPEC}.{kind}[0]", *path)), PROBE.format(name=CONTAINERS[kind])
    for level in BASELINE:
        assert judge(change_container(kind, path, ""), level) == []
        for host in ("127.0.0.1", "::1", "example.com"):
            assert judge(change_container(kind, path, host), level) == [(where, violate(level, words % host))]
    assert judge(change_container(kind, path, "127.0.0.1"), "privileged") == []


# Controls that look at pods

#: name: (path, value, levels that refuse it, where below the changed path, words)
IN_PODS: dict[str, tuple[tuple[str, ...], Any, tuple[str, ...], str, str]] = {
    **{
        f"{name} {value}": ((name,), value, BASELINE if value else NOBODY, "", f"host namespaces ({name}=true)")
        for name in ("hostNetwork", "hostPID", "hostIPC")
        for value in (True, False, None)
    },
    "no hostProcess": ((*WINDOWS, "hostProcess"), False, NOBODY, "", ""),
    "hostProcess": ((*WINDOWS, "hostProcess"), True, BASELINE, "", HOST_PROCESS % "pod"),
    "AppArmor's default": ((*APPARMOR_PATH, "type"), "RuntimeDefault", NOBODY, "", ""),
    "AppArmor's own": ((*APPARMOR_PATH, "type"), "Localhost", NOBODY, "", ""),
    "AppArmor off": ((*APPARMOR_PATH, "type"), "Unconfined", BASELINE, "", APPARMOR_TYPE % ("pod", "Unconfined")),
    "an SELinux type": ((*SELINUX_PATH, "type"), "container_kvm_t", NOBODY, "", ""),
    "another SELinux type": ((*SELINUX_PATH, "type"), "spc_t", BASELINE, "", SELINUX % ("pod", 'type "spc_t"')),
    "an SELinux user": ((*SELINUX_PATH, "user"), "u", BASELINE, "", SELINUX % ("pod", "user may not be set")),
    "an SELinux role": ((*SELINUX_PATH, "role"), "r", BASELINE, "", SELINUX % ("pod", "role may not be set")),
    "an SELinux level": ((*SELINUX_PATH, "level"), "s0:c1", NOBODY, "", ""),
    "a seccomp profile": ((*SECCOMP_PATH, "type"), "Localhost", NOBODY, "", ""),
    "seccomp off": ((*SECCOMP_PATH, "type"), "Unconfined", BASELINE, "", SECCOMP % ("pod", "Unconfined")),
    "root": ((*CONTEXT, "runAsNonRoot"), False, RESTRICTED, "", NON_ROOT % "pod"),
    "a user": ((*CONTEXT, "runAsUser"), 1, NOBODY, "", ""),
    "user 0": ((*CONTEXT, "runAsUser"), 0, RESTRICTED, "", ROOT % "pod"),
    **{
        f"sysctl {name}": ((*CONTEXT, "sysctls"), [{"name": name, "value": "1"}], NOBODY, "", "")
        for name in (
            "kernel.shm_rmid_forced",
            "net.ipv4.ip_local_port_range",
            "net.ipv4.ip_local_reserved_ports",
            "net.ipv4.ip_unprivileged_port_start",
            "net.ipv4.ping_group_range",
            "net.ipv4.tcp_fin_timeout",
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_rmem",
            "net.ipv4.tcp_syncookies",
            "net.ipv4.tcp_wmem",
        )
    },
    **{
        f"sysctl {name}": (
            (*CONTEXT, "sysctls"),
            [{"name": "net.ipv4.tcp_rmem", "value": "1"}, {"name": name, "value": "1"}],
            BASELINE,
            "[1].name",
            f"forbidden sysctls ({name})",
        )
        for name in ("kernel.msgmax", "net.core.somaxconn", "net/ipv4/tcp_rmem")
    },
    "no sysctls": ((*CONTEXT, "sysctls"), [], NOBODY, "", ""),
}


@pytest.mark.parametrize(("level", "path", "value", "refused_by", "below", "words"), spread(IN_PODS))
def test_a_pod(
    level: str, path: tuple[str, ...], value: Any, refused_by: tuple[str, ...], below: str, words: str
) -> None:
    expected = [(".".join((SPEC, *path)) + below, violate(level, words))] if level in refused_by else []
    assert judge(put(build_pod(), path, value), level) == expected


@pytest.mark.parametrize(
    ("profile", "is_refused"),
    [
        ("", False),
        ("runtime/default", False),
        ("localhost/", False),
        ("localhost/mine", False),
        ("unconfined", True),
        ("docker/default", True),
        ("bogus", True),
    ],
)
@pytest.mark.parametrize("level", LEVELS)
def test_the_annotation_of_apparmor(level: str, profile: str, is_refused: bool) -> None:
    annotations = {"env": "unconfined", APPARMOR: profile}
    words = f'forbidden AppArmor profile (annotation must not set AppArmor profile type to "{APPARMOR}="{profile}"")'
    expected = [(f"{TEMPLATE}.metadata.annotations[{APPARMOR}]", violate(level, words))]
    found = judge(build_pod(), level, metadata={"annotations": annotations})
    assert found == (expected if is_refused and level != "privileged" else [])


# What containers have from their pod

#: name: (the pod's value, the container's value, what the restricted level says of each)
NON_ROOT_ROWS: dict[str, tuple[Any, Any, str, str]] = {
    "said by the pod": (True, None, "", ""),
    "said by the container": (None, True, "", ""),
    "said by nobody": (None, None, "", NON_ROOT_MISSING),
    "denied by the pod": (False, None, NON_ROOT % "pod", ""),
    "denied by the pod, said by the container": (False, True, NON_ROOT % "pod", ""),
    "denied by the container": (None, False, "", NON_ROOT % ONE),
    "denied by both": (False, False, NON_ROOT % "pod", NON_ROOT % ONE),
}
SECCOMP_ROWS: dict[str, tuple[Any, Any, str, str]] = {
    "said by the pod": ({"type": "Localhost"}, None, "", ""),
    "said by the container": (None, {"type": "RuntimeDefault"}, "", ""),
    "said by nobody": (None, None, "", SECCOMP_MISSING),
    "said without a type": ({}, {}, "", SECCOMP_MISSING),
    "denied by the pod": ({"type": "x"}, None, SECCOMP % ("pod", "x"), ""),
    "denied by the pod, said by the container": (
        {"type": "x"},
        {"type": "Localhost"},
        SECCOMP % ("pod", "x"),
        "",
    ),
    "denied by the container": (None, {"type": "x"}, "", SECCOMP % (ONE, "x")),
}


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize(
    ("field", "leaf", "pods", "containers", "pod_words", "container_words"),
    [
        *(("runAsNonRoot", "", *row) for row in NON_ROOT_ROWS.values()),
        *(("seccompProfile", ".type", *row) for row in SECCOMP_ROWS.values()),
    ],
)
def test_a_container_has_what_its_pod_says(
    kind: str, field: str, leaf: str, pods: Any, containers: Any, pod_words: str, container_words: str
) -> None:
    pod: JSON = {
        "securityContext": {**SAFE_POD_CONTEXT, field: pods},
        kind: [{"name": CONTAINERS[kind], "securityContext": {**SAFE_CONTEXT, field: containers}}],
    }
    expected = {f"{SPEC}.securityContext.{field}{leaf}": pod_words} if pod_words else {}
    if container_words:
        expected[f"{SPEC}.{kind}[0].securityContext.{field}{leaf}"] = container_words.format(name=CONTAINERS[kind])
    assert dict(judge(pod, "restricted")) == {path: violate("restricted", words) for path, words in expected.items()}


@pytest.mark.parametrize("exemption", [{"hostUsers": False}, {"os": {"name": "windows"}}], ids=["users", "windows"])
def test_nothing_is_exempt_for_what_this_machine_does_not_do(exemption: JSON) -> None:
    """A cluster lets such pods be root, or go without the Linux controls; here they run as all others do."""
    bare = {"containers": [{"name": "node", "securityContext": {"runAsUser": 0, "procMount": "Unmasked"}}]}
    assert judge({**bare, **exemption}, "restricted") == judge(bare, "restricted")
    assert len(judge(bare, "restricted")) == 6


# Volumes

CORE_SOURCES = [
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
]
OTHER_SOURCES = [
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "fc", "flexVolume", "flocker"),
    *("gcePersistentDisk", "gitRepo", "glusterfs", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume"),
    *("quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"),
]


@pytest.mark.parametrize("kind", CORE_SOURCES + OTHER_SOURCES)
def test_only_the_restricted_level_minds_what_a_volume_is(kind: str) -> None:
    pod = build_pod(volumes=[{"name": "a"}, {"name": "b", kind: {}, "hostPath": None}])
    words = f'restricted volume types (volume "b" uses restricted volume type "{kind}")'
    refused = [] if kind in CORE_SOURCES else [(f"{SPEC}.volumes[1].{kind}", violate("restricted", words))]
    assert [judge(pod, level) for level in LEVELS] == [[], [], refused]


def judge_host_path(path: Any, level: str, *roots: str) -> str | None:
    """Return the detail that a hostPath volume is refused with."""
    found = judge(build_pod(volumes=[{"name": "v", "hostPath": {"path": path}}]), level, *roots)
    assert [where for where, _ in found] in ([], [f"{SPEC}.volumes[0].hostPath"])
    return found[0][1] if found else None


@pytest.mark.parametrize(
    ("roots", "path", "is_below"),
    [
        (["/data"], "/data", True),
        (["/data"], "/data/", True),
        (["/data/"], "/data/train", True),
        (["/data"], "//data/./train//x", True),
        (["/srv", "/data"], "/data/train", True),
        (["/data"], "/data/..train", True),
        (["/data"], "/data/träin/数据", True),
        (["/"], "/data", True),
        ([], "/data", False),
        (["/data"], "/database", False),
        (["/data"], "/dat", False),
        (["/data"], "/DATA", False),
        (["/data"], "/data/..", False),
        (["/data"], "/data/../etc", False),
        (["/data"], "/data/x/../y", False),
        (["/"], "/..", False),
        (["/data"], "data/x", False),
        (["/data"], "./data", False),
        (["/data"], "", False),
        (["/data"], None, False),
        (["/data"], ["/data"], False),
        (["/data"], "/data/x\0y", False),
        (["data", "", "/data/../etc"], "/data/x", False),
        (["data", "", "/data/../etc"], "/etc", False),
    ],
)
def test_the_machines_owner_says_where_host_paths_may_be(roots: list[str], path: Any, is_below: bool) -> None:
    shown = "/data/x\\u0000y" if path and "\0" in path else path
    allowed = ", ".join(roots) or "none"
    detail = f'hostPath "{shown}" is not below a directory that --allow-host-path allows: {allowed}'
    for level in ("privileged", "baseline"):
        assert judge_host_path(path, level, *roots) == (None if is_below else detail)
    words = 'restricted volume types (volume "v" uses restricted volume type "hostPath")'
    assert judge_host_path(path, "restricted", *roots) == violate("restricted", words)


@pytest.mark.parametrize(
    ("path", "is_engine"),
    [
        *((f"{run}/docker.sock", True) for run in ("/run", "/var/run", "/private/var/run", "/run/user/1000")),
        *((f"{run}/podman/podman.sock", True) for run in ("/run", "/var/run", "/run/user/0", "/run/user/1000")),
        *((f"{run}/containerd/containerd.sock", True) for run in ("/run", "/var/run")),
        *((f"{run}/crio/crio.sock", True) for run in ("/run", "/var/run")),
        *((f"{run}/buildkit/buildkitd.sock", True) for run in ("/run", "/var/run")),
        # Directories that hold one.
        *((path, True) for path in ("/", "/.", "//", "/run", "/run/", "/run/.", "/var", "/var/run", "/private")),
        *((path, True) for path in ("/run/user", "/run/user/1000", "/run/user/1000/podman", "/run/podman")),
        *((path, True) for path in ("/run/containerd", "/var/run/crio", "/run/buildkit", "/run/docker.sock/x")),
        # Their names anywhere else.
        ("/home/me/.docker/run/docker.sock", True),
        ("/data/podman.sock", True),
        ("/data/./containerd.sock/", True),
        ("/crio.sock", True),
        ("/data/buildkitd.sock", True),
        ("/data/Docker.Sock", True),
        ("/RUN", True),
        # Neighbours.
        ("/run/lock", False),
        ("/run/user/1000/pulse", False),
        ("/run/podmanage", False),
        ("/var/lib/docker", False),
        ("/data/docker.sock.d", False),
        ("/data/docker.sock/x", False),
        ("/data/mydocker.sock", False),
    ],
)
def test_no_root_and_no_level_allows_the_socket_of_an_engine(path: str, is_engine: bool) -> None:
    detail = (
        f'hostPath "{path}" is or holds the socket of a container engine, which has power over the whole machine '
        "and is given to no job: mount another directory"
    )
    for roots in (["/"], ["/run", path]):
        found = [judge_host_path(path, level, *roots) for level in LEVELS]
        assert (found == [detail] * 3) == is_engine
        assert is_engine or judge_host_path(path, "privileged", "/") is None


def test_a_volume_of_two_sources_hides_none() -> None:
    pod = build_pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/etc"}}])
    assert [len(judge(pod, level, "/data")) for level in LEVELS] == [1, 1, 1]


# Several at once


def test_every_field_of_every_pod_is_named() -> None:
    pod = {
        "hostNetwork": True,
        "containers": [{"name": "a"}, {"name": "b", "securityContext": {"privileged": True, "procMount": "Unmasked"}}],
    }
    jobset = build_jobset(pod)
    [rjob] = jobset["spec"]["replicatedJobs"]
    errors = find_violations({"spec": {"replicatedJobs": [{"name": "first"}, rjob, rjob]}}, "baseline", [])
    places = [f"spec.template.spec.replicatedJobs[{index}].template.spec.template.spec" for index in (1, 2)]
    fields = ("hostNetwork", "containers[1].securityContext.privileged", "containers[1].securityContext.procMount")
    assert [error.path for error in errors] == [f"{place}.{field}" for place in places for field in fields]
    assert [error.value for error in errors] == [True, True, "Unmasked"] * 2


def test_a_value_cannot_forge_a_line() -> None:
    pod = change_container("containers", (*CONTEXT, "procMount"), 'a"\nINFO all is well')
    [(_, detail)] = judge(pod, "baseline")
    assert detail == violate("baseline", PROC_MOUNT.format(name="node") % 'a\\"\\nINFO all is well')


def test_a_runtime_as_people_write_it_keeps_the_baseline() -> None:
    template = build_runtime()["spec"]["template"]
    assert find_violations(template, "baseline", []) == []
    assert len(find_violations(template, "restricted", [])) == 4
