"""Our own report: one word for the phase, one entry a node, and what a failure began with."""

from dataclasses import replace
from typing import Any

import pytest

from trainlet.kube.conditions import find_condition
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ContainerState
from trainlet.planning.options import Options
from trainlet.planning.report import wrap_report
from worlds import World, build_running, build_world

NO_RETRIES: JSON = {"job": {"backoffLimit": 0}}


def body(world: World) -> JSON:
    assert world.report is not None
    status: JSON = world.report["status"]
    return status


PHASES = {
    "just admitted": (lambda: build_world().step(), "Pending"),
    "its image is fetched": (lambda: build_world().image("pulling").settle(), "Pending"),
    "all nodes run": (lambda: build_running(), "Running"),
    "one is done, the other runs": (lambda: build_running().exit("node-0", 0).settle(), "Running"),
    "one has failed": (lambda: build_running().exit("node-0", 1).step(), "Restarting"),
    "it was restarted": (lambda: build_running().exit("node-0", 1).settle(), "Running"),
    "one waits for its second restart": (
        lambda: build_running().exit("node-0", 1).settle().exit("node-0", 1).settle(),
        "Restarting",
    ),
    "one was removed by hand": (lambda: build_running().lose("node-0").step(), "Restarting"),
    "suspended from the start": (lambda: build_world(suspend=True).settle(), "Suspended"),
    "suspended while it ran": (lambda: build_running().edit(suspend=True).step(), "Suspended"),
    "resumed": (lambda: build_world(suspend=True).settle().edit(suspend=False).settle(), "Running"),
    "done": (lambda: build_running(nodes=1).exit("node-0", 0).step(), "Complete"),
    "failed": (lambda: build_running(runtime=NO_RETRIES).exit("node-0", 1).step(), "Failed"),
    "done and suspended": (
        lambda: build_running(nodes=1).exit("node-0", 0).settle().edit(suspend=True).settle(),
        "Complete",
    ),
}


@pytest.mark.parametrize(("build", "phase"), PHASES.values(), ids=PHASES.keys())
def test_the_phase_is_one_word(build: Any, phase: str) -> None:
    assert build().phase == phase


def test_a_report_is_a_document_of_its_own() -> None:
    assert wrap_report("default", "mnist", {"phase": "Pending"}) == {
        "apiVersion": "trainlet.dev/v1alpha1",
        "kind": "TrainJobReport",
        "metadata": {"name": "mnist", "namespace": "default"},
        "status": {"phase": "Pending"},
    }


def test_a_running_node_is_told_with_all_that_finds_it() -> None:
    assert body(build_running())["nodes"][1] == {
        "name": "node-1",
        "rank": 1,
        "container": "mnist-node-1",
        "state": "running",
        "restarts": 0,
        "failures": "0 of 6",
        "address": "10.213.0.3",
        "startedAt": "2026-01-02T03:04:05Z",
    }


def test_a_node_that_ended_tells_how() -> None:
    world = build_running(nodes=1).after(3).exit("node-0", 137, oom_killed=True).step()
    [node] = body(world)["nodes"]
    assert node == {
        "name": "node-0",
        "rank": 0,
        "container": "mnist-node-0",
        "state": "terminated",
        "restarts": 0,
        "failures": "1 of 6",
        "exitCode": 137,
        "reason": "OOMKilled",
        "finishedAt": "2026-01-02T03:04:08Z",
    }


def test_a_restarted_node_tells_of_its_last_end() -> None:
    [node] = body(build_running(nodes=1).exit("node-0", 3, error="disk full").settle())["nodes"]
    assert (node["state"], node["restarts"], node["failures"]) == ("running", 1, "1 of 6")
    assert node["last"] == {
        "exitCode": 3,
        "reason": "Error",
        "finishedAt": "2026-01-02T03:04:05Z",
        "message": "disk full",
    }


def test_a_waiting_node_says_what_for() -> None:
    [node] = body(build_world().step().image("pulling", message="half of it").step())["nodes"]
    assert (node["state"], node["reason"], node["message"]) == ("waiting", "ContainerCreating", "half of it")


NODE_STATES = [
    (lambda: build_running(nodes=1).exit("node-0", 0).step(), "succeeded"),
    (lambda: build_running(nodes=1).exit("node-0", 1).step(), "terminated"),
    (lambda: build_running(nodes=1).edit(suspend=True).step(), "stopping"),
    (lambda: build_running(nodes=1).edit(suspend=True).step().exit("node-0", 0).step(), "terminated"),
]


@pytest.mark.parametrize(("build", "state"), NODE_STATES)
def test_a_node_s_state_is_one_word(build: Any, state: str) -> None:
    assert [node["state"] for node in body(build())["nodes"]] == [state]


def test_steps_that_have_not_begun_are_not_told() -> None:
    first = {
        "name": "first",
        "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "image:1"}]}}}},
    }
    world = build_world({"more_jobs": [first]})
    rjob = world.runtime["spec"]["template"]["spec"]["replicatedJobs"][1]
    rjob["dependsOn"] = [{"name": "first", "status": "Complete"}]
    assert [node["name"] for node in body(world.settle())["nodes"]] == ["first-0"]


def test_the_running_condition_counts_nodes_and_keeps_its_time() -> None:
    world = build_running().after(60).exit("node-0", 0).settle()
    assert find_condition(body(world)["conditions"], "Running") == {
        "type": "Running",
        "status": "True",
        "reason": "Running",
        "message": "1 of 2 nodes are running",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    world = world.after(60).exit("node-1", 0).step()
    assert find_condition(body(world)["conditions"], "Running") == {
        "type": "Running",
        "status": "False",
        "reason": "Complete",
        "message": "0 of 2 nodes are running",
        "lastTransitionTime": "2026-01-02T03:06:05Z",
    }


def test_a_condition_says_whether_the_images_are_here() -> None:
    world = build_world().image("pulling", message="half of it").step()
    found = find_condition(body(world)["conditions"], "ImagesPulled")
    assert found is not None
    assert (found["status"], found["reason"], found["message"]) == ("False", "Pulling", "half of it")


def test_conditions_that_others_wrote_are_kept() -> None:
    accepted = {"type": "Accepted", "status": "True"}
    world = replace(build_world(), report=wrap_report("default", "mnist", {"conditions": [accepted]})).step()
    assert [c["type"] for c in body(world)["conditions"]] == ["Accepted", "Running", "ImagesPulled"]


def test_restarts_are_those_of_all_nodes() -> None:
    world = build_running().exit("node-0", 1).exit("node-1", 1).settle().exit("node-0", 1).settle()
    assert body(world.after(5).settle())["restarts"] == 3


# The root cause


def test_a_job_that_is_well_has_no_cause() -> None:
    assert "rootCause" not in body(build_running())
    assert "rootCause" not in body(build_running().exit("node-0", 1).settle()), "also when it was restarted"


def test_the_cause_is_the_node_that_ended_first() -> None:
    world = build_running(runtime=NO_RETRIES).after(10)
    world = world.exit("node-1", 9, error="NaN").after(1).exit("node-0", 1).step()
    assert body(world)["rootCause"] == {
        "node": "node-1",
        "exitCode": 9,
        "reason": "Error",
        "message": "NaN",
        "finishedAt": "2026-01-02T03:04:15Z",
    }


def test_what_ended_because_another_failed_is_no_cause() -> None:
    world = build_running(runtime=NO_RETRIES, options=Options(auto_remove=False)).exit("node-1", 9).step()
    world = world.exit("node-0", 143, finished_at=world.now).settle()
    assert body(world)["rootCause"]["node"] == "node-1"


def test_the_cause_outlives_the_job_s_containers() -> None:
    world = build_running(nodes=1, runtime=NO_RETRIES).exit("node-0", 9).settle()
    assert world.observed.containers == ()
    assert (body(world)["rootCause"]["exitCode"], world.phase) == (9, "Failed")


def test_of_a_job_that_waits_for_a_lost_node_the_loss_is_the_cause() -> None:
    cause = body(build_running().lose("node-0").step())["rootCause"]
    assert (cause["node"], cause["reason"]) == ("node-0", "ContainerLost")


def test_the_addresses_are_told_as_long_as_there_is_a_network() -> None:
    world = build_running(nodes=1)
    assert body(world)["nodes"][0]["address"] == "10.213.0.2"
    lost = replace(world.lose_network(), now=world.now).change("node-0", state=ContainerState.RUNNING)
    assert "address" not in body(lost.step())["nodes"][0]


def test_the_cause_of_a_failure_is_told_with_its_log_and_what_to_do() -> None:
    log = ("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'einops'")
    cause = body(build_running().exit("node-1", 1, log=log).step())["rootCause"]
    assert (cause["node"], cause["exitCode"], cause["log"]) == ("node-1", 1, list(log))
    assert "einops" in cause["remedy"]
    assert "signal" not in cause


@pytest.mark.parametrize(("code", "signal"), [(137, "SIGKILL"), (139, "SIGSEGV"), (1, None), (128, None), (255, None)])
def test_an_exit_code_stands_for_a_signal(code: int, signal: str | None) -> None:
    cause = body(build_running().exit("node-0", code).step())["rootCause"]
    assert cause.get("signal") == signal


def test_what_began_it_is_told_until_all_nodes_have_started_over() -> None:
    runtime = {**NO_RETRIES, "jobset": {"failurePolicy": {"maxRestarts": 1}}}
    world = build_running(runtime=runtime).exit("node-0", 7).settle()
    assert body(world)["rootCause"]["exitCode"] == 7
    world = world.exit("node-1", 143).step().step()
    assert (body(world)["phase"], body(world)["rootCause"]["exitCode"]) == ("Restarting", 7)
    world = world.settle(20)
    assert body(world)["phase"] == "Running"
    assert "rootCause" not in body(world)
    assert body(world)["restarts"] == 1
