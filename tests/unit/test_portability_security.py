"""What becomes of security contexts: what is carried out is honoured, and nothing else is promised."""

import pytest

from builders import build_job, build_runtime
from stances import CONTAINER, POD, E, H, N, R, Row, put_under, tell
from trainlet.admission.portability import Stance
from trainlet.kube.meta import JSON

CONTAINER_ROWS: dict[str, Row] = {
    "safety": (
        {
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"], "add": ["KILL"]},
                "runAsUser": 1,
                "runAsGroup": 1,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
                "procMount": "Default",
            }
        },
        {
            "securityContext.allowPrivilegeEscalation": H,
            "securityContext.privileged": H,
            "securityContext.readOnlyRootFilesystem": H,
            "securityContext.capabilities.drop": H,
            "securityContext.capabilities.add": H,
            "securityContext.runAsUser": H,
            "securityContext.runAsGroup": H,
            "securityContext.runAsNonRoot": H,
            "securityContext.seccompProfile.type": H,
            "securityContext.procMount": H,
        },
    ),
    "safety that nothing carries out": (
        {
            "securityContext": {
                "seLinuxOptions": {"level": "s0"},
                "appArmorProfile": {"type": "RuntimeDefault"},
                "seccompProfile": {"type": "Localhost", "localhostProfile": "p"},
                "procMount": "Unmasked",
                "aLaterOne": True,
            }
        },
        {
            "securityContext.seLinuxOptions": R,
            "securityContext.appArmorProfile": R,
            "securityContext.seccompProfile.type": R,
            "securityContext.seccompProfile.localhostProfile": R,
            "securityContext.procMount": R,
            "securityContext.aLaterOne": R,
        },
    ),
    "nobody is root, but who": ({"securityContext": {"runAsNonRoot": True}}, {"securityContext.runAsNonRoot": R}),
    "anybody": ({"securityContext": {"runAsNonRoot": False}}, {"securityContext.runAsNonRoot": H}),
    "a group without a user": ({"securityContext": {"runAsGroup": 5}}, {"securityContext.runAsGroup": N}),
}


@pytest.mark.parametrize(("container", "stances"), CONTAINER_ROWS.values(), ids=CONTAINER_ROWS)
def test_containers(container: JSON, stances: dict[str, Stance]) -> None:
    assert tell(build_job(), build_runtime(container=container)) == put_under(CONTAINER, stances)


MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
USER = {"securityContext": {"runAsUser": 1}}
POD_ROWS: dict[str, tuple[JSON, JSON, dict[str, Stance]]] = {
    # name: (pod, container, stances)
    "who it is": (
        {"securityContext": {"runAsUser": 1, "runAsGroup": 1, "runAsNonRoot": True}},
        {},
        {"securityContext.runAsUser": H, "securityContext.runAsGroup": H, "securityContext.runAsNonRoot": H},
    ),
    "nobody is root, says the pod, but not who": (
        {"securityContext": {"runAsNonRoot": True}},
        {},
        {"securityContext.runAsNonRoot": R},
    ),
    "nobody is root, and the container says who": (
        {"securityContext": {"runAsNonRoot": True}},
        USER,
        {"securityContext.runAsNonRoot": H, "containers[0].securityContext.runAsUser": H},
    ),
    "nobody is root, and the container is": (
        {"securityContext": {"runAsNonRoot": True, "runAsUser": 1}},
        {"securityContext": {"runAsUser": 0}},
        {
            "securityContext.runAsNonRoot": R,
            "securityContext.runAsUser": H,
            "containers[0].securityContext.runAsUser": H,
        },
    ),
    "nobody is root but the container": (
        {"securityContext": {"runAsNonRoot": True}},
        {"securityContext": {"runAsNonRoot": False}},
        {"securityContext.runAsNonRoot": H, "containers[0].securityContext.runAsNonRoot": H},
    ),
    "a group without a user": ({"securityContext": {"runAsGroup": 1}}, {}, {"securityContext.runAsGroup": N}),
    "a group of the container's user": (
        {"securityContext": {"runAsGroup": 1}},
        USER,
        {"securityContext.runAsGroup": H, "containers[0].securityContext.runAsUser": H},
    ),
    "more groups": (
        {"securityContext": {"supplementalGroups": [5], "supplementalGroupsPolicy": "Strict"}},
        {},
        {"securityContext.supplementalGroups": H, "securityContext.supplementalGroupsPolicy": N},
    ),
    "what nothing carries out": (
        {"securityContext": {"sysctls": [{"name": "a", "value": "b"}], "seLinuxOptions": {"level": "s0"}}},
        {},
        {"securityContext.sysctls": R, "securityContext.seLinuxOptions": R},
    ),
    "the group of files, without volumes": (
        {"securityContext": {"fsGroup": 5, "fsGroupChangePolicy": "Always"}},
        {},
        {"securityContext.fsGroup": H, "securityContext.fsGroupChangePolicy": N},
    ),
    "the group of files, on a directory of the host": (
        {"securityContext": {"fsGroup": 5}, "volumes": [{"name": "v", "hostPath": {"path": "/data"}}]},
        MOUNT,
        {"securityContext.fsGroup": H, "volumes": H, "containers[0].volumeMounts": H},
    ),
    "the group of files, on volumes of the pod": (
        {"securityContext": {"fsGroup": 5}, "volumes": [{"name": "v", "emptyDir": {}}]},
        MOUNT,
        {"securityContext.fsGroup": H, "volumes": H, "containers[0].volumeMounts": H},
    ),
    "the group of files, on a volume without a source": (
        {"securityContext": {"fsGroup": 5}, "volumes": [{"name": "v"}]},
        MOUNT,
        {"securityContext.fsGroup": H, "volumes": H, "containers[0].volumeMounts": H},
    ),
    "the group of files, on a claim": (
        {"securityContext": {"fsGroup": 5}, "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
        MOUNT,
        {
            "securityContext.fsGroup": E,
            "volumes[0].name": H,
            "volumes[0].persistentVolumeClaim": E,
            "containers[0].volumeMounts": H,
        },
    ),
}


@pytest.mark.parametrize(("pod", "container", "stances"), POD_ROWS.values(), ids=POD_ROWS)
def test_pods_with_their_container(pod: JSON, container: JSON, stances: dict[str, Stance]) -> None:
    assert tell(build_job(), build_runtime(pod=pod, container=container)) == put_under(POD, stances)
