"""Quantities have exact values, and round as Kubernetes rounds them."""

from fractions import Fraction

import pytest

from trainlet.kube.quantity import parse_quantity, round_up

VALUES = [
    ("0", 0),
    ("2", 2),
    (2, 2),
    (2.5, Fraction(5, 2)),
    ("0.7", Fraction(7, 10)),
    (".5", Fraction(1, 2)),
    ("1.", 1),
    ("+3", 3),
    ("-3", -3),
    ("500m", Fraction(1, 2)),
    ("100u", Fraction(1, 10_000)),
    ("1n", Fraction(1, 10**9)),
    ("1k", 1000),
    ("1M", 10**6),
    ("1G", 10**9),
    ("1T", 10**12),
    ("1P", 10**15),
    ("1E", 10**18),
    ("1Ki", 1024),
    ("1.5Mi", 3 << 19),
    ("4Gi", 4 << 30),
    ("1Ti", 1 << 40),
    ("1Pi", 1 << 50),
    ("1Ei", 1 << 60),
    ("1e3", 1000),
    ("1E3", 1000),
    ("12e-1", Fraction(6, 5)),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_quantity_has_its_exact_value(text: str | float, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1gi", "1K", "1mi", "0x10", "1e", "1e3k", "1_000", "٣", "1\n", "."])
def test_what_is_no_quantity_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a quantity: write it like 2, 500m or 4Gi"):
        parse_quantity(text)


@pytest.mark.parametrize(("text", "whole"), [("0", 0), ("1m", 1), ("2500m", 3), ("2.0", 2), ("2.1", 3), ("-1500m", -1)])
def test_whole_numbers_are_rounded_up(text: str, whole: int) -> None:
    assert round_up(text) == whole
