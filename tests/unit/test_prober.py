"""The prober asks at the right times, beside the passes, and wakes whoever it concerns. Time is the test's."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from trainlet.controller.prober import ASKERS, Prober
from trainlet.kube.meta import ObjectKey
from trainlet.planning.probes import Health
from waiting import wait_for
from ward import Ward

JOB, OTHER = ObjectKey("TrainJob", "default", "mnist"), ObjectKey("TrainJob", "default", "other")
ASK = {"exec": {"command": ["true"]}}
UP = Health(started=True, ready=True)


@pytest.fixture
def ward() -> Iterator[Ward]:
    made = Ward()
    yield made
    made.prober.close()


def test_a_container_is_asked_at_its_period_after_its_delay(ward: Ward) -> None:
    id = ward.run("node")
    wanted = {id: ward.target(id, readinessProbe={**ASK, "initialDelaySeconds": 5, "periodSeconds": 3})}
    assert ward.prober.look(JOB, wanted) == {id: Health(started=True)}
    calls, at = ward.engine.calls, []
    for second in range(1, 15):
        ward.pass_seconds(1)
        at += [second] * (ward.engine.calls - calls)
        calls = ward.engine.calls
    assert at == [5, 8, 11, 14]
    assert ward.prober.look(JOB, wanted) == {id: UP}


def test_the_delay_counts_from_the_start_of_the_container(ward: Ward) -> None:
    id = ward.run("node")
    target = ward.target(id, readinessProbe={**ASK, "initialDelaySeconds": 5})
    ward.now += timedelta(seconds=60)
    ward.prober.look(JOB, {id: target})
    ward.prober.ask_due(lambda visit, *arguments: visit(*arguments))
    assert ward.prober.look(JOB, {id: target}) == {id: UP}


def test_the_owner_is_woken_when_something_changed_and_only_then(ward: Ward) -> None:
    id = ward.run("node")
    wanted = {id: ward.target(id, readinessProbe={**ASK, "periodSeconds": 1, "failureThreshold": 2})}
    ward.prober.look(JOB, wanted)
    assert ward.woken == []
    ward.pass_seconds(5)
    assert ward.woken == [JOB]
    ward.engine.answer("node", 1)
    ward.pass_seconds(1)
    assert ward.prober.look(JOB, wanted)[id] == Health(True, True, message="Readiness probe failed: exit code 1: true")
    ward.pass_seconds(1)
    assert not ward.prober.look(JOB, wanted)[id].ready
    assert ward.woken == [JOB] * 3
    ward.pass_seconds(5)
    assert ward.woken == [JOB] * 3


def test_each_job_has_its_own_containers(ward: Ward) -> None:
    one, two = ward.run("one"), ward.run("two")
    mine, theirs = ward.target(one, readinessProbe=ASK), ward.target(two, livenessProbe=ASK)
    ward.prober.look(JOB, {one: mine})
    ward.prober.look(OTHER, {two: theirs})
    assert ward.prober.look(JOB, {one: mine}).keys() == {one}
    ward.prober.look(OTHER, {})
    ward.pass_seconds(3)
    assert ward.woken == [JOB]


def test_a_container_that_is_not_wanted_any_more_is_not_asked(ward: Ward) -> None:
    id = ward.run("node")
    wanted = {id: ward.target(id, readinessProbe={**ASK, "periodSeconds": 1})}
    ward.prober.look(JOB, wanted)
    ward.pass_seconds(2)
    ward.prober.look(JOB, {})
    calls = ward.engine.calls
    ward.pass_seconds(5)
    assert ward.engine.calls == calls
    assert ward.prober.ask_due(lambda visit, *arguments: visit(*arguments)) is None


def test_after_the_start_the_others_are_asked_at_once(ward: Ward) -> None:
    id = ward.run("node")
    probes = {"startupProbe": {**ASK, "periodSeconds": 2}, "readinessProbe": ASK, "livenessProbe": ASK}
    wanted = {id: ward.target(id, **probes)}
    ward.prober.look(JOB, wanted)
    ward.engine.answer("node", 1)
    ward.pass_seconds(2)
    assert ward.prober.look(JOB, wanted)[id] == Health(message="Startup probe failed: exit code 1: true")
    ward.engine.answer("node", 0)
    ward.pass_seconds(2)
    assert ward.prober.look(JOB, wanted) == {id: UP}


def test_what_an_earlier_operator_knew_holds_until_it_is_disproved(ward: Ward) -> None:
    id = ward.run("node")
    wanted = {id: ward.target(id, UP, startupProbe=ASK, readinessProbe={**ASK, "periodSeconds": 1})}
    assert ward.prober.look(JOB, wanted) == {id: UP}
    ward.engine.answer("node", 1)
    ward.pass_seconds(3)
    assert not ward.prober.look(JOB, wanted)[id].ready


def test_an_engine_that_does_not_answer_changes_nothing_but_what_is_told(ward: Ward) -> None:
    id = ward.run("node")
    wanted = {id: ward.target(id, livenessProbe={**ASK, "periodSeconds": 1, "failureThreshold": 1})}
    ward.prober.look(JOB, wanted)
    ward.engine.is_down = True
    ward.pass_seconds(5)
    found = ward.prober.look(JOB, wanted)[id]
    assert (found.alive, found.ready) == (True, True)
    assert "got no answer" in found.message


@pytest.mark.parametrize(
    ("probe", "ready", "message"),
    [
        ({"tcpSocket": {"port": 80}}, True, ""),
        ({"tcpSocket": {"port": 81}}, False, "Readiness probe failed: nothing listens on port 81"),
        ({"tcpSocket": {"port": "no"}}, False, "Readiness probe failed: the container has no port named no"),
        ({"httpGet": {"port": "no"}}, False, "Readiness probe failed: the container has no port named no"),
        ({"httpGet": {"port": 80}}, True, "Readiness probe is left out: nothing can be reached in memory"),
        ({"grpc": {"port": 80}}, True, "Readiness probe is left out: gRPC is not spoken here"),
        ({"exec": {"command": ["true"]}}, True, ""),
    ],
)
def test_every_way_to_ask(ward: Ward, probe: dict[str, Any], ready: bool, message: str) -> None:
    id = ward.run("node")
    ward.engine.listen("node", 80)
    wanted = {id: ward.target(id, readinessProbe=probe)}
    ward.prober.look(JOB, wanted)
    ward.pass_seconds(1)
    assert ward.prober.look(JOB, wanted) == {id: Health(True, ready, message=message)}


def test_a_probe_that_hangs_keeps_no_other_container_waiting(ward: Ward) -> None:
    woken: list[ObjectKey] = []
    prober = Prober(ward.engine, ward.clock, woken.append)
    prober.start()
    slow, quick = [ward.run(f"slow-{number}") for number in range(ASKERS - 1)], ward.run("quick")
    gates = [ward.engine.hold_commands(id) for id in slow]
    try:
        prober.look(OTHER, {id: ward.target(id, readinessProbe=ASK) for id in slow})
        wait_for(lambda: sorted(ward.engine.commands) == sorted(slow), "the slow ones to be asked")
        wanted = {quick: ward.target(quick, readinessProbe=ASK)}
        prober.look(JOB, wanted)
        wait_for(lambda: woken == [JOB], "the answer of the quick one")
        assert prober.look(JOB, wanted) == {quick: UP}
        assert len([each for each in threading.enumerate() if each.name.startswith("prober_")]) <= ASKERS
    finally:
        for gate in gates:
            gate.set()
        prober.close()
    wait_for(lambda: not any(each.name.startswith("prober") for each in threading.enumerate()), "the threads to end")
