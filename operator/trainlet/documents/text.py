"""Places in a YAML or JSON text, and values as they are written into one. Knows no document."""

import json
import re
from typing import Any

from trainlet.documents.parse import resolve_scalar
from trainlet.documents.syntax import Node

_PLAIN_KEY = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
#: What JSON leaves as it is and YAML would fold, drop or refuse.
_NOT_FOR_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def find_line(text: str, position: int) -> int:
    """Return the start of the line that this position is in."""
    return text.rfind("\n", 0, position) + 1


def find_indent(text: str, position: int) -> str | None:
    """Return the white space before this position, or None if there is something else on its line."""
    before = text[find_line(text, position) : position]
    return None if before.strip() else before


def find_newline(text: str) -> str:
    """Return how the lines of a text end."""
    end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def render_key(node: Node, key: str) -> str:
    """Return a key as a mapping has it."""
    is_plain = _PLAIN_KEY.fullmatch(key) and isinstance(resolve_scalar(key), str)
    return key if is_plain and not node.is_flow else render_json(key)


def render_json(value: Any, *, spread: bool = False) -> str:
    """Return JSON that is YAML of the same meaning."""
    text = json.dumps(value, ensure_ascii=False, indent=2 if spread else None)
    return _NOT_FOR_YAML.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
