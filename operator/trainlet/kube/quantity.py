"""Kubernetes quantities (apimachinery pkg/api/resource): `500m`, `2`, `4Gi`, `1e3`, exactly."""

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,4})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII)


@lru_cache(maxsize=1024)
def parse_quantity(value: str | int | float) -> Fraction:
    """Return the exact value of a quantity. Raises ValueError."""
    match = _FORM.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a quantity: write it like 2, 500m or 4Gi")
    number, exponent, suffix = match.groups()
    return Fraction(number + (exponent or "")) * _SUFFIXES[suffix or ""]


def round_up(value: str | int | float) -> int:
    """Return the quantity as a whole number, rounded up as Kubernetes' `Quantity.Value` does."""
    return ceil(parse_quantity(value))
