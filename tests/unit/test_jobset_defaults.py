"""What a cluster fills in that nobody wrote, and what it leaves as it is."""

from typing import Any

import pytest

from builders import build_job, build_runtime, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset
from trainlet.planning.jobset_defaults import default_jobset

POD = ("template", "spec", "template", "spec")


def default_spec(**spec: Any) -> JSON:
    """Return the defaulted spec of a JobSet."""
    filled: JSON = default_jobset({"metadata": {"name": "alpha"}, "spec": {"replicatedJobs": [], **spec}})["spec"]
    return filled


def default_job(job: JSON | None = None, pod: JSON | None = None, **rjob: Any) -> JSON:
    """Return the one defaulted replicated job."""
    given = put({"name": "node", **rjob}, ("template", "spec"), job or {})
    [filled] = default_spec(replicatedJobs=[put(given, POD, pod or {})])["replicatedJobs"]
    return dict(filled)


def default_pod(**pod: Any) -> JSON:
    filled: JSON = find(default_job(pod=pod), *POD)
    return filled


JOB = {
    "parallelism": 1,
    "completions": 1,
    "completionMode": "Indexed",
    "backoffLimit": 6,
    "podReplacementPolicy": "TerminatingOrFailed",
}
POD_SPEC = {"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 30, "securityContext": {}}


def test_of_a_jobset_that_says_nothing() -> None:
    assert default_spec(replicatedJobs=[{"name": "node"}]) == {
        "replicatedJobs": [
            {
                "name": "node",
                "replicas": 1,
                "groupName": "default",
                "template": {"spec": {**JOB, "template": {"spec": POD_SPEC}}},
            }
        ],
        "successPolicy": {"operator": "All"},
        "startupPolicy": {"startupPolicyOrder": "AnyOrder"},
        "suspend": False,
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
    }


SPECS: dict[str, tuple[str, Any, Any]] = {
    # name: (field, what is given, what is there)
    "success policy": ("successPolicy", {"operator": "Any"}, {"operator": "Any"}),
    "success policy, null": ("successPolicy", None, {"operator": "All"}),
    "startup policy": ("startupPolicy", {"startupPolicyOrder": "InOrder"}, {"startupPolicyOrder": "InOrder"}),
    "suspended": ("suspend", True, True),
    "network, in part": (
        "network",
        {"enableDNSHostnames": False, "subdomain": "sub"},
        {"enableDNSHostnames": False, "subdomain": "sub", "publishNotReadyAddresses": True},
    ),
    "failure policy": ("failurePolicy", {"maxRestarts": 2}, {"maxRestarts": 2, "restartStrategy": "Recreate"}),
    "failure policy, nothing said": ("failurePolicy", {}, {"restartStrategy": "Recreate", "maxRestarts": 0}),
    "failure policy's rules": (
        "failurePolicy",
        {"restartStrategy": "BlockingRecreate", "rules": [{"action": "FailJobSet"}, {"name": "b", "action": "x"}, {}]},
        {
            "restartStrategy": "BlockingRecreate",
            "maxRestarts": 0,
            "rules": [
                {"action": "FailJobSet", "name": "failurePolicyRule0"},
                {"name": "b", "action": "x"},
                {"name": "failurePolicyRule2"},
            ],
        },
    ),
    "claims": (
        "volumeClaimPolicies",
        [{"templates": []}, {"retentionPolicy": {"whenDeleted": "Retain"}}, {"retentionPolicy": {}}],
        [
            {"templates": [], "retentionPolicy": {"whenDeleted": "Delete"}},
            {"retentionPolicy": {"whenDeleted": "Retain"}},
            {"retentionPolicy": {"whenDeleted": "Delete"}},
        ],
    ),
    "what it does not know": ("ttlSecondsAfterFinished", 0, 0),
}


@pytest.mark.parametrize(("field", "given", "expected"), SPECS.values(), ids=SPECS)
def test_fields_of_the_jobset(field: str, given: Any, expected: Any) -> None:
    assert default_spec(**{field: given})[field] == expected


JOBS: dict[str, tuple[JSON, JSON]] = {
    # name: (the Job's spec, what is there beside or over the usual)
    "counts": ({"parallelism": 3, "completions": 2}, {"parallelism": 3, "completions": 2}),
    "no pods": ({"parallelism": 0, "completions": 0}, {"parallelism": 0, "completions": 0}),
    "parallelism alone": ({"parallelism": 3}, {"parallelism": 3, "completions": 3}),
    "mode": ({"completionMode": "NonIndexed"}, {"completionMode": "NonIndexed"}),
    "limit": ({"backoffLimit": 0}, {"backoffLimit": 0}),
    "a limit for each index": (
        {"backoffLimitPerIndex": 1},
        {"backoffLimitPerIndex": 1, "backoffLimit": 2147483647},
    ),
    "rules for failed pods": (
        {"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}},
        {
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "podReplacementPolicy": "Failed",
        },
    ),
    "rules by exit code": (
        {"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"values": [1]}}]}},
        {
            "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"values": [1]}}]},
            "podReplacementPolicy": "Failed",
        },
    ),
}


@pytest.mark.parametrize(("spec", "expected"), JOBS.values(), ids=JOBS)
def test_fields_of_a_job(spec: JSON, expected: JSON) -> None:
    built = default_job(spec)["template"]["spec"]
    assert built == {**JOB, **expected, "template": {"spec": POD_SPEC}}


def test_replicas_and_group_are_kept() -> None:
    rjob = default_job(replicas=0, groupName="g", dependsOn=[{"name": "a", "status": "Ready"}])
    assert (rjob["replicas"], rjob["groupName"]) == (0, "g")
    assert rjob["dependsOn"] == [{"name": "a", "status": "Ready"}]


PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
PODS: dict[str, tuple[JSON, JSON]] = {
    # name: (the pod's spec, what is there beside or over the usual)
    "restart policy": ({"restartPolicy": "Never"}, {"restartPolicy": "Never"}),
    "grace": ({"terminationGracePeriodSeconds": 0}, {"terminationGracePeriodSeconds": 0}),
    "a container": ({"containers": [{"name": "a"}]}, {"containers": [{"name": "a"}]}),
    "a sidecar's restart policy": (
        {"initContainers": [{"name": "a", "restartPolicy": "Always"}, {"name": "b"}]},
        {"initContainers": [{"name": "a", "restartPolicy": "Always"}, {"name": "b"}]},
    ),
    "ports": (
        {"containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 2, "protocol": "UDP"}]}]},
        {
            "containers": [
                {
                    "name": "a",
                    "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 2, "protocol": "UDP"}],
                }
            ]
        },
    ),
    "limits are requests": (
        {"containers": [{"name": "a", "resources": {"limits": {"cpu": 2, "nvidia.com/gpu": 1}}}]},
        {
            "containers": [
                {
                    "name": "a",
                    "resources": {
                        "limits": {"cpu": 2, "nvidia.com/gpu": 1},
                        "requests": {"cpu": 2, "nvidia.com/gpu": 1},
                    },
                }
            ]
        },
    ),
    "where none is asked for": (
        {"initContainers": [{"name": "a", "resources": {"limits": {"cpu": 2, "memory": 1}, "requests": {"cpu": 1}}}]},
        {
            "initContainers": [
                {"name": "a", "resources": {"limits": {"cpu": 2, "memory": 1}, "requests": {"cpu": 1, "memory": 1}}}
            ]
        },
    ),
    "requests alone": (
        {"containers": [{"name": "a", "resources": {"requests": {"cpu": 1}}}]},
        {"containers": [{"name": "a", "resources": {"requests": {"cpu": 1}}}]},
    ),
    "probes": (
        {
            "containers": [
                {
                    "name": "a",
                    "readinessProbe": {"tcpSocket": {"port": 2222}, "initialDelaySeconds": 5, "periodSeconds": 0},
                    "startupProbe": {"httpGet": {"port": 80}, "failureThreshold": 30},
                }
            ]
        },
        {
            "containers": [
                {
                    "name": "a",
                    "readinessProbe": {"tcpSocket": {"port": 2222}, "initialDelaySeconds": 5, **PROBE},
                    "startupProbe": {
                        **PROBE,
                        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                        "failureThreshold": 30,
                    },
                }
            ]
        },
    ),
    "volumes": (
        {
            "volumes": [
                {"name": "a"},
                {"name": "b", "emptyDir": {"medium": "Memory"}},
                {"name": "c", "secret": {"secretName": "s"}},
                {"name": "d", "configMap": {"name": "c", "defaultMode": 0o755}},
                {"name": "e", "projected": {"sources": []}},
                {"name": "f", "hostPath": {"path": "/x"}},
            ]
        },
        {
            "volumes": [
                {"name": "a", "emptyDir": {}},
                {"name": "b", "emptyDir": {"medium": "Memory"}},
                {"name": "c", "secret": {"secretName": "s", "defaultMode": 0o644}},
                {"name": "d", "configMap": {"name": "c", "defaultMode": 0o755}},
                {"name": "e", "projected": {"sources": [], "defaultMode": 0o644}},
                {"name": "f", "hostPath": {"path": "/x"}},
            ]
        },
    ),
}


@pytest.mark.parametrize(("spec", "expected"), PODS.values(), ids=PODS)
def test_fields_of_a_pod(spec: JSON, expected: JSON) -> None:
    assert default_pod(**spec) == {**POD_SPEC, **expected}


RUNTIMES = [build_runtime(), build_steps_runtime(pod_group_policy={"coscheduling": {}})]


@pytest.mark.parametrize("runtime", RUNTIMES, ids=["one step", "three steps"])
def test_once_more_changes_nothing_and_the_one_before_is_not_touched(runtime: JSON) -> None:
    jobset = build_jobset(TrainJob.of(build_job(trainer={"numNodes": 2})), runtime)
    before = repr(jobset)
    filled = default_jobset(jobset)
    assert default_jobset(filled) == filled
    assert repr(jobset) == before
    assert {key: value for key, value in filled.items() if key != "spec"} == {
        key: value for key, value in jobset.items() if key != "spec"
    }
