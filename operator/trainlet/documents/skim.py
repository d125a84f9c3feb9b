"""A job's status document as `write.py` writes it -> the few fields that a list or a start needs, without a parser.

Our dumper puts a key at the beginning of a line, behind two spaces for each level, and indents everything inside of a
text further. Whatever is not written like that, by whoever's hand, is left to the parser. What fields mean is not its
business.
"""

import re
from typing import Any

from trainlet.kube.meta import JSON

_HEAD = re.compile(r"(?:---\n)?apiVersion: \S+\nkind: (\w+)(?=\nmetadata:\n)")
#: Where what is below a key ends: at the next line that is indented as the key, and no item of a list.
_ENDS = (re.compile(r"\n[^\s-]"), re.compile(r"\n  [^\s-]"))
#: A number, a text in quotes, a uid, or what begins and goes on like a word and is one: none goes on in the next line.
_SCALAR = re.compile(
    r"(0|[1-9]\d*)|'([^'\n]*)'|[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}"
    r"|(?!(?i:true|false|null|yes|no|on|off|y|n)$)[A-Za-z/][\w./:-]*(?<!:)"
)
_STATE = re.compile(r"\n    state: (\w+)(?=\n)")
_CONDITION = re.compile(r"\n  - type: (\w+)\n    status: '(\w+)'\n    reason: (\w+)(?=\n)")


class Unclear(Exception):
    """What has to be read by the parser."""


def skim(text: str) -> list[JSON]:
    """Return the documents with fewer fields than they have: those below only. Raises Unclear."""
    return [_skim(f"{document}\n") for document in text.split("\n---\n")]


def _skim(text: str) -> JSON:
    head = _HEAD.match(text)
    if head is None:
        raise Unclear
    whole = _Block(text, head.end(), len(text))
    status = whole.below("status", 0)
    told: JSON = {"conditions": [dict(zip(_TOLD, each, strict=True)) for each in status.list("conditions", _CONDITION)]}
    wire: JSON = {"kind": head[1], "metadata": whole.below("metadata", 0).pick(_METADATA), "status": told}
    if head[1] == "TrainJob":
        wire["spec"] = {"trainer": whole.below("spec", 0).below("trainer", 1).pick(_TRAINER)}
        told["trainerStatus"] = status.below("trainerStatus", 1).pick(_PROGRESS)
    else:
        told |= status.pick(_REPORT)
        told["source"] = status.below("source", 1).pick(_SOURCE)
        told["nodes"] = [{"state": state} for state in status.list("nodes", _STATE)]
    return wire


def _fields(indent: int, *keys: str) -> re.Pattern[str]:
    return re.compile(rf"\n{' ' * indent}({'|'.join(keys)}): (.*)")


_METADATA = _fields(2, "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "resourceVersion")
_TRAINER = _fields(4, "numNodes")
_PROGRESS = _fields(4, "progressPercentage", "estimatedRemainingSeconds")
_REPORT = _fields(2, "phase", "restarts")
_SOURCE = _fields(4, "file", "document", "digest")
_TOLD = ("type", "status", "reason")


class _Block:
    """Some lines of a text, from the line end before them on."""

    __slots__ = ("end", "start", "text")

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text, self.start, self.end = text, start, end

    def below(self, key: str, level: int) -> "_Block":
        """Return the lines below a key of this level, or none."""
        sought = f"\n{'  ' * level}{key}:\n"
        at = self.text.find(sought, self.start, self.end)
        if at < 0:
            return _Block(self.text, self.end, self.end)
        start = at + len(sought) - 1
        found = _ENDS[level].search(self.text, start, self.end)
        return _Block(self.text, start, found.start() + 1 if found else self.end)

    def pick(self, fields: re.Pattern[str]) -> JSON:
        """Return those of the fields that are there, and a value on their line. Raises Unclear."""
        return {key: _read(value) for key, value in fields.findall(self.text, self.start, self.end)}

    def list(self, key: str, pattern: re.Pattern[str]) -> list[Any]:
        """Return what the pattern finds in each item of a list. Raises Unclear if that is not one in each."""
        below = self.below(key, 1)
        found = pattern.findall(self.text, below.start, below.end)
        if len(found) != self.text.count("\n  - ", below.start, below.end):
            raise Unclear
        return found


def _read(value: str) -> Any:
    found = _SCALAR.fullmatch(value)
    if found is None:
        raise Unclear
    number, quoted = found.groups()
    return int(number) if number else value if quoted is None else quoted
