"""An action that failed becomes what its slots wait for."""

from typing import Any

import pytest

from builders import NOW
from trainlet.planning.failures import note_failure
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    CreateNetwork,
    CreateWorkspace,
    Failure,
    KeepLogs,
    PullImage,
    RemoveContainer,
    RemoveNetwork,
    StartContainer,
    StopContainer,
)
from trainlet.planning.records import PodRecord, Termination, Waiting
from trainlet.planning.specs import ContainerSpec, NetworkSpec
from worlds import alter, build_pod_record, build_world

SLOTS = build_world(trainer={"numNodes": 2}).look().slots
FRESH = build_pod_record(NOW)
BOTH = {"mnist-node-0-0": FRESH, "mnist-node-0-1": FRESH}
FAILED = alter(FRESH, termination=Termination(1, "Error", "", None, NOW), failures=1)
BEFORE = {"mnist-node-0-0": FAILED, "mnist-node-0-1": FAILED}
NODE: dict[str, str] = {"name": "mnist-node-0", "id": "x"}


def note(action: Action, exit_code: int | None = None, records: Any = BOTH) -> dict[str, PodRecord]:
    return note_failure(Failure(action, "no luck", exit_code), SLOTS, records, BEFORE, NOW)


FAILURES = [
    # action, reason, whom it is for
    (CreateNetwork(spec=NetworkSpec("mnist-net", 2)), "NetworkNotReady", ["mnist-node-0-0", "mnist-node-0-1"]),
    (CreateWorkspace(path="/w", owner_uid="u"), "WorkspaceNotReady", ["mnist-node-0-0", "mnist-node-0-1"]),
    (CreateContainer(spec=ContainerSpec("mnist-node-1", "i")), "CreateContainerError", ["mnist-node-0-1"]),
    (StartContainer(**NODE), "RunContainerError", ["mnist-node-0-0"]),
]


@pytest.mark.parametrize(("action", "reason", "nodes"), FAILURES)
def test_the_nodes_it_was_for_wait_in_a_kubelet_s_words(action: Action, reason: str, nodes: list[str]) -> None:
    assert note(action) == {name: alter(FRESH, waiting=Waiting(reason, "no luck")) for name in nodes}


@pytest.mark.parametrize(
    "action",
    [
        PullImage(image="i"),
        RemoveNetwork(name="mnist-net", id="n"),
    ],
)
def test_what_no_node_waits_for_is_only_tried_again(action: Action) -> None:
    assert note(action) == {}


def test_a_start_that_can_never_work_ends_the_attempt() -> None:
    [record] = note(StartContainer(**NODE), exit_code=127).values()
    assert record == alter(FRESH, termination=Termination(127, "StartError", "no luck", None, NOW), failures=1)


@pytest.mark.parametrize(
    "record",
    [build_pod_record(NOW, started_at=NOW), alter(FRESH, termination=Termination(1, "Error", "", NOW, NOW))],
)
def test_a_node_that_runs_or_has_ended_waits_for_nothing(record: PodRecord) -> None:
    assert note(CreateWorkspace(path="/w", owner_uid="u"), records={"mnist-node-0-0": record}) == {
        "mnist-node-0-0": record
    }


def test_a_node_without_a_pod_has_nothing_to_note() -> None:
    assert note(CreateNetwork(spec=NetworkSpec("mnist-net", 2)), records={}) == {}


@pytest.mark.parametrize("action", [KeepLogs(**NODE, step="s"), RemoveContainer(**NODE), StopContainer(**NODE)])
def test_a_node_is_as_it_was_while_its_old_container_could_not_be_changed(action: Action) -> None:
    begun = {name: record.begin_anew(NOW) for name, record in BEFORE.items()}
    assert note(action, records=begun) == {"mnist-node-0-0": FAILED}
