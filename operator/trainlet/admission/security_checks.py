"""The controls of the Kubernetes Pod Security Standards, as tables: which field may hold which value at which level.

Names and words are those of k8s.io/pod-security-admission at its latest version (1.34). What walks through a pod
and what this machine adds for hostPath volumes is in security.py.

Two exemptions of the standards are left out because nothing here would make them true: pods with
`hostUsers: false` get no user namespace of their own, and there are no Windows nodes (`os.name: windows`).
"""

from collections.abc import Callable
from dataclasses import dataclass

POD, CONTAINER = "pod", "container"
PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"

#: The step of a path that stands for every item of a list.
EACH = "*"

APPARMOR_REASON = "forbidden AppArmor profile"
APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
VOLUMES_REASON = "restricted volume types"
#: What the restricted level lets a volume be.
CORE_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)

_ANY = (POD, CONTAINER)
_BOTH_LEVELS = (BASELINE, RESTRICTED)
_DEFAULT_CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
_SAFE_SYSCTLS = (
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
_SELINUX_TYPES = ("container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SELINUX = ("securityContext", "seLinuxOptions")
_SELINUX_WORDS = "{owner} set forbidden securityContext.seLinuxOptions:"
_CAPABILITIES = ("securityContext", "capabilities")
_CAPABILITY_WORDS = '{owner} must not include "{value}" in securityContext.capabilities.add'
_SECCOMP = ("securityContext", "seccompProfile", "type")
_NON_ROOT = ("securityContext", "runAsNonRoot")
_HANDLERS = (
    ("livenessProbe",),
    ("readinessProbe",),
    ("startupProbe",),
    ("lifecycle", "postStart"),
    ("lifecycle", "preStop"),
)


@dataclass(frozen=True)
class Control:
    """A field, below a pod's spec or a container, and the values that it may have; None is an absent field.

    `words` may name the `{owner}` and the `{value}`. A container that says nothing has the pod's value if `inherits`.
    """

    reason: str
    path: tuple[str, ...]
    allows: Callable[[object], bool]
    words: str
    owners: tuple[str, ...] = _ANY
    levels: tuple[str, ...] = _BOTH_LEVELS
    inherits: bool = False


def _one_of(*values: object) -> Callable[[object], bool]:
    return lambda value: value in values


def _differs_from(refused: object) -> Callable[[object], bool]:
    return lambda value: value != refused


def _drops_all(dropped: object) -> bool:
    return isinstance(dropped, list) and "ALL" in dropped


_CONTROLS = (
    *(
        Control("host namespaces", (name,), _one_of(None, False), f"{name}=true", (POD,))
        for name in ("hostNetwork", "hostPID", "hostIPC")
    ),
    Control(
        "privileged",
        ("securityContext", "privileged"),
        _one_of(None, False),
        "{owner} must not set securityContext.privileged=true",
        (CONTAINER,),
    ),
    Control(
        "non-default capabilities",
        (*_CAPABILITIES, "add", EACH),
        _one_of(*_DEFAULT_CAPABILITIES),
        _CAPABILITY_WORDS,
        (CONTAINER,),
        # The restricted level has a narrower one in its place.
        (BASELINE,),
    ),
    Control("hostPort", ("ports", EACH, "hostPort"), _one_of(None, 0), "{owner} uses hostPort {value}", (CONTAINER,)),
    Control(
        "hostProcess",
        ("securityContext", "windowsOptions", "hostProcess"),
        _one_of(None, False),
        "{owner} must not set securityContext.windowsOptions.hostProcess=true",
    ),
    *(
        Control(
            "probe or lifecycle host",
            (*handler, action, "host"),
            _one_of(None, ""),
            '{owner} uses probe or lifecycle host "{value}"',
            (CONTAINER,),
        )
        for handler in _HANDLERS
        for action in ("httpGet", "tcpSocket")
    ),
    Control(
        APPARMOR_REASON,
        ("securityContext", "appArmorProfile", "type"),
        _one_of(None, "RuntimeDefault", "Localhost"),
        '{owner} must not set AppArmor profile type to "{value}"',
    ),
    Control(
        "seLinuxOptions", (*_SELINUX, "type"), _one_of(None, "", *_SELINUX_TYPES), f'{_SELINUX_WORDS} type "{{value}}"'
    ),
    *(
        Control("seLinuxOptions", (*_SELINUX, name), _one_of(None, ""), f"{_SELINUX_WORDS} {name} may not be set")
        for name in ("user", "role")
    ),
    Control(
        "procMount",
        ("securityContext", "procMount"),
        _one_of(None, "Default"),
        '{owner} must not set securityContext.procMount to "{value}"',
        (CONTAINER,),
    ),
    Control(
        "seccompProfile",
        _SECCOMP,
        _one_of(None, "RuntimeDefault", "Localhost"),
        '{owner} must not set securityContext.seccompProfile.type to "{value}"',
    ),
    Control(
        "forbidden sysctls",
        ("securityContext", "sysctls", EACH, "name"),
        _one_of(*_SAFE_SYSCTLS),
        "{value}",
        (POD,),
    ),
    Control(
        "allowPrivilegeEscalation != false",
        ("securityContext", "allowPrivilegeEscalation"),
        _one_of(False),
        "{owner} must set securityContext.allowPrivilegeEscalation=false",
        (CONTAINER,),
        (RESTRICTED,),
    ),
    Control(
        "unrestricted capabilities",
        (*_CAPABILITIES, "drop"),
        _drops_all,
        '{owner} must set securityContext.capabilities.drop=["ALL"]',
        (CONTAINER,),
        (RESTRICTED,),
    ),
    Control(
        "unrestricted capabilities",
        (*_CAPABILITIES, "add", EACH),
        _one_of("NET_BIND_SERVICE"),
        _CAPABILITY_WORDS,
        (CONTAINER,),
        (RESTRICTED,),
    ),
    Control(
        "runAsNonRoot != true",
        _NON_ROOT,
        _one_of(None, True),
        "{owner} must not set securityContext.runAsNonRoot=false",
        levels=(RESTRICTED,),
    ),
    Control(
        "runAsNonRoot != true",
        _NON_ROOT,
        _differs_from(None),
        "pod or {owner} must set securityContext.runAsNonRoot=true",
        (CONTAINER,),
        (RESTRICTED,),
        inherits=True,
    ),
    Control(
        "runAsUser=0",
        ("securityContext", "runAsUser"),
        _differs_from(0),
        "{owner} must not set runAsUser=0",
        levels=(RESTRICTED,),
    ),
    Control(
        "seccompProfile",
        _SECCOMP,
        _differs_from(None),
        'pod or {owner} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"',
        (CONTAINER,),
        (RESTRICTED,),
        inherits=True,
    ),
)

CONTROLS = {
    level: tuple(control for control in _CONTROLS if level in control.levels)
    for level in (PRIVILEGED, BASELINE, RESTRICTED)
}


def is_allowed_annotation(profile: object) -> bool:
    """Tell whether the AppArmor annotation of a container may have this value."""
    return profile in (None, "", "runtime/default") or (isinstance(profile, str) and profile.startswith("localhost/"))
