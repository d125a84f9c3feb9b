"""Tables as kubectl prints them."""

from collections.abc import Iterable, Sequence

_GAP = 3


def render_table(rows: Sequence[Sequence[str]], widths: Sequence[int] = ()) -> list[str]:
    """Return the rows as aligned lines; columns are at least as wide as `widths`."""
    widths = get_widths(rows, widths)
    return [_render_row(row, widths) for row in rows]


def get_widths(rows: Iterable[Sequence[str]], least: Sequence[int] = ()) -> list[int]:
    """Return the widths of the columns."""
    columns = [[len(cell) for cell in column] for column in zip(*rows, strict=True)]
    floor = [*least, *[0] * (len(columns) - len(least))]
    return [max([minimum, *column]) for minimum, column in zip(floor, columns, strict=True)]


def _render_row(row: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * _GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def flatten(text: str) -> str:
    """Return the text on one line, fit for a cell."""
    return " ".join(text.split())
