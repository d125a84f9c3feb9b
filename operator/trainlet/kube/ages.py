"""Spans of time as kubectl prints them."""

from datetime import datetime

from trainlet.kube.meta import parse_time

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400

#: Up to this age (seconds) it is written in this unit, with the rest in a smaller one (0: without);
#: apimachinery pkg/util/duration HumanDuration.
_AGES = (
    (2 * _MINUTE, 1, 0),
    (10 * _MINUTE, _MINUTE, 1),
    (3 * _HOUR, _MINUTE, 0),
    (8 * _HOUR, _HOUR, _MINUTE),
    (2 * _DAY, _HOUR, 0),
    (8 * _DAY, _DAY, _HOUR),
    (2 * _YEAR, _DAY, 0),
    (8 * _YEAR, _YEAR, _DAY),
)
_UNITS = {1: "s", _MINUTE: "m", _HOUR: "h", _DAY: "d", _YEAR: "y"}


def format_age(seconds: float) -> str:
    """Return a span of time in two units at most: `42s`, `5m3s`, `3h`, `2d4h`."""
    whole = max(0, int(seconds))
    unit, rest_unit = next(((unit, rest) for limit, unit, rest in _AGES if whole < limit), (_YEAR, 0))
    text = f"{whole // unit}{_UNITS[unit]}"
    rest = whole % unit // rest_unit if rest_unit else 0
    return f"{text}{rest}{_UNITS[rest_unit]}" if rest else text


def format_since(moment: str | None, now: datetime) -> str:
    """Return how long ago a time of a wire object was."""
    try:
        return format_age((now - parse_time(moment)).total_seconds()) if moment else "<unknown>"
    except ValueError:
        return "<unknown>"
