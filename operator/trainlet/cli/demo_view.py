"""What a demo looks like: a table that is drawn over itself on a terminal, a line for each news in a pipe."""

import sys
from collections.abc import Sequence
from typing import Protocol

from trainlet.cli.table import flatten, render_table
from trainlet.cli.watch import LiveTable
from trainlet.demo.progress import Epoch, Progress

_HEADER = ("NODE", "STATE", "RANK", "RESTARTS", "LAST LINE")
_BARS = "▁▂▃▄▅▆▇█"


class View(Protocol):
    """Shows one progress after the other."""

    def show(self, progress: Progress) -> None:
        """Show how it is now."""


def open_view() -> View:
    """Return the view that fits standard output."""
    return _Screen() if sys.stdout.isatty() else _Lines()


class _Screen:
    def __init__(self) -> None:
        self._table = LiveTable(sys.stdout)

    def show(self, progress: Progress) -> None:
        self._table.draw(render_screen(progress))


class _Lines:
    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._epochs: tuple[Epoch, ...] = ()

    def show(self, progress: Progress) -> None:
        for node in progress.nodes:
            if self._states.get(node.name) != node.state:
                self._states[node.name] = node.state
                reason = f": {flatten(node.last_line)}" if node.state == "waiting" and node.last_line else ""
                print(f"{node.name} is {node.state}{reason}", flush=True)
        # A restarted node begins again with the first.
        known = len(self._epochs) if progress.epochs[: len(self._epochs)] == self._epochs else 0
        self._epochs = progress.epochs
        for epoch in progress.epochs[known:]:
            print(_describe(epoch), flush=True)


def render_screen(progress: Progress) -> list[str]:
    """Return the table of nodes, and below it the curves."""
    rows = [
        (node.name, node.state, str(node.rank), str(node.restarts), flatten(node.last_line)) for node in progress.nodes
    ]
    return [*render_table([_HEADER, *rows]), *_render_curves(progress.epochs)]


def _render_curves(epochs: Sequence[Epoch]) -> list[str]:
    if not epochs:
        return []
    first, last = epochs[0], epochs[-1]
    losses, accuracies = [epoch.loss for epoch in epochs], [epoch.accuracy for epoch in epochs]
    rows = [
        ("loss", f"{first.loss:.4f}", draw_curve(losses), f"{last.loss:.4f}"),
        ("accuracy", f"{first.accuracy:.1f} %", draw_curve(accuracies), f"{last.accuracy:.1f} %"),
    ]
    return ["", f"epoch {last.number} of {last.of}", *render_table(rows)]


def _describe(epoch: Epoch) -> str:
    return f"epoch {epoch.number}/{epoch.of}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.1f} %"


def draw_curve(values: Sequence[float]) -> str:
    """Return a bar for each value, the least one the lowest."""
    low, span = min(values), (max(values) - min(values)) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in values)
