"""Upserts of lists by key, and values at paths; never in place."""

from typing import Any

import pytest

from trainlet.kube.merge import find, put, upsert

A, B, C = {"name": "a", "value": "1"}, {"name": "b"}, {"name": "c"}
NEW_A = {"name": "a", "value": "2"}


@pytest.mark.parametrize(
    ("items", "new", "merged"),
    [
        ([], [], []),
        ([A, B], [], [A, B]),
        ([A, B], [NEW_A], [NEW_A, B]),
        ([B], [C, NEW_A], [B, C, NEW_A]),
        ([A, B], [C, NEW_A], [NEW_A, B, C]),
        ([], [A, NEW_A], [NEW_A]),
    ],
)
def test_a_known_name_is_replaced_in_place_and_a_new_one_appended(items: Any, new: Any, merged: Any) -> None:
    assert upsert(items, new) == merged


def test_the_key_may_be_another_field() -> None:
    ports = [{"containerPort": 80, "name": "web"}]
    assert upsert(ports, [{"containerPort": 80}, {"containerPort": 81}], "containerPort") == [
        {"containerPort": 80},
        {"containerPort": 81},
    ]


@pytest.mark.parametrize(
    ("document", "path", "result"),
    [
        ({}, ("a",), {"a": 1}),
        ({"a": 0, "b": 2}, ("a",), {"a": 1, "b": 2}),
        ({}, ("a", "b"), {"a": {"b": 1}}),
        ({"a": {"c": 2}}, ("a", "b"), {"a": {"c": 2, "b": 1}}),
        ({"a": None}, ("a", "b"), {"a": {"b": 1}}),
        ({"a": [1]}, ("a", "b"), {"a": {"b": 1}}),
    ],
)
def test_put_makes_the_maps_on_the_way_and_keeps_the_rest(document: Any, path: Any, result: Any) -> None:
    before = repr(document)
    assert put(document, path, 1) == result
    assert repr(document) == before


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), {"a": [{"b": 1}], "n": None}),
        (("a", 0, "b"), 1),
        (("a", 1, "b"), None),
        (("a", "b"), None),
        (("n", "b"), None),
        (("x", "y", "z"), None),
        ((0,), None),
    ],
)
def test_find_is_none_where_the_path_ends_early(path: Any, value: Any) -> None:
    assert find({"a": [{"b": 1}], "n": None}, *path) == value
