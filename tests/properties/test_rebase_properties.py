"""A change carried over to another text of an object: what was filled in is not written, what changed is."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainlet.kube.rebase import rebase

KEYS = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.recursive(
    st.integers(0, 3) | st.sampled_from(["x", "y"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
DEFAULTS = st.dictionaries(st.sampled_from(["e", "f"]), VALUES, max_size=2)


@given(OBJECTS, OBJECTS)
def test_where_nothing_was_filled_in_the_change_is_all_there_is(old: Any, new: Any) -> None:
    assert rebase(old, old, new) == new


@given(OBJECTS, DEFAULTS, OBJECTS)
def test_what_was_filled_in_is_not_written(written: Any, defaults: Any, new: Any) -> None:
    assert rebase(written, {**defaults, **written}, {**defaults, **new}) == new


@given(OBJECTS, OBJECTS)
def test_no_change_leaves_what_is_written(written: Any, old: Any) -> None:
    assert rebase(written, old, old) == written
