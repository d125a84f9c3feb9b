"""What becomes of pods and their containers: rows of what is set, and of every path that is told because of it."""

import pytest

from builders import build_job, build_pod_patch, build_runtime
from stances import CONTAINER, JOBSET, POD, H, N, R, Row, judge, put_under, tell
from trainlet.admission.portability import Stance
from trainlet.kube.meta import JSON

POD_ROWS: dict[str, Row] = {
    "nothing": ({}, {}),
    "what is null or empty is not set": ({"volumes": None, "affinity": {}, "tolerations": [], "nodeName": ""}, {}),
    "where pods are placed": (
        {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "x"}], "affinity": {"podAffinity": {}}, "priority": 0},
        {"nodeSelector": N, "tolerations": N, "affinity": N, "priority": N},
    ),
    "how pods are scheduled": (
        {"schedulerName": "s", "priorityClassName": "p", "preemptionPolicy": "Never", "overhead": {"cpu": "1"}},
        {"schedulerName": N, "priorityClassName": N, "preemptionPolicy": N, "overhead": N},
    ),
    "gates": ({"schedulingGates": [{"name": "g"}]}, {"schedulingGates": R}),
    "init containers": ({"initContainers": [{"name": "i", "image": "i"}]}, {"initContainers": R}),
    "ephemeral containers": ({"ephemeralContainers": [{"name": "e"}]}, {"ephemeralContainers": R}),
    "the host's namespaces": (
        {"hostNetwork": True, "hostPID": True, "hostIPC": True, "hostUsers": False},
        {"hostNetwork": R, "hostPID": R, "hostIPC": R, "hostUsers": R},
    ),
    "namespaces of its own": (
        {"hostNetwork": False, "hostPID": False, "hostIPC": False, "hostUsers": True},
        {"hostNetwork": H, "hostPID": H, "hostIPC": H, "hostUsers": H},
    ),
    "restarts in place": ({"restartPolicy": "OnFailure"}, {"restartPolicy": H}),
    "restarts as new pods": ({"restartPolicy": "Never"}, {"restartPolicy": H}),
    "restarts for ever": ({"restartPolicy": "Always"}, {"restartPolicy": R}),
    "the API server's token": (
        {"serviceAccountName": "s", "serviceAccount": "s", "automountServiceAccountToken": True},
        {"serviceAccountName": N, "serviceAccount": N, "automountServiceAccountToken": N},
    ),
    "no token": ({"automountServiceAccountToken": False}, {"automountServiceAccountToken": H}),
    "names": (
        {"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": True, "dnsPolicy": "Default"},
        {"hostname": N, "subdomain": N, "setHostnameAsFQDN": N, "dnsPolicy": N},
    ),
    "names as they are": (
        {"setHostnameAsFQDN": False, "dnsPolicy": "ClusterFirst", "enableServiceLinks": False},
        {"setHostnameAsFQDN": H, "dnsPolicy": H, "enableServiceLinks": H},
    ),
    "what is not carried out yet": (
        {
            "imagePullSecrets": [{"name": "s"}],
            "dnsConfig": {"searches": ["a"]},
            "hostAliases": [{"ip": "1.1.1.1"}],
            "runtimeClassName": "nvidia",
            "shareProcessNamespace": True,
            "activeDeadlineSeconds": 5,
        },
        {
            "imagePullSecrets": N,
            "dnsConfig": N,
            "hostAliases": N,
            "runtimeClassName": N,
            "shareProcessNamespace": N,
            "activeDeadlineSeconds": N,
        },
    ),
    "resources of the pod": (
        {"resources": {"limits": {"cpu": "1"}}, "resourceClaims": [{"name": "c"}]},
        {"resources": N, "resourceClaims": R},
    ),
    "linux": ({"os": {"name": "linux"}}, {"os": H}),
    "windows": ({"os": {"name": "windows"}}, {"os.name": R}),
    "grace": ({"terminationGracePeriodSeconds": 0}, {"terminationGracePeriodSeconds": H}),
    "a field of a later version": ({"whatever": True}, {"whatever": N}),
}


@pytest.mark.parametrize(("pod", "stances"), POD_ROWS.values(), ids=POD_ROWS)
def test_pods(pod: JSON, stances: dict[str, Stance]) -> None:
    assert tell(build_job(), build_runtime(pod=pod)) == put_under(POD, stances)


NONE_KNOWN = {"key": "k", "name": "n"}
CONTAINER_ROWS: dict[str, Row] = {
    "what runs": (
        {"command": ["a"], "args": ["b"], "workingDir": "/w", "imagePullPolicy": "Always"},
        {"command": H, "args": H, "workingDir": H, "imagePullPolicy": H},
    ),
    "environment is told as one": (
        {
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B"},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "D", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['a/b']"}}},
                {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ]
        },
        {"env": H},
    ),
    "environment from elsewhere": (
        {
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": NONE_KNOWN}},
                {"name": "C", "valueFrom": {"configMapKeyRef": NONE_KNOWN}},
                {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "E", "valueFrom": {"laterKeyRef": NONE_KNOWN}},
            ]
        },
        {
            "env[0]": H,
            "env[1].name": H,
            "env[1].valueFrom.secretKeyRef": R,
            "env[2].name": H,
            "env[2].valueFrom.configMapKeyRef": R,
            "env[3].name": H,
            "env[3].valueFrom.resourceFieldRef": R,
            "env[4].name": H,
            "env[4].valueFrom.laterKeyRef": R,
        },
    ),
    "a field that is not known here": (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]},
        {"env[0].name": H, "env[0].valueFrom.fieldRef.fieldPath": N},
    ),
    "environment by the object": ({"envFrom": [{"configMapRef": {"name": "c"}}]}, {"envFrom": R}),
    "ports": ({"ports": [{"containerPort": 80, "name": "a", "protocol": "TCP"}]}, {"ports": H}),
    "a port of the host": (
        {"ports": [{"containerPort": 80, "hostPort": 80}]},
        {"ports[0].containerPort": H, "ports[0].hostPort": N},
    ),
    "limits": (
        {"resources": {"limits": {"cpu": 1, "memory": "1Gi", "nvidia.com/gpu": 1}, "requests": {"cpu": "500m"}}},
        {"resources": H},
    ),
    "what nothing limits or provides": (
        {
            "resources": {
                "limits": {"ephemeral-storage": "1Gi", "rdma/hca": 1, "aws.amazon.com/neuron": 0},
                "requests": {"memory": "1Gi", "rdma/hca": 1, "rdma/other": 1},
                "claims": [{"name": "c"}],
            }
        },
        {
            "resources.limits[ephemeral-storage]": N,
            "resources.limits[rdma/hca]": R,
            "resources.limits[aws.amazon.com/neuron]": H,
            "resources.requests[memory]": N,
            "resources.requests[rdma/hca]": H,
            "resources.requests[rdma/other]": R,
            "resources.claims": R,
        },
    ),
    "a mount of nothing": (
        {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        {"volumeMounts[0].name": R, "volumeMounts[0].mountPath": H},
    ),
    "readiness by a port": (
        {"readinessProbe": {"tcpSocket": {"port": 22}, "initialDelaySeconds": 5, "periodSeconds": 1}},
        {"readinessProbe": H},
    ),
    "readiness by a port, and how it is asked": (
        {"readinessProbe": {"tcpSocket": {"port": 22}, "failureThreshold": 3}},
        {"readinessProbe.tcpSocket": H, "readinessProbe.failureThreshold": N},
    ),
    "readiness by a command": ({"readinessProbe": {"exec": {"command": ["a"]}}}, {"readinessProbe": N}),
    "other probes and hooks": (
        {
            "livenessProbe": {"tcpSocket": {"port": 22}},
            "startupProbe": {"tcpSocket": {"port": 22}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            "volumeDevices": [{"name": "v", "devicePath": "/dev/v"}],
        },
        {"livenessProbe": N, "startupProbe": N, "lifecycle": N, "volumeDevices": N},
    ),
    "a terminal": ({"stdin": True, "stdinOnce": False, "tty": True}, {"stdin": N, "stdinOnce": H, "tty": N}),
    "last words": ({"terminationMessagePath": "/dev/termination-log"}, {"terminationMessagePath": N}),
    "its own restarts": ({"restartPolicy": "Never"}, {"restartPolicy": N}),
    "a field of a later version": ({"whatever": {"a": 1}}, {"whatever": N}),
}


@pytest.mark.parametrize(("container", "stances"), CONTAINER_ROWS.values(), ids=CONTAINER_ROWS)
def test_containers(container: JSON, stances: dict[str, Stance]) -> None:
    assert tell(build_job(), build_runtime(container=container)) == put_under(CONTAINER, stances)


def test_the_container_that_trains_is_kept_and_others_are_refused() -> None:
    runtime = build_runtime()
    pod = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    pod["containers"] = [{"name": "side", "image": "i"}, *pod["containers"], {"name": "other", "image": "i"}]
    refused = {finding.path for finding in judge(build_job(), runtime) if finding.stance is R}
    assert refused == {f"{POD}.containers[0]", f"{POD}.containers[2]"}


def test_a_container_that_only_a_patch_names_is_refused() -> None:
    job = build_job(runtimePatches=[build_pod_patch("node", containers=[{"name": "side"}])])
    [refused] = [finding for finding in judge(job, build_runtime()) if finding.stance is R]
    assert refused.path == f"{POD}.containers[0]"


def test_a_replicated_job_that_only_a_patch_names_has_no_containers() -> None:
    job = build_job(runtimePatches=[build_pod_patch("nowhere", nodeSelector={"a": "1"})])
    told = tell(job, build_runtime())
    pod = f"{JOBSET}.replicatedJobs[1].template.spec.template.spec"
    assert (told[f"{pod}.containers"], told[f"{pod}.nodeSelector"]) == (R, N)
