"""JSON Schemas for editors: what each keyword becomes, what they take, and what they refuse."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.json_schema import build_json_schema, build_union, describe
from trainlet.kube.meta import JSON
from trainlet.package_data import data_dir, read_crds

CRDS = {crd.kind: crd for crd in map(parse_crd, read_crds())}
SCHEMAS = {kind: build_json_schema(crd) for kind, crd in CRDS.items()}
MANIFESTS = sorted(data_dir("manifests").rglob("*.yaml"))
INT32 = {"minimum": -(2**31), "maximum": 2**31 - 1}
TEXT = {"type": "string"}


def build_crd(field: JSON) -> Crd:
    """Return a definition whose `spec` has this schema."""
    version = {"name": "v1", "storage": True, "schema": {"openAPIV3Schema": {"properties": {"spec": field}}}}
    spec = {"group": "a.b", "scope": "Cluster", "names": {"kind": "X", "plural": "xs"}, "versions": [version]}
    return parse_crd({"kind": "CustomResourceDefinition", "metadata": {"name": "xs.a.b"}, "spec": spec})


def convert(field: JSON) -> JSON:
    schema: JSON = build_json_schema(build_crd(field))["properties"]["spec"]
    return schema


def is_valid(schema: JSON, document: Any) -> bool:
    return bool(Draft7Validator(schema).is_valid(document))


def read_documents() -> list[tuple[str, JSON]]:
    return [(path.name, document) for path in MANIFESTS for document in yaml.safe_load_all(path.read_text("utf-8"))]


def build_job(**trainer: Any) -> JSON:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "mnist"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer},
    }


@pytest.mark.parametrize(
    ("structural", "converted"),
    [
        (TEXT, TEXT),
        ({"type": "integer", "format": "int32"}, {"type": "integer", **INT32}),
        ({"type": "integer", "format": "int32", "minimum": 1}, {"type": "integer", **INT32, "minimum": 1}),
        ({"type": "number", "format": "double"}, {"type": "number"}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        (
            {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False},
            {"type": "number", "exclusiveMinimum": 0, "maximum": 9},
        ),
        (
            {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^a"},
            {"type": ["integer", "string"], "pattern": "^a"},
        ),
        (
            {"type": "string", "nullable": True, "enum": ["a"], "default": "a"},
            {"type": ["string", "null"], "enum": ["a", None], "default": "a"},
        ),
        (
            {"x-kubernetes-int-or-string": True, "nullable": True},
            {"type": ["integer", "string", "null"]},
        ),
        ({"type": "object"}, {"type": "object", "additionalProperties": False}),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"type": "object"}),
        ({"x-kubernetes-preserve-unknown-fields": True}, {}),
        (
            {"type": "object", "additionalProperties": {"type": "object"}},
            {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": False}},
        ),
        ({"type": "object", "additionalProperties": True}, {"type": "object"}),
        (
            {"type": "object", "properties": {"a": {**TEXT, "default": "x"}, "b": TEXT}, "required": ["a", "b"]},
            {
                "type": "object",
                "properties": {"a": {**TEXT, "default": "x"}, "b": TEXT},
                "required": ["b"],
                "additionalProperties": False,
            },
        ),
        (
            {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
            {"type": "array", "items": TEXT, "uniqueItems": True},
        ),
        (
            {"type": "array", "items": TEXT, "x-kubernetes-list-type": "atomic"},
            {"type": "array", "items": TEXT},
        ),
        (
            {"type": "string", "oneOf": [{"enum": ["a"]}], "not": {"pattern": "b"}},
            {"type": "string", "oneOf": [{"enum": ["a"]}], "not": {"pattern": "b"}},
        ),
        (
            {"type": "string", "description": "A.", "x-kubernetes-validations": [{"rule": "r", "message": "be x"}]},
            {"type": "string", "description": "A.\n\n- be x"},
        ),
    ],
)
def test_each_keyword_becomes(structural: JSON, converted: JSON) -> None:
    assert convert(structural) == converted


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({}, ""),
        ({"description": "A."}, "A."),
        ({"x-kubernetes-validations": [{"rule": "self > 1"}]}, "- must satisfy self > 1"),
        (
            {"description": "A.", "x-kubernetes-validations": [{"rule": "a", "message": "b"}, {"rule": "c"}]},
            "A.\n\n- b\n- must satisfy c",
        ),
    ],
)
def test_a_description_ends_with_what_rules_demand(schema: JSON, text: str) -> None:
    assert describe(schema) == text


def test_an_embedded_object_has_the_fields_of_every_object() -> None:
    schema = convert({"type": "object", "x-kubernetes-embedded-resource": True})
    good = {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b"}}}
    assert is_valid(schema, good)
    assert not is_valid(schema, {**good, "spec": {}})


@pytest.mark.parametrize("kind", CRDS)
def test_a_schema_is_draft_7_and_nothing_else(kind: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[kind])
    assert SCHEMAS[kind]["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "x-kubernetes" not in str(SCHEMAS[kind])
    assert "'nullable'" not in str(SCHEMAS[kind])


@pytest.mark.parametrize(("name", "document"), read_documents())
def test_shipped_manifests_are_taken(name: str, document: JSON) -> None:
    assert [error.message for error in Draft7Validator(SCHEMAS[document["kind"]]).iter_errors(document)] == [], name


def _change(path: str, value: Any) -> Callable[[JSON], None]:
    def change(document: JSON) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            document = document.setdefault(parent, {})
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("apiVersion", "trainer.kubeflow.org/v1"),
        ("kind", "Trainjob"),
        ("metadata", {}),
        ("metadata.lables", {}),
        ("metadata.labels", {"a": 1}),
        ("specs", {}),
        ("spec.runtimeref", {}),
        ("spec.runtimeRef", {}),
        ("spec.runtimeRef.name", ""),
        ("spec.suspend", "yes"),
        ("spec.trainer.numNode", 2),
        ("spec.trainer.numNodes", "two"),
        ("spec.trainer.numNodes", -1),
        ("spec.trainer.numNodes", 2**31),
        ("spec.trainer.numNodes", None),
        ("spec.trainer.command", "python train.py"),
        ("spec.trainer.env", [{"value": "1"}]),
        ("spec.trainer.env", [{"name": "A", "value": 1}]),
        ("spec.trainer.resourcesPerNode", {"limits": {"memory": "4 GB"}}),
        ("spec.trainer.resourcesPerNode", {"limits": {"cpu": 1.5}}),
        ("spec.activeDeadlineSeconds", 0),
    ],
)
def test_what_is_mistyped_is_refused(path: str, value: Any) -> None:
    document = build_job(numNodes=2)
    assert is_valid(SCHEMAS["TrainJob"], document)
    _change(path, value)(document)
    assert not is_valid(SCHEMAS["TrainJob"], document)


@pytest.mark.parametrize("mistake", [("template", "specs"), ("mlPolicys",), ("mlPolicy", "jax", "numNodes")])
def test_a_mistyped_runtime_is_refused(mistake: tuple[str, ...]) -> None:
    [runtime] = [document for name, document in read_documents() if name == "torch-distributed.yaml"]
    changed = deepcopy(runtime)
    changed["spec"]["mlPolicy"] = {"numNodes": 1, "jax": {}}
    schema = SCHEMAS[runtime["kind"]]
    assert is_valid(schema, changed)
    _change(".".join(("spec", *mistake)), {})(changed)
    assert not is_valid(schema, changed)


@pytest.mark.parametrize("quantity", [1, "1", "500m", "4Gi", "1e3"])
def test_quantities_are_numbers_or_texts(quantity: object) -> None:
    assert is_valid(SCHEMAS["TrainJob"], build_job(resourcesPerNode={"limits": {"cpu": quantity}}))


@pytest.fixture
def union() -> Draft7Validator:
    """The schema of any kind, with the others beside it as in a directory."""
    references = {f"{kind}.json": crd for kind, crd in CRDS.items()}
    beside = [(name, Resource.from_contents(SCHEMAS[crd.kind])) for name, crd in references.items()]
    schema = build_union(references)
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema, registry=Registry().with_resources(beside))


def test_any_kind_takes_what_each_takes(union: Draft7Validator) -> None:
    for name, document in read_documents():
        assert union.is_valid(document), name


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"spec": {}}, False),
        ({"spec": {"runtimeRef": {"name": "a"}, "trainr": {}}}, False),
        ({"kind": "ClusterTrainingRuntime"}, False),
        ({"kind": "TrianJob"}, False),
        ({"apiVersion": "trainer.kubeflow.org/v2"}, False),
        ({"apiVersion": "kubeflow.org/v1"}, False),
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": {}}, True),
    ],
)
def test_any_kind_knows_a_kind_by_group_or_name_and_lets_others_be(
    union: Draft7Validator, change: JSON, accepted: bool
) -> None:
    assert union.is_valid({**build_job(), **change}) == accepted


def test_any_kind_wants_to_know_the_kind(union: Draft7Validator) -> None:
    assert not union.is_valid({"apiVersion": "v1"})


def test_there_are_manifests_to_try() -> None:
    assert {"hello.yaml", "torch-distributed.yaml"} <= {name for name, _ in read_documents()}
