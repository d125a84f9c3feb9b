"""What probes make of a container, by the kubelet's rules (kubernetes pkg/kubelet/prober/worker.go)."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.apis.core_v1 import Container, Handler, Probe
from trainlet.planning.probes import (
    NEW,
    Answer,
    Health,
    Kind,
    SizeCheck,
    SizeLimit,
    Tallies,
    begin,
    check_size,
    find_probes,
    judge,
    list_asked,
    resolve_ports,
)

ASK: dict[str, Any] = {"exec": {"command": ["true"]}}
ANSWERS = {"+": Answer(True), "-": Answer(False, "failed: no"), "?": Answer(None, "got no answer")}
STARTUP, LIVENESS, READINESS = Kind.STARTUP, Kind.LIVENESS, Kind.READINESS


def probe(**fields: Any) -> Probe:
    return Probe.of({**ASK, **fields})


def play(answers: str, probes: dict[Kind, Probe], kind: Kind, tallies: Tallies | None = None) -> Tallies:
    """Let a probe be answered, as long as it is asked."""
    tallies = tallies or begin(probes, NEW)
    for answer in answers:
        if kind in list_asked(tallies):
            tallies = {**tallies, kind: tallies[kind].count(ANSWERS[answer], probes[kind])}
    return tallies


def look(answers: str, kind: Kind, **fields: Any) -> Health:
    probes = {kind: probe(**fields)}
    return judge(play(answers, probes, kind))


TWICE = {"successThreshold": 2}


@pytest.mark.parametrize(
    ("answers", "fields", "ready"),
    [
        ("", {}, False),
        ("+", {}, True),
        ("-", {}, False),
        ("+-", {}, True),
        ("+--", {}, True),
        ("+---", {}, False),
        ("+--+--", {}, True),
        ("+---+", {}, True),
        ("+-", {"failureThreshold": 1}, False),
        ("+", TWICE, False),
        ("++", TWICE, True),
        ("+-+", TWICE, False),
        ("+?+", TWICE, True),
        ("?", {}, False),
        ("+-?-?-", {}, False),
        ("+???", {}, True),
    ],
)
def test_readiness_begins_false_and_changes_after_so_many_answers_in_a_row(
    answers: str, fields: dict[str, Any], ready: bool
) -> None:
    found = look(answers, READINESS, **fields)
    assert (found.started, found.ready, found.alive) == (True, ready, True)


@pytest.mark.parametrize(
    ("answers", "fields", "alive"),
    [
        ("", {}, True),
        ("--", {}, True),
        ("---", {}, False),
        ("--+--", {}, True),
        ("---+++", {}, False),
        ("--??", {}, True),
        ("-", {"failureThreshold": 1}, False),
    ],
)
def test_a_container_lives_until_its_liveness_has_failed_so_often_in_a_row(
    answers: str, fields: dict[str, Any], alive: bool
) -> None:
    found = look(answers, LIVENESS, **fields)
    assert (found.started, found.ready, found.alive) == (True, True, alive)


@pytest.mark.parametrize(
    ("answers", "started", "alive"),
    [("", False, True), ("--", False, True), ("---", False, False), ("--+", True, True), ("+---", True, True)],
)
def test_a_container_that_does_not_start_in_time_is_not_alive(answers: str, started: bool, alive: bool) -> None:
    found = look(answers, STARTUP)
    assert (found.started, found.ready, found.alive) == (started, started, alive)


def test_no_other_probe_is_asked_before_the_start() -> None:
    probes = dict.fromkeys((STARTUP, LIVENESS, READINESS), probe())
    tallies = begin(probes, NEW)
    assert list_asked(tallies) == {STARTUP}
    assert judge(tallies) == NEW
    tallies = play("+", probes, STARTUP, tallies)
    assert list_asked(tallies) == {LIVENESS, READINESS}
    assert judge(tallies) == Health(started=True)
    tallies = play("+", probes, READINESS, tallies)
    assert judge(tallies) == Health(started=True, ready=True)


def test_what_has_failed_for_good_is_asked_no_more() -> None:
    probes = dict.fromkeys((STARTUP, LIVENESS, READINESS), probe())
    assert list_asked(play("---", probes, STARTUP)) == frozenset()
    assert list_asked(play("---", probes, LIVENESS, play("+", probes, STARTUP))) == {READINESS}


def test_what_was_known_before_holds_until_the_probe_knows_better() -> None:
    probes = dict.fromkeys((STARTUP, LIVENESS, READINESS), probe())
    known = Health(started=True, ready=True)
    tallies = begin(probes, known)
    assert judge(tallies) == known
    assert list_asked(tallies) == {LIVENESS, READINESS}
    assert not judge(play("---", probes, READINESS, tallies)).ready


def test_what_is_wrong_is_told_as_long_as_it_is() -> None:
    probes = {LIVENESS: probe(), READINESS: probe()}
    tallies = play("-", probes, LIVENESS, play("-", probes, READINESS))
    assert judge(tallies).message == "Liveness probe failed: no; Readiness probe failed: no"
    assert judge(play("+", probes, LIVENESS, tallies)).message == "Readiness probe failed: no"


@given(st.text("+-?"), st.integers(1, 4), st.integers(1, 4))
def test_the_verdict_is_that_of_the_last_run_that_was_long_enough(answers: str, good: int, bad: int) -> None:
    runs = [(word, len(list(run))) for word, run in groupby(answers.replace("?", ""))]
    decided = [word for word, length in runs if length >= (good if word == "+" else bad)]
    found = look(answers, READINESS, successThreshold=good, failureThreshold=bad)
    assert found.ready == (decided[-1:] == ["+"])


@given(st.lists(st.tuples(st.sampled_from(Kind), st.sampled_from("+-?"))), st.sets(st.sampled_from(Kind), min_size=1))
def test_whoever_is_ready_has_started_and_the_dead_do_not_rise(
    answers: Sequence[tuple[Kind, str]], kinds: set[Kind]
) -> None:
    probes = {kind: probe(failureThreshold=2) for kind in kinds}
    tallies, before = begin(probes, NEW), judge(begin(probes, NEW))
    for kind, answer in answers:
        tallies = play(answer, probes, kind, tallies) if kind in kinds else tallies
        found = judge(tallies)
        assert found.started or not found.ready
        assert found.started >= before.started
        assert found.alive <= before.alive
        before = found


def test_a_container_without_probes_is_not_asked() -> None:
    assert find_probes(Container.of({"name": "node", "ports": [{"containerPort": 80, "name": "http"}]})) == {}


@pytest.mark.parametrize(("port", "expected"), [(81, 81), ("http", 80), ("82", 82), ("ftp", "ftp"), ("", "")])
@pytest.mark.parametrize("action", ["httpGet", "tcpSocket"])
def test_a_port_s_name_is_one_of_the_container_s(port: int | str, expected: int | str, action: str) -> None:
    asked = {action: {"port": port}}
    container = Container.of(
        {
            "name": "node",
            "ports": [{"containerPort": 79}, {"containerPort": 80, "name": "http"}],
            "readinessProbe": {**asked, "periodSeconds": 7},
            "livenessProbe": asked,
        }
    )
    probes = find_probes(container)
    assert probes is not None
    assert {kind: (each.http_get or each.tcp_socket).port for kind, each in probes.items()} == {  # type: ignore[union-attr]
        LIVENESS: expected,
        READINESS: expected,
    }
    assert probes[READINESS].period_seconds == 7
    hook = resolve_ports(Handler.of(asked), container)
    assert (hook.http_get or hook.tcp_socket).port == expected  # type: ignore[union-attr]


def test_a_probe_has_the_defaults_of_a_cluster() -> None:
    found = Probe.of({"httpGet": {"port": 80}})
    assert (found.initial_delay_seconds, found.period_seconds, found.timeout_seconds) == (0, 10, 1)
    assert (found.success_threshold, found.failure_threshold, found.termination_grace_period_seconds) == (1, 3, None)
    assert found.http_get is not None
    assert (found.http_get.scheme, found.http_get.host, found.http_get.path) == ("HTTP", "", "")


LIMIT = SizeLimit("data", "pod-x_data", 1 << 20, "1Mi")
OVER = 'Usage of EmptyDir volume "data" exceeds the limit "1Mi"'


@pytest.mark.parametrize(
    ("used", "answer"), [(0, Answer(True)), (1 << 20, Answer(True)), ((1 << 20) + 1, Answer(False, OVER))]
)
def test_a_volume_may_take_what_its_limit_says(used: int, answer: Answer) -> None:
    assert check_size(LIMIT, used) == answer


def test_one_that_takes_too_much_is_the_end_of_a_container_however_well_it_is() -> None:
    check = SizeCheck((LIMIT,))
    tallies = begin({Kind.USAGE: check, STARTUP: probe()}, NEW)
    assert list_asked(tallies) == {Kind.USAGE, STARTUP}, "what has not started takes disk as well"
    assert list_asked(begin({Kind.USAGE: check}, NEW)) == {Kind.USAGE}
    assert judge(begin({Kind.USAGE: check}, NEW)) == Health(started=True, ready=True)
    tallies = {Kind.USAGE: begin({Kind.USAGE: check}, NEW)[Kind.USAGE].count(check_size(LIMIT, 1 << 21), check)}
    assert judge(tallies) == Health(started=True, ready=True, alive=False, message=OVER)
    assert list_asked(tallies) == frozenset()
