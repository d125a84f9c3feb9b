"""The committed definitions: generated, complete, structural, and with the facts people rely on."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trainlet.admission.crd import Crd, find_crd, parse_crd
from trainlet.kube.errors import UsageError
from trainlet.package_data import data_dir, read_crds

GENERATOR = Path(__file__).parents[2] / "scripts" / "generate_crds.py"
API_VERSION = "trainer.kubeflow.org/v1alpha1"
CRDS = {crd.kind: crd for crd in map(parse_crd, read_crds())}

JOB = "template.spec.replicatedJobs[]"
POD = f"{JOB}.template.spec.template.spec"
PATCHED_POD = f"spec.runtimePatches[].trainingRuntimeSpec.{POD}"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_crds", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_schema(crd: Crd, path: str) -> dict[str, Any]:
    schema = crd.schema
    for part in path.split("."):
        schema = schema["properties"][part.removesuffix("[]")]
        schema = schema["items"] if part.endswith("[]") else schema
    return schema


def iterate_nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from iterate_nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from iterate_nodes(schema[keyword], f"{path}[]")


def test_regenerating_gives_the_committed_bytes() -> None:
    for package in ("kubeflow_trainer_api", "kubernetes_validate"):
        pytest.importorskip(package, reason="needs the dependency group `crds`")
    generator = load_generator()
    written = {name: generator.render(crd) for name, crd in generator.build_crds().items()}
    committed = {path.name: path.read_text(encoding="utf-8") for path in data_dir("crds").glob("*.json")}
    assert written == committed


@pytest.mark.parametrize(
    ("kind", "plural", "scope"),
    [
        ("TrainJob", "trainjobs", "Namespaced"),
        ("TrainingRuntime", "trainingruntimes", "Namespaced"),
        ("ClusterTrainingRuntime", "clustertrainingruntimes", "Cluster"),
    ],
)
def test_each_kind_is_found_under_its_names(kind: str, plural: str, scope: str) -> None:
    crd = find_crd(CRDS.values(), API_VERSION, kind)
    assert crd is not None
    assert (crd.plural, crd.singular, crd.scope, crd.short_names) == (plural, kind.lower(), scope, ())
    assert find_crd(CRDS.values(), "trainer.kubeflow.org/v1", kind) is None


def test_a_definition_is_what_a_cluster_takes() -> None:
    for document in read_crds():
        assert document["apiVersion"] == "apiextensions.k8s.io/v1"
        assert document["metadata"]["name"] == f"{document['spec']['names']['plural']}.trainer.kubeflow.org"
        [version] = document["spec"]["versions"]
        assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
        assert version["schema"]["openAPIV3Schema"]["properties"]["metadata"] == {"type": "object"}


def test_trainjobs_have_a_status_and_columns() -> None:
    [document] = [d for d in read_crds() if d["spec"]["names"]["kind"] == "TrainJob"]
    [version] = document["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]] == ["State", "Age"]


def test_both_runtime_kinds_share_one_spec() -> None:
    specs = [CRDS[kind].schema["properties"]["spec"] for kind in ("TrainingRuntime", "ClusterTrainingRuntime")]
    assert specs[0] == specs[1]


@pytest.mark.parametrize("crd", CRDS.values(), ids=lambda crd: crd.kind)
def test_schemas_are_structural(crd: Crd) -> None:
    for path, schema in iterate_nodes(crd.schema):
        assert ("type" in schema) != schema.get("x-kubernetes-int-or-string", False), path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), path
        assert (schema.get("type") == "array") == ("items" in schema), path


@pytest.mark.parametrize("crd", CRDS.values(), ids=lambda crd: crd.kind)
def test_every_key_of_a_map_list_is_required_or_has_a_default(crd: Crd) -> None:
    for path, schema in iterate_nodes(crd.schema):
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            item = schema["items"]
            assert key in item.get("required", ()) or "default" in item["properties"][key], f"{path} {key}"


TRAINJOB_FACTS: list[tuple[str, dict[str, Any]]] = [
    ("spec", {"required": ["runtimeRef"]}),
    ("spec.runtimeRef", {"required": ["name"]}),
    ("spec.runtimeRef.name", {"minLength": 1, "maxLength": 253}),
    ("spec.runtimeRef.apiGroup", {"default": "trainer.kubeflow.org", "maxLength": 253}),
    ("spec.runtimeRef.kind", {"default": "ClusterTrainingRuntime", "maxLength": 253}),
    ("spec.initializer.dataset.storageUri", {"maxLength": 2048}),
    ("spec.initializer.model.storageUri", {"maxLength": 2048}),
    ("spec.initializer.dataset.env", {"maxItems": 128, "x-kubernetes-list-map-keys": ["name"]}),
    ("spec.initializer.model.env", {"maxItems": 128, "x-kubernetes-list-map-keys": ["name"]}),
    ("spec.initializer.dataset.secretRef.name", {"type": "string"}),
    ("spec.initializer.model.secretRef.name", {"type": "string"}),
    ("spec.trainer.image", {"maxLength": 500}),
    ("spec.trainer.command", {"maxItems": 128, "x-kubernetes-list-type": "atomic"}),
    ("spec.trainer.command[]", {"maxLength": 1048576}),
    ("spec.trainer.args[]", {"maxLength": 1048576}),
    ("spec.trainer.env", {"maxItems": 128, "x-kubernetes-list-type": "map"}),
    ("spec.trainer.numNodes", {"format": "int32", "minimum": 0}),
    ("spec.trainer.resourcesPerNode.claims", {"x-kubernetes-list-type": "map"}),
    ("spec.trainer.resourcesPerNode.limits", {"type": "object"}),
    ("spec.trainer.resourcesPerNode.requests", {"type": "object"}),
    ("spec.trainer.numProcPerNode", {"type": "integer", "format": "int32"}),
    ("spec.runtimePatches", {"maxItems": 16, "x-kubernetes-list-map-keys": ["manager"]}),
    ("spec.suspend", {"type": "boolean", "default": False}),
    ("spec.activeDeadlineSeconds", {"format": "int64", "minimum": 1}),
    ("spec.managedBy", {"default": "trainer.kubeflow.org/trainjob-controller", "maxLength": 253}),
    ("spec.runtimePatches[].manager", {"minLength": 1, "maxLength": 253}),
    ("spec.runtimePatches[].time", {"format": "date-time"}),
    ("spec.runtimePatches[].trainingRuntimeSpec.template.metadata.labels", {"type": "object"}),
    (f"spec.runtimePatches[].trainingRuntimeSpec.{JOB}.name", {"maxLength": 253}),
    (f"spec.runtimePatches[].trainingRuntimeSpec.{JOB}.template.metadata.annotations", {"type": "object"}),
    (f"{PATCHED_POD}.serviceAccountName", {"maxLength": 253}),
    (f"{PATCHED_POD}.volumes", {"maxItems": 128, "x-kubernetes-list-map-keys": ["name"]}),
    (f"{PATCHED_POD}.initContainers", {"maxItems": 64}),
    (f"{PATCHED_POD}.containers", {"maxItems": 64, "x-kubernetes-list-map-keys": ["name"]}),
    (f"{PATCHED_POD}.containers[].env", {"maxItems": 128}),
    (f"{PATCHED_POD}.containers[].volumeMounts", {"maxItems": 128}),
    (f"{PATCHED_POD}.containers[].securityContext.runAsUser", {"format": "int64"}),
    (f"{PATCHED_POD}.imagePullSecrets", {"maxItems": 64}),
    (f"{PATCHED_POD}.securityContext.fsGroup", {"format": "int64"}),
    (f"{PATCHED_POD}.terminationGracePeriodSeconds", {"format": "int64", "minimum": 0}),
    (f"{PATCHED_POD}.nodeSelector", {"type": "object"}),
    (f"{PATCHED_POD}.tolerations", {"maxItems": 128, "x-kubernetes-list-type": "atomic"}),
    (f"{PATCHED_POD}.schedulingGates", {"maxItems": 16}),
    (f"{PATCHED_POD}.affinity.nodeAffinity", {"type": "object"}),
    ("status", {"minProperties": 1}),
    ("status.conditions", {"maxItems": 8, "x-kubernetes-list-map-keys": ["type"]}),
    ("status.conditions[].status", {"enum": ["True", "False", "Unknown"]}),
    ("status.jobsStatus", {"maxItems": 100, "x-kubernetes-list-map-keys": ["name"]}),
    ("status.jobsStatus[]", {"required": ["active", "failed", "name", "ready", "succeeded", "suspended"]}),
    ("status.jobsStatus[].active", {"format": "int32", "minimum": 0}),
    ("status.trainerStatus.progressPercentage", {"minimum": 0, "maximum": 100}),
    ("status.trainerStatus.estimatedRemainingSeconds", {"minimum": 0}),
    ("status.trainerStatus.metrics", {"maxItems": 256, "x-kubernetes-list-type": "atomic"}),
    ("status.trainerStatus.metrics[].value", {"minLength": 1, "maxLength": 64}),
    ("status.trainerStatus.lastUpdatedTime", {"format": "date-time"}),
]

JOBSET = "spec.template.spec"
RUNTIME_FACTS: list[tuple[str, dict[str, Any]]] = [
    ("spec", {"minProperties": 1}),
    ("spec.template", {"minProperties": 1}),
    ("spec.mlPolicy.numNodes", {"format": "int32"}),
    ("spec.mlPolicy.torch.envInjection.targets", {"maxItems": 16, "x-kubernetes-list-map-keys": ["jobName"]}),
    ("spec.mlPolicy.torch.envInjection.targets[].jobName", {"minLength": 1, "maxLength": 253}),
    ("spec.mlPolicy.torch.envInjection.targets[].containerNames", {"minItems": 1, "maxItems": 8}),
    ("spec.mlPolicy.torch.envInjection.targets[].containerNames[]", {"maxLength": 63}),
    ("spec.mlPolicy.mpi.numProcPerNode", {"default": 1, "format": "int32"}),
    ("spec.mlPolicy.mpi.mpiImplementation", {"default": "OpenMPI", "enum": ["OpenMPI", ""]}),
    ("spec.mlPolicy.mpi.sshAuthMountPath", {"default": "/root/.ssh", "maxLength": 4096}),
    ("spec.mlPolicy.mpi.runLauncherAsNode", {"default": False}),
    ("spec.mlPolicy.flux.numProcPerNode", {"default": 1}),
    ("spec.mlPolicy.jax", {"type": "object"}),
    ("spec.mlPolicy.xgboost", {"type": "object"}),
    ("spec.podGroupPolicy.coscheduling.scheduleTimeoutSeconds", {"default": 60}),
    ("spec.podGroupPolicy.volcano.networkTopology.mode", {"default": "hard", "enum": ["hard", "soft"]}),
    ("spec.podGroupPolicy.volcano.networkTopology.highestTierAllowed", {"default": 1}),
    ("spec.template.metadata.labels", {"type": "object"}),
    (f"{JOBSET}.replicatedJobs", {"x-kubernetes-list-map-keys": ["name"]}),
    (f"{JOBSET}.replicatedJobs[]", {"required": ["name", "template"]}),
    (f"{JOBSET}.replicatedJobs[].replicas", {"default": 1, "format": "int32"}),
    (f"{JOBSET}.replicatedJobs[].groupName", {"default": "default"}),
    (f"{JOBSET}.replicatedJobs[].dependsOn", {"maxItems": 5}),
    (f"{JOBSET}.replicatedJobs[].dependsOn[].status", {"enum": ["Ready", "Complete"]}),
    (f"{JOBSET}.network.enableDNSHostnames", {"type": "boolean"}),
    (f"{JOBSET}.network.subdomain", {"type": "string"}),
    (f"{JOBSET}.network.publishNotReadyAddresses", {"type": "boolean"}),
    (f"{JOBSET}.successPolicy.operator", {"enum": ["All", "Any"]}),
    (f"{JOBSET}.successPolicy.targetReplicatedJobs", {"type": "array"}),
    (f"{JOBSET}.failurePolicy.maxRestarts", {"format": "int32"}),
    (f"{JOBSET}.failurePolicy.restartStrategy", {"default": "Recreate"}),
    (f"{JOBSET}.failurePolicy.rules[]", {"required": ["action", "name"]}),
    (f"{JOBSET}.startupPolicy.startupPolicyOrder", {"enum": ["AnyOrder", "InOrder"]}),
    (f"{JOBSET}.suspend", {"type": "boolean"}),
    (f"{JOBSET}.coordinator.jobIndex", {"type": "integer"}),
    (f"{JOBSET}.managedBy", {"type": "string"}),
    (f"{JOBSET}.ttlSecondsAfterFinished", {"minimum": 0}),
    (f"{JOBSET}.volumeClaimPolicies", {"maxItems": 50}),
    (f"{JOBSET}.volumeClaimPolicies[].templates", {"maxItems": 50}),
    (f"{JOBSET}.volumeClaimPolicies[].retentionPolicy.whenDeleted", {"default": "Delete"}),
    (f"spec.{JOB}.template.spec.backoffLimit", {"format": "int32"}),
    (f"spec.{JOB}.template.spec.podFailurePolicy.rules", {"x-kubernetes-list-type": "atomic"}),
    (f"spec.{JOB}.template.spec.template.metadata.annotations", {"type": "object"}),
    (f"spec.{POD}", {"required": ["containers"]}),
    (f"spec.{POD}.containers", {"x-kubernetes-list-map-keys": ["name"]}),
    (f"spec.{POD}.containers[]", {"required": ["name"]}),
    (f"spec.{POD}.containers[].ports", {"x-kubernetes-list-map-keys": ["containerPort", "protocol"]}),
    (f"spec.{POD}.containers[].ports[].protocol", {"default": "TCP"}),
    (f"spec.{POD}.containers[].readinessProbe.httpGet.port", {"x-kubernetes-int-or-string": True}),
    (f"spec.{POD}.volumes[].emptyDir.sizeLimit", {"x-kubernetes-int-or-string": True}),
    (f"spec.{POD}.volumes[].projected.sources", {"x-kubernetes-list-type": "atomic"}),
]


@pytest.mark.parametrize(("path", "facts"), TRAINJOB_FACTS)
def test_trainjob_fields(path: str, facts: dict[str, Any]) -> None:
    schema = find_schema(CRDS["TrainJob"], path)
    assert {name: schema.get(name) for name in facts} == facts


@pytest.mark.parametrize(("path", "facts"), RUNTIME_FACTS)
def test_runtime_fields(path: str, facts: dict[str, Any]) -> None:
    schema = find_schema(CRDS["ClusterTrainingRuntime"], path)
    assert {name: schema.get(name) for name in facts} == facts


IMMUTABLE_PATHS = [
    *[
        ("TrainJob", f"spec.{name}", "field is immutable")
        for name in ("runtimeRef", "initializer", "trainer", "activeDeadlineSeconds", "managedBy")
    ],
    ("TrainJob", "spec.runtimePatches[].manager", "field is immutable"),
    *[
        ("TrainJob", f"{PATCHED_POD}.{name}", "field is immutable")
        for name in (
            "serviceAccountName",
            "volumes",
            "initContainers",
            "containers",
            "imagePullSecrets",
            "securityContext",
            "terminationGracePeriodSeconds",
        )
    ],
    *[
        ("TrainingRuntime", f"{JOBSET}.{name}", "Value is immutable")
        for name in (
            "network",
            "successPolicy",
            "failurePolicy",
            "startupPolicy",
            "volumeClaimPolicies",
            "replicatedJobs[].dependsOn",
        )
    ],
]


@pytest.mark.parametrize(("kind", "path", "message"), IMMUTABLE_PATHS)
def test_immutable_fields(kind: str, path: str, message: str) -> None:
    rules = find_schema(CRDS[kind], path)["x-kubernetes-validations"]
    assert {"rule": "self == oldSelf", "message": message} in rules


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "ConfigMap"}, "kind is 'ConfigMap', not CustomResourceDefinition"),
        ({"spec": {"names": {"kind": "X"}, "versions": []}}, "spec.versions has no version with `storage: true`"),
        ({"spec": None}, "spec.versions must be a list"),
        ({"spec": {"versions": [{"storage": True}]}}, "spec.names.kind must be a str"),
    ],
)
def test_a_malformed_definition_is_refused_by_name(change: dict[str, Any], problem: str) -> None:
    document = {**read_crds()[0], **change}
    with pytest.raises(UsageError) as refused:
        parse_crd(document)
    assert problem in str(refused.value)
    assert document["metadata"]["name"] in str(refused.value)


def test_definitions_are_read_from_another_directory(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps({"kind": "B"}), encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps({"kind": "A"}), encoding="utf-8")
    assert [document["kind"] for document in read_crds(tmp_path)] == ["A", "B"]


UPSTREAM_STYLE = """\
# what a release ships
---
apiVersion: v1
kind: Namespace
---
kind: CustomResourceDefinition
metadata: {name: b}
---
kind: CustomResourceDefinition
metadata: {name: c}
...
---
"""


def test_definitions_are_read_from_yaml_as_a_release_ships_them(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(UPSTREAM_STYLE, encoding="utf-8")
    (tmp_path / "c.yaml").write_text("kind: CustomResourceDefinition\nmetadata: {name: d}\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps({"metadata": {"name": "a"}}), encoding="utf-8")
    (tmp_path / "z.txt").write_text("kind: CustomResourceDefinition", encoding="utf-8")
    assert [document["metadata"]["name"] for document in read_crds(tmp_path)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.txt", ""),
        ("x.json", "{"),
        ("x.json", "[]"),
        ("x.yaml", "a: ["),
        ("x.yaml", "a: !thing 1"),
        ("x.yaml", "kind: Namespace"),
        ("x.yml", "\0"),
    ],
)
def test_unusable_definitions_name_the_place(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        read_crds(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert refused.value.remedy


def test_missing_data_names_the_place() -> None:
    with pytest.raises(UsageError, match="install trainlet again"):
        data_dir("no-such-data")
