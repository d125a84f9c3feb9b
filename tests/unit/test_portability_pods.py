"""What becomes of pods and their containers: rows of what is set, and of every path that is told because of it."""

import pytest

from builders import build_job, build_pod_patch, build_runtime
from stances import CONTAINER, JOBSET, POD, E, H, N, R, Row, judge, put_under, tell
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
    "init containers": (
        {
            "initContainers": [
                {"name": "i", "image": "i"},
                {"name": "side", "image": "i", "restartPolicy": "Always"},
                {"name": "last", "image": "i", "restartPolicy": "OnFailure"},
            ]
        },
        {
            "initContainers[0].name": H,
            "initContainers[0].image": H,
            "initContainers[1].name": H,
            "initContainers[1].image": H,
            "initContainers[1].restartPolicy": H,
            "initContainers[2].name": H,
            "initContainers[2].image": H,
            "initContainers[2].restartPolicy": N,
        },
    ),
    "an init container that is asked how it is": (
        {"initContainers": [{"name": "i", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}]},
        {"initContainers[0]": R},
    ),
    "an init container with a hook": (
        {"initContainers": [{"name": "i", "image": "i", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]},
        {"initContainers[0]": R},
    ),
    "an init container without an image, and one whose name is none": (
        {"initContainers": [{"name": "i"}, {"name": "A_b", "image": "i"}]},
        {"initContainers[0]": R, "initContainers[1].name": R, "initContainers[1].image": H},
    ),
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
            "dnsConfig": {"searches": ["a"]},
            "runtimeClassName": "nvidia",
            "activeDeadlineSeconds": 5,
        },
        {"dnsConfig": H, "runtimeClassName": H, "activeDeadlineSeconds": E},
    ),
    "logins": ({"imagePullSecrets": [{"name": "s"}, {"name": "t"}]}, {"imagePullSecrets": H}),
    "processes": ({"shareProcessNamespace": True}, {"shareProcessNamespace": H}),
    "names of others": (
        {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a", "b.example"]}, {"ip": "::1"}]},
        {"hostAliases": H},
    ),
    "names of others that are none": (
        {"hostAliases": [{"ip": "10.0.0.256", "hostnames": ["a b"]}, {"hostnames": ["a"]}]},
        {"hostAliases[0].ip": R, "hostAliases[0].hostnames": R, "hostAliases[1]": R},
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


KEY = {"key": "k", "name": "n"}


def take_from(**source: JSON) -> list[JSON]:
    """Return an environment whose one variable has this source."""
    return [{"name": "A", "valueFrom": source}]


def refer(**fields: str | int) -> list[JSON]:
    """Return an environment whose one variable is a resource."""
    return take_from(resourceFieldRef=fields)


RESOURCE = "env[0].valueFrom.resourceFieldRef"
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
                {"name": "B", "valueFrom": {"secretKeyRef": {**KEY, "optional": True}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": KEY}},
                {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
                {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ]
        },
        {"env": H},
    ),
    "environment from nowhere": (
        {
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}},
                {"name": "C", "valueFrom": {"laterKeyRef": KEY}},
                {"name": "D", "valueFrom": {"secretKeyRef": {"key": "k"}}},
                {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "n", "key": ""}}},
            ]
        },
        {
            "env[0]": H,
            "env[1].name": H,
            "env[1].valueFrom.fileKeyRef": R,
            "env[2].name": H,
            "env[2].valueFrom.laterKeyRef": R,
            "env[3].name": H,
            "env[3].valueFrom.secretKeyRef": R,
            "env[4].name": H,
            "env[4].valueFrom.configMapKeyRef": R,
        },
    ),
    "environment from two places": (
        {"env": take_from(secretKeyRef=KEY, configMapKeyRef=KEY)},
        {"env[0].name": H, "env[0].valueFrom": R},
    ),
    "a value and a source": ({"env": [{"value": "1", **take_from(secretKeyRef=KEY)[0]}]}, {"env[0]": R}),
    "variables with names that are none": (
        {"env": [{"name": ""}, {"name": "A=B"}, {"name": "Ä"}, {"name": "a.b-c d", "value": "1"}]},
        {"env[0]": R, "env[1]": R, "env[2]": R, "env[3]": H},
    ),
    "a field that is not known here": (
        {"env": take_from(fieldRef={"fieldPath": "spec.schedulerName"})},
        {"env[0].name": H, "env[0].valueFrom.fieldRef.fieldPath": N},
    ),
    "a resource of a container": (
        {"env": refer(resource="requests.memory", containerName="node", divisor="1Mi")},
        {"env": H},
    ),
    "a resource of nobody": (
        {"env": refer(resource="limits.cpu", containerName="other")},
        {"env[0].name": H, f"{RESOURCE}.resource": H, f"{RESOURCE}.containerName": R},
    ),
    "a resource that nobody tells": (
        {"env": refer(resource="limits.nvidia.com/gpu")},
        {"env[0].name": H, f"{RESOURCE}.resource": R},
    ),
    "a resource in parts that are none": (
        {"env": refer(resource="limits.cpu", divisor="1k")},
        {"env[0].name": H, f"{RESOURCE}.resource": H, f"{RESOURCE}.divisor": R},
    ),
    "memory in parts that are none": (
        {"env": refer(resource="limits.memory", divisor="1m")},
        {"env[0].name": H, f"{RESOURCE}.resource": H, f"{RESOURCE}.divisor": R},
    ),
    "environment by the object": (
        {"envFrom": [{"configMapRef": {"name": "c"}}, {"prefix": "P_", "secretRef": {"name": "s", "optional": True}}]},
        {"envFrom": H},
    ),
    "environment by two objects at once, by none, and with a prefix that no variable has": (
        {
            "envFrom": [
                {"configMapRef": {"name": "c"}, "secretRef": {"name": "s"}},
                {"secretRef": {"optional": True}},
                {"prefix": "A=", "secretRef": {"name": "s"}},
            ]
        },
        {"envFrom[0]": R, "envFrom[1].secretRef": R, "envFrom[2].prefix": R, "envFrom[2].secretRef": H},
    ),
    "ports": ({"ports": [{"containerPort": 80, "name": "a", "protocol": "TCP"}]}, {"ports": H}),
    "a port of the host": (
        {"ports": [{"containerPort": 80, "hostPort": 80}]},
        {"ports[0].containerPort": H, "ports[0].hostPort": N},
    ),
    "limits": (
        {"resources": {"limits": {"cpu": 1, "memory": "1Gi", "nvidia.com/gpu": 1}, "requests": {"cpu": "500m"}}},
        {"resources": H},
    ),
    "requests alone": (
        {"resources": {"requests": {"cpu": "500m", "memory": "1Gi", "amd.com/gpu": 1}}},
        {"resources": H},
    ),
    "what nothing limits or provides": (
        {
            "resources": {
                "limits": {"ephemeral-storage": "1Gi", "rdma/hca": 1, "aws.amazon.com/neuron": 0},
                "requests": {"memory": "1Gi", "hugepages-2Mi": "1Gi", "rdma/hca": 1, "rdma/other": 1},
                "claims": [{"name": "c"}],
            }
        },
        {
            "resources.limits[ephemeral-storage]": N,
            "resources.limits[rdma/hca]": R,
            "resources.limits[aws.amazon.com/neuron]": H,
            "resources.requests[memory]": H,
            "resources.requests[hugepages-2Mi]": N,
            "resources.requests[rdma/hca]": H,
            "resources.requests[rdma/other]": R,
            "resources.claims": R,
        },
    ),
    "a mount of nothing": (
        {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        {"volumeMounts[0].name": R, "volumeMounts[0].mountPath": H},
    ),
    "two mounts at one path": (
        {"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/v/"}]},
        {"": R},
    ),
    "no image": ({"image": ""}, {"": R}),
    "readiness by a port": (
        {"readinessProbe": {"tcpSocket": {"port": 22}, "initialDelaySeconds": 5, "periodSeconds": 1}},
        {"readinessProbe": H},
    ),
    "readiness by a port, and how it is asked": (
        {"readinessProbe": {"tcpSocket": {"port": 22}, "failureThreshold": 3}},
        {"readinessProbe": H},
    ),
    "readiness by a command": ({"readinessProbe": {"exec": {"command": ["a"]}}}, {"readinessProbe": H}),
    "readiness by a request": (
        {
            "readinessProbe": {
                "httpGet": {"port": 80, "httpHeaders": [{"name": "a", "value": "b"}]},
                "successThreshold": 2,
            }
        },
        {"readinessProbe": H},
    ),
    "readiness by gRPC": (
        {"readinessProbe": {"grpc": {"port": 1}, "periodSeconds": 3}},
        {"readinessProbe.grpc": N, "readinessProbe.periodSeconds": H},
    ),
    "readiness by two at once": (
        {"readinessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}},
        {"readinessProbe": R},
    ),
    "a probe of nothing": ({"livenessProbe": {"periodSeconds": 3}}, {"livenessProbe": R}),
    "a life that has to be proven twice": (
        {"livenessProbe": {"tcpSocket": {"port": 22}, "successThreshold": 2}},
        {"livenessProbe.tcpSocket": H, "livenessProbe.successThreshold": R},
    ),
    "other probes and hooks": (
        {
            "livenessProbe": {"tcpSocket": {"port": 22}, "successThreshold": 1},
            "startupProbe": {"tcpSocket": {"port": 22}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}, "postStart": {"exec": {"command": ["a"]}}},
            "volumeDevices": [{"name": "v", "devicePath": "/dev/v"}],
        },
        {"livenessProbe": H, "startupProbe": H, "lifecycle": H, "volumeDevices": N},
    ),
    "hooks that do nothing": (
        {"lifecycle": {"preStop": {"tcpSocket": {"port": 1}}, "stopSignal": "SIGUSR1"}},
        {"lifecycle.preStop.tcpSocket": R, "lifecycle.stopSignal": N},
    ),
    "a terminal": ({"stdin": True, "stdinOnce": False, "tty": True}, {"stdin": N, "stdinOnce": H, "tty": N}),
    "last words": ({"terminationMessagePath": "/dev/termination-log"}, {"terminationMessagePath": N}),
    "its own restarts": ({"restartPolicy": "Never"}, {"restartPolicy": N}),
    "a field of a later version": ({"whatever": {"a": 1}}, {"whatever": N}),
}


@pytest.mark.parametrize(("container", "stances"), CONTAINER_ROWS.values(), ids=CONTAINER_ROWS)
def test_containers(container: JSON, stances: dict[str, Stance]) -> None:
    assert tell(build_job(), build_runtime(container=container)) == put_under(CONTAINER, stances)


def test_a_pod_may_have_several_containers() -> None:
    told = tell(build_job(), build_runtime(more_containers=[{"name": "side", "image": "i"}]))
    assert told == put_under(POD, {"containers[1].name": H, "containers[1].image": H})


def test_an_init_container_is_named_otherwise_than_the_others() -> None:
    pod = {"initContainers": [{"name": "node", "image": "i"}]}
    findings = judge(build_job(), build_runtime(pod=pod, more_containers=[{"name": "side", "image": "i"}]))
    refused = {finding.path for finding in findings if finding.stance is R}
    assert refused == {f"{POD}.initContainers[0]", f"{POD}.containers[0]"}


def test_a_sidecar_may_be_asked_how_it_is() -> None:
    probe = {"readinessProbe": {"tcpSocket": {"port": 1}}}
    pod = {"initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always", **probe}]}
    findings = judge(build_job(), build_runtime(pod=pod))
    assert R not in {finding.stance for finding in findings}
    assert f"{POD}.initContainers[0].readinessProbe" in {finding.path for finding in findings}


def test_a_container_that_only_a_patch_names_has_no_image() -> None:
    job = build_job(runtimePatches=[build_pod_patch("node", containers=[{"name": "side"}])])
    [refused] = [finding for finding in judge(job, build_runtime()) if finding.stance is R]
    assert refused.path == f"{POD}.containers[0]"


def test_a_replicated_job_that_only_a_patch_names_has_no_containers() -> None:
    job = build_job(runtimePatches=[build_pod_patch("nowhere", nodeSelector={"a": "1"})])
    told = tell(job, build_runtime())
    pod = f"{JOBSET}.replicatedJobs[1].template.spec.template.spec"
    assert (told[f"{pod}.containers"], told[f"{pod}.nodeSelector"]) == (R, N)
