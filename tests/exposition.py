"""Reads metrics as Prometheus does: the text exposition format 0.0.4."""

import re

_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parse(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read samples as Prometheus does. Fails for a line that is none, and for one that comes twice."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for line in text.split("\n")[:-1]:
        if not line.startswith("# "):
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            pairs = _LABEL.findall(match[2] or "")
            labels = [(name, re.sub(r"\\.", lambda e: _ESCAPES[e[0]], value)) for name, value in pairs]
            assert found.setdefault((match[1], tuple(sorted(labels))), float(match[3])) == float(match[3])
    return found
