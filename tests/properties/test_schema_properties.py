"""Sentences that hold for every document that the definitions describe."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from trainlet.admission.cel import find_match
from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.dialect import QUANTITY, StructuralValidator
from trainlet.admission.schema import validate_schema
from trainlet.admission.structure import complete
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


KINDS = {crd.kind: crd for crd in [*CRDS, build_pod_crd()]}

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


# A kind and an object of it.
DOCUMENTS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), build_values(KINDS[kind].schema))
)
fast = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@fast
@given(DOCUMENTS)
def test_a_document_that_the_schema_describes_is_accepted(given_document: Any) -> None:
    kind, document = given_document
    crd = KINDS[kind]
    completed, unknown = complete(document, crd)
    assert [str(error) for error in (*validate_schema(completed, crd), *unknown)] == []


@fast
@given(DOCUMENTS)
def test_defaulting_twice_is_defaulting_once(given_document: Any) -> None:
    kind, document = given_document
    crd = KINDS[kind]
    once, _ = complete(document, crd)
    assert complete(once, crd) == (once, [])


@fast
@given(DOCUMENTS)
def test_judging_and_defaulting_change_no_input(given_document: Any) -> None:
    kind, document = given_document
    crd = KINDS[kind]
    before = deepcopy(document)
    completed, _ = complete(document, crd)
    validate_schema(completed, crd)
    assert document == before


@fast
@given(DOCUMENTS, WORDS)
def test_a_field_that_no_schema_names_is_found(given_document: Any, name: str) -> None:
    kind, document = given_document
    crd = KINDS[kind]
    spec = {**document.get("spec", {}), f"{name}Unknown": 1}
    completed, errors = complete({**document, "spec": spec}, crd)
    assert f"{name}Unknown" not in completed["spec"]
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


def test_the_definitions_write_quantities_with_the_pattern_that_is_known() -> None:
    [crd] = [crd for crd in CRDS if crd.kind == "TrainJob"]
    resources = crd.schema["properties"]["spec"]["properties"]["trainer"]["properties"]["resourcesPerNode"]
    assert resources["properties"]["limits"]["additionalProperties"]["pattern"] == QUANTITY


@fast
@given(st.text(alphabet="+-.0123eEiKmMx\n٣", max_size=6))
def test_the_pattern_that_is_known_means_what_it_means_to_re2(text: str) -> None:
    is_valid = StructuralValidator({"pattern": QUANTITY}).is_valid(text)
    assert is_valid == find_match(QUANTITY, text)


# What follows compares with jsonschema's own validator of draft 2020-12, on a translation of the schema into
# plain JSON Schema. Left out, because plain JSON Schema has no word for them, or another meaning:
# - list types (duplicates) and embedded resources: no words; what we say of duplicates is set aside;
# - formats other than the integer ones: mere annotations there; what we say of them is set aside;
# - integers written as floats beyond 2**53, multipleOf of floats: Kubernetes is inexact, JSON Schema exact;
# - a null beside allOf, anyOf, oneOf and not: Kubernetes judges it by type and enum only.

ABOUT_TEXT = ("minLength", "maxLength", "pattern")
COPIED = (*ABOUT_TEXT, "enum", "required", "minItems", "maxItems", "minProperties", "maxProperties", "multipleOf")
BOUNDS = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}


def translate(schema: dict[str, Any]) -> dict[str, Any]:
    """Say in plain JSON Schema what a structural schema means."""
    plain = {keyword: schema[keyword] for keyword in COPIED if keyword in schema}
    if "pattern" in plain:
        plain["pattern"] = plain["pattern"].replace("$", r"\Z")
    types = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") else [schema["type"]]
    plain["type"] = [*types, "null"] if schema.get("nullable") else types
    for bound, exclusive in BOUNDS.items():
        if bound in schema:
            plain[exclusive if schema.get(exclusive) else bound] = schema[bound]
    if schema.get("format") in INTEGERS:
        low, high = INTEGERS[schema["format"]]
        plain["allOf"] = [{"minimum": low, "maximum": high}]
    if "items" in schema:
        plain["items"] = translate(schema["items"])
    plain["properties"] = {name: translate(inner) for name, inner in schema.get("properties", {}).items()}
    extra = schema.get("additionalProperties")
    is_open = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    plain["additionalProperties"] = translate(extra) if extra else is_open
    return plain


PLAIN = {kind: Draft202012Validator(translate(crd.schema)) for kind, crd in KINDS.items()}
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.just(2**31) | st.sampled_from([0.5, 2.0]) | WORDS | st.just(""),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=3,
)


def list_places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((*path, key), *list_places(item, (*path, key)))]


def damage(draw: st.DrawFn, document: Any) -> Any:
    """Put something odd into one place of a document, or take it out."""
    places = list_places(document)
    if not places:
        return document
    document = deepcopy(document)
    *way, last = draw(st.sampled_from(places))
    holder = document
    for step in way:
        holder = holder[step]
    if draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = draw(ODD)
    return document


@st.composite
def damaged_documents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    kind, document = draw(DOCUMENTS)
    for _ in range(draw(st.integers(1, 2))):
        document = damage(draw, document)
    return kind, document


def judge(document: dict[str, Any], crd: Crd) -> tuple[dict[str, Any], list[str]]:
    """Return the completed document and our errors that plain JSON Schema has a word for."""
    completed, _ = complete(document, crd)
    errors = validate_schema(completed, crd)
    return completed, [
        str(error) for error in errors if error.type != "Duplicate value" and "of type date-time" not in error.detail
    ]


@settings(fast, max_examples=150)
@given(damaged_documents())
def test_damaged_documents_are_judged_as_plain_json_schema_judges_them(given_document: Any) -> None:
    kind, document = given_document
    crd = KINDS[kind]
    completed, errors = judge(document, crd)
    assert (errors == []) == PLAIN[kind].is_valid(completed), errors


def keywords(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these keywords."""
    return st.fixed_dictionaries({}, optional={**strategies, "nullable": st.booleans()})


SMALL = st.integers(0, 3)
NAMES = st.sampled_from(["a", "b", "c"])
ANY_BOUNDS = {
    "minimum": SMALL,
    "maximum": SMALL,
    "exclusiveMinimum": st.booleans(),
    "exclusiveMaximum": st.booleans(),
    "multipleOf": st.integers(1, 3),
    "enum": st.lists(SMALL, min_size=1, max_size=2),
}
TEXT_LIMITS = {
    "minLength": SMALL,
    "maxLength": SMALL,
    "pattern": st.sampled_from(["^a", "b$", "x?"]),
    "enum": st.lists(WORDS, min_size=1, max_size=2),
}
SCALARS = (
    st.tuples(st.just({"type": "integer"}), keywords(**ANY_BOUNDS, format=st.sampled_from(["int32", "int64"])))
    | st.tuples(st.sampled_from([{"type": "number"}]), keywords(**ANY_BOUNDS))
    | st.tuples(st.sampled_from([{"type": "string"}]), keywords(**TEXT_LIMITS))
    | st.tuples(st.sampled_from([{"type": "boolean"}, {"x-kubernetes-int-or-string": True}]), keywords())
).map(lambda parts: {**parts[0], **parts[1]})


def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = keywords(
        properties=st.dictionaries(NAMES, inner, max_size=3),
        required=st.lists(NAMES, min_size=1, max_size=2, unique=True),
        minProperties=SMALL,
        maxProperties=SMALL,
    )
    maps = keywords(additionalProperties=inner, minProperties=SMALL, maxProperties=SMALL)
    lists = st.tuples(keywords(minItems=SMALL, maxItems=SMALL), inner)
    return (
        objects.map(lambda schema: {"type": "object", **schema})
        | maps.map(lambda schema: {"type": "object", **schema})
        | lists.map(lambda parts: {"type": "array", "items": parts[1], **parts[0]})
    )


SCHEMAS = st.recursive(SCALARS, nest, max_leaves=5)


@st.composite
def near_values(draw: st.DrawFn, schema: dict[str, Any]) -> Any:
    """A value that has much in common with what the schema describes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ODD)
    if "enum" in schema and draw(st.booleans()):
        return draw(st.sampled_from(schema["enum"]))
    if "items" in schema:
        return draw(st.lists(near_values(schema["items"]), max_size=3))
    if schema.get("type") == "object":
        known, extra = schema.get("properties", {}), schema.get("additionalProperties", {"type": "string"})
        names = draw(st.lists(st.sampled_from(sorted(known)) | NAMES if known else NAMES, max_size=3, unique=True))
        return {name: draw(near_values(known.get(name, extra))) for name in names}
    numbers = st.integers(-1, 4) | st.sampled_from([0.5, 1.0, 2**31, -(2**63) - 1])
    return draw({"string": WORDS, "boolean": st.booleans()}.get(schema.get("type", ""), numbers))


@settings(fast, max_examples=300)
@given(st.data(), SCHEMAS)
def test_any_schema_is_judged_as_plain_json_schema_judges_it(data: st.DataObject, schema: dict[str, Any]) -> None:
    crd = parse_crd(_wrap(schema))
    completed, errors = judge({"x": data.draw(near_values(schema))}, crd)
    if "x" in completed:  # what is none of the root's other fields
        assert (errors == []) == Draft202012Validator(translate(schema)).is_valid(completed["x"]), errors


def _wrap(schema: dict[str, Any]) -> dict[str, Any]:
    version = {
        "name": "v1",
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"x": schema}}},
    }
    names = {"kind": "K", "plural": "ks"}
    spec = {"group": "g", "names": names, "scope": "Cluster", "versions": [version]}
    return {"kind": "CustomResourceDefinition", "spec": spec}
