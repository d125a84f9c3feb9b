"""Tables and ages as kubectl prints them."""

from datetime import timedelta

import pytest

from builders import NOW
from trainlet.cli.table import render_table
from trainlet.kube.ages import format_age, format_since
from trainlet.kube.meta import format_time


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (303, "5m3s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 61, "3h1m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (53 * 3600, "2d5h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (731 * 86400, "2y1d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_ages(seconds: float, age: str) -> None:
    assert format_age(seconds) == age


def test_times_that_are_not_known() -> None:
    assert format_since(None, NOW) == "<unknown>"
    assert format_since("yesterday", NOW) == "<unknown>"
    assert format_since(format_time(NOW - timedelta(seconds=7)), NOW) == "7s"


def test_columns_are_aligned_without_trailing_space() -> None:
    assert render_table([("NAME", "X"), ("a", "long cell"), ("b", "")]) == ["NAME   X", "a      long cell", "b"]
