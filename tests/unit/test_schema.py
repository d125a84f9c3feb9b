"""What the schema refuses, in which words, and what it fills in."""

from copy import deepcopy
from typing import Any

import pytest

from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.defaults import apply_defaults
from trainlet.admission.schema import validate_schema
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


def judge(document: dict[str, Any], crd: Crd = TRAINJOB) -> list[str]:
    return [str(error) for error in validate_schema(document, crd)]


def test_a_small_trainjob_and_runtime_are_accepted() -> None:
    assert judge(build_trainjob()) == []
    assert judge(build_runtime(image="x", resources={"limits": {"cpu": 2, "memory": "4Gi"}}), RUNTIME) == []


@pytest.mark.parametrize(
    ("container", "error"),
    [
        ({"comand": ["x"]}, '.comand: Unknown field: did you mean "command"?'),
        ({"volumeMount": []}, '.volumeMount: Unknown field: did you mean "volumeMounts"?'),
        ({"resources": {"limit": {}}}, '.resources.limit: Unknown field: did you mean "limits"?'),
        (
            {"securityContext": {"runAsUsr": 1}},
            '.securityContext.runAsUsr: Unknown field: did you mean "runAsUser"?',
        ),
        (
            {"ports": [{"containerPort": "80"}]},
            f'.ports[0].containerPort: Invalid value: "80": {CONTAINER}.ports[0].containerPort '
            'in body must be of type integer: "string"',
        ),
    ],
)
def test_a_typo_in_a_pod_is_found(container: dict[str, Any], error: str) -> None:
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
        ({"trainer": {"imag": "x"}}, 'spec.trainer.imag: Unknown field: did you mean "image"?'),
        ({"trainer": {"numnodes": 1}}, 'spec.trainer.numnodes: Unknown field: did you mean "numNodes"?'),
        ({"initializer": {"zzz": 1}}, "spec.initializer.zzz: Unknown field: known here: dataset, model"),
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
            "spec.trainer.numNodes in body must be of type int32: 2147483648",
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
        ({"lables": {}}, 'metadata.lables: Unknown field: did you mean "labels"?'),
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
    document = build_trainjob(trainer={"numNodes": "x", "imag": 1, "env": [{}]}, runtimeRef={})
    document["extra"] = 1
    paths = [error.path for error in validate_schema(document, TRAINJOB)]
    assert paths == [
        "extra",
        "spec.runtimeRef.name",
        "spec.trainer.env[0].name",
        "spec.trainer.imag",
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
        ({"type": "object"}, {"any": 1}, False),
        (OPEN_OBJECT, {"any": 1}, True),
        ({"type": "object", "additionalProperties": STRING}, {"any": "x"}, True),
        ({"type": "object", "additionalProperties": STRING}, {"any": 1}, False),
        ({**STRING, "pattern": "^a$"}, "a", True),
        ({**STRING, "pattern": "^a$"}, "a\n", False),
        ({**STRING, "pattern": "a"}, "bab", True),
        ({**STRING, "pattern": r"^\d$"}, "٣", False),
        ({**STRING, "pattern": r"\$"}, "$x", True),
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


def test_defaults_of_a_trainjob() -> None:
    assert apply_defaults(build_trainjob(), TRAINJOB)["spec"] == {
        "runtimeRef": {
            "name": "torch-distributed",
            "apiGroup": "trainer.kubeflow.org",
            "kind": "ClusterTrainingRuntime",
        },
        "managedBy": "trainer.kubeflow.org/trainjob-controller",
        "suspend": False,
    }


def test_defaults_reach_into_lists_and_only_into_what_is_given() -> None:
    runtime = build_runtime(ports=[{"containerPort": 80}])
    runtime["spec"]["mlPolicy"] = {"mpi": {}}
    completed = apply_defaults(runtime, RUNTIME)
    [job] = completed["spec"]["template"]["spec"]["replicatedJobs"]
    [container] = job["template"]["spec"]["template"]["spec"]["containers"]
    assert (job["replicas"], job["groupName"]) == (1, "default")
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert completed["spec"]["mlPolicy"]["mpi"] == {
        "numProcPerNode": 1,
        "mpiImplementation": "OpenMPI",
        "sshAuthMountPath": "/root/.ssh",
        "runLauncherAsNode": False,
    }
    assert "podGroupPolicy" not in completed["spec"]


def test_a_value_that_is_given_stays() -> None:
    completed = apply_defaults(build_trainjob(suspend=True, managedBy="kueue.x-k8s.io/multikueue"), TRAINJOB)
    assert (completed["spec"]["suspend"], completed["spec"]["managedBy"]) == (True, "kueue.x-k8s.io/multikueue")


def test_a_null_means_not_given() -> None:
    document = build_trainjob(
        trainer=None, suspend=None, initializer={"model": {"env": [{"name": "A", "value": None}]}}
    )
    spec = apply_defaults(document, TRAINJOB)["spec"]
    assert "trainer" not in spec
    assert spec["suspend"] is False
    assert spec["initializer"]["model"]["env"] == [{"name": "A"}]


def test_a_null_that_is_a_value_stays() -> None:
    crd = build_crd({**STRING, "nullable": True, "default": "d"})
    assert apply_defaults({"x": None}, crd) == {"x": None}
    assert apply_defaults({}, crd) == {"x": "d"}


def test_a_default_belongs_to_the_document() -> None:
    crd = build_crd({**OPEN_OBJECT, "default": {"list": []}})
    apply_defaults({}, crd)["x"]["list"].append(1)
    assert apply_defaults({}, crd) == {"x": {"list": []}}


def test_defaulting_changes_neither_its_input_nor_the_schema() -> None:
    document = build_runtime(ports=[{"containerPort": 80}], image=None)
    before, schema = deepcopy(document), deepcopy(RUNTIME.schema)
    completed = apply_defaults(document, RUNTIME)
    completed["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["extra"] = 1
    assert (document, RUNTIME.schema) == (before, schema)
