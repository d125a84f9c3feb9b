"""Three stories: at each point in turn the operator dies, or a call of the engine fails; nothing is lost or doubled.

A point is a call of the engine or a change of a file, see deaths.py. TRAINLET_LONG=1 tries every one.
"""

import pytest

from harness import Machine, open_machine
from lives import LONG
from stories import STORIES, Story, list_starts
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.controller.executor import Executor
from trainlet.kube.merge import find
from trainlet.kube.meta import ObjectKey
from trainlet.planning.plan import Failure, Plan


def choose_calls(story: Story, done: bool) -> range:
    """Return the calls of a story to try: all of them, or in short a few, others if `done`."""
    with open_machine(story.runtime) as machine:
        story.tell(machine, machine.run)
        assert list_starts(machine) == story.starts
        calls = machine.engine.calls
        return range(1, calls + 1) if LONG else range(1 + 3 * done, calls + 1, calls // 6)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_an_operator_killed_at_any_point_loses_and_doubles_nothing(story: Story) -> None:
    with open_machine(story.runtime) as machine:
        machine.kill_at(0)
        story.tell(machine, machine.run)
        points = machine.points
    for number in range(1, len(points) + 1, 1 if LONG else len(points) // 10):
        with open_machine(story.runtime) as machine:
            machine.kill_at(number)
            try:
                story.tell(machine, machine.run)
                assert machine.deaths == 1
                assert list_starts(machine) == story.starts
            except AssertionError as error:
                raise AssertionError(f"killed before {points[number - 1]!r}, point {number}: {error}") from error


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_what_is_known_is_on_disk_before_anything_is_done(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    execute, plans = Executor.execute, list[Plan]()
    with open_machine(story.runtime) as machine:

        def check(self: Executor, job: ObjectKey, plan: Plan, ban: str = "") -> list[Failure]:
            operator = machine.operator
            case = operator.registry.get_case(job) if operator is not None and job.kind == TRAIN_JOB else None
            if plan and case is not None and not find(case.job, "metadata", "deletionTimestamp"):
                written = machine.status.read_job(job.namespace, job.name)
                assert written is not None
                assert written.job == case.job
                assert machine.status.read_part(job.namespace, job.name, "pods") == list(case.pods)
                plans.append(plan)
            return execute(self, job, plan, ban)

        monkeypatch.setattr(Executor, "execute", check)
        story.tell(machine, machine.run)
    assert len(plans) > 5


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
@pytest.mark.parametrize("done", [False, True], ids=["refused", "answer-lost"])
def test_a_call_that_fails_is_made_up_for(story: Story, done: bool) -> None:
    for call in choose_calls(story, done):
        with open_machine(story.runtime) as machine:

            def go_on(machine: Machine = machine) -> None:
                machine.run()
                for _ in range(11):  # the grace period of one that was not asked to end
                    machine.advance(1)

            machine.engine.fail_call(call, done=done)
            story.tell(machine, go_on)
            assert list_starts(machine) == story.starts
