"""A job whose manifest is gone: its nodes are asked to end at once, after it is written down that all of it goes."""

from collections.abc import Iterator

import pytest

from builders import build_runtime
from harness import Machine, open_machine, write_job

BOTH = ["mnist-node-0", "mnist-node-1"]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with open_machine(build_runtime(pod={"terminationGracePeriodSeconds": 5})) as machine:
        write_job(machine, "a.yaml", "mnist", runtimeRef={"name": "torch-distributed"}, trainer={"numNodes": 2})
        machine.run()
        yield machine


@pytest.fixture
def told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What is on disk whenever a node is asked to end: whether its job is to go."""
    told: list[bool] = []
    stop = machine.engine.stop_container

    def look(id: str) -> None:
        stored = machine.status.read_job("default", "mnist")
        told.append(stored is not None and "deletionTimestamp" in (stored.job or {})["metadata"])
        stop(id)

    monkeypatch.setattr(machine.engine, "stop_container", look)
    return told


def delete(machine: Machine) -> None:
    (machine.root / "a.yaml").unlink()
    machine.run()
    machine.advance(1)


def test_that_it_goes_is_on_disk_before_any_node_is_asked_to_end(machine: Machine, told: list[bool]) -> None:
    delete(machine)
    assert told == [True, True]
    assert (machine.engine.containers, machine.engine.networks) == ([], [])
    assert machine.status.read_job("default", "mnist") is None


def test_who_comes_after_an_operator_that_died_in_between_takes_it_for_deleted(machine: Machine) -> None:
    machine.engine.stubborn |= set(BOTH)
    delete(machine)
    assert machine.engine.running == BOTH
    machine.kill()
    machine.engine.exit("mnist-node-0", 0)
    write_job(machine, "a.yaml", "mnist", runtimeRef={"name": "torch-distributed"}, trainer={"numNodes": 2})
    ids = {each.id for each in machine.engine.containers}
    machine.advance(10)
    machine.advance(10)
    assert machine.engine.running == BOTH
    assert ids.isdisjoint(each.id for each in machine.engine.containers), "another job of this name"


def test_on_a_full_disk_it_goes_all_the_same(machine: Machine, told: list[bool]) -> None:
    machine.is_disk_full = True
    delete(machine)
    assert told == [False, False]
    assert machine.engine.running == []
    machine.is_disk_full = False
    machine.advance(60)
    assert machine.engine.containers == []
