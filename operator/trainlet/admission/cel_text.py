"""What can be known of a CEL rule from its text alone: which names it reads, and how often it reads them.

Looks at words and signs only; whether they make sense together is the compiler's business.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_TOKEN = re.compile(
    r"""
    //[^\n]*
  | (?P<text> (?:[bB]?[rR]|[rR][bB])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
            | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*') )
  | (?P<number> [0-9][0-9A-Za-z_.]*)
  | (?P<word> [A-Za-z_][A-Za-z0-9_]* | `[^`\n]+`)
  | (?P<sign> \S)
    """,
    re.VERBOSE | re.DOTALL,
)

VALUES = frozenset({"self", "oldSelf"})
_LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
# Where these are called, or an item is taken by its index, the order of a list is part of the answer.
_ORDERED = frozenset({"map", "filter", "join", "isSorted", "indexOf", "lastIndexOf", "first", "last"})


@dataclass(frozen=True)
class Reading:
    """How a rule reads its values.

    `names` are the fields of self and oldSelf that it reads, None if it reads either as a whole. `selected` are
    all names it selects of anything, those that it only asks for with `has` left out. `added` are the words
    left of a plus. `depth` tells how its work grows with its value: 0 evenly, 1 a loop reads something from
    outside of it, 2 an inner loop does. `matches` is how many patterns it may try: 0, 1, or 2 for one a round.
    With `builds` a loop makes a list, for which the engine copies what it has in every round.
    """

    uses_old: bool
    names: frozenset[str] | None
    selected: frozenset[str]
    added: frozenset[str]
    depth: int
    matches: int
    builds: bool
    needs_order: bool
    reads_name: bool


def read_rule(text: str) -> Reading:
    """Find how a rule reads its values."""
    tokens = [(match.group("word") or match.group("sign") or "''").strip("`") for match in _iterate(text)]
    roots = [i for i, token in enumerate(tokens) if token in VALUES and not _is_selected(tokens, i)]
    names = [_find_name(tokens, i) for i in roots]
    return Reading(
        uses_old=any(tokens[i] == "oldSelf" for i in roots),
        names=None if None in names else frozenset(name for name in names if name),
        selected=frozenset(_find_selected(tokens)),
        added=frozenset(left for left, sign in pairwise(tokens) if sign == "+"),
        depth=_find_depth(tokens),
        matches=0 if "matches" not in tokens else 1 if _LOOPS.isdisjoint(tokens) else 2,
        builds=not {"map", "filter"}.isdisjoint(tokens),
        needs_order=_needs_order(tokens),
        reads_name=any(_reads_name(tokens, i) for i in roots),
    )


def rename_calls(text: str, names: dict[str, str]) -> str:
    """Return the rule with other names for the methods that it calls; texts in it are left alone."""
    parts, end = [], 0
    before = ""
    for match in _iterate(text):
        word = match.group("word")
        if word in names and before == "." and text[match.end() :].lstrip().startswith("("):
            parts += [text[end : match.start()], names[word]]
            end = match.end()
        before = match.group()
    return "".join([*parts, text[end:]])


def _iterate(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _TOKEN.finditer(text) if match.lastgroup)


def _get(tokens: Sequence[str], index: int) -> str:
    return tokens[index] if 0 <= index < len(tokens) else ""


def _is_selected(tokens: Sequence[str], index: int) -> bool:
    """Whether this word is what stands behind the dot of `a.b` or `a.?b`."""
    before = _get(tokens, index - 1)
    return before == "." or (before == "?" and _get(tokens, index - 2) == ".")


def _find_name(tokens: Sequence[str], index: int) -> str | None:
    """Find the field read of the value at this index, None if it is read as a whole."""
    if _get(tokens, index + 1) != ".":
        return None
    at = index + 3 if _get(tokens, index + 2) == "?" else index + 2
    name = _get(tokens, at)
    return name if name.isidentifier() and _get(tokens, at + 1) != "(" else None


def _reads_name(tokens: Sequence[str], index: int) -> bool:
    chain = tuple(tokens[index + 1 : index + 5])
    return chain in {(".", "metadata", ".", "name"), (".", "metadata", ".", "generateName")}


def _find_selected(tokens: Sequence[str]) -> Iterator[str]:
    for index, token in enumerate(tokens):
        called = _get(tokens, index + 1) == "("
        if _is_selected(tokens, index) and token.isidentifier() and not called and not _is_asked(tokens, index):
            yield token


def _is_asked(tokens: Sequence[str], index: int) -> bool:
    """Whether the name at this index is what `has(a.b.name)` asks for."""
    if _get(tokens, index + 1) != ")":
        return False
    while index > 0 and (tokens[index].isidentifier() or tokens[index] == "."):
        index -= 1
    return tokens[index] == "(" and _get(tokens, index - 1) == "has"


def _needs_order(tokens: Sequence[str]) -> bool:
    for index, token in enumerate(tokens):
        before = _get(tokens, index - 1)
        if token == "[" and (before in {")", "]"} or (before.isidentifier() and before != "in")):
            return True
        if token in _ORDERED and _is_selected(tokens, index):
            return True
    return False


def _find_depth(tokens: Sequence[str]) -> int:
    outer = set(VALUES)
    loops: list[tuple[int, str]] = []  # the parentheses of each loop around here, and its variable
    open_parentheses = deepest = 0
    for index, token in enumerate(tokens):
        if token == "(":
            open_parentheses += 1
            if _get(tokens, index - 1) in _LOOPS and _is_selected(tokens, index - 1):
                loops.append((open_parentheses, _get(tokens, index + 1)))
            elif tokens[max(index - 3, 0) : index] == ["cel", ".", "bind"]:
                outer.add(_get(tokens, index + 1))
        elif token == ")":
            open_parentheses -= 1
            loops = [loop for loop in loops if loop[0] <= open_parentheses]
        elif loops and not _is_selected(tokens, index) and token in outer.union(name for _, name in loops[:-1]):
            deepest = max(deepest, min(len(loops), 2))
    return deepest
