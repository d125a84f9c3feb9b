"""CEL as a cluster understands it: a table of the language, and every rule that is shipped."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from trainlet.admission.cel import ABSENT, Budget, BudgetError, CelError, EvaluationError, compile_rule, find_match
from trainlet.admission.crd import parse_crd
from trainlet.package_data import read_crds


def evaluate(rule: str, value: Any = None, old: Any = ABSENT) -> Any:
    return compile_rule(rule).evaluate(value, old)


LANGUAGE: list[tuple[str, Any, Any]] = [
    # equality and types
    ("self == 1.0", 1, True),
    ("self == 1", True, False),
    ("self == '1'", 1, False),
    ("self == null", None, True),
    ("self == {'a': [1, 2]}", {"a": [1, 2]}, True),
    ("self == [1, 2]", [2, 1], False),
    ("type(self) == int", 1, True),
    ("type(self) == bool", True, True),
    ("type(self) == double", 1.0, True),
    ("type(self) == string", "", True),
    ("type(self) == list", [], True),
    ("type(self) == map", {}, True),
    ("1 < self && self < 2", 1.5, True),
    ("'a' < self", "b", True),
    # logic absorbs errors in either order
    ("true || self.a", {}, True),
    ("self.a || true", {}, True),
    ("false && self.a", {}, False),
    ("self.a && false", {}, False),
    ("self ? 1 : 2", False, 2),
    ("!self", True, False),
    # arithmetic
    ("self / 2", 7, 3),
    ("self % 3", -7, -1),
    ("-self", 3, -3),
    ("self * 2.0", 1.5, 3.0),
    ("int(self)", "12", 12),
    ("double(self)", "1.5", 1.5),
    ("string(self)", 3, "3"),
    ("int(self)", 2.9, 2),
    # texts are counted in characters
    ("size(self)", "é😀", 2),
    ("self.size()", "", 0),
    ("self + 'b'", "a", "ab"),
    ("self.startsWith('a') && self.endsWith('c') && self.contains('b')", "abc", True),
    ("self.lowerAscii() + self.upperAscii()", "aB", "abAB"),
    ("self.split(',')", "a,b", ["a", "b"]),
    ("self.join('-')", ["a", "b"], "a-b"),
    ("self.replace('a', 'b')", "aa", "bb"),
    ("self.substring(1)", "abc", "bc"),
    ("self.trim()", " a ", "a"),
    ("self.charAt(1)", "aé", "é"),
    ("'%s is %d'.format(['a', self])", 3, "a is 3"),
    ("self.indexOf('b')", "abcb", 1),
    ("self.indexOf('b', 2)", "abcb", 3),
    ("self.indexOf('')", "abc", 0),
    ("self.indexOf('x')", "abc", -1),
    ("self.lastIndexOf('b')", "abcb", 3),
    ("self.lastIndexOf('b', 2)", "abcb", 1),
    ("self.lastIndexOf('')", "abc", 3),
    # lists and maps
    ("2 in self", [1, 2], True),
    ("'a' in self", {"a": 1}, True),
    ("self[1]", [1, 2], 2),
    ("self['a']", {"a": 1}, 1),
    ("self + [3]", [1], [1, 3]),
    ("has(self.a)", {"a": None}, True),
    ("has(self.a)", {}, False),
    ("self.all(x, x > 0)", [], True),
    ("self.exists(x, x.a == 1)", [{}, {"a": 1}], True),
    ("self.exists_one(x, x == 1)", [1, 1], False),
    ("self.map(x, x * 2)", [1, 2], [2, 4]),
    ("self.map(x, x > 1, x * 2)", [1, 2], [4]),
    ("self.filter(x, x > 1)", [1, 2], [2]),
    ("self.all(k, self[k] == 1)", {"a": 1, "b": 1}, True),
    ("self.indexOf(2)", [1, 2, 2], 1),
    ("self.lastIndexOf(2)", [1, 2, 2], 2),
    ("self.indexOf(1)", [True, 1.0], 1),
    ("self.indexOf([{'a': 1}])", [[{"a": True}], [{"a": 1}]], 1),
    ("self.lastIndexOf('x')", ["a"], -1),
    ("self.indexOf . indexOf (1)", {"indexOf": [1]}, 0),
    ("self.isSorted()", [1, 1, 2], True),
    ("self.isSorted()", ["b", "a"], False),
    ("self.isSorted()", [], True),
    ("self.sum()", [1, 2], 3),
    ("self.sum()", [0.5, 1.0], 1.5),
    ("self.sum()", [], 0),
    ("self.min()", [2, 1], 1),
    ("self.max()", ["a", "b"], "b"),
    # optional values and bindings
    ("self.?a.orValue('x')", {}, "x"),
    ("self.?a.?b.orValue('x')", {"a": {"b": "y"}}, "y"),
    ("self.?a.hasValue()", {"a": 1}, True),
    ("self[?'a'].optMap(v, v + 1).orValue(0)", {"a": 1}, 2),
    ("cel.bind(x, self, x + x)", 2, 4),
    # times
    ("timestamp(self) < timestamp('2026-01-01T00:00:00Z')", "2025-12-31T23:59:59Z", True),
    ("duration(self) == duration('60m')", "1h", True),
    ("timestamp(self).getFullYear()", "2026-01-01T00:00:00Z", 2026),
    # quantities
    ("isQuantity(self)", "1.5Gi", True),
    ("isQuantity(self)", "1.5Gib", False),
    ("quantity(self) == quantity('1')", "1000m", True),
    ("quantity(self).isLessThan(quantity('1Gi'))", "1G", True),
    ("quantity(self).isGreaterThan(quantity('1Gi'))", "1G", False),
    ("quantity(self).compareTo(quantity('1'))", "500m", -1),
    ("quantity(self).add(quantity('500m')).add(1).sub(quantity('500m')).sub(1) == quantity(self)", "3", True),
    ("quantity(self).isInteger()", "1500m", False),
    ("quantity(self).isInteger()", "9223372036854775808", False),
    ("quantity(self).asInteger()", "2k", 2000),
    ("quantity(self).asApproximateFloat()", "1500m", 1.5),
    ("quantity(self).sign()", "-1", -1),
    # texts and comments in a rule
    ("'oldSelf' == self // oldSelf", "oldSelf", True),
    ("r'\\d' == self", "\\d", True),
    ("'''a'b''' == self", "a'b", True),
    ("'it\\'s .indexOf(' == self", "it's .indexOf(", True),
]


@pytest.mark.parametrize(("rule", "value", "result"), LANGUAGE)
def test_the_language(rule: str, value: Any, result: Any) -> None:
    found = evaluate(rule, value)
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    ("rule", "value", "problem"),
    [
        ("self.a", {}, "no such key: a"),
        ("self.a.b", {"a": {}}, "no such key: b"),
        ("has(self.a.b)", {}, "no such key: a"),
        ("self['a b']", {}, "no such key: a b"),
        ("self.a", 5, "no such overload"),
        ("self.a", None, "no such overload"),
        ("self > 'a'", 5, "no such overload"),
        ("self ? 1 : 2", 5, "no such overload"),
        ("self.matches('a')", 5, "no such overload"),
        ("self[3]", [1], "index out of bounds: 3"),
        ("self[-1]", [1], "index out of bounds: -1"),
        ("1 / self", 0, "division by zero"),
        ("1 % self", 0, "modulus by zero"),
        ("self + 1", 2**63 - 1, "integer overflow"),
        ("int(self)", "x", "cannot convert string to int"),
        ("self.all(x, x.a == 1)", [{"a": 1}, {}], "no such key: a"),
        ("self == oldSelf", 1, "no such attribute: oldSelf"),
        ("'a'.matches(self)", "[", "invalid regular expression: missing ]: ["),
        ("self", 2**64, "Integer value '18446744073709551616' out of range for 'self'."),
        ("self == 'a'", "a\0b", "a text that contains a NUL character cannot be judged"),
        ("size(self)", [{"a\0": 1}], "a text that contains a NUL character cannot be judged"),
        ("self == b'a'", b"a\0b", "bytes that contain a zero cannot be judged"),
        ("self.min()", [], "min called on empty list"),
        ("self.sum()", [1, 1.5], "no such overload"),
        ("self.sum()", ["a"], "no such overload"),
        ("self.sum()", [True], "no such overload"),
        ("self.sum()", [2**63 - 1, 1], "integer overflow"),
        ("self.isSorted()", [1, "a"], "no such overload"),
        ("self.lastIndexOf('a', 9)", "aa", "index out of range: 9"),
        ("self.indexOf('a', -1)", "aa", "index out of range: -1"),
        ("quantity(self)", "x", "'x' is not a quantity: write it like 2, 500m or 4Gi"),
        ("quantity(self).asInteger()", "1500m", "cannot convert value to integer"),
        ("optional.of(self)", 1, "the result is of a type that nothing can be done with"),
    ],
)
def test_what_has_no_result(rule: str, value: Any, problem: str) -> None:
    with pytest.raises(EvaluationError) as failed:
        evaluate(rule, value)
    assert str(failed.value) == problem


def test_half_a_surrogate_pair_is_an_error_and_no_crash() -> None:
    with pytest.raises(EvaluationError):
        evaluate("size(self)", "\ud800")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("", "Syntax error"),
        ("self.", "Syntax error"),
        ("self.find('a')", "here: find"),
        ("self.findAll('a')", "here: findAll"),
        ("isURL(self)", "here: isURL"),
        ("url(self).getHost() == ''", "here: url, getHost"),
        ("ip(self).family() == 4", "here: ip, family"),
        ("sets.contains(self, [1])", "here: sets, contains"),
        ("self.all(i, v, v > 0)", "here: i, v, all"),
        ("authorizer.path('/')", "here: authorizer, path"),
        ("other == 1", "here: other"),
        ("indexOf(self, 'a') == 1", "here: indexOf"),
        ("quantity('1') < quantity('2')", "found no matching overload for '_<_'"),
        ("1 + 'a'", "found no matching overload for '_+_'"),
        ("1" + "+1" * 40, "Exceeded max recursion depth of 32 when parsing."),
    ],
)
def test_what_cannot_be_compiled(rule: str, problem: str) -> None:
    with pytest.raises(CelError) as refused:
        compile_rule(rule)
    assert problem in refused.value.what


@pytest.mark.parametrize(
    ("rule", "uses_old"),
    [
        ("self == oldSelf", True),
        ("self == 'oldSelf'", False),
        ('self == "a\\"oldSelf"', False),
        ("self == r'\\d' || oldSelf == r'\\d'", True),
        ("self == '''\noldSelf'''", False),
        ("self.oldSelf == 1", False),
        ("self.?oldSelf.hasValue()", False),
        ("self == 1 // oldSelf", False),
        ("self == 1 // it's\n || oldSelf == 1", True),
        ("self.all(oldSelfish, oldSelfish == 1)", False),
    ],
)
def test_a_rule_is_about_a_change_if_it_names_the_old_value(rule: str, uses_old: bool) -> None:
    assert compile_rule(rule).uses_old == uses_old


@pytest.mark.parametrize(
    ("rule", "depth"),
    [
        ("self == oldSelf", 0),
        ("self.a.all(x, x.b > 1)", 0),
        ("self.a.all(x, x.b.all(y, y > 1))", 0),
        ("self.a.all(x, x > 1) && self.b > 1", 0),
        ("self.a.all(x, x.self > 1)", 0),
        ("self.a.all(x, x in self.b)", 1),
        ("self.a.all(x, oldSelf.exists(y, y > 1))", 1),
        ("cel.bind(v, self.a, self.b.all(x, x in v))", 1),
        ("self.a.all(x, x.b.all(y, y > x.c))", 2),
        ("self.a.all(x, x.b.all(y, self.c == y))", 2),
    ],
)
def test_how_the_work_of_a_rule_grows(rule: str, depth: int) -> None:
    assert compile_rule(rule).reading.depth == depth


FRAMEWORKS = (
    "[has(self.torch), has(self.mpi), has(self.jax), has(self.xgboost), has(self.flux)].filter(x, x).size() <= 1"
)
STARTUP = (
    "!(has(self.startupPolicy) && self.startupPolicy.startupPolicyOrder == 'InOrder' "
    "&& self.replicatedJobs.exists(x, has(x.dependsOn)))"
)
TEMPLATES = (
    "!has(self.templates) || self.templates.all(t, !has(t.metadata) || !has(t.metadata.__namespace__) "
    "|| size(t.metadata.__namespace__) == 0)"
)
IN_ORDER = {"startupPolicyOrder": "InOrder"}
MANAGERS = "self in ['trainer.kubeflow.org/trainjob-controller', 'kueue.x-k8s.io/multikueue']"

#: Each rule that is shipped -> values that it accepts, and that it refuses.
SHIPPED: dict[str, tuple[list[Any], list[Any]]] = {
    "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')": (
        [{"metadata": {"name": name}} for name in ("a", "a-1", "a" * 99)],
        [{"metadata": {"name": name}} for name in ("", "1", "a-", "A", "a\n", "a.b", "é", "٣")],
    ),
    "size(self.metadata.name) <= 63": (
        [{"metadata": {"name": name}} for name in ("", "é" * 63, "😀" * 63)],
        [{"metadata": {"name": name}} for name in ("a" * 64, "é" * 64)],
    ),
    MANAGERS: (["trainer.kubeflow.org/trainjob-controller", "kueue.x-k8s.io/multikueue"], ["", "kueue", 1, None]),
    "self == '' || self.matches('^[A-Za-z][A-Za-z0-9+.-]*://.+$')": (
        ["", "hf://a", "s3+x.y-z://é"],
        ["a", "hf://", "1a://b", "a://b\n", "\na://b", "a://\nb"],
    ),
    "self >= 1": ([1, 2**31, 1.0], [0, -1, 0.5]),
    "has(self.lastUpdatedTime)": ([{"lastUpdatedTime": "x"}], [{}]),
    FRAMEWORKS: ([{}, {"torch": {}}, {"flux": {}, "other": {}}], [{"torch": {}, "mpi": {}}, {"jax": {}, "flux": {}}]),
    "!self.exists(c, c == 'node')": ([[], ["a", "nodes"]], [["node"], ["a", "node"]]),
    STARTUP: (
        [
            {},
            {"startupPolicy": {"startupPolicyOrder": "AnyOrder"}},
            {"startupPolicy": IN_ORDER, "replicatedJobs": [{}]},
        ],
        [{"startupPolicy": IN_ORDER, "replicatedJobs": [{}, {"dependsOn": []}]}],
    ),
    TEMPLATES: (
        [{}, {"templates": [{}, {"metadata": {}}, {"metadata": {"__namespace__": ""}}]}],
        [{"templates": [{}, {"metadata": {"__namespace__": "a"}}]}],
    ),
}


@pytest.mark.parametrize(
    ("rule", "value"), [(rule, value) for rule, (values, _) in SHIPPED.items() for value in values]
)
def test_what_a_shipped_rule_accepts(rule: str, value: Any) -> None:
    assert evaluate(rule, value) is True


@pytest.mark.parametrize(
    ("rule", "value"), [(rule, value) for rule, (_, values) in SHIPPED.items() for value in values]
)
def test_what_a_shipped_rule_refuses(rule: str, value: Any) -> None:
    assert evaluate(rule, value) is False


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", {"metadata": {}}),
        ("size(self.metadata.name) <= 63", {}),
        ("self >= 1", "1"),
        ("self == '' || self.matches('^[A-Za-z][A-Za-z0-9+.-]*://.+$')", 1),
        ("has(self.lastUpdatedTime)", "x"),
        (STARTUP, {"startupPolicy": IN_ORDER}),
    ],
)
def test_where_a_shipped_rule_has_no_result(rule: str, value: Any) -> None:
    with pytest.raises(EvaluationError):
        evaluate(rule, value)


def test_every_shipped_rule_has_its_row() -> None:
    found: set[str] = set()
    waiting = [parse_crd(document).schema for document in read_crds()]
    while waiting:
        schema = waiting.pop()
        found |= {rule["rule"] for rule in schema.get("x-kubernetes-validations", ())}
        waiting += [*schema.get("properties", {}).values()]
        waiting += [schema[name] for name in ("items", "additionalProperties") if isinstance(schema.get(name), dict)]
    assert found == {*SHIPPED, "self == oldSelf"}


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1, 2, False),
        ("a", "a", True),
        ("é", "e\u0301", False),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [2, 1], False),
        (None, None, True),
        (1, True, False),
        (1, "1", False),
    ],
)
def test_what_is_the_same(old: Any, new: Any, same: bool) -> None:
    assert evaluate("self == oldSelf", new, old) is same


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", True),
        ("", "", True),
        ("^a$", "a", True),
        ("^a$", "a\n", False),
        ("(?m)^a$", "b\na", True),
        ("^\\d$", "٣", False),
        ("^\\w$", "é", False),
        ("^\\pL\\z", "é", True),
        ("^.$", "😀", True),
        ("^.$", "\n", False),
        ("^😀+$", "😀😀", True),
        ('^"\\\\$', '"\\', True),
        ("a\tb", "a\tb", True),
        ("^a.b$", "a\0b", True),
        ("^[ab]+$", "a\0b", False),
        ("^ab?$", "a\0", False),
        ("^\\x00$", "\0", True),
        ("^\ufffd$", "\ud800", True),
        ("(a+)+$", "a" * 100_000 + "b", False),
    ],
)
def test_patterns_are_those_of_re2(pattern: str, text: str, found: bool) -> None:
    assert find_match(pattern, text) is found


@pytest.mark.parametrize("pattern", ["[", "(?=a)", "(a)\\1", "a{2000}", "*", "\ud800"])
def test_a_pattern_that_re2_refuses(pattern: str) -> None:
    with pytest.raises(CelError):
        find_match(pattern, "a")


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("self.all(x, x == 1)", [1] * 10_000),
        ("self.all(x, self.all(y, self.all(z, x + y + z == 3)))", [1] * 300),
    ],
)
def test_the_engine_ends_a_long_loop(rule: str, value: Any) -> None:
    with pytest.raises(BudgetError):
        evaluate(rule, value)


def test_all_rules_of_an_object_share_a_budget() -> None:
    budget, rule = Budget(left=1100), compile_rule("self == 1")
    assert [rule.evaluate(1, budget=budget) for _ in range(2)] == [True, True]
    with pytest.raises(BudgetError):
        rule.evaluate(1, budget=budget)


def test_threads_may_share_a_rule() -> None:
    rule = compile_rule("self.all(x, x.size() == oldSelf)")

    def judge(number: int) -> bool:
        return all(rule.evaluate(["a" * number] * 5, number) is True for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(judge, range(32)))


def test_a_value_can_be_converted_by_the_rule() -> None:
    rule = compile_rule("self > oldSelf && type(self) == google.protobuf.Timestamp // later", conversion="timestamp")
    assert rule.evaluate("2026-01-01T10:00:00+01:00", "2026-01-01T08:00:00Z") is True
    assert rule.evaluate("2026-01-01T09:00:00+01:00", "2026-01-01T08:00:00Z") is False
