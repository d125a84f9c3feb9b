"""How far a demo has come: the nodes as the status document has them, the training as its log lines tell it.

Pure: whoever calls it has read both. Knows the lines that the training program writes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainlet.kube.meta import JSON

_EPOCH = re.compile(r"epoch (\d+)/(\d+) loss ([\d.]+) accuracy ([\d.]+)%")
_ACCURACY = re.compile(r"test accuracy ([\d.]+)%")


@dataclass(frozen=True)
class Epoch:
    """One round of the training. `accuracy` is in percent."""

    number: int
    of: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Node:
    """One node. `last_line` is what it said last, or why it has said nothing."""

    name: str
    state: str
    rank: int
    restarts: int
    last_line: str


@dataclass(frozen=True)
class Progress:
    """Nodes by rank, the rounds so far, and at the end the share of test pictures read rightly, in percent."""

    nodes: tuple[Node, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    accuracy: float | None = None


def build_progress(nodes: Sequence[JSON], lines: Mapping[str, Sequence[str]]) -> Progress:
    """Build it from the nodes of a report and the lines of each node's last attempt."""
    ranked = sorted(nodes, key=lambda node: int(node["rank"]))
    first = lines.get(ranked[0]["name"], ()) if ranked else ()
    ends = [match for match in map(_ACCURACY.fullmatch, first) if match]
    return Progress(
        nodes=tuple(_build_node(node, lines.get(node["name"], ())) for node in ranked),
        epochs=tuple(_build_epoch(match) for match in map(_EPOCH.fullmatch, first) if match),
        accuracy=float(ends[-1][1]) if ends else None,
    )


def _build_node(node: JSON, lines: Sequence[str]) -> Node:
    last_line = lines[-1] if lines else node.get("message", "")
    return Node(node["name"], node["state"], node["rank"], node["restarts"], last_line)


def _build_epoch(match: re.Match[str]) -> Epoch:
    return Epoch(int(match[1]), int(match[2]), float(match[3]), float(match[4]))
