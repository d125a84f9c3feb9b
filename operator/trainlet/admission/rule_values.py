"""Makes of a JSON value what a rule sees of it, by its schema, as apiextensions-apiserver does.

Follows k8s.io/apiserver pkg/cel/common (UnstructuredToVal, SchemaDeclType) and pkg/cel/escaping. A rule sees
what the schema declares, under names that CEL can take; what it does not see still counts when two objects are
compared. A number is always a double. Which rules there are is not known here.
"""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from trainlet.kube.meta import JSON

Convert = Callable[[Any], Any]

_RESERVED = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"}
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPED = re.compile(r"__|[-./]")
_NAME = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*")

_TEXT = {"type": "string"}
#: What a rule at the root of an object sees whatever the schema says.
_ROOT_PROPERTIES: JSON = {
    "apiVersion": _TEXT,
    "kind": _TEXT,
    "metadata": {"type": "object", "properties": {"name": _TEXT, "generateName": _TEXT}},
}
# A key that no JSON object has: below it lies, as one text, all that a rule does not see of an object.
_UNSEEN = 0

#: Formats whose value is more than a text, and the CEL function that makes it of the text.
CONVERSIONS = {"date-time": "timestamp", "date": "timestamp", "duration": "duration"}


def escape(name: str) -> str | None:
    """Return the name under which CEL knows a property, None if it cannot be written in CEL."""
    if name in _RESERVED:
        return f"__{name}__"
    return _ESCAPED.sub(lambda match: _ESCAPES[match.group()], name) if _NAME.fullmatch(name) else None


def add_root(schema: JSON) -> JSON:
    """Return the schema of an object's root, with what every object has."""
    return {**schema, "properties": {**schema.get("properties", {}), **_ROOT_PROPERTIES}}


@dataclass(frozen=True)
class View:
    """What rules of one kind see: lists without an order sorted or not, all fields or only those named."""

    sorts: bool
    names: frozenset[str] | None = None

    def find_convert(self, schema: JSON) -> Convert | None:
        """Find what converts a value of this schema, None if rules see nothing of such values.

        `names` hold for the value itself, not for what it holds.
        """
        return self._find(schema, self.names)

    def _find(self, schema: JSON, names: frozenset[str] | None = None) -> Convert | None:
        """Find what converts a value, None if rules do not see values of this schema."""
        kind = "int-or-string" if schema.get("x-kubernetes-int-or-string") else str(schema.get("type"))
        match kind:
            case "object":
                return self._find_object(schema, names)
            case "array":
                return self._find_array(schema)
            case "string":
                return _FORMATS.get(str(schema.get("format"))) or _keep
        return _SCALARS.get(kind)

    def _find_object(self, schema: JSON, names: frozenset[str] | None) -> Convert | None:
        if schema.get("x-kubernetes-embedded-resource"):
            schema = add_root(schema)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            inner = self._find(extra)
            return None if inner is None else _build_map(inner)
        fields = {}
        for name, child in schema.get("properties", {}).items():
            escaped = escape(name)
            if escaped is None or (names is not None and escaped not in names):
                continue
            convert = self._find(child)
            if convert is not None:
                fields[name] = (escaped, convert)
        return _build_object(fields, sees_all=names is None)

    def _find_array(self, schema: JSON) -> Convert | None:
        inner = self._find(schema.get("items", {}))
        if inner is None:
            return None
        keys = schema.get("x-kubernetes-list-map-keys", ())
        match schema.get("x-kubernetes-list-type") if self.sorts else None:
            case "set":
                return _build_list(inner, _write)
            case "map":
                return _build_list(inner, lambda item: get_identity(item, keys))
        return _build_list(inner, None)


def get_identity(item: Any, keys: Iterable[str]) -> str:
    """Return what tells an item of a list-map from the others."""
    values = [item.get(key) for key in keys] if isinstance(item, dict) else [item]
    return "\0".join(value if isinstance(value, str) else f"\0{value!r}" for value in values)


def find_times(schema: JSON) -> Iterator[str]:
    """Yield the CEL name of every property, at any depth, whose value is a time, a duration, or several of them."""
    for name, child in schema.get("properties", {}).items():
        if is_time(child):
            yield escape(name) or name
        yield from find_times(child)
    for child in _get_items(schema):
        yield from find_times(child)


def find_unordered(schema: JSON) -> Iterator[str]:
    """Yield the CEL name of every property, at any depth, that is a list whose order means nothing."""
    for name, child in schema.get("properties", {}).items():
        if is_unordered(child):
            yield escape(name) or name
        yield from find_unordered(child)
    for child in _get_items(schema):
        yield from find_unordered(child)


def is_time(schema: JSON) -> bool:
    """Tell whether values are times or durations, or lists or maps of them."""
    return schema.get("format") in CONVERSIONS or any(map(is_time, _get_items(schema)))


def is_unordered(schema: JSON) -> bool:
    """Tell whether values are lists whose order means nothing."""
    return schema.get("x-kubernetes-list-type") in {"set", "map"}


def _get_items(schema: JSON) -> Iterable[JSON]:
    return (schema[name] for name in ("items", "additionalProperties") if isinstance(schema.get(name), dict))


def _write(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _keep(value: Any) -> Any:
    return value


def _only(expected: type | tuple[type, ...], convert: Convert) -> Convert:
    """Build a conversion that lets values of a wrong type pass, which an old value may have: the rule then fails."""
    return lambda value: convert(value) if isinstance(value, expected) and not isinstance(value, bool) else value


def _build_map(inner: Convert) -> Convert:
    return _only(dict, lambda value: {name: None if item is None else inner(item) for name, item in value.items()})


def _build_list(inner: Convert, key: Callable[[Any], str] | None) -> Convert:
    def convert(items: list[Any]) -> list[Any]:
        ordered = items if key is None else sorted(items, key=key)
        return [None if item is None else inner(item) for item in ordered]

    return _only(list, convert)


def _build_object(fields: Mapping[str, tuple[str, Convert]], *, sees_all: bool) -> Convert:
    def convert(value: JSON) -> dict[str | int, Any]:
        seen: dict[str | int, Any] = {}
        unseen = {}
        for name, item in value.items():
            # A null in an object is to CEL as if it were not given.
            if name in fields and item is not None:
                escaped, inner = fields[name]
                seen[escaped] = inner(item)
            else:
                unseen[name] = item
        if unseen and sees_all:
            seen[_UNSEEN] = _write(unseen)
        return seen

    return _only(dict, convert)


def _convert_bytes(text: str) -> bytes | str:
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        return text


def _normalize_time(text: str) -> str:
    """Write a time in UTC, so that equal times are equal texts."""
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return text
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


_SECONDS = {
    **dict.fromkeys(("ns", "nano", "nanosecond", "nanoseconds"), Fraction(1, 10**9)),
    **dict.fromkeys(("us", "µs", "μs", "micro", "microsecond", "microseconds"), Fraction(1, 10**6)),
    **dict.fromkeys(("ms", "milli", "millisecond", "milliseconds"), Fraction(1, 1000)),
    **dict.fromkeys(("s", "sec", "second", "seconds"), Fraction(1)),
    **dict.fromkeys(("m", "min", "minute", "minutes"), Fraction(60)),
    **dict.fromkeys(("h", "hr", "hour", "hours"), Fraction(3600)),
    **dict.fromkeys(("d", "day", "days"), Fraction(86_400)),
    **dict.fromkeys(("w", "wk", "week", "weeks"), Fraction(604_800)),
}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]+)\s*")


def _normalize_duration(text: str) -> str:
    """Write a duration in nanoseconds, so that equal durations are equal texts."""
    body = text.strip().lstrip("+-")
    parts = _DURATION.findall(body)
    if not parts or _DURATION.sub("", body) or any(unit not in _SECONDS for _, unit in parts):
        return text
    total = sum((Fraction(number.rstrip(".")) * _SECONDS[unit] for number, unit in parts), Fraction(0))
    return f"{'-' if text.strip().startswith('-') else ''}{int(total * 10**9)}ns"


def _convert_number(value: int | float) -> float | int:
    try:
        return float(value)
    except OverflowError:
        return value  # the engine says that it is out of range


def _convert_integer(value: float) -> float | int:
    return int(value) if value.is_integer() else value


_FORMATS: dict[str, Convert] = {
    "byte": _only(str, _convert_bytes),
    "date": _only(str, _normalize_time),
    "date-time": _only(str, _normalize_time),
    "duration": _only(str, _normalize_duration),
}
_SCALARS: dict[str, Convert] = {
    "boolean": _keep,
    "int-or-string": _keep,
    "integer": _only(float, _convert_integer),
    "number": _only((int, float), _convert_number),
}
