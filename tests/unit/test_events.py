"""What is told of a pass, and what is not."""

from dataclasses import replace

import pytest

from trainlet.planning.events import Note, build_notes
from trainlet.planning.observed import ContainerState
from trainlet.planning.options import Options
from trainlet.planning.plan import CreateContainer, Failure, StartContainer
from worlds import World, build_running, build_world

NORMAL, WARNING = "Normal", "Warning"


def tell(world: World, *failures: Failure) -> list[Note]:
    return build_notes(world.draft(), failures)


def test_a_start_is_told_step_by_step() -> None:
    world = build_world()
    assert tell(world) == [Note(NORMAL, "NetworkCreated", "mnist-net: for 1 nodes")]
    assert tell(world.step()) == [
        Note(NORMAL, "Created", "mnist-node-0: the job wants it running"),
        Note(NORMAL, "Started", "mnist-node-0: the job wants it running"),
    ]


def test_where_nothing_happens_nothing_is_told() -> None:
    assert tell(build_running()) == []


ENDS = [
    # exit code, further fields -> event
    ({"code": 0}, Note(NORMAL, "Completed", "node-0 ended with exit code 0")),
    ({"code": 3}, Note(WARNING, "Error", "node-0 ended with exit code 3, failure 1 of 6")),
    (
        {"code": 3, "error": "disk full"},
        Note(WARNING, "Error", "node-0 ended with exit code 3, failure 1 of 6: disk full"),
    ),
    (
        {"code": 1, "oom_killed": True},
        Note(WARNING, "OOMKilled", "node-0 ended with exit code 1, failure 1 of 6"),
    ),
    (
        {"code": 1, "disrupted": True},
        Note(WARNING, "Disrupted", "node-0 ended with exit code 1, not counted as a failure"),
    ),
]


@pytest.mark.parametrize(("end", "note"), ENDS)
def test_an_end_is_told_once(end: dict[str, object], note: Note) -> None:
    world = build_running().exit("node-0", **end)  # type: ignore[arg-type]
    assert tell(world) == [note]
    assert note not in tell(world.step())


def test_a_restart_says_why() -> None:
    world = build_running().exit("node-0", 3).step()
    why = "mnist-node-0: restart 1 after Error (exit code 3)"
    assert tell(world) == [
        Note(NORMAL, "Removed", why),
        Note(NORMAL, "Created", why),
        Note(NORMAL, "Started", why),
    ]


def test_a_failed_action_is_told_and_nothing_of_its_container_is_taken_for_done() -> None:
    world = build_world(trainer={"numNodes": 2}).step()
    [create] = [a for a in world.draft().plan if isinstance(a, CreateContainer) and a.target == "mnist-node-0"]
    assert tell(world, Failure(create, "name is taken")) == [
        Note(NORMAL, "Created", "mnist-node-1: the job wants it running"),
        Note(NORMAL, "Started", "mnist-node-1: the job wants it running"),
        Note(WARNING, "CreateContainerFailed", "mnist-node-0: name is taken"),
    ]


def test_a_start_that_failed_is_told() -> None:
    world = build_world().step()
    [start] = [a for a in world.draft().plan if isinstance(a, StartContainer)]
    notes = tell(world, Failure(start, "no such command", 127))
    assert notes[-1] == Note(WARNING, "StartContainerFailed", "mnist-node-0: no such command")
    assert "Started" not in [note.reason for note in notes]


def test_an_image_that_cannot_be_had_is_a_warning() -> None:
    world = replace(build_world().step(), options=Options(pull_policy="Never")).image("absent")
    [note] = tell(world)
    assert (note.type, note.reason) == (WARNING, "ErrImageNeverPull")
    assert note.message.startswith('node-0: image "image:1" is not on this engine')
    assert tell(world.step()) == [], "once, not at every look"


def test_the_verdict_is_told_last() -> None:
    world = build_running(nodes=1).exit("node-0", 0)
    assert tell(world)[-1] == Note(NORMAL, "AllJobsCompleted", "jobset completed successfully")
    failed = build_running(runtime={"job": {"backoffLimit": 0}}).exit("node-0", 1)
    assert [(note.type, note.reason) for note in tell(failed)] == [
        (WARNING, "Error"),
        (WARNING, "FailedJobs"),
    ]


def test_suspending_tells_of_asking_and_killing() -> None:
    world = build_running(nodes=1).edit(suspend=True).step()
    assert tell(world) == [Note(NORMAL, "Killing", "mnist-node-0: the job is suspended")]
    world = world.step().after(30)
    assert tell(world) == [Note(NORMAL, "Killing", "mnist-node-0: the job is suspended, and its grace period is over")]


def test_the_end_of_a_network_is_told() -> None:
    world = build_running(nodes=1).delete().change("node-0", state=ContainerState.EXITED, exit_code=143).step()
    assert tell(world) == [Note(NORMAL, "NetworkRemoved", "mnist-net: the job was deleted")]


def test_pull_secrets_that_hold_no_logins_are_told_with_the_pull() -> None:
    world = build_world({"pod": {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]}}).step().image("absent")
    notes = build_notes(world.draft(), ())
    assert [(note.type, note.message) for note in notes if note.reason == "FailedToRetrieveImagePullSecret"] == [
        (WARNING, "Unable to retrieve some image pull secrets (a, b); attempting to pull the image may not succeed.")
    ]
