"""Judges a document against the structural schema of its kind, in the words of the API server.

Every error is reported, ordered by path. What names and labels may hold is judged in metadata.py, rules
(x-kubernetes-validations) in rules.py. jsonschema is slow to import: import this module where documents are
judged, not where the program starts.
"""

from typing import Any

from jsonschema import ValidationError

from trainlet.admission.crd import Crd
from trainlet.admission.defaults import apply_defaults
from trainlet.admission.dialect import StructuralValidator, render_value
from trainlet.kube.errors import FieldError

INVALID = "Invalid value"

# Keyword -> type and detail, as apiextensions-apiserver pkg/apiserver/validation reports it.
# {fact} is what the keyword found, {limit} its argument, {value} the refused value.
_WORDS: dict[str, tuple[str, str]] = {
    "required": ("Required value", ""),
    "unknown": ("Unknown field", "{fact}"),
    "enum": ("Unsupported value", "{value}: supported values: {choices}"),
    "x-kubernetes-list-type": ("Duplicate value", "{fact}"),
    "maxLength": ("Too long", "may not be more than {limit} bytes"),
    "maxItems": ("Too many", "{count}: must have at most {limit} items"),
    "maxProperties": ("Too many", "{count}: must have at most {limit} items"),
    "type": (INVALID, '{path} in body must be of type {fact}: "{value_type}"'),
    "x-kubernetes-int-or-string": (INVALID, '{path} in body must be of type {fact}: "{value_type}"'),
    "format": (INVALID, "{path} in body must be of type {limit}: {value}"),
    "pattern": (INVALID, "{path} in body should match '{limit}'"),
    "minimum": (INVALID, "{path} in body should be greater than or equal to {limit}"),
    "maximum": (INVALID, "{path} in body should be less than or equal to {limit}"),
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


def validate_schema(document: dict[str, Any], crd: Crd) -> list[FieldError]:
    """Find everything in a document that its schema refuses. Defaults count as given."""
    errors = StructuralValidator(crd.schema).iter_errors(apply_defaults(document, crd))
    return [_describe(error) for error in sorted(errors, key=_get_order)]


def _get_order(error: ValidationError) -> tuple[list[tuple[bool, Any]], str]:
    return [(isinstance(part, int), part) for part in error.absolute_path], str(error.validator)


def _describe(error: ValidationError) -> FieldError:
    path = _render_path(error)
    error_type, template = _WORDS[str(error.validator)]
    limit, value = error.validator_value, error.instance
    detail = template.format(
        path=path,
        fact=error.message,
        limit=limit,
        choices=", ".join(map(render_value, limit)) if isinstance(limit, list) else "",
        value=render_value(value),
        value_type=_TYPE_NAMES.get(type(value), "string"),
        count=len(value) if isinstance(value, list | dict) else 0,
    )
    return FieldError(path, error_type, detail, value if error_type == INVALID else None)


def _render_path(error: ValidationError) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return "".join(parts).removeprefix(".")
