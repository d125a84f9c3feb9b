"""A document edited to another value, stated as sentences: it says the new value, and what is not about it stays."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainlet.documents.parse import parse_documents
from trainlet.documents.revise import edit_document
from trainlet.documents.write import dump_documents

KEYS = st.sampled_from(["kind", "spec", "name", "labels", "env", "x-1", "a.b/c", "on"])
CHARACTERS = st.sampled_from("\n'\"#:-{},|> \\&*") | st.characters(categories=["L", "N", "P", "S"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.text(CHARACTERS, max_size=12))
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=4), max_leaves=10
)
OBJECTS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)
PLAIN = st.one_of(st.booleans(), st.integers(-99, 99), st.sampled_from(["a", "b c", "torch"]))
FLAT = st.dictionaries(st.sampled_from("abcdefgh"), PLAIN, min_size=1, max_size=6)


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str]:
    """Objects and a text of them."""
    objects = draw(st.lists(OBJECTS, min_size=1, max_size=3))
    if len(objects) == 1 and draw(st.booleans()):
        return objects, json.dumps(objects[0], indent=draw(st.sampled_from([None, 2])), ensure_ascii=False)
    text = dump_documents(objects)
    return objects, text.replace("\n", "\r\n") if draw(st.booleans()) else text


def _freeze(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@given(texts(), OBJECTS, st.data())
def test_the_text_says_the_new_value_and_the_others_say_what_they_said(
    given_text: tuple[list[dict[str, Any]], str], new: dict[str, Any], data: st.DataObject
) -> None:
    objects, text = given_text
    index = data.draw(st.integers(0, len(objects) - 1))
    edited = edit_document(text, index, new)
    values = [document.value for document in parse_documents(edited.encode())]
    assert _freeze(values) == _freeze([new if i == index else each for i, each in enumerate(objects)])


@given(st.dictionaries(st.sampled_from(["labels", "spec", "data"]), FLAT, min_size=1), st.data())
def test_lines_and_comments_of_what_does_not_change_stay(old: dict[str, Any], data: st.DataObject) -> None:
    top = data.draw(st.sampled_from(sorted(old)))
    new = {**old, top: data.draw(FLAT)}
    lines = dump_documents([old]).splitlines()[1:]
    text = "".join(f"{line}  # beside {number}\n" for number, line in enumerate(lines))
    edited = edit_document(text, 0, new).splitlines()
    section = ""
    for number, line in enumerate(lines):
        section = section if line.startswith(" ") else line.rstrip(":")
        key = line.strip().partition(":")[0]
        is_same = not line.startswith(" ") or (section != top or old[top].get(key) == new[top].get(key, ()))
        if is_same and type(old[section].get(key)) is type(new[section].get(key)):
            assert f"{line}  # beside {number}" in edited


@given(texts())
def test_an_edit_to_the_same_value_changes_nothing(given_text: tuple[list[dict[str, Any]], str]) -> None:
    objects, text = given_text
    assert all(edit_document(text, index, each) == text for index, each in enumerate(objects))
