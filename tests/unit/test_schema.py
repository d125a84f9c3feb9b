"""What the schema refuses, and in which words."""

import time
from typing import Any

import pytest

from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.limits import MOST_ERRORS
from trainlet.admission.schema import validate_schema
from trainlet.admission.structure import complete
from trainlet.kube.errors import FieldError
from trainlet.package_data import read_crds

CRDS = {crd.kind: crd for crd in map(parse_crd, read_crds())}
TRAINJOB, RUNTIME = CRDS["TrainJob"], CRDS["ClusterTrainingRuntime"]
CONTAINER = "spec.template.spec.replicatedJobs[0].template.spec.template.spec.containers[0]"


def build_trainjob(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": TRAINJOB.api_version,
        "kind": "TrainJob",
        "metadata": {"name": "mnist"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, **spec},
    }


def build_runtime(**container: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "node", **container}]}
    job = {"name": "node", "template": {"spec": {"template": {"spec": pod}}}}
    return {
        "apiVersion": RUNTIME.api_version,
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": "torch-distributed"},
        "spec": {"template": {"spec": {"replicatedJobs": [job]}}},
    }


def build_crd(schema: dict[str, Any]) -> Crd:
    """A definition whose objects carry one field, `x`, of the given schema."""
    return Crd("g", "v1", "K", "ks", "k", (), "Namespaced", {"type": "object", "properties": {"x": schema}})


def find_errors(document: dict[str, Any], crd: Crd = TRAINJOB) -> list[FieldError]:
    completed, _ = complete(document, crd)
    return validate_schema(completed, crd)


def judge(document: dict[str, Any], crd: Crd = TRAINJOB) -> list[str]:
    return [str(error) for error in find_errors(document, crd)]


def test_a_small_runtime_is_accepted() -> None:
    assert judge(build_runtime(image="x", resources={"limits": {"cpu": 2, "memory": "4Gi"}}), RUNTIME) == []


@pytest.mark.parametrize(
    ("container", "error"),
    [
        (
            {"ports": [{"containerPort": "80"}]},
            f'.ports[0].containerPort: Invalid value: "80": {CONTAINER}.ports[0].containerPort '
            'in body must be of type integer: "string"',
        ),
    ],
)
def test_a_wrong_value_deep_in_a_pod_is_found(container: dict[str, Any], error: str) -> None:
    assert judge(build_runtime(**container), RUNTIME) == [CONTAINER + error]


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"runtimeRef": None}, "spec.runtimeRef: Required value"),
        ({"runtimeRef": {}}, "spec.runtimeRef.name: Required value"),
        (
            {"runtimeRef": {"name": ""}},
            'spec.runtimeRef.name: Invalid value: "": spec.runtimeRef.name in body should be at least 1 chars long',
        ),
        (
            {"trainer": {"numNodes": "two"}},
            'spec.trainer.numNodes: Invalid value: "two": '
            'spec.trainer.numNodes in body must be of type integer: "string"',
        ),
        (
            {"trainer": {"numNodes": -1}},
            "spec.trainer.numNodes: Invalid value: -1: "
            "spec.trainer.numNodes in body should be greater than or equal to 0",
        ),
        (
            {"trainer": {"numNodes": 2**31}},
            "spec.trainer.numNodes: Invalid value: 2147483648: "
            "Checked value must be of type integer with format int32 in spec.trainer.numNodes",
        ),
        (
            {"trainer": {"env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]}},
            'spec.trainer.env[2]: Duplicate value: {"name":"A"}',
        ),
        ({"trainer": {"image": "x" * 501}}, "spec.trainer.image: Too long: may not be more than 500 bytes"),
        (
            {"trainer": {"command": ["x"] * 129}},
            "spec.trainer.command: Too many: 129: must have at most 128 items",
        ),
        (
            {"trainer": {"resourcesPerNode": {"limits": {"cpu": 0.5}}}},
            "spec.trainer.resourcesPerNode.limits.cpu: Invalid value: 0.5: "
            'spec.trainer.resourcesPerNode.limits.cpu in body must be of type integer,string: "number"',
        ),
        (
            {"trainer": ["x"]},
            'spec.trainer: Invalid value: ["x"]: spec.trainer in body must be of type object: "array"',
        ),
        (
            {"suspend": "yes"},
            'spec.suspend: Invalid value: "yes": spec.suspend in body must be of type boolean: "string"',
        ),
    ],
)
def test_what_a_trainjob_is_refused_for(spec: dict[str, Any], error: str) -> None:
    assert judge(build_trainjob(**spec)) == [error]


def test_an_unsupported_value_lists_the_supported_ones() -> None:
    runtime = build_runtime()
    runtime["spec"]["mlPolicy"] = {"mpi": {"mpiImplementation": "Intel"}}
    assert judge(runtime, RUNTIME) == [
        'spec.mlPolicy.mpi.mpiImplementation: Unsupported value: "Intel": supported values: "OpenMPI", ""'
    ]


def test_an_empty_status_is_refused() -> None:
    document = {**build_trainjob(), "status": {}}
    assert judge(document) == ["status: Invalid value: {}: status in body should have at least 1 properties"]


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (
            {"labels": {"a": 1}},
            'metadata.labels.a: Invalid value: 1: metadata.labels.a in body must be of type string: "integer"',
        ),
        ({"name": 7}, 'metadata.name: Invalid value: 7: metadata.name in body must be of type string: "integer"'),
    ],
)
def test_the_shape_of_metadata_is_judged(metadata: dict[str, Any], error: str) -> None:
    document = {**build_trainjob(), "metadata": {"name": "mnist", **metadata}}
    assert judge(document) == [error]


def test_a_null_timestamp_in_metadata_is_nothing() -> None:
    document = {**build_trainjob(), "metadata": {"name": "mnist", "creationTimestamp": None}}
    assert judge(document) == []


def test_every_error_is_reported_in_the_order_of_the_paths() -> None:
    env = [{} for _ in range(11)]
    document = build_trainjob(trainer={"numNodes": "x", "image": 1, "env": env}, runtimeRef={})
    paths = [error.path for error in find_errors(document)]
    assert paths == [
        "spec.runtimeRef.name",
        *(f"spec.trainer.env[{index}].name" for index in range(11)),
        "spec.trainer.image",
        "spec.trainer.numNodes",
    ]


INT_OR_STRING = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
MAP_LIST = {
    "type": "array",
    "items": {"type": "object", "properties": {"k": {"type": "string", "default": "d"}}},
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
}
SET_LIST = {"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "set"}
ATOMIC_LIST = {**SET_LIST, "x-kubernetes-list-type": "atomic"}
OPEN_OBJECT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
STRING, INTEGER = {"type": "string"}, {"type": "integer"}
INT64, TIME = {**INTEGER, "format": "int64"}, {"type": "string", "format": "date-time"}


@pytest.mark.parametrize(
    ("schema", "value", "is_valid"),
    [
        ({**STRING, "nullable": True}, None, True),
        (STRING, None, True),
        ({"type": "array", "items": STRING}, [None], False),
        (INT_OR_STRING, 1, True),
        (INT_OR_STRING, "50%", True),
        (INT_OR_STRING, 1.5, False),
        (INT_OR_STRING, True, False),
        (INT_OR_STRING, [], False),
        (INTEGER, True, False),
        (INTEGER, 1.0, True),
        (INTEGER, 1.5, False),
        ({**INTEGER, "format": "int32"}, 2**31 - 1, True),
        ({**INTEGER, "format": "int32"}, 2**31, False),
        ({**INTEGER, "format": "int32"}, -(2**31) - 1, False),
        (INT64, 2**63 - 1, True),
        (INT64, 2**63, False),
        ({"type": "number"}, float("nan"), False),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 1, False),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 2, True),
        (TIME, "2026-01-02T03:04:05Z", True),
        (TIME, "2026-01-02T03:04:05.123456789+01:00", True),
        (TIME, "2026-01-02", False),
        (TIME, "2026-13-02T03:04:05Z", False),
        (TIME, "٢026-01-02T03:04:05Z", False),
        (SET_LIST, [1, 2], True),
        (SET_LIST, [1, 2, 1], False),
        (ATOMIC_LIST, [1, 1], True),
        (MAP_LIST, [{"k": "a"}, {"k": "b"}], True),
        (MAP_LIST, [{}, {"k": "d"}], False),
        (OPEN_OBJECT, {"any": 1}, True),
        ({"type": "object", "additionalProperties": STRING}, {"any": "x"}, True),
        ({"type": "object", "additionalProperties": STRING}, {"any": 1}, False),
        ({**STRING, "pattern": "^a$"}, "a", True),
        ({**STRING, "pattern": "^a$"}, "a\n", False),
        ({**STRING, "pattern": "a"}, "bab", True),
        ({**STRING, "pattern": r"^\d$"}, "٣", False),
        ({**STRING, "pattern": r"\$"}, "$x", True),
        ({**STRING, "pattern": r"^\pL+\z"}, "Grüße", True),
        ({**STRING, "pattern": r"^\pL+\z"}, "a1", False),
        ({**STRING, "minLength": 2}, "😀", False),
        ({**STRING, "minLength": 2}, "😀😀", True),
        ({**INT_OR_STRING, "nullable": True}, None, True),
        ({**STRING, "nullable": True, "enum": ["a"]}, None, False),
        ({**STRING, "nullable": True, "enum": ["a", None]}, None, True),
        ({**STRING, "nullable": True, "not": {"enum": [None]}}, None, True),
        ({**STRING, "allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "ab", True),
        ({**STRING, "allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "a", False),
        ({**INTEGER, "oneOf": [{"minimum": 5}, {"maximum": 7}]}, 6, False),
        ({**INTEGER, "oneOf": [{"minimum": 5}, {"maximum": 7}]}, 4, True),
        ({**STRING, "format": "ipv4"}, "10.0.0.256", False),
        ({**STRING, "format": "ipv4"}, "10.0.0.1", True),
        ({**STRING, "format": "int32"}, "x", True),
        ({**STRING, "format": "made-up"}, "x", True),
        ({**INTEGER, "format": "date"}, 1, True),
        ({"type": "number", "format": "float"}, 1e39, False),
        ({"type": "number", "format": "double"}, 1e39, True),
        ({"type": "number", "format": "int32"}, 2**31, True),
        (INTEGER, 2.0**53, False),
        ({"type": "number", "multipleOf": 0.1}, 0.3, True),
        ({"type": "number", "multipleOf": 0.1}, 0.35, False),
        ({"type": "number", "multipleOf": 2.5}, 7.5, True),
        ({"type": "number", "multipleOf": 2.5}, 5, True),
        ({**INTEGER, "multipleOf": 3}, 9, True),
        ({**INTEGER, "multipleOf": 3}, 10, False),
        ({"type": "array", "items": STRING, "maxItems": 1}, ["a", "b"], False),
        ({"type": "object", "additionalProperties": True, "maxProperties": 1}, {"a": 1, "b": 2}, False),
        ({**STRING, "maxLength": 2}, "éé", True),
        ({**STRING, "maxLength": 2}, "ééé", False),
        ({"type": "object", "required": ["a"], "properties": {"a": {**INTEGER, "default": 1}}}, {}, True),
        ({"type": "object", "required": ["a"], "properties": {"a": INTEGER}}, {"a": None}, False),
    ],
)
def test_what_kubernetes_means_by_a_schema(schema: dict[str, Any], value: Any, is_valid: bool) -> None:
    errors = judge({"x": value}, build_crd(schema))
    assert (errors == []) == is_valid, errors


@pytest.mark.parametrize(
    ("schema", "value", "error"),
    [
        ({**INTEGER, "minimum": 1}, 0, "x: Invalid value: 0: x in body should be greater than or equal to 1"),
        (
            {**INTEGER, "minimum": 1, "exclusiveMinimum": True},
            1,
            "x: Invalid value: 1: x in body should be greater than 1",
        ),
        (
            {"type": "number", "maximum": 1, "exclusiveMaximum": True},
            1.5,
            "x: Invalid value: 1.5: x in body should be less than 1",
        ),
        ({**INTEGER, "multipleOf": 2}, 3, "x: Invalid value: 3: x in body should be a multiple of 2"),
        ({**STRING, "format": "ipv4"}, "a", 'x: Invalid value: "a": x in body must be of type ipv4: "a"'),
        ({**STRING, "pattern": "^b"}, "a", "x: Invalid value: \"a\": x in body should match '^b'"),
        (
            {**STRING, "not": {"enum": ["a"]}},
            "a",
            'x: Invalid value: "a": x in body must not validate the schema (not)',
        ),
        (SET_LIST, [1, 2, 1], "x[2]: Duplicate value: 1"),
        (
            {"type": "array", "items": STRING},
            ["a", 1],
            'x[1]: Invalid value: 1: x[1] in body must be of type string: "integer"',
        ),
    ],
)
def test_the_words_of_a_refusal(schema: dict[str, Any], value: Any, error: str) -> None:
    assert judge({"x": value}, build_crd(schema)) == [error]


EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True}


@pytest.mark.parametrize(
    ("resource", "errors"),
    [
        ({"apiVersion": "v1", "kind": "Pod"}, []),
        ({"apiVersion": "apps/v1", "kind": "Pod", "metadata": {"name": "UPPER_is.fine", "labels": {"a": "b"}}}, []),
        ({}, ["x.apiVersion: Required value: must not be empty", "x.kind: Required value: must not be empty"]),
        (
            {"apiVersion": "", "kind": 1},
            [
                'x.apiVersion: Invalid value: "": must not be empty',
                "x.kind: Invalid value: 1: must be a string",
            ],
        ),
        (
            {"apiVersion": "a/b/c", "kind": "Pod"},
            ['x.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'],
        ),
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a/b", "labels": 1}},
            [
                'x.metadata.labels: Invalid value: 1: x.metadata.labels in body must be of type object: "integer"',
                "x.metadata.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": ".."}},
            ["x.metadata.name: Invalid value: \"..\": may not be '..'"],
        ),
    ],
)
def test_an_embedded_object_is_judged_as_an_object(resource: dict[str, Any], errors: list[str]) -> None:
    assert judge({"x": resource}, build_crd(EMBEDDED)) == errors


@pytest.mark.parametrize(
    ("resource", "start"),
    [
        ({"kind": "not_a_kind"}, 'x.kind: Invalid value: "not_a_kind": may have mixed case, but'),
        ({"metadata": {"labels": {"a b": "c"}}}, 'x.metadata.labels: Invalid value: "a b": name part must consist of'),
        ({"metadata": {"annotations": {"/": "c"}}}, 'x.metadata.annotations: Invalid value: "/": prefix part must be'),
    ],
)
def test_the_names_of_an_embedded_object_are_judged(resource: dict[str, Any], start: str) -> None:
    error, *_ = judge({"x": {"apiVersion": "v1", "kind": "Pod", **resource}}, build_crd(EMBEDDED))
    assert error.startswith(start)


def test_of_many_errors_only_the_first_are_listed() -> None:
    crd = build_crd({"type": "array", "items": STRING})
    errors = judge({"x": [1] * (MOST_ERRORS + 7)}, crd)
    assert len(errors) == MOST_ERRORS + 1
    assert errors[MOST_ERRORS - 1].startswith(f"x[{MOST_ERRORS - 1}]: Invalid value")
    assert errors[MOST_ERRORS] == "7 more errors are not listed"
    assert judge({"x": [1] * 5000}, crd)[MOST_ERRORS] == "900 or more errors are not listed"


def test_a_long_value_is_shown_in_part() -> None:
    [error] = judge({"x": "a" * 1_000_000}, build_crd({**STRING, "pattern": "^b"}))
    assert "... (1000000 characters)" in error
    assert len(error) < 3000


HUGE = {
    "a set": (SET_LIST, list(range(100_000))),
    "a map": (MAP_LIST, [{"k": str(index)} for index in range(50_000)]),
    "wrong values": ({"type": "array", "items": INTEGER}, ["x"] * 100_000),
    "annotations": ({"type": "object", "additionalProperties": STRING}, {str(i): "v" for i in range(100_000)}),
}


@pytest.mark.parametrize(("schema", "value"), HUGE.values(), ids=HUGE)
def test_what_is_huge_is_judged_at_once(schema: dict[str, Any], value: Any) -> None:
    document, crd = {"x": value}, build_crd(schema)
    start = time.process_time()
    validate_schema(document, crd)
    assert time.process_time() - start < 5  # a hang is what this is about


@pytest.mark.parametrize(
    ("quantity", "is_valid"),
    [
        ("4", True),
        (4, True),
        ("0.5", True),
        (".5", True),
        ("500m", True),
        ("4Gi", True),
        ("1e3", True),
        ("-1", True),
        (0.5, False),
        ("4 Gi", False),
        ("4GiB", False),
        ("four", False),
        ("", False),
        ("4\n", False),
    ],
)
def test_quantities(quantity: Any, is_valid: bool) -> None:
    document = build_trainjob(trainer={"resourcesPerNode": {"limits": {"memory": quantity}}})
    errors = judge(document)
    assert (errors == []) == is_valid, errors
