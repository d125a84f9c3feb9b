"""What holds of rules whatever the values are."""

import random
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainlet.admission.cel import EvaluationError, compile_rule, find_match
from trainlet.admission.crd import Crd
from trainlet.admission.rules import validate_rules

NAMES = st.text("abc-./_", min_size=1, max_size=4)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20)
RULES = (
    "self == oldSelf",
    "self.a.b == 'x'",
    "self.all(x, x > 1)",
    "size(self) < 3",
    "self.matches('^a+$')",
    "self.indexOf('a') == 0",
    "self.isSorted() && self.sum() > self.max()",
    "quantity(self).isLessThan(quantity('1'))",
    "self.?a.orValue(1) in self.map(x, x)",
)


@given(rule=st.sampled_from(RULES), new=VALUES, old=VALUES)
def test_a_rule_has_a_result_or_an_error(rule: str, new: Any, old: Any) -> None:
    try:
        result = compile_rule(rule).evaluate(new, old)
    except EvaluationError:
        result = False  # what a rule without a result comes to
    assert isinstance(result, bool)


# A NUL is refused before the engine could end a text there.
CLEAN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(text=CLEAN, other=CLEAN)
def test_texts_go_to_the_engine_unharmed(text: str, other: str) -> None:
    assert compile_rule("self").evaluate(text) == text
    assert compile_rule("size(self)").evaluate(text) == len(text)
    assert compile_rule("self == oldSelf").evaluate(text, other) == (text == other)


@given(word=CLEAN, text=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_pattern_finds_what_is_there(word: str, text: str) -> None:
    pattern = "".join(f"\\x{{{ord(character):x}}}" for character in word)
    assert find_match(pattern, text + word + text)
    assert find_match(pattern, text) == (word in text)


@given(text=st.text("ab0-\n", max_size=8))
def test_simple_patterns_mean_what_they_mean_elsewhere(text: str) -> None:
    for pattern in ("^[a-z]([-a-z0-9]*[a-z0-9])?", "a|b0", "(a-)*b+", "[^a]b"):
        assert find_match(pattern, text) == bool(re.search(pattern, text))


STILL = [{"rule": "self == oldSelf"}]
ITEMS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
    "items": {
        "type": "object",
        "properties": {"k": {"type": "string"}, "n": {"type": "number", "x-kubernetes-validations": STILL}},
        "x-kubernetes-preserve-unknown-fields": True,
    },
    "x-kubernetes-validations": STILL,
}
CRD = Crd("g", "v1", "K", "ks", "k", (), "Cluster", {"type": "object", "properties": {"items": ITEMS}})
LISTS = st.lists(
    st.fixed_dictionaries(
        {"k": CLEAN, "n": st.integers(0, 3)}, optional={"more": SCALARS | st.lists(SCALARS, max_size=2)}
    ),
    unique_by=lambda item: str(item["k"]),
    max_size=5,
)


@given(items=LISTS, seed=st.randoms(use_true_random=False))
def test_an_object_in_another_order_is_the_same(items: list[dict[str, Any]], seed: random.Random) -> None:
    shuffled = seed.sample(items, len(items))
    assert validate_rules({"items": shuffled}, {"items": items}, CRD) == []


@given(items=LISTS.filter(bool), number=st.integers(4, 9), data=st.data())
def test_a_changed_item_is_found_in_its_place(items: list[dict[str, Any]], number: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(items) - 1))
    changed = [{**item, "n": number} if i == index else item for i, item in enumerate(items)]
    errors = validate_rules({"items": changed}, {"items": items}, CRD)
    assert [error.path for error in errors] == ["items", f"items[{index}].n"]
