"""Edits, stated as sentences: the field is set, no other value changes, no other line changes by a byte."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainlet.documents.edit import remove_document, set_field, splice_block
from trainlet.documents.parse import parse_documents
from trainlet.documents.write import dump_documents

KEYS = st.sampled_from(["kind", "spec", "name", "labels", "env", "x-1", "a.b/c"])
CHARACTERS = st.sampled_from("\n'\"#:-{},|> \\") | st.characters(categories=["L", "N", "P", "S"])
TEXT = st.text(CHARACTERS, max_size=12)
FLOATS = st.floats(-1e6, 1e6).filter(lambda number: not number.is_integer())
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), FLOATS, TEXT)
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)
Object = dict[str, Any]


@st.composite
def manifests(draw: st.DrawFn) -> tuple[list[Object], str]:
    """Objects and a text of them, each document in a style of its own."""
    objects = draw(st.lists(OBJECTS, min_size=1, max_size=3))
    text = "".join("---\n" * (i > 0) + draw(_write(value)) for i, value in enumerate(objects))
    return objects, text.replace("\n", "\r\n") if draw(st.booleans()) else text


@st.composite
def _write(draw: st.DrawFn, value: Object) -> str:
    style = draw(st.sampled_from(["json", "spread json", "block"]))
    if style != "block":
        return json.dumps(value, indent=4 if style == "spread json" else None, ensure_ascii=False) + "\n"
    text = dump_documents([value]).removeprefix("---\n")
    if any(mark in text for mark in ("|", '"', ">", "'")):
        return f"# Top.\n{text}# End.\n"
    return "".join(draw(_comment(line)) for line in text.splitlines(keepends=True))


@st.composite
def _comment(draw: st.DrawFn, line: str) -> str:
    indent = line[: len(line) - len(line.lstrip(" "))]
    before = draw(st.sampled_from(["", "", f"{indent}# before\n", "# far left\n"]))
    return before + line.removesuffix("\n") + draw(st.sampled_from(["", "  # beside"])) + "\n"


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path at which a scalar stands or a new key may be put."""
    if isinstance(value, dict):
        below = [found for key, item in value.items() for found in _paths(item, (*path, key))]
        return [*below, (*path, "added")]
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in _paths(item, (*path, i))]
    return [path]


def _put(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _put(copy[path[0]] if path[0] != "added" else None, path[1:], new)
    return copy


def _read(text: str) -> str:
    return json.dumps([d.value for d in parse_documents(text.encode())], sort_keys=True)


def _find_change(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return the lines that differ, without the equal ones at both ends."""
    before, after = old.split("\n"), new.split("\n")
    while before and after and before[0] == after[0]:
        before, after = before[1:], after[1:]
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    return before, after


@given(manifests(), SCALARS, st.data())
def test_the_field_is_set_and_no_other_line_changes(
    manifest: tuple[list[Object], str], value: Any, data: st.DataObject
) -> None:
    objects, text = manifest
    index = data.draw(st.integers(0, len(objects) - 1))
    path = data.draw(st.sampled_from(_paths(objects[index])))
    new = set_field(text, index, path, value)
    expected = [_put(o, path, value) if i == index else o for i, o in enumerate(objects)]
    assert _read(new) == json.dumps(expected, sort_keys=True)
    before, after = _find_change(text, new)
    spread = 0 if path[-1] == "added" else str(_get(objects[index], path)).count("\n")
    assert len(before) <= 1 + 3 * spread
    assert len(after) <= 2


def _get(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@given(manifests(), st.data())
def test_a_removed_document_is_gone_and_the_others_keep_every_byte(
    manifest: tuple[list[Object], str], data: st.DataObject
) -> None:
    objects, text = manifest
    index = data.draw(st.integers(0, len(objects) - 1))
    new = remove_document(text, index)
    assert _read(new) == json.dumps([o for i, o in enumerate(objects) if i != index], sort_keys=True)
    start = next((i for i in range(len(new)) if new[i] != text[i]), len(new))
    assert text.endswith(new[start:])


@given(manifests(), OBJECTS, OBJECTS, st.data())
def test_a_spliced_block_can_be_replaced_as_often_as_wanted(
    manifest: tuple[list[Object], str], first: Object, second: Object, data: st.DataObject
) -> None:
    objects, text = manifest
    index = data.draw(st.integers(0, len(objects) - 1))
    once = splice_block(text, index, "status", first)
    expected = [{**o, "status": second} if i == index else o for i, o in enumerate(objects)]
    assert _read(splice_block(once, index, "status", second)) == json.dumps(expected, sort_keys=True)
    assert splice_block(once, index, "status", first) == once
