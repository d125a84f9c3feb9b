"""Edits of whole documents: what people would have typed, in every style that they write."""

from typing import Any

import pytest

from trainlet.documents.revise import edit_document

BLOCK = """\
# My job.
kind: TrainJob   # the kind
metadata:
  name: mnist
spec:  # what I want
  # Which runtime.
  runtimeRef:
    name: torch  # of mine
  args:
    - a  # first
    - b
    # the last
    - c
  env:
  - name: X
    value: "1"  # one
  - name: Z
    value: "2"
  # The end.
"""


def build(**spec: Any) -> dict[str, Any]:
    env = [{"name": "X", "value": "1"}, {"name": "Z", "value": "2"}]
    whole = {"runtimeRef": {"name": "torch"}, "args": ["a", "b", "c"], "env": env, **spec}
    return {
        "kind": "TrainJob",
        "metadata": {"name": "mnist"},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


@pytest.mark.parametrize(
    ("new", "old_lines", "new_lines"),
    [
        (build(runtimeRef={"name": "jax"}), "name: torch  #", "name: jax  #"),
        (build(runtimeRef={"name": "torch", "kind": "X"}), "of mine\n", "of mine\n    kind: X\n"),
        (build(suspend=True), '    value: "2"\n', '    value: "2"\n  suspend: true\n'),
        (build(runtimeRef=None), "  runtimeRef:\n    name: torch  # of mine\n", ""),
        (build(args=["a", "c"]), "    - b\n", ""),
        (build(args=["a", "b", "c", "d e"]), "    - c\n", "    - c\n    - d e\n"),
        (build(args=["z", "a", "b", "c"]), "    - a  #", "    - z\n    - a  #"),
        (build(args=["a", "x", "c"]), "- b\n", "- x\n"),
        (build(args=[]), "  args:\n    - a  # first\n    - b\n    # the last\n    - c\n", "  args: []\n"),
        (
            build(env=[{"name": "X", "value": "9"}, {"name": "Z", "value": "2"}]),
            'value: "1"  # one',
            "value: '9'  # one",
        ),
        (build(env=[{"name": "Z", "value": "2"}]), '  - name: X\n    value: "1"  # one\n', ""),
        (build(env=[{"value": "1"}, {"name": "Z", "value": "2"}]), "  - name: X\n    value", "  - value"),
        (
            build(args=["a", "b", "line 1\nline 2\n"]),
            "    - c\n",
            "    - |\n      line 1\n      line 2\n",
        ),
    ],
)
def test_a_block_changes_where_it_differs(new: Any, old_lines: str, new_lines: str) -> None:
    assert BLOCK.count(old_lines) == 1
    assert edit_document(BLOCK, 0, new) == BLOCK.replace(old_lines, new_lines)


@pytest.mark.parametrize(
    ("text", "new", "wanted"),
    [
        ('{"a": {"b": 1}}', {"a": {"b": 2}}, '{"a": {"b": 2}}'),
        ('{"a": {"b": 1}}', {"a": {"b": 1, "c": []}}, '{"a": {"b": 1, "c": []}}'),
        ('{"a": 1, "b": 2}', {"b": 2}, '{"b": 2}'),
        ('{"a": 1, "b": 2}', {"a": 1}, '{"a": 1}'),
        ('{\n  "a": 1,\n  "b": 2\n}\n', {"a": 1, "b": 3, "c": 4}, '{\n  "a": 1,\n  "b": 3,\n  "c": 4\n}\n'),
        ("a: {b: 1, c: [x, y]}  # c\n", {"a": {"b": 1, "c": ["x"]}}, 'a: {b: 1, c: ["x"]}  # c\n'),
        ("a:  # nothing yet\nb: 1\n", {"a": {"c": 1}, "b": 1}, "a:\n  c: 1  # nothing yet\nb: 1\n"),
        ("a: 1", {"a": 1, "b": 2}, "a: 1\nb: 2"),
        ("a:\r\n  b: 1\r\nc: 2\r\n", {"a": {"b": 1, "d": 3}, "c": 2}, "a:\r\n  b: 1\r\n  d: 3\r\nc: 2\r\n"),
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 2}}, "a: &x {b: 1}\nc:\n  b: 2\n"),
        ("x: &x {s: 1}\nz:\n  <<: *x\n", {"x": {"s": 1}, "z": {"s": 2}}, "x: &x {s: 1}\nz:\n  <<: *x\n  s: 2\n"),
        ("a: |\n  one\n  two\nb: 1  # c\n", {"a": "one\nthree\n", "b": 1}, "a: |\n  one\n  three\nb: 1  # c\n"),
        ("on: 'yes'\n", {"true": "yes", "off": "no"}, "on: 'yes'\n'off': 'no'\n"),
    ],
)
def test_every_style_is_kept(text: str, new: Any, wanted: str) -> None:
    assert edit_document(text, 0, new) == wanted


def test_what_is_too_unusual_is_written_anew_and_the_rest_stays() -> None:
    text = "a: 1  # one\nb: &x\n  - - c\n    - d\ne: 2  # two\n"
    edited = edit_document(text, 0, {"a": 1, "b": [["c", "z"]], "e": 2})
    assert edited.startswith("a: 1  # one\nb:")
    assert edited.endswith("\ne: 2  # two\n")
