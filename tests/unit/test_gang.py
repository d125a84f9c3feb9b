"""The Jobs of a JobSet: when each ends, which may begin, how the JobSet ends and when all of it starts over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import NOW, build_replicated_job, build_runtime
from trainlet.kube.conditions import find_condition
from trainlet.kube.meta import JSON
from trainlet.planning.gang import Gang, Restart, Roll, Verdict, call_roll, judge_gang, read_gang
from trainlet.planning.jobs import BatchJob, JobRecord, JobState, build_job, read_indexes, read_job, write_indexes
from trainlet.planning.options import Options, search
from trainlet.planning.records import PodRecord, Termination
from trainlet.planning.scene import survey
from worlds import World, alter, build_pod_record, build_running, build_world

THEN = NOW - timedelta(minutes=5)
STARTED = NOW - timedelta(minutes=1)
ERROR = Termination(1, "Error", "", STARTED, NOW)
DONE = Termination(0, "Completed", "", STARTED, NOW)
FRESH = build_pod_record(THEN)
RUNNING = build_pod_record(THEN, started_at=STARTED, ready=True)
SUCCEEDED = build_pod_record(THEN, started_at=STARTED, termination=DONE)


def roll(world: World, records: Mapping[str, PodRecord], begun: Sequence[str] = ()) -> tuple[BatchJob, ...]:
    """Return the Jobs of a world in which these steps have these records, the others fresh ones."""
    scene = world.look()
    known = {slot.hostname: records.get(slot.step, FRESH) for slot in scene.slots}
    return call_roll(Roll(scene.jobset, scene.slots, known, {}, 0, frozenset(begun), frozenset()), NOW)


def judge(records: Mapping[str, PodRecord], **keywords: Any) -> dict[str, JobState]:
    """Return the states of the Jobs by their replicatedJob; nodes that are not named are fresh."""
    return {job.replicated_job.name: job.state for job in roll(build_world(**keywords), records)}


def fail(times: int, end: Termination | None = None) -> PodRecord:
    """Return the record of a node that failed so often, and just now unless another end is given."""
    return build_pod_record(THEN, attempt=times - 1, failures=times, started_at=STARTED, termination=end or ERROR)


LIMITS = [
    # restartPolicy, backoffLimit, failures of node 0 and node 1 -> failed
    (None, None, (5, 0), False),
    (None, None, (6, 0), True),
    (None, None, (3, 3), True),
    ("OnFailure", 2, (1, 0), False),
    ("OnFailure", 2, (2, 0), True),
    ("OnFailure", 2, (1, 1), True),
    ("OnFailure", 1, (1, 0), True),
    ("OnFailure", 0, (1, 0), True),
    ("Never", 2, (2, 0), False),
    ("Never", 2, (3, 0), True),
    ("Never", 2, (2, 1), True),
    ("Never", 0, (0, 0), False),
    ("Never", 0, (1, 0), True),
]


@pytest.mark.parametrize(("policy", "limit", "failures", "failed"), LIMITS)
def test_a_job_fails_at_its_limit_in_place_and_above_it_with_new_pods(
    policy: str | None, limit: int | None, failures: tuple[int, int], failed: bool
) -> None:
    runtime = {
        "pod": {} if policy is None else {"restartPolicy": policy},
        "job": {} if limit is None else {"backoffLimit": limit},
    }
    records = {f"node-{n}": fail(times) if times else RUNNING for n, times in enumerate(failures)}
    states = judge(records, runtime=runtime, trainer={"numNodes": 2})
    assert states == {"node": JobState.FAILED if failed else JobState.ACTIVE}


def test_a_success_after_failures_below_the_limit_is_a_success() -> None:
    record = fail(5, DONE)
    assert judge({"node-0": record}) == {"node": JobState.SUCCEEDED}


STATES = [
    # nodes, suspended -> state
    ([SUCCEEDED, SUCCEEDED], False, JobState.SUCCEEDED),
    ([SUCCEEDED, RUNNING], False, JobState.ACTIVE),
    ([SUCCEEDED, alter(SUCCEEDED, termination=replace(DONE, counted=False))], False, JobState.ACTIVE),
    ([FRESH, FRESH], False, JobState.ACTIVE),
    ([RUNNING, FRESH], True, JobState.SUSPENDED),
    ([SUCCEEDED, SUCCEEDED], True, JobState.SUCCEEDED),
    ([fail(6), RUNNING], True, JobState.FAILED),
]


@pytest.mark.parametrize(("nodes", "suspended", "state"), STATES)
def test_a_job_is_what_all_its_nodes_are(nodes: list[PodRecord], suspended: bool, state: JobState) -> None:
    records = {f"node-{n}": record for n, record in enumerate(nodes)}
    assert judge(records, suspend=suspended, trainer={"numNodes": 2}) == {"node": state}


@pytest.mark.parametrize("suspended", [True, False])
def test_zero_nodes_have_succeeded(suspended: bool) -> None:
    assert judge({}, suspend=suspended, trainer={"numNodes": 0}) == {"node": JobState.SUCCEEDED}


def build_first(pods: int = 1) -> JSON:
    spec = {"parallelism": pods, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}
    return {"name": "first", "template": {"spec": spec}}


DEPENDENCIES = [
    # what is waited for, the first step -> the trainer's state
    ("Complete", FRESH, JobState.WAITING),
    ("Complete", RUNNING, JobState.WAITING),
    ("Complete", SUCCEEDED, JobState.ACTIVE),
    ("Complete", fail(6), JobState.WAITING),
    ("Ready", FRESH, JobState.WAITING),
    ("Ready", RUNNING, JobState.ACTIVE),
    ("Ready", SUCCEEDED, JobState.ACTIVE),
    ("Ready", fail(1), JobState.WAITING),
    ("Ready", fail(6), JobState.ACTIVE),
]


@pytest.mark.parametrize(("status", "first", "state"), DEPENDENCIES)
def test_a_step_waits_for_those_it_depends_on(status: str, first: PodRecord, state: JobState) -> None:
    world = build_world({"more_jobs": [build_first()]})
    rjob = world.runtime["spec"]["template"]["spec"]["replicatedJobs"][1]
    rjob["dependsOn"] = [{"name": "first", "status": status}]
    assert roll(world, {"first-0": first}, begun=["mnist-first-0"])[1].state is state
    begun = roll(world, {"first-0": first}, begun=["mnist-first-0", "mnist-node-0"])
    assert begun[1].state is JobState.ACTIVE, "what has begun does not wait again"


def test_all_nodes_must_be_ready() -> None:
    world = build_world({"more_jobs": [build_first(pods=2)]})
    unready = alter(RUNNING, ready=False)
    for second, ready in ((FRESH, False), (unready, False), (RUNNING, True), (SUCCEEDED, True)):
        assert roll(world, {"first-0": RUNNING, "first-1": second})[0].is_ready is ready


def test_jobs_are_called_as_on_a_cluster() -> None:
    jobs = roll(build_world({"more_jobs": [{**build_first(), "replicas": 2}]}), {})
    assert [job.name for job in jobs] == ["mnist-first-0", "mnist-first-1", "mnist-node-0"]
    assert [len(job.slots) for job in jobs] == [1, 1, 1]


# When a Job ends


def rule(action: str, **match: Any) -> JSON:
    return {"rules": [{"action": action, **match}]}


IN_42 = {"onExitCodes": {"operator": "In", "values": [42, 43]}}
NOT_IN_42 = {"onExitCodes": {"operator": "NotIn", "values": [42]}}
DISRUPTION = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
POLICIES = {
    # the Job's spec -> after node 0 failed with 42: how the Job ended, failures that count
    "fail the Job": ({"podFailurePolicy": rule("FailJob", **IN_42)}, "PodFailurePolicy", 1),
    "no rule for this code": ({"podFailurePolicy": rule("FailJob", **NOT_IN_42)}, None, 1),
    "of another container": (
        {"podFailurePolicy": rule("FailJob", onExitCodes={**IN_42["onExitCodes"], "containerName": "other"})},
        None,
        1,
    ),
    "do not count it": ({"podFailurePolicy": rule("Ignore", **IN_42), "backoffLimit": 0}, None, 0),
    "count it": ({"podFailurePolicy": rule("Count", **IN_42), "backoffLimit": 0}, "BackoffLimitExceeded", 1),
    "the first rule decides": (
        {"podFailurePolicy": {"rules": [{"action": "Ignore", **IN_42}, {"action": "FailJob", **IN_42}]}},
        None,
        0,
    ),
    "give the index up": (
        {"podFailurePolicy": rule("FailIndex", **IN_42), "backoffLimitPerIndex": 5, "maxFailedIndexes": 0},
        "MaxFailedIndexesExceeded",
        1,
    ),
    "an index has its own limit": ({"backoffLimitPerIndex": 1}, None, 1),
    "over its own limit": ({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}, "MaxFailedIndexesExceeded", 1),
    "with a limit of its own the other has no default": ({"backoffLimitPerIndex": 9}, None, 1),
}


@pytest.mark.parametrize(("spec", "reason", "failures"), POLICIES.values(), ids=POLICIES.keys())
def test_a_policy_says_what_a_failed_pod_means(spec: JSON, reason: str | None, failures: int) -> None:
    world = build_running(runtime={"pod": {"restartPolicy": "Never"}, "job": spec}).exit("node-0", 42).step()
    [job] = world.jobs
    ended = find_condition(job["status"].get("conditions") or [], "Failed")
    assert (ended["reason"] if ended else None) == reason
    assert job["status"]["failed"] == failures


def test_a_policy_counts_only_for_new_pods() -> None:
    runtime = {"job": {"podFailurePolicy": rule("FailJob", **IN_42)}}
    assert build_running(runtime=runtime).exit("node-0", 42).settle().conditions == []


def test_a_rule_that_fails_the_job_is_named() -> None:
    runtime = {"pod": {"restartPolicy": "Never"}, "job": {"podFailurePolicy": rule("FailJob", **IN_42)}}
    world = build_running(runtime=runtime)
    name = next(pod["metadata"]["name"] for pod in world.pods if pod["spec"]["hostname"] == "mnist-node-0-0")
    [job] = world.exit("node-0", 42).step().jobs
    assert job["status"]["conditions"][0]["message"] == (
        f"Container node for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
    )


def test_a_disruption_is_a_condition_of_the_pod() -> None:
    runtime = {"pod": {"restartPolicy": "Never"}, "job": {"podFailurePolicy": rule("FailJob", **DISRUPTION)}}
    world = build_running(runtime=runtime).exit("node-0", 137, disrupted=True).step()
    assert "has condition DisruptionTarget" in world.jobs[0]["status"]["conditions"][0]["message"]


def test_other_indexes_go_on_when_one_has_failed_for_good() -> None:
    runtime = {"pod": {"restartPolicy": "Never"}, "job": {"backoffLimitPerIndex": 0}}
    world = build_running(runtime=runtime).exit("node-0", 1).settle()
    assert [c.name for c in world.observed.containers if c.state == "running"] == ["mnist-node-1"]
    assert world.conditions == []
    world = world.exit("node-1", 0).settle()
    [job] = world.jobs
    assert job["status"]["conditions"][0]["reason"] == "FailedIndexes"
    assert world.conditions == [("Failed", "True", "FailedJobs")]


def test_a_job_over_its_own_deadline_fails() -> None:
    world = build_running(runtime={"job": {"activeDeadlineSeconds": 60}}).after(59)
    assert world.draft().due == NOW + timedelta(seconds=60)
    assert world.settle().conditions == []
    world = world.after(1).step()
    assert world.jobs[0]["status"]["conditions"][0]["reason"] == "DeadlineExceeded"
    assert world.conditions == [("Failed", "True", "FailedJobs")]


def test_a_job_s_deadline_is_over_when_it_is_over_though_a_node_failed_before() -> None:
    runtime = {"job": {"activeDeadlineSeconds": 60}}
    world = build_running(runtime=runtime).after(30).exit("node-0", 1).step().after(30).step()
    ended = world.jobs[0]["status"]["conditions"][0]
    assert (ended["reason"], ended["lastTransitionTime"]) == ("DeadlineExceeded", "2026-01-02T03:05:05.000000Z")


def test_a_suspended_job_s_own_deadline_begins_anew() -> None:
    world = build_running(runtime={"job": {"activeDeadlineSeconds": 60}}).after(50).edit(suspend=True).settle()
    world = world.exit("node-0", 143).exit("node-1", 143).settle().after(50).edit(suspend=False).settle()
    assert world.conditions == [("Suspended", "False", "Resumed")]
    assert world.after(59).settle().conditions == [("Suspended", "False", "Resumed")]
    assert world.after(60).step().conditions[-1] == ("Failed", "True", "FailedJobs")


SUCCESSES = [
    ({"succeededIndexes": "0"}, True),
    ({"succeededIndexes": "0-1"}, False),
    ({"succeededCount": 1}, True),
    ({"succeededCount": 2}, False),
    ({"succeededIndexes": "1-2", "succeededCount": 1}, False),
]


@pytest.mark.parametrize(("met", "done"), SUCCESSES)
def test_a_job_s_own_success_policy_ends_it_early(met: JSON, done: bool) -> None:
    world = build_running(runtime={"job": {"successPolicy": {"rules": [met]}}}, nodes=3).exit("node-0", 0).step()
    assert (world.conditions == [("Complete", "True", "AllJobsCompleted")]) is done


@pytest.mark.parametrize(
    ("indexes", "text"), [([], ""), ([0], "0"), ([0, 2, 3, 4, 7], "0,2-4,7"), ([3, 4], "3-4"), ([1, 3, 5], "1,3,5")]
)
def test_indexes_are_written_as_runs(indexes: list[int], text: str) -> None:
    assert write_indexes(indexes) == text
    assert read_indexes(text) == frozenset(indexes)


def test_a_job_is_read_back_as_it_was_written() -> None:
    scene = build_world().look()
    job = roll(build_world(), {"node-0": RUNNING})[0]
    records = [
        JobRecord(THEN, 3),
        JobRecord(THEN, 0, STARTED),
        replace(job, record=JobRecord(THEN, 1, STARTED)).end("Failed", "Why", "because", NOW).record,
    ]
    assert scene.slots
    for record in records:
        assert read_job(build_job(replace(job, record=record))) == record


# How a JobSet ends


def build_rjob(name: str, **fields: Any) -> JSON:
    built = build_replicated_job(name, {"name": "main", "image": "image:1"})
    return {**built, **fields}


def fail_job(world: World, step: str, code: int = 1) -> World:
    """Let a step fail whose Job allows no failure, and make the pass that sees it."""
    return world.exit(step, code).step()


FAIL_AT_ONCE = {"job": {"backoffLimit": 0}}
SUCCESS = [
    # policy, steps that are done -> complete
    ({}, ["launcher-0"], False),
    ({}, ["launcher-0", "node-0"], True),
    ({"operator": "All", "targetReplicatedJobs": ["launcher"]}, ["launcher-0"], True),
    ({"operator": "All", "targetReplicatedJobs": ["launcher"]}, ["node-0"], False),
    ({"operator": "Any"}, ["node-0"], True),
    ({"operator": "Any", "targetReplicatedJobs": ["launcher"]}, ["node-0"], False),
]


@pytest.mark.parametrize(("policy", "done", "complete"), SUCCESS)
def test_a_success_policy_says_whose_success_it_is(policy: JSON, done: list[str], complete: bool) -> None:
    runtime = {"more_jobs": [build_rjob("launcher")], "jobset": {"successPolicy": policy} if policy else {}}
    world = build_world(runtime).settle()
    for step in done:
        world = world.exit(step, 0)
    assert (world.step().conditions == [("Complete", "True", "AllJobsCompleted")]) is complete


def test_what_still_runs_when_the_launcher_is_done_is_brought_down_and_counts_as_nothing() -> None:
    runtime = {
        "more_jobs": [build_rjob("launcher")],
        "jobset": {"successPolicy": {"targetReplicatedJobs": ["launcher"]}},
    }
    world = build_world(runtime).settle().exit("launcher-0", 0).step()
    assert world.plan == "KeepLogs mnist-launcher-0\nRemoveContainer mnist-launcher-0\nStopContainer mnist-node-0"
    counts = {entry["name"]: entry["succeeded"] for entry in world.status["jobsStatus"]}
    assert counts == {"launcher": 1, "node": 0}
    assert world.exit("node-0", 143).settle().observed.containers == ()


JOBSET_POLICIES = {
    # failurePolicy -> reason of the TrainJob's condition, or of the restart
    "no rule": ({"maxRestarts": 1}, "DefaultFailurePolicy"),
    "no restarts": ({"maxRestarts": 0}, "ReachedMaxRestarts"),
    "fail at once": (
        {"maxRestarts": 9, "rules": [{"name": "r", "action": "FailJobSet"}]},
        "FailJobSetFailurePolicyAction",
    ),
    "the reason does not fit": (
        {
            "maxRestarts": 1,
            "rules": [{"name": "r", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
        },
        "DefaultFailurePolicy",
    ),
    "the reason fits": (
        {"rules": [{"name": "r", "action": "FailJobSet", "onJobFailureReasons": ["BackoffLimitExceeded"]}]},
        "FailJobSetFailurePolicyAction",
    ),
    "the message does not fit": (
        {
            "maxRestarts": 1,
            "rules": [{"name": "r", "action": "FailJobSet", "onJobFailureMessagePatterns": ["^deadline"]}],
        },
        "DefaultFailurePolicy",
    ),
    "the message fits": (
        {"rules": [{"name": "r", "action": "FailJobSet", "onJobFailureMessagePatterns": ["x", "backoff.limit"]}]},
        "FailJobSetFailurePolicyAction",
    ),
    "of another step": (
        {"maxRestarts": 1, "rules": [{"name": "r", "action": "FailJobSet", "targetReplicatedJobs": ["other"]}]},
        "DefaultFailurePolicy",
    ),
    "the first rule decides": (
        {
            "maxRestarts": 1,
            "rules": [{"name": "first", "action": "RestartJobSet"}, {"name": "second", "action": "FailJobSet"}],
        },
        "FailurePolicy_first",
    ),
    "over no limit": (
        {"maxRestarts": 0, "rules": [{"name": "r", "action": "RestartJobSetAndIgnoreMaxRestarts"}]},
        "FailurePolicy_r",
    ),
}


@pytest.mark.parametrize(("policy", "reason"), JOBSET_POLICIES.values(), ids=JOBSET_POLICIES.keys())
def test_a_failure_policy_says_what_a_failed_job_means(policy: JSON, reason: str) -> None:
    world = build_running(runtime={**FAIL_AT_ONCE, "jobset": {"failurePolicy": policy}}).exit("node-0", 1)
    jobs = world.look().call_roll(world.look().records)
    outcome = judge_gang(world.look().jobset, jobs, Gang(), search)
    assert isinstance(outcome, Verdict | Restart)
    assert outcome.reason == reason
    assert "(first failed job: mnist-node-0)" in outcome.message


# Starting over


def build_restarting(restarts: int = 1, strategy: str = "Recreate", **keywords: Any) -> World:
    """Return a job whose two nodes run, and start over as often as this when one fails."""
    policy = {"maxRestarts": restarts, "restartStrategy": strategy}
    runtime = {**FAIL_AT_ONCE, **keywords.pop("runtime", {}), "jobset": {"failurePolicy": policy}}
    return build_running(runtime=runtime, **keywords)


def end_all(world: World) -> World:
    """Let what was asked to end do so, and bring the job to rest."""
    world = world.step().step()
    for container in world.observed.containers:
        if container.state == "running" and world.part(container.name.removeprefix("mnist-")).asked:
            world = world.exit(container.name.removeprefix("mnist-"), 143)
    return world.settle(20)


def test_all_nodes_start_over_when_one_job_has_failed() -> None:
    world = fail_job(build_restarting(), "node-0")
    assert (world.phase, world.conditions) == ("Restarting", [])
    assert world.report is not None
    assert world.report["status"]["rootCause"]["node"] == "node-0"
    world = end_all(world)
    assert world.phase == "Running"
    assert [(c.name, c.restart, c.attempt) for c in world.observed.containers] == [
        ("mnist-node-0", 1, 0),
        ("mnist-node-1", 1, 0),
    ]
    assert {pod["metadata"]["labels"]["jobset.sigs.k8s.io/restart-attempt"] for pod in world.pods} == {"1"}
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in world.pods} == {0}


def test_a_gang_restart_is_a_condition_of_the_jobset_until_all_are_ready() -> None:
    world = fail_job(build_restarting(), "node-0")
    [restarting] = (world.jobset or {})["status"]["conditions"]
    assert (restarting["type"], restarting["status"], restarting["reason"]) == (
        "RestartingJobSet",
        "True",
        "DefaultFailurePolicy",
    )
    [ready] = (end_all(world).jobset or {})["status"]["conditions"]
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "JobsReady", "all jobs are ready")


def test_no_node_starts_over_more_often_than_allowed() -> None:
    world = end_all(fail_job(build_restarting(1), "node-0"))
    world = fail_job(world, "node-1")
    assert world.conditions == [("Failed", "True", "ReachedMaxRestarts")]
    assert read_gang(world.jobset) == replace(read_gang(world.jobset), restarts=1, counted=1)


def test_a_succeeded_job_runs_again_when_all_start_over() -> None:
    first = build_rjob("first")
    world = build_restarting(runtime={"more_jobs": [first]}).exit("first-0", 0).settle()
    world = end_all(fail_job(world, "node-0"))
    assert {c.name: (c.restart, c.state) for c in world.observed.containers}["mnist-first-0"] == (1, "running")


def test_a_step_waits_again_for_what_it_depends_on() -> None:
    world = build_world(trainer={"numNodes": 2})
    policy = {"failurePolicy": {"maxRestarts": 1}}
    runtime = build_runtime(**FAIL_AT_ONCE, more_jobs=[build_rjob("first")], jobset=policy)
    runtime["spec"]["template"]["spec"]["replicatedJobs"][1]["dependsOn"] = [{"name": "first", "status": "Complete"}]
    world = replace(world, runtime=runtime).settle().exit("first-0", 0).settle()
    world = end_all(fail_job(world, "node-0"))
    assert [c.name for c in world.observed.containers] == ["mnist-first-0"]
    world = world.exit("first-0", 0).settle()
    assert sorted(c.name for c in world.observed.containers if c.state == "running") == ["mnist-node-0", "mnist-node-1"]


STRATEGIES = [("Recreate", ["mnist-a-0"]), ("BlockingRecreate", [])]


@pytest.mark.parametrize(("strategy", "begun"), STRATEGIES)
def test_a_strategy_says_what_a_new_job_waits_for(strategy: str, begun: list[str]) -> None:
    world = build_restarting(strategy=strategy, runtime={"more_jobs": [build_rjob("a")]}, nodes=1)
    world = fail_job(world, "node-0").step().step().exit("a-0", 143)
    # The container of `node` had failed; `a` is gone soon, another node of the trainer's would still hold on.
    world = world.settle(20)
    assert [c.restart for c in world.observed.containers] == [1, 1]
    two = (
        fail_job(build_restarting(strategy=strategy, runtime={"more_jobs": [build_rjob("a")]}), "node-0").step().step()
    )
    two = two.exit("a-0", 143).settle(20)
    assert [c.name for c in two.observed.containers if c.restart == 1] == begun
    assert end_all(two).phase == "Running"


def test_a_restart_that_was_not_written_down_is_decided_again() -> None:
    before = build_restarting().exit("node-0", 1)
    forgotten = replace(before.step(), jobset=before.jobset, jobs=before.jobs)
    assert read_gang(forgotten.step().jobset).restarts == 1


def test_suspended_while_all_start_over_nothing_begins() -> None:
    world = end_all(fail_job(build_restarting(), "node-0").edit(suspend=True))
    assert world.observed.containers == ()
    assert world.phase == "Suspended"
    assert world.edit(suspend=False).settle().phase == "Running"


# Order of beginning


def test_in_order_each_waits_until_those_before_it_are_ready() -> None:
    jobset = {"startupPolicy": {"startupPolicyOrder": "InOrder"}}
    world = build_world({"more_jobs": [build_rjob("first")], "jobset": jobset})
    world = world.step().step()
    assert [c.name for c in world.observed.containers] == ["mnist-first-0"]
    conditions = (world.jobset or {})["status"]["conditions"]
    assert [(c["type"], c["status"]) for c in conditions] == [("StartupPolicyInProgress", "True")]
    world = world.settle()
    assert [c.name for c in world.observed.containers] == ["mnist-first-0", "mnist-node-0"]
    conditions = (world.jobset or {})["status"]["conditions"]
    assert [(c["type"], c["status"]) for c in conditions] == [
        ("StartupPolicyInProgress", "False"),
        ("StartupPolicyCompleted", "True"),
    ]


# What is left


def build_claims(retain: str = "Delete", **jobset: Any) -> JSON:
    policy = {"templates": [{"metadata": {"name": "data"}}], "retentionPolicy": {"whenDeleted": retain}}
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return {"container": mount, "jobset": {**jobset, "volumeClaimPolicies": [policy]}}


def test_a_claim_is_a_volume_that_all_nodes_mount() -> None:
    world = build_running(runtime=build_claims())
    assert [volume.name for volume in world.observed.volumes] == ["data-mnist"]
    assert [(v.volume, v.target) for v in world.spec("node-0").volumes] == [("data-mnist", "/data")]


@pytest.mark.parametrize("runtime", [{}, build_claims()], ids=["none", "claims"])
def test_volumes_are_looked_for_where_there_may_be_any(runtime: JSON) -> None:
    world = build_running(runtime=runtime)
    assert survey(world.case, world.options).has_volumes is bool(runtime)
    assert survey(world.delete().case, world.options).has_volumes, "what is left of it is not told by its template"


@pytest.mark.parametrize(("retain", "kept"), [("Delete", frozenset()), ("Retain", frozenset({"data-mnist"}))])
def test_a_claim_goes_with_its_job_unless_it_is_retained(retain: str, kept: frozenset[str]) -> None:
    world = build_running(runtime=build_claims(retain)).delete().settle()
    world = world.exit("node-0", 143).exit("node-1", 143).settle()
    assert (world.observed.volumes, world.observed.networks, world.kept_volumes) == ((), (), kept)
    assert world.decide().gone


def test_a_claim_outlives_a_restart_and_the_end_of_its_job() -> None:
    world = build_running(runtime={**build_claims(), **FAIL_AT_ONCE}, nodes=1).exit("node-0", 1).settle()
    assert world.phase == "Failed"
    assert [volume.name for volume in world.observed.volumes] == ["data-mnist"]


def test_after_its_time_the_jobset_goes_with_all_of_it_and_the_job_stays() -> None:
    world = build_running(runtime=build_claims(ttlSecondsAfterFinished=60), nodes=1).exit("node-0", 0).settle()
    assert world.draft().due == NOW + timedelta(seconds=60)
    assert world.jobset is not None
    status, report = world.status, world.report
    world = world.after(60).settle()
    assert (world.observed.volumes, world.jobset, world.jobs, world.pods) == ((), None, (), ())
    assert (world.status, world.report) == (status, report)
    assert world.draft().due is None


def test_the_end_is_told_before_a_jobset_with_no_time_goes() -> None:
    world = build_running(runtime={"jobset": {"ttlSecondsAfterFinished": 0}}, nodes=1).exit("node-0", 0).settle()
    assert (world.phase, world.jobset) == ("Complete", None)
    assert world.status["jobsStatus"][0]["succeeded"] == 1
    assert world.report is not None
    assert [node["state"] for node in world.report["status"]["nodes"]] == ["succeeded"]


def test_the_jobset_of_a_job_over_its_deadline_goes() -> None:
    world = build_running(runtime=build_claims(), activeDeadlineSeconds=1, nodes=1).after(1).step().step()
    world = world.exit("node-0", 143).settle()
    assert (world.jobset, world.observed.volumes) == (None, ())
    assert world.conditions == [("Failed", "True", "DeadlineExceeded")]


def test_kept_containers_of_a_finished_job_go_when_its_time_is_over() -> None:
    runtime = {"jobset": {"ttlSecondsAfterFinished": 60}}
    world = build_running(runtime=runtime, nodes=1, options=Options(auto_remove=False)).exit("node-0", 0).settle()
    assert len(world.observed.containers) == 1
    world = world.after(60).settle()
    assert (world.observed.containers, world.observed.networks) == ((), ())
