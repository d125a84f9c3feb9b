"""The rules of a definition, compiled, in the shape of its schema.

Refuses what cannot be judged exactly, so that a rule is never judged wrongly in silence. Objects are not known
here; rules.py judges them by this tree.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from trainlet.admission.cel import CelError, Rule, compile_rule, find_match
from trainlet.admission.crd import Crd
from trainlet.admission.rule_values import (
    CONVERSIONS,
    Convert,
    View,
    add_root,
    find_times,
    find_unordered,
    is_time,
    is_unordered,
)
from trainlet.kube.errors import UsageError
from trainlet.kube.meta import JSON

#: A rule's reason -> the type of the error.
REASONS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
}


@dataclass(frozen=True)
class Expression:
    """A compiled rule or message, and what makes of a JSON value what it sees."""

    rule: Rule
    convert: Convert


@dataclass(frozen=True)
class Check:
    """One rule of a schema node; `path` leads from the node's value to the field to blame, as `.a[b]`."""

    expression: Expression
    summary: str
    message: str
    message_expression: Expression | None
    path: str
    error_type: str
    optional_old: bool
    blames_name: bool


@dataclass(frozen=True)
class Node:
    """What is to be judged of the values of one schema node. `keys` tell the items of a list-map apart."""

    checks: tuple[Check, ...]
    properties: Mapping[str, "Node"]
    extra: "Node | None"
    items: "Node | None"
    keys: tuple[str, ...]


@lru_cache(maxsize=64)
def build_tree(crd: Crd) -> Node | None:
    """Compile the rules of a definition; None if it has none. Raises UsageError for one that cannot be used."""
    try:
        return _build_node(crd.schema, [crd.schema], "", is_root=True)
    except CelError as error:
        raise UsageError(
            f"a rule of a custom resource definition cannot be used, {error.where or 'at its root'}: {error.what}",
            where=f"{crd.plural}.{crd.group}",
            remedy="change the rule or give other definitions",
        ) from error


def check_patterns(crd: Crd) -> None:
    """Compile every pattern of a definition. Raises UsageError for one that RE2 refuses."""
    for path, pattern in _find_patterns(crd.schema, ""):
        try:
            find_match(pattern, "")
        except CelError as error:
            raise UsageError(
                f"a pattern of a custom resource definition cannot be used, {path}: {pattern!r}: {error.what}",
                where=f"{crd.plural}.{crd.group}",
                remedy="write it as RE2 takes it (https://github.com/google/re2/wiki/Syntax)",
            ) from error


def _find_patterns(schema: JSON, path: str) -> Iterator[tuple[str, str]]:
    if "pattern" in schema:
        yield path or "at its root", schema["pattern"]
    for name, child in schema.get("properties", {}).items():
        yield from _find_patterns(child, _join(path, name))
    for keyword in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(keyword), dict):
            yield from _find_patterns(schema[keyword], path if keyword == "not" else f"{path}[]")
    for keyword in ("allOf", "anyOf", "oneOf"):
        for child in schema.get(keyword, ()):
            yield from _find_patterns(child, path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _build_node(schema: JSON, parts: Sequence[JSON], path: str, *, is_root: bool = False) -> Node | None:
    """Build what is to be judged by a schema and those parts of others (allOf) that speak of the same value."""
    parts = [each for part in parts for each in _flatten(part)]
    seen = add_root(schema) if is_root or schema.get("x-kubernetes-embedded-resource") else schema
    rules = [rule for part in parts for rule in part.get("x-kubernetes-validations", ())]
    checks = tuple(_build_check(rule, seen, path, has_name=seen is not schema) for rule in rules)
    properties = {
        name: node
        for name, child in schema.get("properties", {}).items()
        if (node := _build_node(child, _pick_properties(parts, name), _join(path, name)))
    }
    extra, items = (_build_inner(schema, parts, keyword, path) for keyword in ("additionalProperties", "items"))
    if not (checks or properties or extra or items):
        return None
    is_map = schema.get("x-kubernetes-list-type") == "map"
    keys = tuple(schema.get("x-kubernetes-list-map-keys", ())) if is_map else ()
    return Node(checks, properties, extra, items, keys)


def _flatten(part: JSON) -> Iterator[JSON]:
    yield part
    for inner in part.get("allOf", ()):
        yield from _flatten(inner)


def _pick_properties(parts: Sequence[JSON], name: str) -> list[JSON]:
    return [part["properties"][name] for part in parts if name in part.get("properties", {})]


def _build_inner(schema: JSON, parts: Sequence[JSON], keyword: str, path: str) -> Node | None:
    child = schema.get(keyword)
    if not isinstance(child, dict):
        return None
    return _build_node(child, [part[keyword] for part in parts if isinstance(part.get(keyword), dict)], f"{path}[]")


def _build_check(rule: JSON, schema: JSON, path: str, *, has_name: bool) -> Check:
    try:
        text = str(rule.get("rule", ""))
        optional_old = bool(rule.get("optionalOldSelf"))
        expression = _build_expression(text, "bool", schema, optional_old=optional_old)
        message = str(rule.get("message") or "").strip()
        reason = rule.get("reason") or "FieldValueInvalid"
        if reason not in REASONS:
            raise CelError(f"reason {reason} is not one of {', '.join(REASONS)}")
        field_path = rule.get("fieldPath")
        message_text = rule.get("messageExpression")
        return Check(
            expression=expression,
            summary=message or text.strip(),
            message=message or f"failed rule: {text.strip()}",
            message_expression=_build_expression(message_text, "string", schema) if message_text else None,
            path=_parse_field_path(field_path, schema) if field_path else "",
            error_type=REASONS[reason],
            optional_old=optional_old,
            blames_name=has_name and not field_path and expression.rule.reading.reads_name,
        )
    except CelError as error:
        raise CelError(error.what, where=path) from error


def _build_expression(text: str, result: str, schema: JSON, *, optional_old: bool = False) -> Expression:
    conversion = CONVERSIONS.get(schema.get("format", ""), "") if schema.get("type") == "string" else ""
    try:
        rule = compile_rule(text, conversion=conversion, optional_old=optional_old)
    except CelError as error:
        raise CelError(f"{text!r}: {error.what}") from error
    if rule.result not in {result, "dyn"}:
        raise CelError(f"{text!r}: it must evaluate to a {result}, not to a {rule.result}")
    _refuse_inexact(rule, schema, is_converted=bool(conversion))
    sorts = rule.uses_old and not rule.reading.needs_order
    convert = View(sorts, rule.reading.names).find_convert(schema)
    if convert is None:
        raise CelError(f"{text!r}: the schema does not say what the value is, so that no rule can be about it")
    return Expression(rule, convert)


def _refuse_inexact(rule: Rule, schema: JSON, *, is_converted: bool) -> None:
    """Refuse a rule that would be judged otherwise than on a cluster. Raises CelError."""
    reading = rule.reading
    times = reading.selected.intersection(find_times(schema)) if reading.selected else None
    if times or (is_time(schema) and not is_converted):
        names = ", ".join(sorted(times or {"self"}))
        raise CelError(f"{rule.text!r}: times inside of an object or list cannot be read by a rule here: {names}")
    if not reading.added:
        return
    lists = reading.added & {*find_unordered(schema), *(("self", "oldSelf") if is_unordered(schema) else ())}
    if lists:
        names = ", ".join(sorted(lists))
        raise CelError(f"{rule.text!r}: lists of type set or map cannot be added by a rule here: {names}")


_STEP = re.compile(r"\.([^.\[\]']+)|\['((?:\\.|[^'\\])*)'\]")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


def _parse_field_path(text: str, schema: JSON) -> str:
    """Read a JSONPath of fields and map keys as `.a[b]`. Raises CelError when the schema knows no such field."""
    path, end = "", 0
    while end < len(text):
        step = _STEP.match(text, end)
        if step is None:
            raise CelError(f"fieldPath {text!r} is not a path like .a.b['c']")
        name = step.group(1) or re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), step.group(2))
        if name in schema.get("properties", {}):
            path, schema = f"{path}.{name}", schema["properties"][name]
        elif isinstance(schema.get("additionalProperties"), dict):
            path, schema = f"{path}[{name}]", schema["additionalProperties"]
        else:
            raise CelError(f"fieldPath {text!r} does not refer to a valid field: {name}")
        end = step.end()
    return path
