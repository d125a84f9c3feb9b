"""Compiles and evaluates CEL, with what Kubernetes adds to it. The only file that knows the engine.

A rule comes as text and its values as plain JSON; what a definition or an object is, is not known here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

from trainlet.admission.cel_functions import FUNCTIONS, METHODS, RENAMED, Overload
from trainlet.admission.cel_text import Reading, read_rule, rename_calls
from trainlet.kube.errors import TrainletError

CelResult = bool | int | float | str | bytes | None | list[Any] | dict[Any, Any]


class CelError(TrainletError):
    """A rule or a pattern that cannot be compiled."""


class EvaluationError(Exception):
    """A rule that has no result for these values; its text is Kubernetes' name for the reason."""


class BudgetError(EvaluationError):
    """A rule whose evaluation takes too long."""

    TEXT = "validation failed due to running out of cost budget, no further validation rules will be run"

    def __init__(self) -> None:
        super().__init__(self.TEXT)


#: No value, as against null.
ABSENT: Any = object()

# What one unit buys is about 50 ns, so that all rules of an object are done within about a second.
_TOTAL_COST = 20_000_000
_COST_OF_A_CALL = 500
_COST_OF_A_NODE = 30
_COST_OF_A_MATCH = 1200  # the engine compiles the pattern anew each time
_CHARACTERS_OF_A_NODE = 64
# The engine ends an evaluation by itself after so many rounds.
_MOST_ROUNDS = 10_000


@dataclass
class Budget:
    """What may still be spent on the rules of one object."""

    left: int = _TOTAL_COST

    def spend(self, cost: int) -> None:
        """Take a cost off. Raises BudgetError when there is not that much left."""
        self.left -= cost
        if self.left < 0:
            raise BudgetError


@dataclass(frozen=True)
class Rule:
    """A compiled rule. It may be shared by threads."""

    text: str
    reading: Reading
    #: Type of the result, `dyn` if it is known only then.
    result: str
    _program: Any = field(repr=False, compare=False)
    _program_without_old: Any = field(repr=False, compare=False)

    @property
    def uses_old(self) -> bool:
        """Whether it looks at the old value."""
        return self.reading.uses_old

    def evaluate(self, self_value: Any, old_value: Any = ABSENT, budget: Budget | None = None) -> CelResult:
        """Return what the rule says of a value. Raises EvaluationError, and BudgetError when it takes too long."""
        has_old = old_value is not ABSENT and self.uses_old
        data = {"self": self_value, "oldSelf": old_value} if has_old else {"self": self_value}
        cost = _estimate_cost(self.reading, data.values())
        if budget:
            budget.spend(cost)
        return _run(self._program if has_old else self._program_without_old, data)


@cache
def compile_rule(text: str, *, conversion: str = "", optional_old: bool = False) -> Rule:
    """Compile a rule about `self` and `oldSelf`. Raises CelError.

    `conversion` names the CEL function that makes the value's real type of its text, such as `timestamp`. With
    `optional_old` the rule sees the old value as an optional one, and is asked also when there is none.
    """
    reading = read_rule(text)
    source = rename_calls(text, RENAMED)
    if conversion:
        source = _bind("self", f"{conversion}(self)", source)
    old = f"{conversion}(oldSelf)" if conversion else "oldSelf"
    with_old = without_old = source
    if optional_old:
        with_old = _bind("oldSelf", f"optional.of({old})", source)
        without_old = _bind("oldSelf", "optional.none()", source)
    elif conversion and reading.uses_old:
        with_old = without_old = _bind("oldSelf", old, source)
    program = _compile(with_old)
    other = program if without_old == with_old else _compile(without_old)
    return Rule(text, reading, program.return_type().name().lower(), program, other)


def find_match(pattern: str, text: str) -> bool:
    """Tell whether an RE2 pattern matches somewhere in a text. Raises CelError for a pattern that RE2 refuses."""
    return _match_often(pattern, text) if len(text) <= _LONGEST_REMEMBERED else _match(pattern, text)


@lru_cache(maxsize=16_384)
def _match_often(pattern: str, text: str) -> bool:
    return _match(pattern, text)


def _match(pattern: str, text: str) -> bool:
    program = _compile_pattern(pattern)
    if "\0" in text:
        # The engine would end such a text at its NUL, so it is handed over as a part of the rule.
        return bool(_run(_compile(f"{_quote(text)}.matches({_quote(pattern)})"), {}))
    return bool(_run(program, {"self": _LONE_SURROGATE.sub("\ufffd", text)}))


_LONGEST_REMEMBERED = 256
# Go reads half of a surrogate pair as this character.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@lru_cache(maxsize=4096)
def _compile_pattern(pattern: str) -> Any:
    program = _compile(f"self.matches({_quote(pattern)})")
    try:
        _run(program, {"self": ""})
    except EvaluationError as error:
        raise CelError(str(error)) from error
    return program


def _quote(text: str) -> str:
    """Write a text as a CEL literal."""
    plain = (c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(plain)}"'


def _bind(name: str, value: str, rule: str) -> str:
    # The line break ends a comment that the rule may end with.
    return f"cel.bind({name}, {value}, {rule}\n)"


def _compile(source: str) -> Any:
    try:
        return _get_environment().compile(source)
    except (RuntimeError, ValueError) as error:
        raise CelError(_shorten(str(error))) from error


def _shorten(report: str) -> str:
    """Take the first complaint, and every name that nobody knows, from a compiler's report."""
    unknown = dict.fromkeys(re.findall(r"undeclared reference to '([^']+)'", report))
    if unknown:
        return f"no function or variable of this name is available here: {', '.join(unknown)}"
    first = report.splitlines()[0] if report else "it cannot be compiled"
    return re.sub(r"^[A-Z_]+: (ERROR: <input>:-?\d+:-?\d+: )?|( \[[A-Z_]+\])$", "", first)


def _run(program: Any, data: dict[str, Any]) -> CelResult:
    try:
        value = program.eval(data=data)
        if value.type() != cel.Type.ERROR:
            result: CelResult = value.plain_value()
            return result
        text = str(value.plain_value())
    except RuntimeError as error:
        if "Iteration budget exceeded" in str(error):
            raise BudgetError from error
        text = str(error)
    except TypeError as error:
        raise EvaluationError("the result is of a type that nothing can be done with") from error
    raise EvaluationError(_translate(text))


# The engine's words -> those of the CEL that Kubernetes runs.
_WORDS = (
    (re.compile(r'Key not found in map : "?(.*?)"?$', re.DOTALL), r"no such key: \1"),
    (re.compile(r"Index error: index=(-?\d+).*", re.DOTALL), r"index out of bounds: \1"),
    (re.compile(r'No value with name "(\w+)" found in Activation.*', re.DOTALL), r"no such attribute: \1"),
    (re.compile(r"(No matching overloads found|Applying SELECT to non-message).*", re.DOTALL), "no such overload"),
    (re.compile(r"divide by zero"), "division by zero"),
)


def _translate(text: str) -> str:
    text = re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", text)
    for pattern, words in _WORDS:
        if pattern.match(text):
            return pattern.sub(words, text)
    return text


def _estimate_cost(reading: Reading, values: Iterable[Any]) -> int:
    """Tell what an evaluation may cost at most. Raises EvaluationError for a text that the engine cannot take."""
    nodes, longest = 0, 1
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        nodes += 1
        if isinstance(value, str):
            nodes += len(value) // _CHARACTERS_OF_A_NODE
            if "\0" in value:
                raise EvaluationError("a text that contains a NUL character cannot be judged")
        elif isinstance(value, bytes):
            if b"\0" in value:
                raise EvaluationError("bytes that contain a zero cannot be judged")
        elif isinstance(value, dict):
            longest = max(longest, len(value))
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            longest = max(longest, len(value))
            waiting += value
    rounds = min(longest**reading.depth, _MOST_ROUNDS) if reading.depth else 0
    matches = (0, 1, nodes)[reading.matches]
    copies = min(longest, _MOST_ROUNDS) ** 2 if reading.builds else 0
    return _COST_OF_A_CALL + nodes * (_COST_OF_A_NODE + rounds) + matches * _COST_OF_A_MATCH + copies


@cache
def _get_environment() -> Any:
    return cel.NewEnv(
        variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN},
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_bindings.ExtBindings()],
        functions=[*_declare(METHODS, is_member=True), *_declare(FUNCTIONS, is_member=False)],
    )


_TYPES = {
    "bool": cel.Type.BOOL,
    "bytes": cel.Type.BYTES,
    "double": cel.Type.DOUBLE,
    "dyn": cel.Type.DYN,
    "int": cel.Type.INT,
    "list": cel.Type.LIST,
    "map": cel.Type.MAP,
    "null": cel.Type.NULL,
    "string": cel.Type.STRING,
    "quantity": cel.Type.Map(cel.Type.INT, cel.Type.STRING),
}


def _declare(overloads: Iterable[Overload], *, is_member: bool) -> list[Any]:
    by_name = groupby(sorted(overloads, key=itemgetter(0)), key=itemgetter(0))
    return [cel.FunctionDecl(name, [_build_overload(each, is_member) for each in group]) for name, group in by_name]


def _build_overload(overload: Overload, is_member: bool) -> Any:
    name, parameters, result, function = overload
    return cel.Overload(
        f"{name}_{'_'.join(parameters)}",
        return_type=_TYPES[result],
        parameters=[_TYPES[parameter] for parameter in parameters],
        is_member=is_member,
        impl=function,
    )
