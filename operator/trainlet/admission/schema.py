"""Judges a completed document against the structural schema of its kind, in the words of the API server.

Errors are ordered by path. Unknown fields are found in structure.py, what names and
labels may hold is judged in metadata.py, rules (x-kubernetes-validations) in rules.py. jsonschema is slow to
import: import this module where documents are judged, not where the program starts.
"""

from itertools import islice
from typing import Any

from jsonschema import ValidationError

from trainlet.admission.crd import Crd
from trainlet.admission.dialect import StructuralValidator, render_value
from trainlet.admission.limits import MOST_COUNTED, list_first
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON

INVALID = "Invalid value"
MOST_SHOWN = 2000  # characters of a refused value

# Keyword -> type and detail, as apiextensions-apiserver pkg/apiserver/validation reports it.
# {fact} is what the keyword found, {limit} its argument, {value} the refused value.
_WORDS: dict[str, tuple[str, str]] = {
    "required": ("Required value", "{fact}"),
    "enum": ("Unsupported value", "{value}: supported values: {choices}"),
    "x-kubernetes-list-type": ("Duplicate value", "{fact}"),
    "maxLength": ("Too long", "may not be more than {limit} bytes"),
    "maxItems": ("Too many", "{count}: must have at most {limit} items"),
    "maxProperties": ("Too many", "{count}: must have at most {limit} items"),
    "type": (INVALID, '{path} in body must be of type {fact}: "{value_type}"'),
    "x-kubernetes-int-or-string": (INVALID, '{path} in body must be of type {fact}: "{value_type}"'),
    "format": (INVALID, "{path} in body must be of type {limit}: {value}"),
    "number format": (INVALID, "Checked value must be of type {type} with format {limit} in {path}"),
    "embedded": (INVALID, "{fact}"),
    "pattern": (INVALID, "{path} in body should match '{limit}'"),
    "minimum": (INVALID, "{path} in body should be greater than or equal to {limit}"),
    "maximum": (INVALID, "{path} in body should be less than or equal to {limit}"),
    "exclusive minimum": (INVALID, "{path} in body should be greater than {limit}"),
    "exclusive maximum": (INVALID, "{path} in body should be less than {limit}"),
    "minLength": (INVALID, "{path} in body should be at least {limit} chars long"),
    "minItems": (INVALID, "{path} in body should have at least {limit} items"),
    "minProperties": (INVALID, "{path} in body should have at least {limit} properties"),
    "multipleOf": (INVALID, "{path} in body should be a multiple of {limit}"),
    "uniqueItems": (INVALID, "{path} in body shouldn't contain duplicates"),
    "anyOf": (INVALID, "{path} in body must validate at least one schema (anyOf)"),
    "oneOf": (INVALID, "{path} in body must validate one and only one schema (oneOf)"),
    "not": (INVALID, "{path} in body must not validate the schema (not)"),
}

_TYPE_NAMES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def validate_schema(completed: JSON, crd: Crd) -> list[FieldError]:
    """Find everything in a completed document that its schema refuses; of very many errors only some."""
    found = StructuralValidator(crd.schema).iter_errors(completed)
    errors = sorted(islice(found, MOST_COUNTED), key=_get_order)
    return list_first(map(_describe, errors))


def _get_order(error: ValidationError) -> tuple[list[tuple[bool, Any]], str]:
    return [(isinstance(part, int), part) for part in error.absolute_path], str(error.validator)


def _describe(error: ValidationError) -> FieldError:
    path, schema = _render_path(error), error.schema
    error_type, template = _WORDS[_get_keyword(error)]
    limit, value = error.validator_value, _shorten(error.instance)
    detail = template.format(
        path=path,
        fact=error.message,
        limit=limit,
        choices=", ".join(map(render_value, limit)) if isinstance(limit, list) else "",
        value=render_value(value),
        type=schema.get("type", "") if isinstance(schema, dict) else "",
        value_type=_TYPE_NAMES.get(type(error.instance), "string"),
        count=len(error.instance) if isinstance(error.instance, list | dict) else 0,
    )
    return FieldError(path, error_type, detail, value if error_type == INVALID else None)


def _get_keyword(error: ValidationError) -> str:
    keyword = str(error.validator)
    bound = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}.get(keyword)
    is_exclusive = bound and isinstance(error.schema, dict) and error.schema.get(bound)
    return f"exclusive {keyword}" if is_exclusive else keyword


def _shorten(value: Any) -> Any:
    """Return a value as it is, or the start of its JSON text if nobody would read all of it."""
    text = value if isinstance(value, str) else render_value(value)
    if len(text) <= MOST_SHOWN:
        return value
    return f"{text[:MOST_SHOWN]}... ({len(text)} characters)"


def _render_path(error: ValidationError) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return "".join(parts).removeprefix(".")
