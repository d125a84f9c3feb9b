"""The rules that the definitions carry: what they refuse and on which change."""

from copy import deepcopy
from typing import Any

import pytest

from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.rules import check_crd, validate_rules
from trainlet.admission.schema import validate_schema
from trainlet.admission.structure import complete
from trainlet.package_data import read_crds

CRDS = {crd.kind: crd for crd in map(parse_crd, read_crds())}
IMMUTABLE_FIELD, IMMUTABLE_VALUE = "field is immutable", "Value is immutable"


def build_trainjob(name: str = "mnist", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, **spec},
    }


def build_runtime(jobset: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {"name": "torch-distributed"},
        "spec": {"template": {"spec": jobset or {}}, **spec},
    }


def build_job(name: str, **fields: Any) -> dict[str, Any]:
    pod = {"spec": {"containers": [{"name": "node"}]}}
    return {"name": name, "template": {"spec": {"template": pod}}, **fields}


def build_patch(manager: str, **pod: Any) -> dict[str, Any]:
    job = {"name": "node", "template": {"spec": {"template": {"spec": pod}}}}
    return {"manager": manager, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}}}


def judge(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    crd = CRDS[new["kind"]]
    completed, unknown = complete(new, crd)
    assert [*unknown, *validate_schema(completed, crd)] == []
    before = deepcopy((new, old))
    errors = validate_rules(completed, complete(old, crd)[0] if old else None, crd)
    assert (new, old) == before
    assert all((error.type, error.stage) == ("Invalid value", "cel") for error in errors)
    return [(error.path, error.detail) for error in errors]


NAME_FORMAT = "metadata.name must match RFC 1035 DNS label format"
NAME_LENGTH = "metadata.name must be no more than 63 characters"


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("a", []),
        ("a-1", []),
        ("a" * 63, []),
        ("1st", [NAME_FORMAT]),
        ("a.b", [NAME_FORMAT]),
        ("a-", [NAME_FORMAT]),
        ("a\n", [NAME_FORMAT]),
        ("a" * 64, [NAME_LENGTH]),
        ("A" * 64, [NAME_FORMAT, NAME_LENGTH]),
    ],
)
def test_a_trainjob_name_is_a_dns_label(name: str, problems: list[str]) -> None:
    assert judge(build_trainjob(name)) == [("metadata.name", problem) for problem in problems]


def test_a_runtime_name_is_free_of_that_rule() -> None:
    runtime = build_runtime({"suspend": True})
    runtime["metadata"]["name"] = "1st.runtime"
    assert judge(runtime) == []


MANAGED_BY = "ManagedBy must be trainer.kubeflow.org/trainjob-controller or kueue.x-k8s.io/multikueue if set"
URI = "storageUri may be empty, or it must be a valid URI (scheme://...)"


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"managedBy": "kueue.x-k8s.io/multikueue"}, []),
        ({"managedBy": "trainer.kubeflow.org/trainjob-controller"}, []),
        ({"managedBy": ""}, [("spec.managedBy", MANAGED_BY)]),
        ({"managedBy": "me"}, [("spec.managedBy", MANAGED_BY)]),
        ({"initializer": {"dataset": {"storageUri": ""}}}, []),
        ({"initializer": {"dataset": {"storageUri": "hf://a/b"}}}, []),
        ({"initializer": {"dataset": {"storageUri": "a/b"}}}, [("spec.initializer.dataset.storageUri", URI)]),
        ({"initializer": {"model": {"storageUri": "hf://"}}}, [("spec.initializer.model.storageUri", URI)]),
        ({"initializer": {"model": {"storageUri": "1s3://b"}}}, [("spec.initializer.model.storageUri", URI)]),
        ({"trainer": {"numProcPerNode": 1}}, []),
        (
            {"trainer": {"numProcPerNode": 0}},
            [("spec.trainer.numProcPerNode", "numProcPerNode must be greater than or equal to 1")],
        ),
    ],
)
def test_rules_of_a_trainjob(spec: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    assert judge(build_trainjob(**spec)) == errors


def test_a_trainer_status_says_when() -> None:
    job = {**build_trainjob(), "status": {"trainerStatus": {"progressPercentage": 5}}}
    detail = "lastUpdatedTime is required when trainerStatus is present"
    assert judge(job) == [("status.trainerStatus", detail)]
    job["status"]["trainerStatus"]["lastUpdatedTime"] = "2026-01-02T03:04:05Z"
    assert judge(job) == []


ONE_POLICY = "Only one of the policy can be configured"
NOT_NODE = "containerNames must not include the main node container because PET_* envs are always injected into it"


@pytest.mark.parametrize(
    ("policy", "errors"),
    [
        ({"torch": {}}, []),
        ({"numNodes": 2}, []),
        ({"torch": {}, "mpi": {}}, [("spec.mlPolicy", ONE_POLICY)]),
        ({"jax": {}, "xgboost": {}}, [("spec.mlPolicy", ONE_POLICY)]),
        ({"torch": {}, "flux": None}, []),
        (
            {"mpi": {"numProcPerNode": 0}},
            [("spec.mlPolicy.mpi.numProcPerNode", "NumProcPerNode in mpiPolicy must be >= 1")],
        ),
        (
            {"flux": {"numProcPerNode": 0}},
            [("spec.mlPolicy.flux.numProcPerNode", "NumProcPerNode in fluxPolicy must be >= 1")],
        ),
        (
            {"torch": {"envInjection": {"targets": [{"jobName": "node", "containerNames": ["a", "node"]}]}}},
            [("spec.mlPolicy.torch.envInjection.targets[0].containerNames", NOT_NODE)],
        ),
    ],
)
def test_rules_of_an_ml_policy(policy: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    assert judge(build_runtime(mlPolicy=policy)) == errors


EXCLUSIVE = "StartupPolicy and DependsOn APIs are mutually exclusive"
NO_NAMESPACE = "namespace cannot be set for VolumeClaimPolicies templates"
DEPENDS_ON = [{"name": "init", "status": "Complete"}]


@pytest.mark.parametrize(
    ("jobset", "errors"),
    [
        ({"startupPolicy": {"startupPolicyOrder": "InOrder"}, "replicatedJobs": [build_job("init")]}, []),
        ({"replicatedJobs": [build_job("init"), build_job("node", dependsOn=DEPENDS_ON)]}, []),
        (
            {
                "startupPolicy": {"startupPolicyOrder": "InOrder"},
                "replicatedJobs": [build_job("init"), build_job("node", dependsOn=DEPENDS_ON)],
            },
            [("spec.template.spec", EXCLUSIVE)],
        ),
        (
            {"startupPolicy": {"startupPolicyOrder": "InOrder"}},
            [("spec.template.spec", f"no such key: replicatedJobs evaluating rule: {EXCLUSIVE}")],
        ),
        ({"volumeClaimPolicies": [{"templates": [{"metadata": {"name": "data"}}]}]}, []),
        (
            {"volumeClaimPolicies": [{}, {"templates": [{"metadata": {"namespace": "x"}}]}]},
            [("spec.template.spec.volumeClaimPolicies[1]", NO_NAMESPACE)],
        ),
    ],
)
def test_rules_of_a_jobset_template(jobset: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    assert judge(build_runtime(jobset)) == errors


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ({}, {}, []),
        ({}, {"suspend": True}, []),
        ({}, {"runtimeRef": {"name": "other"}}, ["spec.runtimeRef"]),
        ({}, {"runtimeRef": {"name": "torch-distributed", "kind": "TrainingRuntime"}}, ["spec.runtimeRef"]),
        ({"trainer": {"numNodes": 1}}, {"trainer": {"numNodes": 2}}, ["spec.trainer"]),
        ({}, {"trainer": {"numNodes": 2}}, []),
        ({"trainer": {"numNodes": 2}}, {}, []),
        ({"trainer": {"args": ["a", "b"]}}, {"trainer": {"args": ["b", "a"]}}, ["spec.trainer"]),
        (
            {"trainer": {"env": [{"name": "A"}, {"name": "B"}]}},
            {"trainer": {"env": [{"name": "B"}, {"name": "A"}]}},
            [],
        ),
        ({"initializer": {"model": {}}}, {"initializer": {"dataset": {}}}, ["spec.initializer"]),
        ({"activeDeadlineSeconds": 5}, {"activeDeadlineSeconds": 6}, ["spec.activeDeadlineSeconds"]),
        ({}, {"managedBy": "kueue.x-k8s.io/multikueue"}, ["spec.managedBy"]),
        ({"managedBy": None}, {"managedBy": "trainer.kubeflow.org/trainjob-controller"}, []),
    ],
)
def test_what_may_change_in_a_trainjob(old: dict[str, Any], new: dict[str, Any], paths: list[str]) -> None:
    errors = judge(build_trainjob(**new), build_trainjob(**old))
    assert errors == [(path, IMMUTABLE_FIELD) for path in paths]


PATCHED_POD = "spec.runtimePatches[{}].trainingRuntimeSpec.template.spec.replicatedJobs[0].template.spec.template.spec"


def test_patches_are_compared_by_their_manager() -> None:
    old = build_trainjob(
        runtimePatches=[build_patch("a.io/x", serviceAccountName="a"), build_patch("b.io/x", nodeSelector={})]
    )
    moved = build_trainjob(
        runtimePatches=[
            build_patch("b.io/x", nodeSelector={"zone": "1"}),
            build_patch("a.io/x", serviceAccountName="a"),
        ]
    )
    changed = build_trainjob(runtimePatches=[build_patch("c.io/x"), build_patch("a.io/x", serviceAccountName="b")])
    assert judge(moved, old) == []
    assert judge(changed, old) == [(f"{PATCHED_POD.format(1)}.serviceAccountName", IMMUTABLE_FIELD)]


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ({"network": {"subdomain": "a"}}, {"network": {"subdomain": "b"}}, ["network"]),
        ({"successPolicy": {"operator": "All"}}, {"successPolicy": {"operator": "Any"}}, ["successPolicy"]),
        ({"failurePolicy": {"maxRestarts": 1}}, {"failurePolicy": {"maxRestarts": 2}}, ["failurePolicy"]),
        ({}, {"failurePolicy": {"maxRestarts": 2}}, []),
        (
            {"startupPolicy": {"startupPolicyOrder": "AnyOrder"}, "replicatedJobs": []},
            {"startupPolicy": {"startupPolicyOrder": "InOrder"}, "replicatedJobs": []},
            ["startupPolicy"],
        ),
        ({"volumeClaimPolicies": [{}]}, {"volumeClaimPolicies": [{}, {}]}, ["volumeClaimPolicies"]),
        (
            {"replicatedJobs": [build_job("init"), build_job("node", dependsOn=DEPENDS_ON)]},
            {"replicatedJobs": [build_job("node", dependsOn=[{"name": "init", "status": "Ready"}])]},
            ["replicatedJobs[0].dependsOn"],
        ),
        (
            {"replicatedJobs": [build_job("node", replicas=1)]},
            {"replicatedJobs": [build_job("node", replicas=2)]},
            [],
        ),
    ],
)
def test_what_may_change_in_a_runtime(old: dict[str, Any], new: dict[str, Any], paths: list[str]) -> None:
    errors = judge(build_runtime({"suspend": True, **new}), build_runtime({"suspend": True, **old}))
    assert errors == [(f"spec.template.spec.{path}", IMMUTABLE_VALUE) for path in paths]


@pytest.mark.parametrize("crd", CRDS.values(), ids=lambda crd: crd.kind)
def test_the_shipped_definitions_can_be_judged(crd: Crd) -> None:
    check_crd(crd)
