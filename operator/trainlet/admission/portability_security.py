"""What becomes of the security contexts of pods and containers: what is not carried out is not promised."""

from collections.abc import Callable, Iterator
from typing import Any

from trainlet.admission.portability import (
    HONOURED,
    Fields,
    Place,
    Rule,
    Verdict,
    emulated,
    honoured,
    no_effect,
    only,
    refused,
)
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON

_NOT_CARRIED_OUT = refused("leave it out: it is not carried out here, and nothing may seem safer than it is")
_NO_USER = refused("say with runAsUser who it is, not 0: the image is not asked")
_NO_GROUP = no_effect("say with runAsUser whose group it is: the image is not asked")
_FS_GROUP = emulated("a claim belongs to the group from then on; files that are in it keep theirs")
#: What is the group's here as well, and the one source that a kubelet leaves as it is, too.
_RIGHT_SOURCES = frozenset({"configMap", "secret", "projected", "downwardAPI", "emptyDir", "ephemeral", "hostPath"})


def _get_user(container: JSON, pod: JSON) -> Any:
    own = find(container, "securityContext", "runAsUser")
    return find(pod, "securityContext", "runAsUser") if own is None else own


def _judge_pod_non_root(value: Any, place: Place) -> Verdict:
    """Refuse to promise that nobody is root where only the image could tell."""
    pod = place.owners[-2]
    bound = (c for c in _list_containers(pod) if find(c, "securityContext", "runAsNonRoot") is None)
    return _NO_USER if value and not all(_get_user(container, pod) for container in bound) else HONOURED


def _judge_non_root(value: Any, place: Place) -> Verdict:
    pod, container = place.owners[-3:-1]
    return _NO_USER if value and not _get_user(container, pod) else HONOURED


def _judge_pod_group(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    pod = place.owners[-2]
    has_user = all(_get_user(container, pod) is not None for container in _list_containers(pod))
    return HONOURED if has_user else _NO_GROUP


def _judge_group(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    pod, container = place.owners[-3:-1]
    return _NO_GROUP if _get_user(container, pod) is None else HONOURED


def _judge_fs_group(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    pod = place.owners[-2]
    volumes = pod.get("volumes") or []
    names = {each.get("name") for each in volumes if each.keys() & _RIGHT_SOURCES or each.keys() == {"name"}}
    mounted = {mount.get("name") for c in _list_containers(pod) for mount in c.get("volumeMounts") or []}
    # What is mounted and not a volume of the pod is a claim of the JobSet.
    return HONOURED if mounted <= names else _FS_GROUP


def _list_containers(pod: JSON) -> Iterator[JSON]:
    yield from pod.get("initContainers") or []
    yield from pod.get("containers") or []


def _build_shared(judge_non_root: Callable[[Any, Place], Verdict], judge_group: Rule) -> dict[str, Rule]:
    """Return what pods and containers have in common."""
    return {
        "runAsUser": HONOURED,
        "runAsGroup": judge_group,
        "runAsNonRoot": judge_non_root,
        "seccompProfile": Fields(
            {
                "type": only(
                    "RuntimeDefault", "Unconfined", otherwise=refused("use RuntimeDefault, which every node has")
                ),
                "localhostProfile": _NOT_CARRIED_OUT,
            }
        ),
        **dict.fromkeys(("appArmorProfile", "seLinuxOptions", "windowsOptions"), _NOT_CARRIED_OUT),
    }


POD_SECURITY = Fields(
    {
        **_build_shared(_judge_pod_non_root, _judge_pod_group),
        "fsGroup": _judge_fs_group,
        "fsGroupChangePolicy": no_effect("the owner of a volume's files is never changed"),
        "supplementalGroups": HONOURED,
        "supplementalGroupsPolicy": only("Merge", otherwise=no_effect("the image's groups of the user count too")),
        **dict.fromkeys(("seLinuxChangePolicy", "sysctls"), _NOT_CARRIED_OUT),
    },
    others=_NOT_CARRIED_OUT,
)
CONTAINER_SECURITY = Fields(
    {
        **_build_shared(_judge_non_root, _judge_group),
        **honoured("allowPrivilegeEscalation", "privileged", "readOnlyRootFilesystem"),
        "capabilities": Fields(honoured("add", "drop"), others=_NOT_CARRIED_OUT),
        "procMount": only("Default", otherwise=_NOT_CARRIED_OUT),
    },
    others=_NOT_CARRIED_OUT,
)
