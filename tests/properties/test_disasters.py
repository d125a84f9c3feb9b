"""What befalls the machine under the operator: it goes down, its engine or its disk is lost, its clock is set.

TRAINLET_LONG=1 tries every step of every story.
"""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from builders import build_runtime
from harness import Machine, open_machine, write_job
from lives import LONG
from stories import STORIES, Story, get_phase, list_starts, read_failures
from trainlet.planning.observed import ContainerState

RUNTIME = build_runtime(job={"backoffLimit": 3}, pod={"terminationGracePeriodSeconds": 10})
BOTH = ["mnist-node-0", "mnist-node-1"]
HOUR = 3600
#: Of each story some steps before its end; what comes after it waits for the time of day.
STEPS = range(1, 5) if LONG else (1, 3)
TELLERS = pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())


def go_on(machine: Machine) -> None:
    """Let the operator go on until back-offs and grace periods are over."""
    machine.run()
    for _ in range(11):
        machine.advance(1)


def tell(story: Story, machine: Machine, number: int, befall: Callable[[Machine], Iterator[None]]) -> None:
    """Tell a story with what befalls the machine in one of its steps: before the operator goes on, and after."""
    machine.run()
    steps = iter(range(1, 100))

    def take_step() -> None:
        for _ in befall(machine) if next(steps) == number else ():
            go_on(machine)
        go_on(machine)

    story.tell(machine, take_step)
    assert list_starts(machine) == story.starts


# The disk


@TELLERS
@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
def test_a_full_disk_holds_a_job_up_and_loses_nothing_of_it(story: Story, dies: bool) -> None:
    def befall(machine: Machine) -> Iterator[None]:
        machine.is_disk_full = True
        yield
        if dies:
            machine.kill()
        machine.is_disk_full = False

    for number in STEPS:
        with open_machine(story.runtime) as machine:
            tell(story, machine, number, befall)


# The clock


@TELLERS
@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forth"])
def test_a_clock_that_is_set_and_set_right_again_changes_nothing_but_a_wait(story: Story, jump: float) -> None:
    def befall(machine: Machine) -> Iterator[None]:
        machine.clock.jump(jump)
        yield
        machine.clock.jump(-jump)

    for number in STEPS:
        with open_machine(story.runtime) as machine:
            tell(story, machine, number, befall)


def test_a_clock_that_is_set_back_makes_nothing_wait_for_it() -> None:
    with open_machine(RUNTIME) as machine:
        start(machine)
        for _ in range(2):
            machine.engine.exit(BOTH[0], 1)
            machine.run()
        machine.clock.jump(-HOUR)
        go_on(machine)
        assert machine.engine.running == BOTH, "its back-off is over"
        machine.engine.stubborn.add(BOTH[1])
        write(machine, suspend=True)
        machine.run()
        machine.clock.jump(-HOUR)
        go_on(machine)
        go_on(machine)
        assert machine.engine.containers == [], "its grace period is over"


@pytest.mark.parametrize("lead", [-HOUR, HOUR])
def test_an_engine_with_another_clock_makes_no_back_off_shorter_or_endless(lead: int) -> None:
    with open_machine(RUNTIME) as machine:
        machine.engine_lead = timedelta(seconds=lead)
        start(machine)
        for _ in range(2):
            machine.engine.exit(BOTH[0], 1)
            machine.run()
        assert (machine.engine.running == BOTH) == (lead < 0), "what ended an hour ago has waited"
        go_on(machine)
        assert machine.engine.running == BOTH


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_clock_that_is_set_touches_nothing_that_runs(jump: float) -> None:
    with open_machine(RUNTIME) as machine:
        start(machine)
        before = machine.engine.containers
        machine.clock.jump(jump)
        go_on(machine)
        machine.kill()
        go_on(machine)
        assert machine.engine.containers == before


@pytest.mark.parametrize("deadline", [{}, {"activeDeadlineSeconds": 100}])
def test_a_deadline_counts_by_the_time_of_day_and_not_before_it(deadline: dict[str, int]) -> None:
    with open_machine(build_runtime(job={"backoffLimit": 3, **deadline})) as machine:
        start(machine, activeDeadlineSeconds=150)
        machine.clock.jump(-HOUR)
        go_on(machine)
        machine.clock.jump(HOUR)
        go_on(machine)
        assert machine.engine.running == BOTH
        machine.advance(100)
        assert (machine.engine.running == BOTH) == (not deadline)
        machine.advance(30)
        assert get_phase(machine) == "Failed"


# The machine and its engine


def write(machine: Machine, **spec: object) -> None:
    """Write a job of two nodes."""
    ref, trainer = {"name": "torch-distributed"}, {"numNodes": 2}
    write_job(machine, "job.yaml", "mnist", runtimeRef=ref, trainer=trainer, **spec)


def start(machine: Machine, **spec: object) -> None:
    """Let a job of two nodes run."""
    write(machine, **spec)
    go_on(machine)
    assert machine.engine.running == BOTH


def end(machine: Machine, code: int) -> None:
    """Let both nodes end with this code as often as they are started."""
    while machine.engine.running:
        machine.engine.exit(machine.engine.running[0], code)
        go_on(machine)


def lose_status(machine: Machine) -> None:
    """Let somebody remove the status directory."""
    shutil.rmtree(machine.status.root)


def lose_engine_at_reboot(machine: Machine) -> None:
    """Let nothing be left of the engine after a reboot."""
    machine.reboot()
    machine.engine.wipe()


def lose_engine_meanwhile(machine: Machine) -> None:
    """Let nothing be left of the engine when the operator comes back."""
    machine.kill()
    machine.engine.wipe()


def lose_status_meanwhile(machine: Machine) -> None:
    """Let there be no status directory when the operator comes back."""
    machine.kill()
    lose_status(machine)


#: What befalls the machine, and how often each node that runs is started again by that.
ENDS_NODES: list[Callable[[Machine], None]] = [
    Machine.reboot,
    lose_engine_at_reboot,
    lose_engine_meanwhile,
    lambda machine: machine.engine.wipe(),
    lambda machine: machine.reboot(143),
]
ENDS_NONE: list[Callable[[Machine], None]] = [Machine.kill, lose_status, lose_status_meanwhile]
NAMES = ["reboot", "lose-all-at-reboot", "lose-engine-meanwhile", "lose-engine", "reboot-with-sigterm"]


@pytest.mark.parametrize("disaster", ENDS_NODES, ids=NAMES)
def test_nodes_that_went_with_the_machine_are_started_again_once_and_that_is_no_failure(
    disaster: Callable[[Machine], None],
) -> None:
    with open_machine(RUNTIME) as machine:
        start(machine)
        disaster(machine)
        go_on(machine)
        assert machine.engine.running == BOTH
        assert read_failures(machine) == [0, 0]
        assert [container.attempt for container in machine.engine.containers] == [1, 1]
        end(machine, 0)
        assert get_phase(machine) == "Complete"


@pytest.mark.parametrize("disaster", ENDS_NONE, ids=["kill", "lose-status", "lose-status-meanwhile"])
def test_nodes_outlive_what_does_not_concern_them(disaster: Callable[[Machine], None]) -> None:
    with open_machine(RUNTIME) as machine:
        start(machine)
        before = machine.engine.containers
        disaster(machine)
        go_on(machine)
        machine.advance(30)
        assert machine.engine.containers == before
        assert get_phase(machine) == "Running"
        end(machine, 0)
        assert get_phase(machine) == "Complete"


@pytest.mark.parametrize("disaster", [*ENDS_NODES, Machine.kill, lose_status], ids=[*NAMES, "kill", "lose-status"])
def test_what_was_counted_and_what_rests_outlives_it(disaster: Callable[[Machine], None]) -> None:
    with open_machine(RUNTIME) as machine:
        start(machine)
        for _ in range(2):
            machine.engine.exit(BOTH[0], 1)
            machine.run()
        disaster(machine)
        go_on(machine)
        assert machine.engine.running == BOTH
        assert read_failures(machine) == [2, 0]
        write(machine, suspend=True)
        go_on(machine)
        started = list_starts(machine)
        disaster(machine)
        go_on(machine)
        assert get_phase(machine) == "Suspended"
        assert list_starts(machine) == started


@pytest.mark.parametrize("disaster", [*ENDS_NODES, Machine.kill], ids=[*NAMES, "kill"])
@pytest.mark.parametrize(("code", "phase"), [(0, "Complete"), (1, "Failed")])
def test_a_job_that_has_ended_is_not_run_again(disaster: Callable[[Machine], None], code: int, phase: str) -> None:
    with open_machine(RUNTIME) as machine:
        start(machine)
        end(machine, code)
        started = list_starts(machine)
        disaster(machine)
        go_on(machine)
        assert get_phase(machine) == phase
        assert list_starts(machine) == started


def test_kept_containers_tell_that_a_job_is_complete_when_its_documents_are_lost() -> None:
    with open_machine(RUNTIME, auto_remove=False) as machine:
        start(machine)
        end(machine, 0)
        started = list_starts(machine)
        lose_status_meanwhile(machine)
        go_on(machine)
        assert get_phase(machine) == "Complete"
        assert list_starts(machine) == started


# Damaged documents

#: Of nothing but the job itself more is lost than what it tells.
DAMAGES = {"empty": "", "cut": "kind: [", "zeros": "\0" * 40, "other": "- 1\n"}


@pytest.mark.parametrize("text", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_job_whose_document_is_damaged_is_left_alone_until_somebody_decides(text: str) -> None:
    with open_machine(RUNTIME) as machine:
        start(machine)
        end(machine, 0)
        started, path = list_starts(machine), machine.status.job_path("default", "mnist")
        machine.kill()
        path.write_text(text, encoding="utf-8")
        go_on(machine)
        assert list_starts(machine) == started
        assert path.read_text(encoding="utf-8") == text
        [told] = machine.status.read_errors()
        assert "a status document is damaged" in str(told["errors"])
        assert "remove it" in str(told["errors"])
        path.unlink()
        go_on(machine)
        assert machine.engine.running == BOTH
        assert machine.status.read_errors() == []


@pytest.mark.parametrize("text", DAMAGES.values(), ids=DAMAGES.keys())
def test_nodes_outlive_damaged_documents(text: str) -> None:
    for document in ("mnist", "mnist/pods", "mnist/jobset", "mnist/runtime", "mnist/events"):
        with open_machine(RUNTIME) as machine:
            start(machine)
            before = machine.engine.containers
            machine.kill()
            (machine.status.root / "default" / f"{document}.yaml").write_text(text, encoding="utf-8")
            go_on(machine)
            assert machine.engine.containers == before
            assert {container.state for container in before} == {ContainerState.RUNNING}
            assert get_phase(machine) == "Running"
