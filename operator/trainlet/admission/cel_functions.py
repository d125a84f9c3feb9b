"""Functions that Kubernetes adds to CEL, as far as they can be computed here exactly.

Values are plain Python ones. A quantity is a map with one entry, so that two quantities are equal when their
numbers are and nothing but the functions for quantities takes it. Which names exist and what types they take
stands in METHODS and FUNCTIONS; how the engine is told of them is not known here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from trainlet.kube.quantity import parse_quantity

#: Our names for methods that the engine has for texts only, so that they can be given for lists too.
RENAMED = {"indexOf": "IndexOf", "lastIndexOf": "LastIndexOf"}

INT_RANGE = range(-(2**63), 2**63)
_VALUE = 0
_KINDS = ((bool,), (int,), (float,), (str,), (bytes, bytearray), (datetime,), (timedelta,))

Quantity = dict[int, str]


def _is_equal(left: Any, right: Any) -> bool:
    """Compare as CEL does: numbers by value, but true is not 1."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_equal(left[key], right[key]) for key in left)
    return bool(left == right)


def _get_kind(items: Sequence[Any]) -> tuple[type, ...]:
    """Return the types that all items share. Raises TypeError."""
    for kind in _KINDS:
        if all(isinstance(item, kind) and (kind != (int,) or not isinstance(item, bool)) for item in items):
            return kind
    raise TypeError("no such overload")


def _find_first(items: list[Any], wanted: Any) -> int:
    return next((index for index, item in enumerate(items) if _is_equal(item, wanted)), -1)


def _find_last(items: list[Any], wanted: Any) -> int:
    return next((index for index in reversed(range(len(items))) if _is_equal(items[index], wanted)), -1)


def _find_text(text: str, part: str, offset: int = 0) -> int:
    if offset < 0:
        raise ValueError(f"index out of range: {offset}")
    return text.find(part, offset) if part else offset


def _find_last_text(text: str, part: str, offset: int | None = None) -> int:
    if offset is None:
        return text.rfind(part)
    if part and not 0 <= offset < len(text):
        raise ValueError(f"index out of range: {offset}")
    return text.rfind(part, 0, offset + len(part)) if part else offset


def _is_sorted(items: list[Any]) -> bool:
    _get_kind(items)
    return all(left <= right for left, right in pairwise(items))


def _sum(items: list[Any]) -> int | float:
    if _get_kind(items) not in {(bool,), (int,), (float,)} or any(isinstance(item, bool) for item in items):
        raise TypeError("no such overload")
    total: int | float = sum(items)
    if isinstance(total, int) and total not in INT_RANGE:
        raise OverflowError("integer overflow")
    return total


def _min(items: list[Any]) -> Any:
    return _choose(min, items)


def _max(items: list[Any]) -> Any:
    return _choose(max, items)


def _choose(choice: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    if not items:
        raise ValueError(f"{choice.__name__} called on empty list")
    _get_kind(items)
    return choice(items)


def _write(value: Fraction) -> Quantity:
    return {_VALUE: str(value)}


def _read(quantity: Quantity) -> Fraction:
    return Fraction(quantity[_VALUE])


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except ValueError:
        return False
    return True


def _is_integer(quantity: Quantity) -> bool:
    value = _read(quantity)
    return value.denominator == 1 and int(value) in INT_RANGE


def _as_integer(quantity: Quantity) -> int:
    if not _is_integer(quantity):
        raise ValueError("cannot convert value to integer")
    return int(_read(quantity))


def _compare(left: Quantity, right: Quantity) -> int:
    difference = _read(left) - _read(right)
    return (difference > 0) - (difference < 0)


Overload = tuple[str, tuple[str, ...], str, Callable[..., Any]]

_ITEMS = ("int", "string", "bool", "double", "map", "list", "null", "bytes")
_Q = "quantity"

#: Name, types of what it is called on and of its arguments, type of the result, and what it does.
METHODS: tuple[Overload, ...] = (
    *(("IndexOf", ("list", item), "int", _find_first) for item in _ITEMS),
    *(("LastIndexOf", ("list", item), "int", _find_last) for item in _ITEMS),
    ("IndexOf", ("string", "string"), "int", _find_text),
    ("IndexOf", ("string", "string", "int"), "int", _find_text),
    ("LastIndexOf", ("string", "string"), "int", _find_last_text),
    ("LastIndexOf", ("string", "string", "int"), "int", _find_last_text),
    ("isSorted", ("list",), "bool", _is_sorted),
    ("sum", ("list",), "dyn", _sum),
    ("min", ("list",), "dyn", _min),
    ("max", ("list",), "dyn", _max),
    ("isInteger", (_Q,), "bool", _is_integer),
    ("asInteger", (_Q,), "int", _as_integer),
    ("asApproximateFloat", (_Q,), "double", lambda quantity: float(_read(quantity))),
    ("sign", (_Q,), "int", lambda quantity: _compare(quantity, _write(Fraction(0)))),
    ("compareTo", (_Q, _Q), "int", _compare),
    ("isLessThan", (_Q, _Q), "bool", lambda left, right: _compare(left, right) < 0),
    ("isGreaterThan", (_Q, _Q), "bool", lambda left, right: _compare(left, right) > 0),
    ("add", (_Q, _Q), _Q, lambda left, right: _write(_read(left) + _read(right))),
    ("add", (_Q, "int"), _Q, lambda left, right: _write(_read(left) + right)),
    ("sub", (_Q, _Q), _Q, lambda left, right: _write(_read(left) - _read(right))),
    ("sub", (_Q, "int"), _Q, lambda left, right: _write(_read(left) - right)),
)
FUNCTIONS: tuple[Overload, ...] = (
    ("isQuantity", ("string",), "bool", _is_quantity),
    ("quantity", ("string",), _Q, lambda text: _write(parse_quantity(text))),
)
