"""A document is stored with its defaults, without nulls that mean nothing, and without fields nobody knows."""

import time
from copy import deepcopy
from typing import Any

import pytest

from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.limits import MOST_ERRORS
from trainlet.admission.structure import complete
from trainlet.kube.meta import JSON
from trainlet.package_data import read_crds

CRDS = {crd.kind: crd for crd in map(parse_crd, read_crds())}
TRAINJOB, RUNTIME = CRDS["TrainJob"], CRDS["ClusterTrainingRuntime"]
POD = "spec.template.spec.replicatedJobs[0].template.spec.template.spec"

STRING: JSON = {"type": "string"}
WITH_DEFAULT: JSON = {**STRING, "default": "d"}
CLOSED: JSON = {"type": "object", "properties": {"a": STRING}}
OPEN: JSON = {**CLOSED, "x-kubernetes-preserve-unknown-fields": True}
EMBEDDED: JSON = {**CLOSED, "x-kubernetes-embedded-resource": True}


def build_trainjob(**spec: Any) -> JSON:
    return {
        "apiVersion": TRAINJOB.api_version,
        "kind": "TrainJob",
        "metadata": {"name": "mnist"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, **spec},
    }


def build_runtime(**container: Any) -> JSON:
    pod = {"containers": [{"name": "node", **container}]}
    job = {"name": "node", "template": {"spec": {"template": {"spec": pod}}}}
    return {
        "apiVersion": RUNTIME.api_version,
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": "torch-distributed"},
        "spec": {"template": {"spec": {"replicatedJobs": [job]}}},
    }


def build_crd(schema: JSON) -> Crd:
    """A definition whose objects carry one field, `x`, of the given schema."""
    return Crd("g", "v1", "K", "ks", "k", (), "Namespaced", {"type": "object", "properties": {"x": schema}})


def fill(document: JSON, crd: Crd = TRAINJOB) -> JSON:
    """Return a document that has no unknown field, completed."""
    completed, unknown = complete(document, crd)
    assert unknown == []
    return completed


def list_unknown(document: JSON, crd: Crd = TRAINJOB) -> list[str]:
    return [str(error) for error in complete(document, crd)[1]]


def list_of(items: JSON) -> JSON:
    return {"type": "array", "items": items}


def map_of(values: Any) -> JSON:
    return {"type": "object", "additionalProperties": values}


FILLED: dict[str, tuple[JSON, JSON, JSON]] = {
    # name: (schema of x, document, completed)
    "nothing to fill": (STRING, {}, {}),
    "a default": (WITH_DEFAULT, {}, {"x": "d"}),
    "a given value stays": (WITH_DEFAULT, {"x": "y"}, {"x": "y"}),
    "a value of the wrong type stays": (WITH_DEFAULT, {"x": 1}, {"x": 1}),
    "a false value is a value": ({"type": "boolean", "default": True}, {"x": False}, {"x": False}),
    "a null becomes the default": (WITH_DEFAULT, {"x": None}, {"x": "d"}),
    "a null that may be one stays": ({**WITH_DEFAULT, "nullable": True}, {"x": None}, {"x": None}),
    "a nullable field has a default too": ({**WITH_DEFAULT, "nullable": True}, {}, {"x": "d"}),
    "a default that is null": ({**STRING, "nullable": True, "default": None}, {}, {"x": None}),
    "a null without default is dropped": (STRING, {"x": None}, {}),
    "defaults do not make their parents": (
        {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": WITH_DEFAULT}}}},
        {"x": {}},
        {"x": {}},
    ),
    "a default in a default": (
        {"type": "object", "properties": {"a": WITH_DEFAULT}, "default": {}},
        {},
        {"x": {"a": "d"}},
    ),
    "nulls and unknown fields in a default": (
        {**CLOSED, "default": {"a": None, "b": 1}},
        {},
        {"x": {}},
    ),
    "in the items of a list": (
        list_of({"type": "object", "properties": {"a": WITH_DEFAULT}}),
        {"x": [{}, {"a": None}, {"a": "y"}]},
        {"x": [{"a": "d"}, {"a": "d"}, {"a": "y"}]},
    ),
    "a null item": (list_of(STRING), {"x": [None]}, {"x": [None]}),
    "a null item with a default": (list_of(WITH_DEFAULT), {"x": [None]}, {"x": ["d"]}),
    "in a map": (
        map_of({"type": "object", "properties": {"a": WITH_DEFAULT}}),
        {"x": {"k": {}}},
        {"x": {"k": {"a": "d"}}},
    ),
    "a null in a map": (map_of(STRING), {"x": {"k": None}}, {"x": {}}),
    "a null in a map with a default": (map_of(WITH_DEFAULT), {"x": {"k": None}}, {"x": {"k": "d"}}),
    "a map of anything": (map_of(True), {"x": {"k": 1, "l": [1]}}, {"x": {"k": 1, "l": [1]}}),
    "an object where a text belongs": (STRING, {"x": {"a": None}}, {"x": {"a": None}}),
    "a list where an object belongs": (CLOSED, {"x": [{"b": 1}]}, {"x": [{"b": 1}]}),
    "an object where a list belongs": (list_of(CLOSED), {"x": {"b": 1}}, {"x": {"b": 1}}),
    "an object for int-or-string": ({"x-kubernetes-int-or-string": True}, {"x": {"b": 1}}, {"x": {"b": 1}}),
    "what is open keeps what it does not know": (OPEN, {"x": {"b": {"c": None}}}, {"x": {"b": {"c": None}}}),
    "and still drops a known null": (OPEN, {"x": {"a": None}}, {"x": {}}),
    "what is open and says nothing": (
        {"x-kubernetes-preserve-unknown-fields": True},
        {"x": [{"b": 1}, 2]},
        {"x": [{"b": 1}, 2]},
    ),
    "an open list keeps what its items do not know": (
        {**list_of(CLOSED), "x-kubernetes-preserve-unknown-fields": True},
        {"x": [{"a": "1", "b": 2}]},
        {"x": [{"a": "1", "b": 2}]},
    ),
    "an embedded object": (
        EMBEDDED,
        {"x": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "creationTimestamp": None}, "a": "1"}},
        {"x": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "a": "1"}},
    ),
}


@pytest.mark.parametrize(("schema", "document", "completed"), FILLED.values(), ids=FILLED)
def test_what_is_filled_in_and_what_is_dropped(schema: JSON, document: JSON, completed: JSON) -> None:
    assert fill(document, build_crd(schema)) == completed


PRUNED: dict[str, tuple[JSON, JSON, JSON, list[str]]] = {
    # name: (schema of x, document, completed, unknown fields)
    "beside": (CLOSED, {"x": {}, "y": 1}, {"x": {}}, ["y"]),
    "in an object": (CLOSED, {"x": {"a": "1", "b": 1, "c": {"d": 1}}}, {"x": {"a": "1"}}, ["x.b", "x.c"]),
    "a null": (CLOSED, {"x": {"b": None}}, {"x": {}}, ["x.b"]),
    "in an object without fields": ({"type": "object"}, {"x": {"b": 1}}, {"x": {}}, ["x.b"]),
    "in a list": (list_of(CLOSED), {"x": [{}, {"b": 1}]}, {"x": [{}, {}]}, ["x[1].b"]),
    "in a list of lists": (list_of(list_of(CLOSED)), {"x": [[{"b": 1}]]}, {"x": [[{}]]}, ["x[0][0].b"]),
    "in a map": (map_of(CLOSED), {"x": {"k": {"b": 1}}}, {"x": {"k": {}}}, ["x.k.b"]),
    "in a map of anything": (map_of(True), {"x": {"k": {"b": 1}}}, {"x": {"k": {}}}, ["x.k.b"]),
    "below what is open": (
        {"type": "object", "properties": {"a": CLOSED}, "x-kubernetes-preserve-unknown-fields": True},
        {"x": {"a": {"b": 1}, "c": {"b": 1}}},
        {"x": {"a": {}, "c": {"b": 1}}},
        ["x.a.b"],
    ),
    "below an open list": (
        {**list_of({"type": "object", "properties": {"a": CLOSED}}), "x-kubernetes-preserve-unknown-fields": True},
        {"x": [{"a": {"b": 1}, "c": 1}]},
        {"x": [{"a": {}, "c": 1}]},
        ["x[0].a.b"],
    ),
    "in an embedded object": (
        EMBEDDED,
        {"x": {"apiVersion": "v1", "b": 1, "metadata": {"nam": "n"}}},
        {"x": {"apiVersion": "v1", "metadata": {}}},
        ["x.b", "x.metadata.nam"],
    ),
    "what only an embedded object has": (CLOSED, {"x": {"kind": "K"}}, {"x": {}}, ["x.kind"]),
}


@pytest.mark.parametrize(("schema", "document", "completed", "unknown"), PRUNED.values(), ids=PRUNED)
def test_what_is_unknown_is_left_out_and_reported(
    schema: JSON, document: JSON, completed: JSON, unknown: list[str]
) -> None:
    found, errors = complete(document, build_crd(schema))
    assert found == completed
    assert [(error.path, error.type, error.stage) for error in errors] == [
        (path, "Unknown field", "schema") for path in unknown
    ]


def test_the_root_has_what_every_object_has() -> None:
    document = {"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}}}
    assert fill(document, build_crd(STRING)) == document
    open_root = Crd("g", "v1", "K", "ks", "k", (), "Cluster", {"x-kubernetes-preserve-unknown-fields": True})
    assert fill({**document, "anything": {"b": None}}, open_root) == {**document, "anything": {"b": None}}


SUGGESTED = [
    (build_trainjob(trainer={"imag": "x"}), 'spec.trainer.imag: Unknown field: did you mean "image"?'),
    (build_trainjob(trainer={"numnodes": 1}), 'spec.trainer.numnodes: Unknown field: did you mean "numNodes"?'),
    (build_trainjob(initializer={"zzz": 1}), "spec.initializer.zzz: Unknown field: known here: dataset, model"),
    ({**build_trainjob(), "sepc": 1}, 'sepc: Unknown field: did you mean "spec"?'),
    ({**build_trainjob(), "metadata": {"lables": {}}}, 'metadata.lables: Unknown field: did you mean "labels"?'),
    (build_runtime(comand=["x"]), f'{POD}.containers[0].comand: Unknown field: did you mean "command"?'),
    (build_runtime(volumeMount=[]), f'{POD}.containers[0].volumeMount: Unknown field: did you mean "volumeMounts"?'),
    (build_runtime(zzz=[]), f"{POD}.containers[0].zzz: Unknown field"),
    (
        build_runtime(resources={"limit": {}}),
        f'{POD}.containers[0].resources.limit: Unknown field: did you mean "limits"?',
    ),
]


@pytest.mark.parametrize(("document", "error"), SUGGESTED, ids=[error for _, error in SUGGESTED])
def test_the_nearest_name_is_suggested(document: JSON, error: str) -> None:
    assert list_unknown(document, CRDS[document["kind"]]) == [error]


def test_of_many_unknown_fields_only_the_first_are_listed() -> None:
    errors = list_unknown(build_trainjob(trainer={f"k{index}": 1 for index in range(MOST_ERRORS + 7)}))
    assert len(errors) == MOST_ERRORS + 1
    assert errors[MOST_ERRORS] == "7 more unknown fields are not listed"


HOSTILE: dict[str, JSON] = {
    "many names": {f"unknown-field-number-{index}": 1 for index in range(100_000)},
    "long names": {f"{'image' * 6_000}{index}": 1 for index in range(100)},
    "long lists": {"env": [{"name": "a", "valeu": "b"}] * 50_000},
}


@pytest.mark.parametrize("trainer", HOSTILE.values(), ids=HOSTILE)
def test_rubbish_takes_no_time(trainer: JSON) -> None:
    document = build_trainjob(trainer=trainer)
    start = time.process_time()
    _, unknown = complete(document, TRAINJOB)
    assert time.process_time() - start < 5  # a hang is what this is about
    assert len(unknown) >= MOST_ERRORS


def test_defaults_of_a_trainjob() -> None:
    assert fill(build_trainjob())["spec"] == {
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
    completed = fill(runtime, RUNTIME)
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


def test_a_null_means_not_given() -> None:
    env = [{"name": "A", "value": None}]
    document = build_trainjob(trainer=None, suspend=None, initializer={"model": {"env": env}})
    spec = fill(document)["spec"]
    assert "trainer" not in spec
    assert spec["suspend"] is False
    assert spec["initializer"]["model"]["env"] == [{"name": "A"}]


def test_a_default_belongs_to_the_document() -> None:
    crd = build_crd({**OPEN, "default": {"list": []}})
    fill({}, crd)["x"]["list"].append(1)
    assert fill({}, crd) == {"x": {"list": []}}


def test_completing_changes_neither_its_input_nor_the_schema() -> None:
    document = build_runtime(ports=[{"containerPort": 80}], image=None, comand=1)
    before, schema = deepcopy(document), deepcopy(RUNTIME.schema)
    completed, _ = complete(document, RUNTIME)
    completed["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["extra"] = 1
    assert (document, RUNTIME.schema) == (before, schema)
