"""Sentences that hold for every document that the definitions describe."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.defaults import apply_defaults
from trainlet.admission.schema import validate_schema
from trainlet.package_data import read_crds

CRDS = [parse_crd(document) for document in read_crds()]


def build_pod_crd() -> Crd:
    """A kind whose spec is a runtime's pod spec: chance alone rarely reaches that deep."""
    [runtime] = [crd for crd in CRDS if crd.kind == "TrainingRuntime"]
    schema = runtime.schema
    for name in ("spec", "template", "spec", "replicatedJobs", "template", "spec", "template"):
        schema = schema["properties"][name]
        schema = schema.get("items", schema)
    return replace(runtime, kind="Pod", schema=schema)


KINDS = [*CRDS, build_pod_crd()]

INTEGERS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
DEPTH_FILLED = 12  # down to here nothing is left empty, so that documents reach into pods
WORDS = st.text(alphabet="abcxyz", min_size=1, max_size=5)
MATCHING = {  # a pattern of the definitions is matched by these texts
    "^(\\+|-)?": ["1", "500m", "4Gi", "1e3"],
    "^[A-Za-z]": ["Reason"],
    "^([a-z0-9]": ["Complete", "example.com/Done"],
}


def build_values(schema: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that a schema describes; the deeper, the fewer optional fields."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 100) | _build_texts(schema)
    match schema["type"]:
        case "object":
            return _build_objects(schema, depth)
        case "array":
            return _build_lists(schema, depth)
        case "integer":
            low, high = INTEGERS.get(schema.get("format", "int64"), (0, 0))
            return st.integers(schema.get("minimum", low), schema.get("maximum", high))
        case "boolean":
            return st.booleans()
    return _build_texts(schema)


def _build_texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.just("2026-01-02T03:04:05Z")
    for start, texts in MATCHING.items():
        if schema.get("pattern", "").startswith(start):
            return st.sampled_from(texts)
    return WORDS


def _build_objects(schema: dict[str, Any], depth: int) -> st.SearchStrategy[dict[str, Any]]:
    if "additionalProperties" in schema:
        return st.dictionaries(WORDS, build_values(schema["additionalProperties"], depth + 1), max_size=2)
    return _draw_object(schema, depth)


@st.composite
def _draw_object(draw: st.DrawFn, schema: dict[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    optional = sorted(set(properties) - required)
    at_least = 1 if not required and (depth < DEPTH_FILLED or schema.get("minProperties")) else 0
    most = max(at_least, 4 if depth < 3 else 1)
    chosen = draw(st.sets(st.sampled_from(optional), min_size=at_least, max_size=most)) if optional else set()
    return {name: draw(build_values(properties[name], depth + 1)) for name in sorted(required | chosen)}


def _build_lists(schema: dict[str, Any], depth: int) -> st.SearchStrategy[list[Any]]:
    keys = schema.get("x-kubernetes-list-map-keys")
    unique_by = None
    if keys:
        defaults = {key: schema["items"]["properties"][key].get("default") for key in keys}
        unique_by = lambda item: tuple(item.get(key, defaults[key]) for key in keys)  # noqa: E731
    elif schema.get("x-kubernetes-list-type") == "set":
        unique_by = str
    items = build_values(schema["items"], depth + 1)
    at_least = schema.get("minItems", 1 if depth < DEPTH_FILLED else 0)
    return st.lists(items, min_size=at_least, max_size=2, unique_by=unique_by)


DOCUMENTS = st.sampled_from(KINDS).flatmap(lambda crd: st.tuples(st.just(crd), build_values(crd.schema)))
fast = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@fast
@given(DOCUMENTS)
def test_a_document_that_the_schema_describes_is_accepted(given_document: Any) -> None:
    crd, document = given_document
    assert [str(error) for error in validate_schema(document, crd)] == []


@fast
@given(DOCUMENTS)
def test_defaulting_twice_is_defaulting_once(given_document: Any) -> None:
    crd, document = given_document
    once = apply_defaults(document, crd)
    assert apply_defaults(once, crd) == once


@fast
@given(DOCUMENTS)
def test_judging_and_defaulting_change_no_input(given_document: Any) -> None:
    crd, document = given_document
    before = deepcopy(document)
    validate_schema(document, crd)
    apply_defaults(document, crd)
    assert document == before


@fast
@given(DOCUMENTS, WORDS)
def test_a_field_that_no_schema_names_is_found(given_document: Any, name: str) -> None:
    crd, document = given_document
    spec = {**document.get("spec", {}), f"{name}Unknown": 1}
    errors = validate_schema({**document, "spec": spec}, crd)
    assert (f"spec.{name}Unknown", "Unknown field") in [(error.path, error.type) for error in errors]


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd.kind)
def test_every_default_is_a_value_of_its_own_schema(crd: Any) -> None:
    pending = [crd.schema]
    while pending:
        schema = pending.pop()
        pending += [*schema.get("properties", {}).values()]
        pending += [schema[keyword] for keyword in ("items", "additionalProperties") if keyword in schema]
        if "default" in schema:
            holder = parse_crd(_wrap(schema))
            assert validate_schema({"x": schema["default"]}, holder) == []


def _wrap(schema: dict[str, Any]) -> dict[str, Any]:
    version = {
        "name": "v1",
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"x": schema}}},
    }
    names = {"kind": "K", "plural": "ks"}
    spec = {"group": "g", "names": names, "scope": "Cluster", "versions": [version]}
    return {"kind": "CustomResourceDefinition", "spec": spec}
