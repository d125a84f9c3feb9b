"""Label selectors as kubectl's `-l` takes them (apimachinery pkg/labels): text -> requirements -> yes or no."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_SIGNS = frozenset({"=", "==", "!=", "!", "(", ")", ",", "<", ">"})

#: How an operator is written -> what it is called in a `matchExpressions` entry.
_OPERATORS = {
    "=": "In",
    "==": "In",
    "in": "In",
    "!=": "NotIn",
    "notin": "NotIn",
    ">": "Gt",
    "<": "Lt",
}


@dataclass(frozen=True)
class Requirement:
    """One condition on one label: In, NotIn, Exists, DoesNotExist, Gt or Lt. NotIn is met by a missing label."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def is_met(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels meets it."""
        value = labels.get(self.key)
        match self.operator:
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
        return self._compare(value)

    def _compare(self, value: str | None) -> bool:
        if value is None or not _INTEGER.fullmatch(value):
            return False
        (bound,) = self.values
        return int(value) > int(bound) if self.operator == "Gt" else int(value) < int(bound)


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Return the requirements of a selector; an empty one has none. Raises ValueError."""
    tokens = _Tokens(text)
    if tokens.peek() == "":
        return ()
    requirements = [_parse_requirement(tokens)]
    while tokens.take() == ",":
        requirements.append(_parse_requirement(tokens))
    if not tokens.is_done:
        raise tokens.fail("expected a comma or the end")
    return tuple(requirements)


def matches(requirements: Iterable[Requirement], labels: Mapping[str, str]) -> bool:
    """Tell whether an object with these labels meets all of them."""
    return all(requirement.is_met(labels) for requirement in requirements)


class _Tokens:
    """The words and signs of one selector, and a place among them. Past the end all tokens are empty."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text)
        self._next = 0

    @property
    def is_done(self) -> bool:
        """Whether the last `take` went past the end."""
        return self._next > len(self._tokens)

    def peek(self) -> str:
        """Return the next token."""
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def take(self) -> str:
        """Return the next token and go past it."""
        token = self.peek()
        self._next += 1
        return token

    def fail(self, expected: str) -> ValueError:
        """Return the error for the token taken last."""
        found = self._tokens[self._next - 1] if not self.is_done else "the end"
        return ValueError(f"{self._text!r} is not a label selector: found {found!r}, {expected}")


def _parse_requirement(tokens: _Tokens) -> Requirement:
    if tokens.peek() == "!":
        tokens.take()
        return Requirement(_parse_key(tokens), "DoesNotExist")
    key = _parse_key(tokens)
    if tokens.peek() in ("", ","):
        return Requirement(key, "Exists")
    word = tokens.take()
    if word not in _OPERATORS:
        raise tokens.fail(f"expected one of {', '.join(sorted(_OPERATORS))}")
    operator = _OPERATORS[word]
    values = _parse_set(tokens) if word in ("in", "notin") else frozenset({_parse_value(tokens)})
    if operator in ("Gt", "Lt") and not all(map(_INTEGER.fullmatch, values)):
        raise tokens.fail("expected a whole number")
    return Requirement(key, operator, values)


def _parse_key(tokens: _Tokens) -> str:
    key = tokens.take()
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not (_PREFIX.fullmatch(prefix) and len(prefix) <= 253)):
        raise tokens.fail("expected a label key like app or example.com/app")
    return key


def _parse_set(tokens: _Tokens) -> frozenset[str]:
    if tokens.take() != "(":
        raise tokens.fail("expected (")
    values = {_parse_value(tokens)}
    while (sign := tokens.take()) == ",":
        values.add(_parse_value(tokens))
    if sign != ")":
        raise tokens.fail("expected a comma or )")
    return frozenset(values)


def _parse_value(tokens: _Tokens) -> str:
    """Take a value; one that is left out (`a=`, `a in (x,)`) is the empty text."""
    if tokens.peek() in ("", ",", ")"):
        return ""
    value = tokens.take()
    if value in _SIGNS or not _NAME.fullmatch(value):
        raise tokens.fail("expected a label value: letters, digits, - _ . and at most 63 of them")
    return value
