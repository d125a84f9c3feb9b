"""What Kubernetes means by a structural schema, as keywords for jsonschema.

Adds to draft 4: int-or-string, integer formats, nullable, list types, RE2's anchors, fields no schema names.
A keyword's error message holds only the fact that keyword and value do not tell; wording is schema.py's job.
"""

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import Any

from jsonschema import Draft4Validator, TypeChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

Schema = dict[str, Any]
Errors = Iterator[ValidationError]

MOST_NAMES_LISTED = 12
INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def render_value(value: Any) -> str:
    """Render a value as compact JSON with sorted keys."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, default=str)


def _check_type(validator: Validator, expected: str, value: Any, schema: Schema) -> Errors:
    if value is None and schema.get("nullable"):
        return
    if not validator.is_type(value, expected):
        yield ValidationError(expected)
    elif expected == "object" and not _is_open(schema):
        known = schema.get("properties", {})
        for name in value.keys() - known.keys():
            yield ValidationError(_suggest(name, known), validator="unknown", path=[name])


def _check_required(_: Validator, names: list[str], value: Any, __: Schema) -> Errors:
    if isinstance(value, dict):
        yield from (ValidationError("", path=[name]) for name in names if name not in value)


def _check_int_or_string(_: Validator, is_set: bool, value: Any, __: Schema) -> Errors:
    if is_set and (isinstance(value, bool) or not isinstance(value, int | str)):
        yield ValidationError("integer,string")


def _check_any_of(validator: Validator, choices: list[Schema], value: Any, schema: Schema) -> Errors:
    # Beside int-or-string, anyOf only repeats in OpenAPI's words what that keyword already says.
    if not schema.get("x-kubernetes-int-or-string"):
        yield from Draft4Validator.VALIDATORS["anyOf"](validator, choices, value, schema)


def _check_pattern(_: Validator, pattern: str, value: Any, __: Schema) -> Errors:
    if isinstance(value, str) and not _compile_pattern(pattern).search(value):
        yield ValidationError("")


def _check_format(_: Validator, name: str, value: Any, __: Schema) -> Errors:
    if name in INTEGER_RANGES and _is_integer(None, value):
        low, high = INTEGER_RANGES[name]
        if not low <= value <= high:
            yield ValidationError("")
    elif name == "date-time" and isinstance(value, str) and not _is_timestamp(value):
        yield ValidationError("")


def _check_list_type(_: Validator, list_type: str, value: Any, schema: Schema) -> Errors:
    if list_type == "atomic" or not isinstance(value, list):
        return
    keys = schema.get("x-kubernetes-list-map-keys", [])
    seen: set[str] = set()
    for index, item in enumerate(value):
        identity = _find_identity(item, keys) if list_type == "map" else item
        if identity is None:
            continue
        text = render_value(identity)
        if text in seen:
            yield ValidationError(text, path=[index])
        seen.add(text)


def _is_integer(_: TypeChecker | None, value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: TypeChecker, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_open(schema: Schema) -> bool:
    return "additionalProperties" in schema or bool(schema.get("x-kubernetes-preserve-unknown-fields"))


def _suggest(name: str, known: Schema) -> str:
    by_lower = {candidate.lower(): candidate for candidate in known}
    for close in get_close_matches(name.lower(), by_lower, n=1):
        return f'did you mean "{by_lower[close]}"?'
    if 0 < len(known) <= MOST_NAMES_LISTED:
        return f"known here: {', '.join(sorted(known))}"
    return ""


def _find_identity(item: Any, keys: list[str]) -> Schema | None:
    if not isinstance(item, dict) or any(key not in item for key in keys):
        return None
    return {key: item[key] for key in keys}


@cache
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    # In RE2 `$` is the end of the text; Python's `$` also matches before a last newline.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), re.ASCII)


def _is_timestamp(text: str) -> bool:
    if not TIMESTAMP.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


# Draft 4, because like OpenAPI 3.0 it has a boolean exclusiveMinimum.
StructuralValidator: type[Validator] = extend(  # type: ignore[no-untyped-call]
    Draft4Validator,
    validators={
        "type": _check_type,
        "required": _check_required,
        "anyOf": _check_any_of,
        "pattern": _check_pattern,
        "format": _check_format,
        "x-kubernetes-int-or-string": _check_int_or_string,
        "x-kubernetes-list-type": _check_list_type,
    },
    type_checker=Draft4Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number}),
)
