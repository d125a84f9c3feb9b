"""Patches: merge (RFC 7386), JSON (RFC 6902) with its own examples, and strategic merge of the core's kinds."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.kube.patch import PatchError, apply_json_patch, apply_merge_patch, apply_strategic_patch


@pytest.mark.parametrize(
    ("document", "patch", "wanted"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [1, 2]}, {"a": [{"b": None}]}, {"a": [{"b": None}]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_a_merge_patch_is_merged(document: Any, patch: Any, wanted: Any) -> None:
    before = copy.deepcopy(document)
    assert apply_merge_patch(document, patch) == wanted
    assert document == before


@pytest.mark.parametrize(
    ("document", "operations", "wanted"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": 1}], {"foo": "bar", "baz": 1}),
        ({"foo": [1, 3]}, [{"op": "add", "path": "/foo/1", "value": 2}], {"foo": [1, 2, 3]}),
        ({"foo": [1]}, [{"op": "add", "path": "/foo/-", "value": [2]}], {"foo": [1, [2]]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": {"b": 2}}], {"a": {"b": 2}}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"foo": [1, 2, 3]}, [{"op": "move", "from": "/foo/0", "path": "/foo/2"}], {"foo": [2, 3, 1]}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
        (
            {"a/b": 1, "m~n": 2},
            [{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}],
            {"a/b": 1},
        ),
        ({"a": 1}, [{"op": "test", "path": "/gone", "value": None}], {"a": 1}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"": 1}, [{"op": "test", "path": "/", "value": 1}], {"": 1}),
    ],
)
def test_a_json_patch_is_carried_out(document: Any, operations: Any, wanted: Any) -> None:
    before = copy.deepcopy(document)
    assert apply_json_patch(document, operations) == wanted
    assert document == before


@pytest.mark.parametrize(
    ("operation", "is_malformed"),
    [
        ({"op": "test", "path": "/a", "value": 2}, False),
        ({"op": "test", "path": "/a", "value": True}, False),
        ({"op": "remove", "path": "/gone"}, False),
        ({"op": "replace", "path": "/gone", "value": 1}, False),
        ({"op": "add", "path": "/gone/deep", "value": 1}, False),
        ({"op": "add", "path": "/l/2", "value": 1}, False),
        ({"op": "add", "path": "/l/01x", "value": 1}, False),
        ({"op": "add", "path": "/a/b", "value": 1}, False),
        ({"op": "move", "from": "/m", "path": "/m/x"}, True),
        ({"op": "invent", "path": "/a"}, True),
        ({"op": "add", "path": "a", "value": 1}, True),
        ({"op": "add", "path": "/a"}, True),
        ({"op": "copy", "path": "/a"}, True),
        ("add", True),
    ],
)
def test_what_cannot_be_done_is_refused(operation: Any, is_malformed: bool) -> None:
    with pytest.raises(PatchError) as raised:
        apply_json_patch({"a": 1, "l": [0], "m": {}}, [operation])
    assert raised.value.is_malformed is is_malformed


_KEYS = st.sampled_from(["a", "b", "a/b", "~", ""])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=3),
    max_leaves=8,
)


def _list_pointers(value: Any, path: str = "") -> list[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = (_list_pointers(item, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}") for key, item in items)
    return [path, *(each for found in below for each in found)]


@given(st.dictionaries(_KEYS, _VALUES, min_size=1), st.data())
def test_what_is_replaced_is_found_there_and_undone_by_the_reverse(document: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(_list_pointers(document)[1:]))
    value = data.draw(_VALUES)
    changed = apply_json_patch(document, [{"op": "replace", "path": path, "value": value}])
    assert apply_json_patch(changed, [{"op": "test", "path": path, "value": value}]) == changed
    taken = apply_json_patch(document, [{"op": "copy", "from": path, "path": "/kept"}, {"op": "remove", "path": path}])
    assert apply_json_patch(taken, [{"op": "move", "from": "/kept", "path": path}]) == document


@pytest.mark.parametrize(
    ("document", "patch", "wanted"),
    [
        ({"data": {"a": "1", "b": "2"}}, {"data": {"a": None, "c": "3"}}, {"data": {"b": "2", "c": "3"}}),
        ({"data": {"a": "1"}}, {"data": {"$patch": "replace", "b": "2"}}, {"data": {"b": "2"}}),
        ({"data": {"a": "1"}, "x": 1}, {"data": {"$patch": "delete"}}, {"x": 1}),
        (
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
            {"metadata": {"finalizers": ["a", "b"]}},
        ),
        (
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}},
            {"metadata": {"finalizers": ["b"]}},
        ),
        (
            {"ownerReferences": [{"uid": "1", "name": "a"}, {"uid": "2"}]},
            {"ownerReferences": [{"uid": "1", "name": "b"}, {"uid": "2", "$patch": "delete"}]},
            {"ownerReferences": [{"uid": "1", "name": "b"}]},
        ),
        ({"spec": {"accessModes": ["a"]}}, {"spec": {"accessModes": ["b"]}}, {"spec": {"accessModes": ["b"]}}),
        ({"spec": {"a": 1, "b": 2}}, {"spec": {"$retainKeys": ["b"], "b": 3}}, {"spec": {"b": 3}}),
    ],
)
def test_a_strategic_patch_merges_lists_that_have_a_key(document: Any, patch: Any, wanted: Any) -> None:
    assert apply_strategic_patch(document, patch) == wanted
