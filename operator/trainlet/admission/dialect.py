"""What Kubernetes means by a structural schema, as keywords for jsonschema.

Adds to draft 4: int-or-string, formats, nullable, list types, embedded resources, RE2. Judges completed
documents: no unknown field, no null that means nothing. A keyword's error message holds only the fact that
keyword and value do not tell; wording is schema.py's job.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import Draft4Validator, TypeChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from trainlet.admission.cel import CelError, find_match
from trainlet.admission.crd import OBJECT_METADATA
from trainlet.admission.formats import find_format
from trainlet.admission.metadata import validate_embedded
from trainlet.admission.structure import EMBEDDED, INT_OR_STRING
from trainlet.kube.meta import JSON

Errors = Iterator[ValidationError]
Check = Callable[[Validator, Any, Any, JSON], Errors]

LARGEST_JSON_INTEGER = 2**53 - 1  # of a number written as float
#: What definitions say of every quantity. Known here, because RE2 as we have it takes a tenth of a millisecond
#: for a match, and a file may hold thirty thousand quantities.
QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
# The digits hold on to what they took: without that, a long text takes long.
_QUANTITY = re.compile(QUANTITY.replace("$", r"\Z").replace("[0-9]+", "[0-9]++").replace("[0-9]*", "[0-9]*+"))
_PLAIN = frozenset({"type", "description", "default"})
CLOSE_ENOUGH = 1e-9  # relative, for a float to count as whole in multipleOf


def render_value(value: Any) -> str:
    """Render a value as compact JSON with sorted keys."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, default=str)


def _judge(validator: Validator, value: Any, schema: JSON, step: str | int) -> Errors:
    """Judge a part of a value.

    Does what validator.descend does but makes no new validator: that takes longer than the judging,
    and only $ref, which no definition may use, needs it.
    """
    for keyword, argument in schema.items():
        check = _CHECKS.get(keyword)
        for error in check(validator, argument, value, schema) if check else ():
            if not isinstance(error.validator, str):
                error.validator = keyword
            if not isinstance(error.schema, dict):
                error.validator_value, error.instance, error.schema = argument, value, schema
            error.path.appendleft(step)
            yield error


def _fits_plainly(value: Any, schema: JSON) -> bool:
    """Tell at once of what is most common: a value of which only the type is said, and that has it."""
    return schema.keys() <= _PLAIN and "type" in schema and _TYPES[schema["type"]](value)


def _check_properties(validator: Validator, properties: JSON, value: Any, _: JSON) -> Errors:
    if isinstance(value, dict):
        for name, item in value.items():
            if name in properties and not _fits_plainly(item, properties[name]):
                yield from _judge(validator, item, properties[name], name)


def _check_additional_properties(validator: Validator, extra: Any, value: Any, schema: JSON) -> Errors:
    if isinstance(value, dict) and isinstance(extra, dict):
        known = schema.get("properties", {})
        for name, item in value.items():
            if name not in known:
                yield from _judge(validator, item, extra, name)


def _check_items(validator: Validator, items: JSON, value: Any, _: JSON) -> Errors:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _judge(validator, item, items, index)


def _check_type(_: Validator, expected: str, value: Any, schema: JSON) -> Errors:
    if not _TYPES[expected](value) and not (value is None and schema.get("nullable")):
        yield ValidationError(expected)


def _check_int_or_string(_: Validator, is_set: bool, value: Any, schema: JSON) -> Errors:
    fits = isinstance(value, str) or _is_integer(value) or (value is None and schema.get("nullable"))
    if is_set and not fits:
        yield ValidationError("integer,string")


def _check_required(_: Validator, names: list[str], value: Any, __: JSON) -> Errors:
    if isinstance(value, dict):
        yield from (ValidationError("", path=[name]) for name in names if name not in value)


def _check_any_of(validator: Validator, choices: list[JSON], value: Any, schema: JSON) -> Errors:
    # Beside int-or-string, anyOf only repeats in OpenAPI's words what that keyword already says.
    if not schema.get(INT_OR_STRING):
        yield from _skip_null(Draft4Validator.VALIDATORS["anyOf"])(validator, choices, value, schema)


def _skip_null(check: Check) -> Check:
    """Of a null, the API server judges only type and enum."""
    return lambda validator, argument, value, schema: (
        iter(()) if value is None else check(validator, argument, value, schema)
    )


def _check_pattern(_: Validator, pattern: str, value: Any, __: JSON) -> Errors:
    if isinstance(value, str) and not _has_match(pattern, value):
        yield ValidationError("")


def _has_match(pattern: str, text: str) -> bool:
    if pattern == QUANTITY:
        return _QUANTITY.match(text) is not None
    try:
        return find_match(pattern, text)
    except CelError:
        return False  # a text that cannot be judged is refused


def _check_format(_: Validator, name: str, value: Any, schema: JSON) -> Errors:
    expected = schema.get("type", "")
    holds = find_format(name, expected)
    if holds and _TYPES[expected or "string"](value) and not holds(value):
        yield ValidationError("", validator="format" if isinstance(value, str) else "number format")


def _check_multiple_of(_: Validator, factor: float, value: Any, __: JSON) -> Errors:
    if not _is_number(value) or not factor:
        return
    if isinstance(value, int):
        is_multiple = value % factor == 0 if isinstance(factor, int) else _is_whole(value / factor)
    else:
        is_multiple = _is_whole(1 / factor * value if factor < 1 else value / factor)
    if not is_multiple:
        yield ValidationError("")


def _check_list_type(_: Validator, list_type: str, value: Any, schema: JSON) -> Errors:
    if list_type == "atomic" or not isinstance(value, list):
        return
    keys = schema.get("x-kubernetes-list-map-keys", [])
    seen: set[object] = set()
    for index, item in enumerate(value):
        identity = _find_identity(item, keys) if list_type == "map" else item
        if identity is None:
            continue
        token = _get_token(identity)
        if token in seen:
            yield ValidationError(render_value(identity), path=[index])
        seen.add(token)


def _get_token(value: Any) -> object:
    """Return something hashable that is equal for equal JSON values, and only for them."""
    if isinstance(value, dict) and len(value) == 1:
        [(name, inner)] = value.items()
        return name, _get_token(inner)
    return value if isinstance(value, str) else render_value(value).encode()


def _check_embedded(validator: Validator, is_set: bool, value: Any, _: JSON) -> Errors:
    if not is_set or not isinstance(value, dict):
        return
    for error in validate_embedded(value):
        keyword = "required" if error.type == "Required value" else "embedded"
        path = error.path.split(".")
        yield ValidationError(error.detail, validator=keyword, path=path, instance=error.value, schema={})
    if "metadata" in value:
        yield from _judge(validator, value["metadata"], OBJECT_METADATA, "metadata")


def _find_identity(item: Any, keys: list[str]) -> JSON | None:
    if not isinstance(item, dict) or any(key not in item for key in keys):
        return None
    return {key: item[key] for key in keys}


def _is_integer(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer() and abs(value) <= LARGEST_JSON_INTEGER
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(number: float) -> bool:
    return abs(number) <= LARGEST_JSON_INTEGER and math.isclose(number, round(number), rel_tol=CLOSE_ENOUGH)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


def _adapt(holds: Callable[[Any], bool]) -> Callable[[TypeChecker, Any], bool]:
    return lambda _, value: holds(value)


# Draft 4, because like OpenAPI 3.0 it has a boolean exclusiveMinimum.
StructuralValidator: type[Validator] = extend(  # type: ignore[no-untyped-call]
    Draft4Validator,
    validators={
        "type": _check_type,
        "required": _check_required,
        "properties": _check_properties,
        "additionalProperties": _check_additional_properties,
        "items": _check_items,
        "anyOf": _check_any_of,
        **{name: _skip_null(Draft4Validator.VALIDATORS[name]) for name in ("allOf", "oneOf", "not")},
        "pattern": _check_pattern,
        "format": _check_format,
        "multipleOf": _check_multiple_of,
        INT_OR_STRING: _check_int_or_string,
        EMBEDDED: _check_embedded,
        "x-kubernetes-list-type": _check_list_type,
    },
    type_checker=Draft4Validator.TYPE_CHECKER.redefine_many(
        {"integer": _adapt(_is_integer), "number": _adapt(_is_number)}
    ),
)
_CHECKS: dict[str, Check] = dict(StructuralValidator.VALIDATORS)
