"""The TrainJob's status as the upstream controller writes it: conditions, counts, the deadline."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import NOW
from trainlet.kube.meta import JSON
from trainlet.planning.options import Options
from trainlet.planning.status import is_finished, judge_deadline
from worlds import World, build_running, build_world

SUSPENDED, RESUMED = ("Suspended", "True", "Suspended"), ("Suspended", "False", "Resumed")
COMPLETE, FAILED = ("Complete", "True", "AllJobsCompleted"), ("Failed", "True", "FailedJobs")
DEADLINE = ("Failed", "True", "DeadlineExceeded")
ZEROS = {"ready": 0, "succeeded": 0, "failed": 0, "active": 0, "suspended": 0}
NO_RETRIES: JSON = {"job": {"backoffLimit": 0}}


def count(world: World) -> dict[str, dict[str, int]]:
    """Return the counts that are not zero, by step."""
    statuses = world.status.get("jobsStatus") or []
    return {s["name"]: {k: v for k, v in s.items() if v and k != "name"} for s in statuses}


def build_steps() -> dict[str, Any]:
    """Return a runtime whose trainer waits until an initializer has done its work."""
    label = {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "dataset-initializer"}}
    pod = {"template": {"spec": {"containers": [{"name": "main", "image": "image:1"}]}}}
    return {"more_jobs": [{"name": "dataset-initializer", "template": {"metadata": label, "spec": pod}}]}


def build_dependent() -> World:
    world = build_world(build_steps())
    rjob = world.runtime["spec"]["template"]["spec"]["replicatedJobs"][1]
    rjob["dependsOn"] = [{"name": "dataset-initializer", "status": "Complete"}]
    return world


def test_a_job_that_was_never_suspended_and_is_not_finished_has_no_conditions() -> None:
    assert "conditions" not in build_running().status


def test_suspending_and_resuming_is_one_condition() -> None:
    world = build_world(suspend=True).settle()
    assert world.conditions == [SUSPENDED]
    world = world.after(60).edit(suspend=False).settle()
    assert world.status["conditions"] == [
        {
            "type": "Suspended",
            "status": "False",
            "reason": "Resumed",
            "message": "TrainJob is resumed",
            "lastTransitionTime": "2026-01-02T03:05:05Z",
        }
    ]


def test_conditions_stay_in_the_order_in_which_they_came() -> None:
    world = build_world(suspend=True).settle().edit(suspend=False).settle().exit("node-0", 0).settle()
    assert world.conditions == [RESUMED, COMPLETE]
    assert world.edit(suspend=True).settle().conditions == [SUSPENDED, COMPLETE], "also when it is finished"


def test_a_complete_job_says_so_in_upstream_s_words() -> None:
    world = build_running().after(60).exit("node-0", 0).exit("node-1", 0).settle()
    assert world.status["conditions"] == [
        {
            "type": "Complete",
            "status": "True",
            "reason": "AllJobsCompleted",
            "message": "jobset completed successfully",
            "lastTransitionTime": "2026-01-02T03:05:05Z",
        }
    ]
    assert count(world) == {"node": {"succeeded": 1}}


def test_a_failed_job_names_the_job_that_failed_first() -> None:
    world = build_running(runtime=NO_RETRIES).exit("node-1", 3).step()
    [condition] = world.status["conditions"]
    assert (condition["type"], condition["reason"]) == ("Failed", "FailedJobs")
    assert condition["message"] == "jobset failed due to one or more job failures (first failed job: mnist-node-0)"
    assert count(world) == {"node": {"failed": 1}}


def test_the_first_failed_job_is_the_one_whose_node_ended_first() -> None:
    pod = {"spec": {"containers": [{"name": "c", "image": "image:1"}]}}
    other = {"name": "web", "replicas": 2, "template": {"spec": {"backoffLimit": 0, "template": pod}}}
    world = build_world({"more_jobs": [other], **NO_RETRIES}).settle()
    early, late = NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)
    world = world.after(5).exit("web-0-0", 1, finished_at=late).exit("web-1-0", 1, finished_at=early)
    world = world.exit("node-0", 1, finished_at=late).step()
    assert "(first failed job: mnist-web-1)" in world.status["conditions"][0]["message"]
    assert count(world) == {"web": {"failed": 2}, "node": {"failed": 1}}


def test_failure_is_looked_at_before_success() -> None:
    world = build_running(runtime={**NO_RETRIES, **build_steps()}, nodes=1)
    world = world.exit("dataset-initializer", 0).exit("node-0", 1).step()
    assert world.conditions == [FAILED]
    assert count(world) == {"node": {"failed": 1}, "dataset-initializer": {"succeeded": 1}}


def test_a_terminal_condition_is_never_taken_back() -> None:
    world = build_running(runtime=NO_RETRIES, options=Options(auto_remove=False)).exit("node-0", 1).settle()
    before = world.status
    world = world.exit("node-0", 0).exit("node-1", 0).after(600).settle()
    assert world.status == before


def test_a_job_without_nodes_is_complete() -> None:
    world = build_world(trainer={"numNodes": 0}).settle()
    assert world.conditions == [COMPLETE]
    assert world.status["jobsStatus"] == [{"name": "node", **ZEROS, "succeeded": 1}]


LIFE = [
    # after what -> counts
    (lambda w: w.step(), {"node": {"active": 1}}),
    (lambda w: w.settle(), {"node": {"active": 1, "ready": 1}}),
    (lambda w: w.settle().exit("node-0", 0).settle(), {"node": {"active": 1, "ready": 1}}),
    (lambda w: w.settle().exit("node-0", 1).step(), {"node": {"active": 1}}),
    (lambda w: w.settle().edit(suspend=True).step(), {"node": {"suspended": 1}}),
    (lambda w: w.edit(suspend=True).step(), {"node": {"suspended": 1}}),
]


@pytest.mark.parametrize(("live", "counts"), LIFE)
def test_counts_are_of_jobs_and_not_of_pods(live: Any, counts: JSON) -> None:
    assert count(live(build_world(trainer={"numNodes": 2}))) == counts


def test_counts_are_written_with_zeros_and_names_descending() -> None:
    world = build_dependent().settle()
    assert world.status["jobsStatus"] == [
        {"name": "node", **ZEROS},
        {"name": "dataset-initializer", **ZEROS, "active": 1, "ready": 1},
    ]
    assert [c.name for c in world.observed.containers] == ["mnist-dataset-initializer-0"]
    world = world.exit("dataset-initializer", 0).settle()
    assert count(world) == {"node": {"active": 1, "ready": 1}, "dataset-initializer": {"succeeded": 1}}


def test_suspended_from_the_start_only_what_waits_for_nothing_is_a_suspended_job() -> None:
    assert count(build_dependent().edit(suspend=True).settle()) == {
        "node": {},
        "dataset-initializer": {"suspended": 1},
    }


def test_an_initializer_that_is_done_does_not_run_again_after_a_suspension() -> None:
    world = build_dependent().settle().exit("dataset-initializer", 0).settle().edit(suspend=True).settle()
    world = world.exit("node-0", 143).settle().edit(suspend=False).settle()
    assert count(world) == {"node": {"active": 1, "ready": 1}, "dataset-initializer": {"succeeded": 1}}
    assert world.container("node-0").attempt == 1


def test_when_the_trainer_fails_what_still_ran_counts_as_nothing() -> None:
    world = build_running(runtime={**NO_RETRIES, **build_steps()}, nodes=1).exit("node-0", 1).step()
    assert count(world) == {"node": {"failed": 1}, "dataset-initializer": {}}


# The deadline


def test_a_job_over_its_deadline_fails_and_keeps_its_last_counts() -> None:
    world = build_running(activeDeadlineSeconds=1).after(1).step()
    assert world.conditions == [DEADLINE]
    assert world.plan == "StopContainer mnist-node-0\nStopContainer mnist-node-1"
    assert world.status["conditions"][0]["message"] == "TrainJob exceeded its active deadline"
    assert count(world) == {"node": {"active": 1, "ready": 1}}
    world = world.exit("node-0", 143).exit("node-1", 143).settle()
    assert (world.observed.containers, world.observed.networks) == ((), ())
    assert count(world) == {"node": {"active": 1, "ready": 1}}


def test_a_job_within_its_deadline_is_looked_at_again_when_it_is_over() -> None:
    world = build_running(activeDeadlineSeconds=3600).after(60)
    assert world.draft().due == NOW + timedelta(hours=1)
    assert world.step().conditions == []


def test_waiting_counts_for_the_deadline() -> None:
    world = build_world(activeDeadlineSeconds=10).image("pulling").settle().after(10).settle()
    assert world.conditions == [DEADLINE]


def test_a_suspended_job_has_no_deadline() -> None:
    world = build_world(activeDeadlineSeconds=1, suspend=True).settle().after(3600)
    assert world.draft().due is None
    assert world.settle().conditions == [SUSPENDED]


def test_every_resume_gives_the_full_time_again() -> None:
    world = build_world(activeDeadlineSeconds=2, suspend=True).settle().after(3600).edit(suspend=False).settle()
    assert world.conditions == [RESUMED]
    assert world.after(1).settle().conditions == [RESUMED]
    assert world.after(2).settle().conditions == [RESUMED, DEADLINE]


def test_a_finished_job_has_no_deadline() -> None:
    world = build_running(activeDeadlineSeconds=5, nodes=1).exit("node-0", 0).settle()
    assert world.after(60).settle().conditions == [COMPLETE]


@pytest.mark.parametrize("seconds", [None, 0])
def test_without_a_deadline_there_is_none(seconds: int | None) -> None:
    scene = build_world(**({} if seconds is None else {"activeDeadlineSeconds": seconds})).look()
    assert judge_deadline(scene.job, NOW + timedelta(days=9999)) == (None, None)


# The parts by themselves


@pytest.mark.parametrize(
    ("conditions", "finished"),
    [
        ([], False),
        ([{"type": "Suspended", "status": "True"}], False),
        ([{"type": "Complete", "status": "False"}], False),
        ([{"type": "Complete", "status": "True"}], True),
        ([{"type": "Suspended", "status": "False"}, {"type": "Failed", "status": "True"}], True),
    ],
)
def test_a_job_is_finished_when_it_is_complete_or_failed(conditions: list[JSON], finished: bool) -> None:
    assert is_finished({"conditions": conditions}) is finished
    assert is_finished({}) is False


def test_status_that_others_wrote_is_kept() -> None:
    world = build_world().settle()
    world = replace(world, job={**world.job, "status": {**world.status, "trainerStatus": {"progressPercentage": 5}}})
    assert world.step().status["trainerStatus"] == {"progressPercentage": 5}
