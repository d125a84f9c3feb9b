"""Custom resource definitions -> JSON Schema (draft-07), which editors and offline checkers judge files by.

Says of schema.py's judgement what JSON Schema can say. Keys of lists and rules are beyond it: a rule's message joins
the description, for people to read. Where files lie is not known here.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from trainlet.admission.crd import OBJECT_METADATA, Crd
from trainlet.admission.structure import EMBEDDED, INT_OR_STRING, OPEN

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"

#: What both languages say with the same words.
_SHARED = (
    *("title", "default", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
    *("minProperties", "maxProperties", "multipleOf"),
)
#: The formats that editors check; the others would only be complained about.
_FORMATS = frozenset({"date-time", "date", "email", "hostname", "ipv4", "ipv6", "uri"})
_INTEGERS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_TEXT = {"type": "string"}
_BOUNDS = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}


def build_json_schema(crd: Crd) -> Schema:
    """Build the schema of a manifest of this kind: closed, and with apiVersion, kind and name required."""
    schema = _convert({**crd.schema, EMBEDDED: True})
    properties = schema["properties"]
    own = {
        "apiVersion": {**properties["apiVersion"], "enum": [crd.api_version]},
        "kind": {**properties["kind"], "enum": [crd.kind]},
        "metadata": {**properties["metadata"], "required": ["name"]},
    }
    required = sorted({*schema.get("required", ()), *own})
    return {"$schema": DRAFT, "title": crd.kind, **schema, "properties": properties | own, "required": required}


def build_union(references: Mapping[str, Crd]) -> Schema:
    """Build the schema of files of any of these kinds, found by their references; other kinds of others are let be."""
    crds = list(references.values())
    groups = groupby(sorted(crds, key=lambda crd: crd.group), key=lambda crd: crd.group)
    return {
        "$schema": DRAFT,
        "title": "Any kind that trainlet knows",
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string", "examples": sorted({crd.api_version for crd in crds})},
            "kind": {"type": "string", "examples": sorted({crd.kind for crd in crds})},
        },
        "required": ["apiVersion", "kind"],
        "allOf": [
            *(_claim_group(group, list(members)) for group, members in groups),
            *(_choose(crd, reference) for reference, crd in references.items()),
        ],
    }


def describe(schema: Schema) -> str:
    """Return what is said about a field for people: its description, then what its rules demand."""
    rules = schema.get("x-kubernetes-validations", ())
    demands = [f"- {rule.get('message') or 'must satisfy ' + rule['rule']}" for rule in rules]
    return "\n\n".join(filter(None, [schema.get("description", ""), "\n".join(demands)]))


def _claim_group(group: str, crds: Sequence[Crd]) -> Schema:
    """Refuse what has only the group or only the kind right."""
    versions, kinds = {"enum": sorted({c.api_version for c in crds})}, {"enum": sorted({c.kind for c in crds})}
    in_group = {"type": "string", "pattern": "^" + group.replace(".", r"\.") + "/"}
    return {
        "if": {"anyOf": [_require({"apiVersion": in_group}), _require({"kind": kinds})]},
        "then": {"properties": {"apiVersion": versions, "kind": kinds}},
    }


def _choose(crd: Crd, reference: str) -> Schema:
    return {
        "if": _require({"apiVersion": {"const": crd.api_version}, "kind": {"const": crd.kind}}),
        "then": {"$ref": reference},
    }


def _require(properties: Schema) -> Schema:
    return {"properties": properties, "required": list(properties)}


def _convert(schema: Schema) -> Schema:
    description = describe(schema)
    return {
        **({"description": description} if description else {}),
        **_convert_type(schema),
        **{keyword: schema[keyword] for keyword in _SHARED if keyword in schema},
        **_convert_bounds(schema),
        **dict(_convert_structure(schema)),
        **dict(_convert_logic(schema)),
        **_allow_null(schema),
    }


def _convert_type(schema: Schema) -> Schema:
    converted = {"type": schema["type"]} if "type" in schema else {}
    if schema.get(INT_OR_STRING):
        converted = {"type": ["integer", "string"]}
    if schema.get("format") in _FORMATS:
        converted["format"] = schema["format"]
    return converted


def _convert_bounds(schema: Schema) -> Schema:
    bounds: Schema = dict(zip(_BOUNDS, _INTEGERS.get(schema.get("format", ""), ()), strict=False))
    for keyword, exclusive in _BOUNDS.items():
        if keyword in schema:
            bounds[keyword] = schema[keyword]
        if schema.get(exclusive) is True:  # OpenAPI says with a truth value what JSON Schema says with the number
            bounds[exclusive] = bounds.pop(keyword)
    return bounds


def _convert_structure(schema: Schema) -> Iterator[tuple[str, Any]]:
    properties = _get_properties(schema)
    if properties:
        yield "properties", {name: _convert(child) for name, child in properties.items()}
    # Admission fills in defaults before it looks for what is missing.
    required = [name for name in schema.get("required", ()) if "default" not in properties.get(name, {})]
    if required:
        yield "required", required
    if "items" in schema:
        yield "items", _convert(schema["items"])
    if schema.get("x-kubernetes-list-type") == "set":
        yield "uniqueItems", True
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        yield "additionalProperties", _convert(extra)
    elif extra is None and schema.get("type") == "object" and not schema.get(OPEN):
        yield "additionalProperties", False


def _get_properties(schema: Schema) -> Schema:
    properties: Schema = schema.get("properties", {})
    if not schema.get(EMBEDDED):
        return properties
    return {"apiVersion": _TEXT, "kind": _TEXT, **properties, "metadata": OBJECT_METADATA}


def _convert_logic(schema: Schema) -> Iterator[tuple[str, Any]]:
    for keyword in ("allOf", "anyOf", "oneOf"):
        # Beside int-or-string, anyOf only repeats what the type already says.
        if keyword in schema and not (keyword == "anyOf" and schema.get(INT_OR_STRING)):
            yield keyword, [_convert(each) for each in schema[keyword]]
    if "not" in schema:
        yield "not", _convert(schema["not"])


def _allow_null(schema: Schema) -> Schema:
    if not schema.get("nullable"):
        return {}
    types = _convert_type(schema).get("type", [])
    nullable: Schema = {"type": [*([types] if isinstance(types, str) else types), "null"]} if types else {}
    return nullable | ({"enum": [*schema["enum"], None]} if "enum" in schema else {})
