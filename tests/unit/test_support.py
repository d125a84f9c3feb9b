"""What would not run as asked is refused by name; what only a cluster needs is warned of; the rest is silent."""

import pytest

from builders import build_job, build_pod_patch, build_runtime
from trainlet.admission.support import find_ignored, find_unset, find_unsupported
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset as build_planned

RJOB = "spec.template.spec.replicatedJobs[0]"
POD = f"{RJOB}.template.spec.template.spec"
SIDECAR = {"name": "side", "image": "i"}


def build_jobset(pod: JSON | None = None, container: JSON | None = None, **spec: JSON) -> JSON:
    """Return a JobSet; its paths are those of the runtime's template."""
    template = build_runtime(pod=pod, container=container)["spec"]["template"]
    return {**template, "spec": {**template["spec"], **spec}}


def add_container(jobset: JSON, container: JSON) -> JSON:
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    pod["containers"] = [*pod["containers"], container]
    return jobset


def build_patched(patch: JSON) -> JSON:
    """Return the JobSet of a job with this patch."""
    return build_planned(TrainJob.of(build_job(runtimePatches=[patch])), build_runtime())


PATCH_NOWHERE = build_pod_patch("nowhere", nodeSelector={"a": "1"})
PATCH_SIDE = build_pod_patch("node", containers=[{"name": "side"}])
REFUSED: dict[str, tuple[JSON, JSON, JSON, list[str]]] = {
    # name: (job, runtime, jobset, paths)
    "nothing special": (build_job(), build_runtime(), build_jobset(), []),
    "a policy of another framework": (
        build_job(),
        build_runtime(ml_policy={"numNodes": 2, "mpi": {}}),
        build_jobset(),
        ["spec.runtimeRef.name"],
    ),
    "two such policies": (
        build_job(),
        build_runtime(ml_policy={"mpi": {}, "flux": {}}),
        build_jobset(),
        ["spec.runtimeRef.name"] * 2,
    ),
    "patches are built": (build_job(runtimePatches=[{"manager": "x"}]), build_runtime(), build_jobset(), []),
    "a replicated job that only a patch names": (
        build_job(runtimePatches=[PATCH_NOWHERE]),
        build_runtime(),
        build_patched(PATCH_NOWHERE),
        ["spec.template.spec.replicatedJobs[1].template.spec.template.spec.containers"],
    ),
    "a container that only a patch names": (
        build_job(runtimePatches=[PATCH_SIDE]),
        build_runtime(),
        build_patched(PATCH_SIDE),
        [f"{POD}.containers"],
    ),
    "gates": (
        build_job(),
        build_runtime(),
        build_jobset(pod={"schedulingGates": [{"name": "g"}]}),
        [f"{POD}.schedulingGates"],
    ),
    "an initializer": (build_job(initializer={"dataset": {}}), build_runtime(), build_jobset(), ["spec.initializer"]),
    "init containers": (
        build_job(),
        build_runtime(),
        build_jobset(pod={"initContainers": [SIDECAR]}),
        [f"{POD}.initContainers"],
    ),
    "a sidecar": (build_job(), build_runtime(), add_container(build_jobset(), SIDECAR), [f"{POD}.containers"]),
    "volumes": (
        build_job(),
        build_runtime(),
        build_jobset(pod={"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "c"}}]}),
        [f"{POD}.volumes[1]"],
    ),
    "jax": (build_job(), build_runtime(ml_policy={"numNodes": 2, "jax": {}}), build_jobset(), []),
    "xgboost": (build_job(), build_runtime(ml_policy={"numNodes": 2, "xgboost": {}}), build_jobset(), []),
    "environment for other containers": (
        build_job(),
        build_runtime(ml_policy={"torch": {"envInjection": {"targets": [{"jobName": "node"}]}}}),
        build_jobset(),
        [],
    ),
    "torchtune": (
        build_job(trainer={"command": ["tune", "run"]}),
        build_runtime(ml_policy={"torch": {}}),
        build_jobset(),
        [],
    ),
    "a host path": (
        build_job(),
        build_runtime(),
        build_jobset(pod={"volumes": [{"name": "a", "hostPath": {"path": "/data"}}]}),
        [],
    ),
    "a part of a volume": (
        build_job(),
        build_runtime(),
        build_jobset(container={"volumeMounts": [{"name": "a", "mountPath": "/x", "subPath": "../.."}]}),
        [f"{POD}.containers[0].volumeMounts[0].subPath"],
    ),
    "security that is carried out": (
        build_job(),
        build_runtime(),
        build_jobset(
            pod={
                "securityContext": {
                    "runAsUser": 1,
                    "runAsGroup": 1,
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                }
            },
            container={
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "privileged": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
            },
        ),
        [],
    ),
    "security that is not": (
        build_job(),
        build_runtime(),
        build_jobset(
            pod={"securityContext": {"fsGroup": 1, "seccompProfile": {"type": "Localhost"}}},
            container={"securityContext": {"seLinuxOptions": {}}},
        ),
        [
            f"{POD}.securityContext.fsGroup",
            f"{POD}.securityContext.seccompProfile.type",
            f"{POD}.containers[0].securityContext.seLinuxOptions",
        ],
    ),
    "nobody is root, says the pod, but not who": (
        build_job(),
        build_runtime(),
        build_jobset(pod={"securityContext": {"runAsNonRoot": True}}),
        [f"{POD}.containers[0].securityContext.runAsNonRoot"],
    ),
    "nobody is root, and it is root": (
        build_job(),
        build_runtime(),
        build_jobset(
            pod={"securityContext": {"runAsUser": 1, "runAsNonRoot": True}},
            container={"securityContext": {"runAsUser": 0}},
        ),
        [f"{POD}.containers[0].securityContext.runAsNonRoot"],
    ),
    "envFrom": (
        build_job(),
        build_runtime(),
        build_jobset(container={"envFrom": [{"secretRef": {"name": "s"}}]}),
        [f"{POD}.containers[0].envFrom"],
    ),
    "values from elsewhere": (
        build_job(),
        build_runtime(),
        build_jobset(
            container={
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                ]
            }
        ),
        [f"{POD}.containers[0].env[2].valueFrom.secretKeyRef"],
    ),
}


@pytest.mark.parametrize(("job", "runtime", "jobset", "paths"), REFUSED.values(), ids=REFUSED)
def test_what_the_training_would_miss_is_refused(job: JSON, runtime: JSON, jobset: JSON, paths: list[str]) -> None:
    errors = find_unsupported(job, runtime, jobset)
    assert [error.path for error in errors] == paths
    for error in errors:
        assert (error.type, error.stage) == ("Forbidden", "webhook")
        _, _, remedy = error.detail.partition(": ")
        assert remedy or "mlPolicy" in error.detail, "it says what to do"


def test_a_refused_policy_is_answered_with_those_that_can_be_built() -> None:
    [error] = find_unsupported(build_job(), build_runtime(ml_policy={"mpi": {}}), build_jobset())
    assert error.detail.endswith(
        "the runtime has spec.mlPolicy.mpi; use one with the policy jax, torch, xgboost, or none"
    )


UNTOLD = [
    ({}, {"numNodes": 2, "torch": {}}, True),
    ({}, {"numNodes": 2, "jax": {}}, True),
    ({"trainer": {}}, {"numNodes": 2, "torch": {}}, False),
    ({}, {"numNodes": 1, "torch": {}}, False),
    ({}, {"torch": {}}, False),
    ({}, {"numNodes": 2}, False),
]


@pytest.mark.parametrize(("spec", "policy", "is_warned"), UNTOLD)
def test_nodes_that_are_not_told_of_each_other(spec: JSON, policy: JSON, is_warned: bool) -> None:
    job = TrainJob.of(build_job(**spec))
    assert bool(find_unset(job, build_runtime(ml_policy=policy))) is is_warned


IGNORED: dict[str, tuple[JSON, list[str]]] = {
    "nothing special": (build_jobset(), []),
    "where pods are placed": (
        build_jobset(pod={"nodeSelector": {"gpu": "a100"}, "tolerations": [{"key": "x"}], "affinity": {}}),
        [
            f"{POD}.nodeSelector has no effect: there is one machine",
            f"{POD}.tolerations has no effect: there is one machine",
        ],
    ),
    "an emptyDir": (
        build_jobset(pod={"volumes": [{"name": "tmp", "emptyDir": {}}]}),
        [f"{POD}.volumes[0] (tmp) is not mounted: an emptyDir lives as long as the container's own file system here"],
    ),
}


@pytest.mark.parametrize(("jobset", "warnings"), IGNORED.values(), ids=IGNORED)
def test_what_only_a_cluster_needs_is_warned_of(jobset: JSON, warnings: list[str]) -> None:
    assert find_ignored(jobset) == warnings


def test_rules_of_a_jobset_that_have_no_effect_yet_are_told() -> None:
    jobset = put(build_jobset(), ("spec", "failurePolicy"), {"maxRestarts": 3})
    [warning] = find_ignored(jobset)
    assert warning.startswith("spec.template.spec.failurePolicy")
