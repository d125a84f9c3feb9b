"""What rules mean in any definition: what they see, when they are asked, what they say, how long they may take."""

from typing import Any

import pytest

from trainlet.admission.crd import Crd
from trainlet.admission.rules import check_crd, validate_rules
from trainlet.kube.errors import UsageError

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}


def build_crd(schema: Schema) -> Crd:
    """Build a definition whose objects have one field `spec` of this schema."""
    return Crd("g", "v1", "K", "ks", "k", (), "Cluster", {"type": "object", "properties": {"spec": schema}})


def build_object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def add_rule(schema: Schema, rule: str, **more: Any) -> Schema:
    return {**schema, "x-kubernetes-validations": [{"rule": rule, **more}]}


def judge_spec(schema: Schema, new: Any, old: Any = None) -> list[tuple[str, str]]:
    """Return path below the object and detail of each error of a value, by rules in the schema alone."""
    errors = validate_rules({"spec": new}, None if old is None else {"spec": old}, build_crd(schema))
    return [(error.path, error.detail) for error in errors]


def is_accepted(schema: Schema, new: Any, old: Any = None) -> bool:
    return judge_spec(schema, new, old) == []


KEYED = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
STILL = add_rule(TEXT, "self == oldSelf", message="still")


@pytest.mark.parametrize(
    ("schema", "old", "new", "paths"),
    [
        (build_object(a=STILL), {"a": "1"}, {"a": "2"}, ["spec.a"]),
        (build_object(a=STILL), {}, {"a": "2"}, []),
        (build_object(a=STILL), {"a": None}, {"a": "2"}, []),
        ({"type": "object", "additionalProperties": STILL}, {"x/y": "1", "z": "1"}, {"x/y": "2"}, ["spec[x/y]"]),
        ({**build_object(a=STILL), "x-kubernetes-map-type": "atomic"}, {"a": "1"}, {"a": "2"}, ["spec.a"]),
        ({**KEYED, "items": build_object(k=TEXT, a=STILL)}, [{"k": "1", "a": "x"}], [{"k": "2", "a": "y"}], []),
        (
            {**KEYED, "items": build_object(k=TEXT, a=STILL)},
            [{"k": "1", "a": "x"}, {"k": "2", "a": "x"}],
            [{"k": "2", "a": "y"}, {"k": "1", "a": "x"}],
            ["spec[0].a"],
        ),
        ({"type": "array", "items": STILL}, ["1"], ["2"], []),
        ({"type": "array", "items": STILL, "x-kubernetes-list-type": "set"}, ["1"], ["2"], []),
        ({"type": "array", "items": build_object(a=STILL)}, [{"a": "1"}], [{"a": "2"}], []),
        (build_object(a=STILL), "a text", {"a": "2"}, []),
    ],
)
def test_which_old_value_belongs_to_a_new_one(schema: Schema, old: Any, new: Any, paths: list[str]) -> None:
    assert judge_spec(schema, new, old) == [(path, "still") for path in paths]


GROWS = "!oldSelf.hasValue() || oldSelf.value() < self"


@pytest.mark.parametrize(("old", "new", "accepted"), [(None, 1, True), (1, 2, True), (2, 2, False), (3, 2, False)])
def test_a_rule_may_take_the_old_value_as_optional(old: Any, new: int, accepted: bool) -> None:
    schema = add_rule({"type": "integer"}, GROWS, optionalOldSelf=True)
    assert is_accepted(schema, new, old) == accepted


def test_an_optional_old_value_that_is_absent_can_be_refused() -> None:
    schema = add_rule({"type": "integer"}, "oldSelf.hasValue()", optionalOldSelf=True)
    assert (is_accepted(schema, 1), is_accepted(schema, 1, 1)) == (False, True)


PRESERVED = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
WHEN = {"type": "string", "format": "date-time"}
NUMBERS = {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize(
    ("schema", "rule", "new", "accepted"),
    [
        (build_object(namespace=TEXT), "self.__namespace__ == 'a'", {"namespace": "a"}, True),
        (build_object(**{"a-b": TEXT}), "self.a__dash__b == 'a'", {"a-b": "a"}, True),
        (build_object(**{"a.b/c": TEXT}), "self.a__dot__b__slash__c == 'a'", {"a.b/c": "a"}, True),
        (build_object(a__b=TEXT), "self.a__underscores__b == 'a'", {"a__b": "a"}, True),
        (build_object(**{"": TEXT, "9": TEXT, "é": TEXT}), "!has(self.x)", {"": "a", "9": "a", "é": "a"}, True),
        ({"type": "object", "additionalProperties": TEXT}, "self['a-b'] == 'a'", {"a-b": "a"}, True),
        ({"type": "object", "additionalProperties": TEXT}, "self.all(k, k == 'namespace')", {"namespace": "a"}, True),
        ({**PRESERVED, "properties": {"a": TEXT}}, "!has(self.b)", {"a": "1", "b": "2"}, True),
        ({**PRESERVED, "properties": {"a": TEXT}}, "has(self.b)", {"a": "1", "b": "2"}, False),
        (build_object(a={"x-kubernetes-preserve-unknown-fields": True}), "has(self.a)", {"a": 1}, False),
        (build_object(a={**TEXT, "nullable": True}), "has(self.a)", {"a": None}, False),
        (build_object(a={**TEXT, "nullable": True}), "has(self.a)", {"a": ""}, True),
        ({"type": "number"}, "type(self) == double", 1, True),
        ({"type": "integer"}, "type(self) == int", 1.0, True),
        ({"x-kubernetes-int-or-string": True}, "type(self) == int", 1, True),
        ({"x-kubernetes-int-or-string": True}, "type(self) == int", "1", False),
        (WHEN, "self < timestamp('2026-01-01T00:00:00Z')", "2026-01-01T00:30:00+01:00", True),
        ({"type": "string", "format": "date"}, "self.getFullYear() == 2026", "2026-05-06", True),
        ({"type": "string", "format": "duration"}, "self == duration('90m')", "1h30m", True),
        ({"type": "string", "format": "duration"}, "self > duration('24h')", "2 days", True),
        ({"type": "string", "format": "byte"}, "self == b'abc'", "YWJj", True),
        (build_object(at=WHEN), "has(self.at)", {"at": "2026-01-01T00:00:00Z"}, True),
        ({**KEYED, "items": build_object(k=TEXT)}, "self[0].k == 'b'", [{"k": "b"}, {"k": "a"}], True),
        (
            build_object(e={"type": "object", "x-kubernetes-embedded-resource": True}),
            "self.e.metadata.name == 'a' && self.e.kind == 'B' && !has(self.e.spec)",
            {"e": {"kind": "B", "metadata": {"name": "a"}, "spec": {}}},
            True,
        ),
        (NUMBERS, "self.isSorted() && self.sum() == 6 && self.min() == 1 && self.max() == 3", [1, 2, 3], True),
    ],
)
def test_what_a_rule_sees(schema: Schema, rule: str, new: Any, accepted: bool) -> None:
    assert is_accepted(add_rule(schema, rule), new) == accepted


@pytest.mark.parametrize(
    ("schema", "old", "new", "same"),
    [
        (WHEN, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", True),
        (build_object(at=WHEN), {"at": "2026-01-01T00:00:00Z"}, {"at": "2026-01-01T01:00:00+01:00"}, True),
        (build_object(at=WHEN), {"at": "2026-01-01T00:00:00Z"}, {"at": "2026-01-01T00:00:01Z"}, False),
        ({"type": "string", "format": "duration"}, "60m", "1h", True),
        ({**PRESERVED, "properties": {"a": TEXT}}, {"a": "1", "b": {"c": 1}}, {"a": "1", "b": {"c": 1}}, True),
        ({**PRESERVED, "properties": {"a": TEXT}}, {"a": "1", "b": {"c": 1}}, {"a": "1", "b": {"c": 2}}, False),
        ({**PRESERVED, "properties": {"a": TEXT}}, {"a": "1"}, {"a": "1", "b": 2}, False),
        ({**KEYED, "items": build_object(k=TEXT, v=TEXT)}, [{"k": "a"}, {"k": "b"}], [{"k": "b"}, {"k": "a"}], True),
        ({**KEYED, "items": build_object(k=TEXT, v=TEXT)}, [{"k": "a"}], [{"k": "a", "v": "1"}], False),
        ({"x-kubernetes-int-or-string": True}, 1, "1", False),
        ({"type": "number"}, 1, 1.0, True),
        (build_object(a={"type": "string", "format": "byte"}), {"a": "YQ=="}, {"a": "Yg=="}, False),
    ],
)
def test_what_is_the_same_value(schema: Schema, old: Any, new: Any, same: bool) -> None:
    assert is_accepted(add_rule(schema, "self == oldSelf"), new, old) == same


def test_a_rule_that_needs_an_order_sees_the_one_that_is_written() -> None:
    schema = {**KEYED, "items": build_object(k=TEXT)}
    rule = add_rule(schema, "self.map(x, x.k).join('') == 'ba' && size(oldSelf) == 2")
    written = [{"k": "b"}, {"k": "a"}]
    assert is_accepted(rule, written, written)


NAMED = build_object(metadata=build_object(name=TEXT))


def test_only_of_an_object_the_name_is_to_blame() -> None:
    rule = "self.metadata.name == 'a'"
    assert judge_spec(add_rule(NAMED, rule), {"metadata": {"name": "b"}}) == [("spec", f"failed rule: {rule}")]


def test_a_rule_at_the_root_may_blame_another_field() -> None:
    schema = add_rule(build_object(spec=TEXT), "self.metadata.name == self.spec", fieldPath=".spec", message="no")
    crd = Crd("g", "v1", "K", "ks", "k", (), "Cluster", schema)
    [error] = validate_rules({"metadata": {"name": "a"}, "spec": "b"}, None, crd)
    assert (error.path, error.value) == ("spec", "object")


def test_a_rule_at_the_root_sees_name_and_kind_but_no_label() -> None:
    reads = "self.kind == 'K' && self.apiVersion == 'g/v1' && self.metadata.generateName == 'a-'"
    rule = f"{reads} && !has(self.metadata.labels)"
    crd = Crd("g", "v1", "K", "ks", "k", (), "Cluster", add_rule(build_object(), rule))
    document = {"apiVersion": "g/v1", "kind": "K", "metadata": {"generateName": "a-", "labels": {"a": "b"}}}
    assert validate_rules(document, None, crd) == []
    [error] = validate_rules({**document, "kind": "L"}, None, crd)
    assert (error.path, error.value) == ("metadata.name", "")


def test_an_embedded_object_has_a_name_of_its_own() -> None:
    inner = add_rule({"type": "object", "x-kubernetes-embedded-resource": True}, "self.metadata.name == 'a'")
    [error] = validate_rules({"spec": {"metadata": {"name": "b"}}}, None, build_crd(inner))
    assert (error.path, error.value) == ("spec.metadata.name", "b")


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({}, "failed rule: self > 5"),
        ({"message": " too low "}, "too low"),
        ({"messageExpression": "'%d is too low'.format([self])"}, "3 is too low"),
        ({"message": "too low", "messageExpression": "' a ' + string(self)"}, "a 3"),
        ({"message": "too low", "messageExpression": "'a\\nb'"}, "too low"),
        ({"message": "too low", "messageExpression": "'  '"}, "too low"),
        ({"message": "too low", "messageExpression": "string(1 / (self - 3))"}, "too low"),
        ({"message": "too low", "messageExpression": "string(oldSelf)"}, "too low"),
        ({"messageExpression": "string(1 / (self - 3))"}, "failed rule: self > 5"),
    ],
)
def test_what_a_broken_rule_says(more: dict[str, Any], detail: str) -> None:
    assert judge_spec(add_rule({"type": "integer"}, "self > 5", **more), 3) == [("spec", detail)]


MAP_OF_TEXTS = {"type": "object", "additionalProperties": TEXT}


@pytest.mark.parametrize(
    ("field_path", "path"),
    [
        (".a", "spec.a"),
        (".b.c", "spec.b.c"),
        (".m['x.y']", "spec.m[x.y]"),
        (".m.x", "spec.m[x]"),
        ("['a']", "spec.a"),
        (r"['a\'b']", "spec.a'b"),
    ],
)
def test_a_rule_may_blame_a_field(field_path: str, path: str) -> None:
    schema = build_object(a=TEXT, b=build_object(c=TEXT), m=MAP_OF_TEXTS, **{"a'b": TEXT})
    assert judge_spec(add_rule(schema, "false", message="no", fieldPath=field_path), {}) == [(path, "no")]


@pytest.mark.parametrize(
    ("reason", "error_type"),
    [
        ("FieldValueInvalid", "Invalid value"),
        ("FieldValueForbidden", "Forbidden"),
        ("FieldValueRequired", "Required value"),
        ("FieldValueDuplicate", "Duplicate value"),
    ],
)
def test_a_rule_may_give_a_reason(reason: str, error_type: str) -> None:
    crd = build_crd(add_rule(TEXT, "false", message="no", reason=reason))
    [error] = validate_rules({"spec": "x"}, None, crd)
    assert (error.type, error.detail, error.stage) == (error_type, "no", "cel")


@pytest.mark.parametrize(
    ("schema", "new", "value"),
    [(TEXT, "x", "x"), ({"type": "integer"}, 1, 1), (NUMBERS, [1], "array"), (build_object(), {}, "object")],
)
def test_of_a_large_value_only_its_type_is_shown(schema: Schema, new: Any, value: Any) -> None:
    [error] = validate_rules({"spec": new}, None, build_crd(add_rule(schema, "false")))
    assert error.value == value


@pytest.mark.parametrize(
    ("rule", "new", "detail"),
    [
        ("self.a == 'x'", {}, "no such key: a evaluating rule: told"),
        ("self.l[2] == 1", {"l": [1]}, "index out of bounds: 2 evaluating rule: told"),
        ("1 / self.n == 1", {"n": 0}, "division by zero evaluating rule: told"),
        ("self.n + 9223372036854775807 > 0", {"n": 1}, "integer overflow evaluating rule: told"),
        ("self.a == 'x'", {"a": "x\0"}, "a text that contains a NUL character cannot be judged evaluating rule: told"),
        ("double(self.a) > 1.0", {"a": "x"}, "cannot convert string to double evaluating rule: told"),
        (
            "self.n > 'a'",
            {"n": 1},
            "'no such overload': call arguments did not match a supported operator, function or macro signature "
            "for rule: told",
        ),
    ],
)
def test_a_rule_without_a_result_is_broken(rule: str, new: Any, detail: str) -> None:
    schema = build_object(a=TEXT, l=NUMBERS, n={"type": "integer"})
    assert judge_spec(add_rule(schema, rule, message="told"), new) == [("spec", detail)]


def test_a_rule_that_gives_no_truth_is_broken() -> None:
    schema = add_rule(build_object(a=TEXT), "self.a", message="no")
    assert judge_spec(schema, {"a": "x"}) == [("spec", "no")]


def test_rules_in_all_of_are_rules() -> None:
    schema = {
        **build_object(a=TEXT, l={"type": "array", "items": TEXT}),
        "allOf": [
            {"properties": {"a": add_rule({}, "self != 'x'", message="first")}},
            {"allOf": [{"properties": {"l": {"items": add_rule({}, "self != 'y'", message="second")}}}]},
        ],
    }
    assert judge_spec(schema, {"a": "x", "l": ["x", "y"]}) == [("spec.a", "first"), ("spec.l[1]", "second")]


OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


@pytest.mark.parametrize(
    ("schema", "new"),
    [
        (add_rule(NUMBERS, "self.all(x, x == 1)"), [1] * 20_000),
        (add_rule(NUMBERS, "self.all(x, self == self)"), [1] * 9000),
        (add_rule(NUMBERS, "self.all(x, self.exists(y, y == x + 1 || y == 1))"), [1] * 9000),
        (add_rule(NUMBERS, "cel.bind(s, self, s.all(x, s.all(y, x == y)))"), [1] * 9000),
        (add_rule(NUMBERS, "self.map(x, x).size() == size(self)"), [1] * 9000),
        (add_rule({"type": "array", "items": TEXT}, "self.all(x, x.matches('a'))"), ["a" * 128] * 9000),
        ({"type": "array", "items": add_rule(TEXT, "self.matches('a')")}, ["a"] * 60_000),
        ({"type": "array", "items": add_rule({"type": "integer"}, "self == 1")}, [1] * 200_000),
    ],
)
def test_rules_that_take_too_long_end_the_judging(schema: Schema, new: list[Any]) -> None:
    errors = judge_spec(build_object(a=schema, b=add_rule(TEXT, "false")), {"a": new, "b": "x"})
    assert [detail for _, detail in errors] == [OUT_OF_BUDGET]


def test_what_a_rule_does_not_read_costs_nothing() -> None:
    schema = add_rule(build_object(a=TEXT, l=NUMBERS), "self.a == 'x' && has(self.a)")
    assert is_accepted(schema, {"a": "x", "l": [1] * 2_000_000})


def test_a_hundred_errors_are_enough() -> None:
    schema = {"type": "array", "items": add_rule(TEXT, "false", message="no")}
    errors = judge_spec(schema, ["x"] * 5000)
    assert errors[:100] == [(f"spec[{index}]", "no") for index in range(100)]
    assert errors[100:] == [("", "more than 100 rules are broken, no further validation rules will be run")]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (add_rule(TEXT, "self ="), "spec.a: 'self =': Syntax error: token recognition error"),
        (add_rule(TEXT, "self.find('a') == 'a'"), "no function or variable of this name is available here: find"),
        (add_rule(TEXT, "isURL(self)"), "no function or variable of this name is available here: isURL"),
        (add_rule(TEXT, "size(self)"), "it must evaluate to a bool, not to a int"),
        (add_rule(TEXT, "true", messageExpression="1"), "'1': it must evaluate to a string, not to a int"),
        (add_rule(TEXT, "true", messageExpression="sel"), "no function or variable of this name is available here"),
        (add_rule(TEXT, "true", reason="Bad"), "reason Bad is not one of FieldValueInvalid, FieldValueForbidden"),
        (add_rule(build_object(), "true", fieldPath=".b"), "fieldPath '.b' does not refer to a valid field: b"),
        (add_rule(build_object(), "true", fieldPath="b"), "fieldPath 'b' is not a path like .a.b['c']"),
        (add_rule({**PRESERVED, "type": None}, "true"), "the schema does not say what the value is"),
        (add_rule(build_object(at=WHEN), "self.at > timestamp('2026-01-01T00:00:00Z')"), "cannot be read"),
        (add_rule(build_object(at=WHEN), "self.?at.hasValue() && self.`at` > '2'"), "cannot be read"),
        (add_rule(build_object(at=WHEN), "has(self.at) && size(self.at) > 0"), "cannot be read"),
        (add_rule(build_object(b={"type": "array", "items": WHEN}), "self.b.all(t, true)"), "by a rule here: b"),
        (add_rule({"type": "array", "items": WHEN}, "self.all(t, true)"), "by a rule here: self"),
        (add_rule({**KEYED, "items": build_object(k=TEXT)}, "size(self + self) > 1"), "cannot be added by a rule"),
        ({"type": "array", "items": add_rule(TEXT, "x")}, "spec.a[]: 'x': "),
        ({**TEXT, "pattern": "(?=a)"}, "spec.a: '(?=a)': invalid regular expression"),
        ({**TEXT, "not": {"pattern": "["}}, "spec.a: '[': "),
        ({"type": "object", "additionalProperties": {"anyOf": [{"pattern": "["}]}}, "spec.a[]: '[': "),
    ],
)
def test_a_definition_with_a_rule_that_cannot_be_judged_is_refused(schema: Schema, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_crd(build_crd(build_object(a=schema)))
    assert problem in str(refused.value)
    assert "(ks.g): " in str(refused.value)


@pytest.mark.parametrize(("list_type", "is_change"), [("set", False), ("atomic", True)])
def test_the_order_of_a_set_means_nothing(list_type: str, is_change: bool) -> None:
    names = {
        "type": "array",
        "items": {"type": "string"},
        "x-kubernetes-list-type": list_type,
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "field is immutable"}],
    }
    schema = {"type": "object", "properties": {"names": names}}
    crd = Crd("g", "v1", "K", "ks", "k", (), "Cluster", schema)
    errors = validate_rules({"names": ["b", "a"]}, {"names": ["a", "b"]}, crd)
    assert [error.path for error in errors] == (["names"] if is_change else [])
