"""How records, Jobs and the JobSet live: what a look at a container makes of a record, and records of a Job."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from builders import NOW
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.lifecycle import JobState, advance, get_restart_time, judge_jobs
from trainlet.planning.observed import ContainerState, ObservedContainer
from trainlet.planning.options import Options
from trainlet.planning.records import PodRecord, Termination, Waiting
from worlds import build_world

THEN = NOW - timedelta(minutes=5)
STARTED = NOW - timedelta(minutes=1)


def see(state: str, attempt: int = 0, **fields: Any) -> ObservedContainer:
    known = {labels.POD: "mnist-node-0-0", labels.ATTEMPT: str(attempt)}
    if state == "exited":
        fields = {"started_at": STARTED, "finished_at": NOW, **fields}
    return ObservedContainer("id", "mnist-node-0", known, ContainerState(state), **fields)


FRESH = PodRecord(THEN)
WAITING = PodRecord(THEN, waiting=Waiting("ErrImagePull"))
RUNNING = PodRecord(THEN, started_at=STARTED)
STOPPING = replace(RUNNING, stopping_since=NOW)
ERROR = Termination(1, "Error", "", STARTED, NOW)
DONE = Termination(0, "Completed", "", STARTED, NOW)
KILLED = Termination(137, "OOMKilled", "", STARTED, NOW)
LOST = Termination(
    137,
    "ContainerLost",
    "The container is gone from the engine without having been seen to end",
    STARTED,
    NOW,
    counted=False,
)
FAILED = replace(RUNNING, termination=ERROR, failures=1)
SUCCEEDED = replace(RUNNING, termination=DONE)
SECOND = PodRecord(NOW, attempt=1, failures=1, previous=ERROR)

ADVANCES = {
    "nothing was ever there": (FRESH, None, FRESH),
    "it was created": (FRESH, see("created"), FRESH),
    "it runs": (WAITING, see("running", started_at=STARTED), replace(FRESH, started_at=STARTED)),
    "it runs, the engine does not say since when": (FRESH, see("running"), replace(FRESH, started_at=NOW)),
    "it runs on": (RUNNING, see("running"), RUNNING),
    "it did its work": (RUNNING, see("exited", exit_code=0), SUCCEEDED),
    "it came and went between two looks": (FRESH, see("exited", exit_code=0), replace(FRESH, termination=DONE)),
    "it failed": (RUNNING, see("exited", exit_code=1), FAILED),
    "it failed in an unknown way": (
        RUNNING,
        see("exited"),
        replace(FAILED, termination=replace(ERROR, exit_code=128)),
    ),
    "it failed, the engine does not say when": (RUNNING, see("exited", exit_code=1, finished_at=None), FAILED),
    "it ran out of memory": (
        RUNNING,
        see("exited", exit_code=137, oom_killed=True),
        replace(FAILED, termination=KILLED),
    ),
    "the engine explains": (
        RUNNING,
        see("exited", exit_code=1, error="disk full"),
        replace(FAILED, termination=replace(ERROR, message="disk full")),
    ),
    "the engine went down": (
        RUNNING,
        see("exited", exit_code=1, disrupted=True),
        replace(RUNNING, termination=replace(ERROR, reason="Disrupted", counted=False)),
    ),
    "it was asked to end and failed": (
        STOPPING,
        see("exited", exit_code=1),
        replace(RUNNING, termination=replace(ERROR, counted=False)),
    ),
    "it was asked to end and said all is well": (
        STOPPING,
        see("exited", exit_code=0),
        replace(RUNNING, termination=replace(DONE, counted=False)),
    ),
    "it vanished while it ran": (RUNNING, None, replace(RUNNING, termination=LOST)),
    "it vanished while it was asked to end": (STOPPING, None, replace(RUNNING, termination=LOST)),
    "it vanished after it had ended": (FAILED, None, FAILED),
    "its end is known": (FAILED, see("exited", exit_code=2), FAILED),
    "its success is known": (SUCCEEDED, see("exited", exit_code=0), SUCCEEDED),
    "somebody started it again after its end": (SUCCEEDED, see("running"), SUCCEEDED),
    "its end turns out to be the engine's": (
        FAILED,
        see("exited", exit_code=1, disrupted=True),
        replace(FAILED, termination=replace(ERROR, reason="Disrupted", counted=False), failures=0),
    ),
    "its success is nobody's fault": (SUCCEEDED, see("exited", exit_code=0, disrupted=True), SUCCEEDED),
    "the one before it is still there": (SECOND, see("exited", exit_code=3), SECOND),
    "the next was made and not written down": (FAILED, see("created", attempt=1), SECOND),
    "the next runs and was not written down": (
        FAILED,
        see("running", attempt=1, started_at=NOW),
        replace(SECOND, started_at=NOW),
    ),
    "the next failed and was not written down": (
        FAILED,
        see("exited", attempt=1, exit_code=1),
        replace(SECOND, termination=ERROR, failures=2),
    ),
    "all was forgotten but a later container": (
        FRESH,
        see("running", attempt=3, started_at=STARTED),
        PodRecord(NOW, attempt=3, started_at=STARTED),
    ),
}


@pytest.mark.parametrize(("record", "container", "expected"), ADVANCES.values(), ids=ADVANCES.keys())
def test_a_look_at_the_container_moves_the_record_on(
    record: PodRecord, container: ObservedContainer | None, expected: PodRecord
) -> None:
    assert advance(record, container, NOW) == expected


@pytest.mark.parametrize(("_", "container", "expected"), ADVANCES.values(), ids=ADVANCES.keys())
def test_a_second_look_at_the_same_container_changes_nothing(
    _: PodRecord, container: ObservedContainer | None, expected: PodRecord
) -> None:
    assert advance(expected, container, NOW + timedelta(seconds=1)) == expected


DELAYS = [
    # attempt that failed, seconds it ran -> seconds until the next, with a base of 10 s
    (0, 1, 0),
    (1, 1, 10),
    (2, 1, 20),
    (3, 1, 40),
    (4, 1, 80),
    (5, 1, 160),
    (6, 1, 300),
    (50, 1, 300),
    (3, 599, 40),
    (3, 600, 0),
]


@pytest.mark.parametrize(("attempt", "ran", "delay"), DELAYS)
def test_restarts_wait_as_a_kubelet_does(attempt: int, ran: float, delay: float) -> None:
    end = replace(ERROR, started_at=NOW - timedelta(seconds=ran))
    record = PodRecord(THEN, attempt=attempt, termination=end)
    assert get_restart_time(record, Options(restart_backoff_seconds=10)) == NOW + timedelta(seconds=delay)


def test_the_base_of_the_delay_is_an_option() -> None:
    record = PodRecord(THEN, attempt=2, termination=ERROR)
    assert get_restart_time(record, Options(restart_backoff_seconds=0.5)) == NOW + timedelta(seconds=1)


@pytest.mark.parametrize("record", [FRESH, RUNNING, SUCCEEDED])
def test_what_has_not_failed_needs_no_restart(record: PodRecord) -> None:
    assert get_restart_time(record, Options()) is None


def judge(records: Mapping[str, PodRecord], started: bool = True, **keywords: Any) -> dict[str, JobState]:
    """Return the states of the Jobs by their replicatedJob; nodes that are not named are fresh."""
    scene = build_world(**keywords).look()
    known = {slot.hostname: records.get(slot.step, FRESH) for slot in scene.slots}
    names = frozenset(slot.job_name for slot in scene.slots) if started else frozenset()
    return {job.replicated_job.name: job.state for job in judge_jobs(scene.jobset, scene.slots, known, names)}


def fail(times: int, end: Termination | None = None) -> PodRecord:
    """Return the record of a node that failed so often, and just now unless another end is given."""
    return PodRecord(THEN, attempt=times - 1, failures=times, started_at=STARTED, termination=end or ERROR)


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
    ([SUCCEEDED, replace(SUCCEEDED, termination=replace(DONE, counted=False))], False, JobState.ACTIVE),
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
    scene = world.look()
    known = {"mnist-first-0-0": first, "mnist-node-0-0": FRESH}
    jobs = judge_jobs(scene.jobset, scene.slots, known, frozenset({"mnist-first-0"}))
    assert jobs[1].state is state
    begun = judge_jobs(scene.jobset, scene.slots, known, frozenset({"mnist-first-0", "mnist-node-0"}))
    assert begun[1].state is JobState.ACTIVE, "what has begun does not wait again"


def test_all_nodes_must_be_ready() -> None:
    world = build_world({"more_jobs": [build_first(pods=2)]})
    scene = world.look()
    for second, ready in ((FRESH, False), (RUNNING, True), (SUCCEEDED, True)):
        known = {"mnist-first-0-0": RUNNING, "mnist-first-0-1": second, "mnist-node-0-0": FRESH}
        assert judge_jobs(scene.jobset, scene.slots, known, frozenset())[0].is_ready is ready


def test_jobs_are_called_as_on_a_cluster() -> None:
    scene = build_world({"more_jobs": [{**build_first(), "replicas": 2}]}).look()
    known = {slot.hostname: FRESH for slot in scene.slots}
    jobs = judge_jobs(scene.jobset, scene.slots, known, frozenset())
    assert [job.name for job in jobs] == ["mnist-first-0", "mnist-first-1", "mnist-node-0"]
    assert [len(job.slots) for job in jobs] == [1, 1, 1]


def test_times_without_an_end_are_the_moment_they_were_seen() -> None:
    later: datetime = NOW + timedelta(seconds=9)
    assert advance(RUNNING, see("exited", exit_code=1, finished_at=None), later).termination == replace(
        ERROR, finished_at=later
    )
