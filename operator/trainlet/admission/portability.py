"""What of a job is honoured, emulated, without effect or refused on one machine: one walk over tables.

The tables (portability_jobset.py and below) say what becomes of each field; this file knows none of them. Whatever no
table knows has no effect, so that nothing is dropped in silence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON


class Stance(StrEnum):
    """What becomes of a field, in the words of the report."""

    HONOURED = "honoured"
    EMULATED = "emulated"
    NO_EFFECT = "noEffect"
    REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    """A stance, and what its author should know: how it is otherwise, why not, or for REFUSED what to do."""

    stance: Stance
    text: str = ""


@dataclass(frozen=True)
class Finding:
    """What becomes of one field that is set, with all that is below it."""

    path: str
    stance: Stance
    text: str = ""


@dataclass(frozen=True)
class Subject:
    """The job that is judged, and its runtime."""

    job: TrainJob
    runtime: JSON
    answers: dict[tuple[Callable[[JSON], Any], int], Any] = field(default_factory=dict, repr=False, compare=False)


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: in the last of the maps `owners`, which begin with the outermost."""

    owners: tuple[JSON, ...]
    subject: Subject

    def ask(self, question: Callable[[JSON], _T], owner: int) -> _T:
        """Return the answer to a question about one of the owners, whom as many as are in it ask the same.

        It is looked for once: a file may have thousands of volumes, of which each would look at all.
        """
        answers, key = self.subject.answers, (question, id(self.owners[owner]))
        if key not in answers:
            answers[key] = question(self.owners[owner])
        answer: _T = answers[key]
        return answer


HONOURED = Verdict(Stance.HONOURED)
UNKNOWN = Verdict(Stance.NO_EFFECT, "trainlet does not know this field")

#: Has a verdict on a value; None leaves it to the table of its fields, or says that it is judged elsewhere.
Judge = Callable[[Any, Place], Verdict | None]


@dataclass(frozen=True)
class Fields:
    """The table of a map, or of each map in a list. Its fields are looked at where `judge` has no verdict on it all.

    `others` is for fields that the table does not know. `is_whole`: told as one field where all of it is honoured.
    `keeps_empty`: a field says something by being there.
    """

    known: Mapping[str, "Rule"]
    judge: Judge | None = None
    others: "Rule" = UNKNOWN
    is_whole: bool = False
    keeps_empty: bool = False

    @cached_property
    def plain(self) -> frozenset[str]:
        """The fields that are honoured whatever they hold."""
        return frozenset(name for name, rule in self.known.items() if rule is HONOURED)


@dataclass(frozen=True)
class Keys:
    """A map whose keys are a manifest's own: each key is judged, and all are told as one where all are honoured."""

    judge: Judge


Rule = Verdict | Judge | Fields | Keys


def emulated(how: str) -> Verdict:
    """Return the verdict on what is done in another way."""
    return Verdict(Stance.EMULATED, how)


def no_effect(why: str) -> Verdict:
    """Return the verdict on what nothing is done about, and training can do without."""
    return Verdict(Stance.NO_EFFECT, why)


def refused(remedy: str) -> Verdict:
    """Return the verdict on what training would miss."""
    return Verdict(Stance.REFUSED, remedy)


def only(*values: Any, otherwise: Verdict) -> Judge:
    """Return the rule of a field that is honoured with these values."""
    return lambda value, place: HONOURED if value in values else otherwise  # noqa: ARG005 - the shape of a judge


def fitting(is_fit: Callable[[Any], bool], otherwise: Verdict) -> Judge:
    """Return the rule of a field that is honoured with what this accepts."""
    return lambda value, place: HONOURED if is_fit(value) else otherwise  # noqa: ARG005 - the shape of a judge


def needs(*names: str, of: Judge | None = None) -> Judge:
    """Return the judge of a map that is refused without these fields; `of` judges it otherwise."""

    def judge(value: Any, place: Place) -> Verdict | None:
        missing = [name for name in names if not value.get(name)]
        return refused(f"give its {' and '.join(missing)}") if missing else of and of(value, place)

    return judge


def single(*besides: str) -> Judge:
    """Return the judge of a map that is refused with more than one field beside these."""

    def judge(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
        given = [name for name, below in value.items() if name not in besides and below is not None]
        return refused(f"give it one of {', '.join(given)}") if len(given) > 1 else None

    return judge


def honoured(*names: str) -> dict[str, Rule]:
    """Return the part of a table with the fields that are honoured whatever they hold."""
    return dict.fromkeys(names, HONOURED)


def walk(value: Any, rule: Rule, path: str, subject: Subject) -> list[Finding]:
    """Return what becomes of each field that is set in a value, in the manifest's order."""
    told = _look(value, rule, path, Place((), subject))
    return [Finding(where, verdict.stance, verdict.text) for where, verdict in told]


#: A path with its verdict: most of those that are honoured are told as one in the end.
_Told = list[tuple[str, Verdict]]


def _look(value: Any, rule: Rule, path: str, place: Place) -> _Told:
    if isinstance(rule, Verdict):
        return [(path, rule)]
    if isinstance(rule, Fields):
        told = _look_inside(value, rule, path, place)
        return _join(told, path) if rule.is_whole else told
    if isinstance(rule, Keys):
        inside = _enter(value, place)
        keys = [key for key, below in value.items() if below is not None]
        return _join([told for key in keys for told in _ask(rule.judge, key, f"{path}[{key}]", inside)], path)
    return _ask(rule, value, path, place)


def _look_inside(value: Any, rule: Fields, path: str, place: Place) -> _Told:
    if isinstance(value, list):
        if value and all(_is_plain(item, rule) and not _ask_about(item, rule, path, place) for item in value):
            return [(path, HONOURED)]
        return [told for n, item in enumerate(value) for told in _look(item, rule, f"{path}[{n}]", place)]
    if not isinstance(value, dict):
        return [(path, UNKNOWN)]
    if told := _ask_about(value, rule, path, place):
        return told
    if _is_plain(value, rule):
        return [(path, HONOURED)]
    return _look_at_fields(value, rule, path, _enter(value, place))


def _is_plain(value: Any, rule: Fields) -> bool:
    """Tell at once what comes out anyway: that all of it is honoured. Most of env is like that."""
    return rule.is_whole and isinstance(value, dict) and bool(value) and rule.plain.issuperset(value)


def _look_at_fields(value: JSON, rule: Fields, path: str, place: Place) -> _Told:
    start = f"{path}." if path else ""
    return [
        told
        for name, below in value.items()
        if below is not None and (below or rule.keeps_empty or isinstance(below, int | float))
        for told in _look(below, rule.known.get(name, rule.others), start + name, place)
    ]


def _enter(value: JSON, place: Place) -> Place:
    return Place((*place.owners, value), place.subject)


def _ask_about(value: JSON, rule: Fields, path: str, place: Place) -> _Told:
    return [] if rule.judge is None else _ask(rule.judge, value, path, place)


def _ask(judge: Judge, value: Any, path: str, place: Place) -> _Told:
    verdict = judge(value, place)
    return [] if verdict is None else [(path, verdict)]


def _join(told: _Told, path: str) -> _Told:
    return [(path, HONOURED)] if told and all(verdict is HONOURED for _, verdict in told) else told
