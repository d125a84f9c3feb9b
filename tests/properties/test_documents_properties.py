"""Sentences that hold for every document: written and read again it is the same, and no text harms the reader."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainlet.documents.parse import ParseError, parse_documents
from trainlet.documents.write import dump_documents

#: Text as it comes, and text that looks like something else to one reader of YAML or another.
TEXT = st.text(max_size=12) | st.from_regex(
    r"[-+.0-9_exobinfaNtrulyY~=<:#|>*&!%@`,?{}\[\] \n\t\"']{0,8}", fullmatch=True
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
FRAGMENTS = st.sampled_from(
    [
        "a",
        "1",
        ":",
        ": ",
        "- ",
        "\n",
        "  ",
        "---\n",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&x ",
        "*x",
        "<<: ",
        "|\n",
        "'",
        '"',
        "!!",
        "\x00",
    ]
)


@given(st.lists(VALUES.filter(lambda value: value is not None), max_size=3))
def test_what_was_written_is_read_again(values: list[Any]) -> None:
    assert [document.value for document in parse_documents(dump_documents(values).encode())] == values


@given(st.lists(FRAGMENTS, max_size=30).map("".join).map(str.encode) | st.binary(max_size=60))
def test_any_bytes_are_documents_or_a_refusal_within_the_text(data: bytes) -> None:
    documents, error = [], None
    try:
        documents = parse_documents(data)
    except ParseError as refusal:
        error = refusal
    assert error is None or (1 <= error.line <= data.count(b"\n") + data.count(b"\r") + 2 and error.column >= 1)
    assert [d.index for d in documents] == sorted({d.index for d in documents})
    dump_documents([d.value for d in documents])
