"""Sentences about JobSets and Jobs that hold whatever is stored and seen, and however a job lives.

They start over as their policies say, in their order and not more often; what has ended stays ended; claims stay
until they may go; and an operator that dies between any two writes leaves nothing that leads elsewhere.
"""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lives import (
    LIVES,
    LONG,
    PARTS,
    Life,
    crash,
    end_all,
    feel,
    find_end,
    find_running,
    follow,
    forget,
    get_max_restarts,
    get_restarts,
    initialize,
    is_deleted,
    live,
    read_records,
)
from told_lives import TOLD, build_sentences
from trainlet.documents.parse import parse_documents
from trainlet.documents.write import dump_documents
from trainlet.kube.conditions import is_true
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, parse_time
from trainlet.planning.jobs import COMPLETE, FAILED
from trainlet.planning.observed import ContainerState
from trainlet.planning.plan import CreateContainer, RemoveVolume, StartContainer
from trainlet.planning.probes import Health, has_probes
from trainlet.planning.records import ContainerRecord, PodRecord
from trainlet.planning.slots import Role
from trainlet.planning.status import is_finished
from worlds import World

in_every_life = build_sentences()

VOLUME = "data-mnist"
ENDS = (COMPLETE, FAILED)


def read_status(world: World) -> JSON:
    """Return the status of the stored JobSet."""
    status: JSON = find(world.jobset, "status") or {}
    return status


def get_counted(world: World) -> int:
    return int(read_status(world).get("restartsCountTowardsMax") or 0)


def find_jobs(world: World) -> dict[str, JSON]:
    """Return the stored Jobs of the JobSet's present restart, by name."""
    marks = ("metadata", "labels", "jobset.sigs.k8s.io/restart-attempt")
    return {job["metadata"]["name"]: job for job in world.jobs if int(find(job, *marks)) == get_restarts(world)}


# Starting over


@in_every_life
def test_counted_restarts_stay_below_the_limit(life: Life) -> None:
    """Only a rule may let one go uncounted, and a pass starts all over once at most."""
    for before, after in live(life):
        if after.jobset is None:
            continue
        restarted, counted = get_restarts(after) - get_restarts(before), get_counted(after) - get_counted(before)
        assert restarted in (0, 1)
        assert counted in (0, 1)
        assert counted <= restarted
        assert get_counted(after) <= max(get_max_restarts(after), get_counted(before))
        policy = after.look().jobset.spec.failure_policy
        rules = policy.rules if policy is not None else []
        assert counted == restarted or any(rule.action.endswith("IgnoreMaxRestarts") for rule in rules)


@in_every_life
def test_with_blocking_recreate_none_starts_while_an_earlier_one_lives(life: Life) -> None:
    for before, _ in live(life):
        policy = before.look().jobset.spec.failure_policy
        if policy is None or policy.restart_strategy != "BlockingRecreate":
            continue
        for world, action in follow(before):
            if isinstance(action, StartContainer):
                restart = world.get(action.id).restart
                assert {c.restart for c in world.observed.containers if c.state is ContainerState.RUNNING} <= {restart}


@in_every_life
def test_all_nodes_are_of_one_restart_when_all_run(life: Life) -> None:
    """And of the one that is written down."""
    for _, after in live(life):
        if after.draft().plan == () and find(after.report, "status", "phase") == "Running":
            running = [c for c in after.observed.containers if c.state is ContainerState.RUNNING]
            assert {c.restart for c in running} <= {get_restarts(after)}


# The order of Jobs


def is_up(job: JSON | None, pods: int) -> bool:
    """Tell whether a Job is ready, succeeded or failed, as its own status says."""
    if job is None or find_end(job) is not None:
        return job is not None
    done = job["status"]["ready"] + job["status"]["succeeded"]
    return not job["spec"]["suspend"] and bool(done >= pods)


@in_every_life
def test_no_job_begins_before_those_that_it_depends_on(life: Life) -> None:
    """Nor, in order, before those that come before it."""
    for before, after in live(life):
        jobset, jobs = after.look().jobset, find_jobs(after)
        begun = {slot.job_name for slot in before.look().slots if is_there(before, slot.hostname, get_restarts(after))}
        begun |= set(find_jobs(before)) if get_restarts(before) == get_restarts(after) else set()
        in_order = jobset.spec.startup_policy.startup_policy_order == "InOrder"
        for place, rjob in enumerate(jobset.spec.replicated_jobs):
            if not {f"mnist-{rjob.name}-{index}" for index in range(rjob.replicas)} & set(jobs) - begun:
                continue
            wanted = {other.name: "Ready" for other in jobset.spec.replicated_jobs[:place]} if in_order else {}
            wanted |= {other.name: other.status for other in rjob.depends_on}
            for other in jobset.spec.replicated_jobs:
                for index in range(other.replicas) if other.name in wanted else ():
                    job = jobs.get(f"mnist-{other.name}-{index}")
                    assert is_up(job, other.template.spec.parallelism)
                    assert wanted[other.name] == "Ready" or (job and find_end(job) == COMPLETE)


def is_there(world: World, hostname: str, restart: int) -> bool:
    """Tell whether a slot has a pod or a container of this restart of the JobSet."""
    record = read_records(world).get(hostname)
    containers = [c for c in world.observed.containers if c.pod == hostname]
    return (record is not None and record.restart == restart) or any(c.restart == restart for c in containers)


@in_every_life
def test_a_job_that_ended_stays_ended(life: Life) -> None:
    """As it ended, until its JobSet starts over or goes."""
    for before, after in live(life):
        if after.jobset is None or get_restarts(after) != get_restarts(before):
            continue
        now = find_jobs(after)
        for name, job in find_jobs(before).items():
            if find_end(job) is not None:
                assert now[name]["status"]["conditions"] == job["status"]["conditions"]
                assert now[name]["status"]["active"] == 0


@in_every_life
def test_a_job_over_its_deadline_fails_then_and_no_earlier(life: Life) -> None:
    """Its time begins when it begins, and anew when it is resumed."""
    for before, after in live(life):
        earlier = find_jobs(before) if get_restarts(before) == get_restarts(after) else {}
        for name, job in find_jobs(after).items():
            started = job["status"].get("startTime")
            if started is None or name not in earlier:
                continue
            assert started == earlier[name]["status"].get("startTime", started)
            seconds = job["spec"].get("activeDeadlineSeconds")
            deadline = parse_time(started) + timedelta(seconds=seconds) if seconds else None
            if deadline is not None and find_end(job) is None:
                assert before.now < deadline or is_deleted(after)
            elif deadline is not None and job["status"]["conditions"][0]["reason"] == "DeadlineExceeded":
                assert parse_time(job["status"]["conditions"][0]["lastTransitionTime"]) >= deadline


@in_every_life
def test_what_the_engine_ended_has_not_failed(life: Life) -> None:
    """Also if that is known only later, unless the Job or its JobSet has ended by it."""
    for before, after in live(life):
        records = read_records(after)
        for container in before.observed.containers:
            pod = records.get(container.pod)
            if not container.disrupted or pod is None:
                continue
            record = pod.containers[container.container]
            if (pod.restart, record.attempt) == (container.restart, container.attempt):
                assert not record.has_failed
                others = [each for each in pod.containers.values() if each.has_failed]
                assert record.termination is None or others or not pod.given_up


@in_every_life
def test_no_container_starts_for_a_job_that_has_ended_or_is_not_there(life: Life) -> None:
    for before, after in live(life):
        jobs = find_jobs(after)
        for action in before.draft().plan:
            if isinstance(action, CreateContainer):
                assert find_end(jobs[action.spec.hostname.rpartition("-")[0]]) is None


@in_every_life
def test_a_node_is_ready_only_when_its_port_is_open(life: Life) -> None:
    for before, after in live(life):
        for slot in after.look().slots:
            pod = read_records(after).get(slot.hostname)
            record = pod.containers[slot.container.name] if pod is not None else None
            if record is not None and record.ready and not is_finished(before.status):
                assert record.running
                [container] = [c for c in before.observed.containers if c.name == slot.container_name]
                is_its = (container.restart, container.attempt) == (pod.restart, record.attempt)
                health = before.observed.health.get(container.id) if is_its else None
                assert health is None or health.ready or not has_probes(slot.container)


# What is told


@in_every_life
def test_counts_of_jobs_add_up(life: Life) -> None:
    for _, after in live(life):
        for counts in (after.status.get("jobsStatus"), read_status(after).get("replicatedJobsStatus")):
            for entry in counts or []:
                [rjob] = [r for r in after.look().jobset.spec.replicated_jobs if r.name == entry["name"]]
                assert entry["succeeded"] + entry["failed"] + entry["active"] + entry["suspended"] <= rjob.replicas
                assert entry["succeeded"] + entry["failed"] + entry["ready"] <= rjob.replicas


@in_every_life
def test_what_is_told_of_the_jobs_of_a_finished_jobset_stays(life: Life) -> None:
    """Of its Jobs only those that had ended are left."""
    for before, after in live(life):
        if not is_finished(after.status) or after.jobset is None:
            continue
        assert all(find_end(job) is not None for job in after.jobs)
        if is_finished(before.status) and has_ended(before):
            told = ("conditions", "replicatedJobsStatus", "restarts")
            assert [read_status(after)[key] for key in told] == [read_status(before)[key] for key in told]
            assert after.status.get("jobsStatus") == before.status.get("jobsStatus")


def has_ended(world: World) -> bool:
    """Tell whether it is written down that the JobSet has ended."""
    conditions = read_status(world).get("conditions") or []
    return is_true(conditions, "Completed") or is_true(conditions, FAILED)


@in_every_life
def test_a_jobset_ends_with_its_train_job(life: Life) -> None:
    """And as it did; but a deadline is the TrainJob's alone."""
    for before, after in live(life):
        if is_finished(before.status) or after.jobset is None:
            continue
        conditions = after.status.get("conditions") or []
        ended = {type: is_true(conditions, type) for type in (COMPLETE, FAILED)}
        jobset = read_status(after)["conditions"]
        assert is_true(jobset, "Completed") == ended[COMPLETE]
        assert is_true(jobset, FAILED) == ended[FAILED]


@in_every_life
def test_what_is_stored_is_read_as_it_was_written(life: Life) -> None:
    """Through YAML too."""
    for before, after in live(life):
        if after.jobset is not None:
            decided = {name: plan.record for name, plan in before.draft().slot_plans.items()}
            assert drop_waiting(read_records(after)) == drop_waiting(decided)
        parts = [after.job, after.report, *after.pods, *([after.jobset] if after.jobset else []), *after.jobs]
        text = dump_documents(parts)
        assert [document.value for document in parse_documents(text.encode())] == parts
        assert json.loads(json.dumps(parts)) == parts


def drop_waiting(records: dict[str, PodRecord]) -> dict[str, PodRecord]:
    """Return the records without why they wait: where nothing is known, a Pod has a word for it.

    Of a container that waits for its next start a Pod has only the last end.
    """
    told = {}
    for name, pod in records.items():
        containers = {key: _drop_waiting(record) for key, record in pod.containers.items()}
        told[name] = replace(pod, containers=containers)
    return told


def _drop_waiting(record: ContainerRecord) -> ContainerRecord:
    is_between = record.waiting is not None and record.termination is not None
    return replace(record, waiting=None, previous=None if is_between else record.previous)


# Claims


@in_every_life
def test_a_claim_s_volume_goes_with_its_job_or_never(life: Life) -> None:
    for before, after in live(life):
        removed = [a.name for a in before.draft().plan if isinstance(a, RemoveVolume) and a.name == VOLUME]
        if removed:
            assert is_deleted(before) or before.look().is_expired
            assert not before.observed.containers
        assert before.kept_volumes <= after.kept_volumes
        policies = before.look().jobset.spec.volume_claim_policies
        if policies and policies[0].retention_policy.when_deleted == "Retain":
            assert not removed


@in_every_life
def test_a_claim_s_volume_is_there_before_its_nodes(life: Life) -> None:
    for before, _ in live(life):
        for world, action in follow(before):
            if isinstance(action, CreateContainer):
                there = {volume.name for volume in world.observed.volumes} | world.kept_volumes
                assert {mount.volume for mount in action.spec.volumes} <= there


# Ends of operators


@in_every_life
def test_an_operator_that_dies_between_two_writes_leaves_what_leads_to_the_same(life: Life) -> None:
    """Whatever was written of a pass that was carried out, those after it come to what they would have come to."""
    before, _ = life.passes[-1]
    wanted = sum_up(life.end)
    for written in product([False, True], repeat=len(PARTS)):
        parts = [part for part, is_written in zip(PARTS, written, strict=True) if is_written]
        assert sum_up(end_all(crash(before, parts))) == wanted, f"only {parts} written"


@in_every_life
def test_an_operator_that_dies_between_two_actions_leaves_what_leads_to_the_same(life: Life) -> None:
    before, _ = life.passes[-1]
    wanted = sum_up(life.end)
    for actions in range(len(before.draft().plan)):
        assert sum_up(end_all(crash(before, [], actions))) == wanted, f"{actions} actions done"


@in_every_life
def test_passes_that_are_made_only_when_due_come_to_the_same(life: Life) -> None:
    """A pass follows one that acted, and one that asked for it by its time; else nothing happens without news."""
    world, is_due, due = life.last, True, None
    while is_due:
        draft = world.draft()
        world, due = world.step(), draft.due
        is_due = bool(draft.plan) or (due is not None and due <= world.now)
    assert sum_up(world) == sum_up(life.rest)
    assert life.rest.draft().due == due, "it knows when to look again"


@in_every_life
def test_a_jobset_goes_when_its_time_is_over(life: Life) -> None:
    """Not earlier; and the TrainJob stays with what was told of it."""
    after, ttl = life.last, life.last.look().jobset.spec.ttl_seconds_after_finished
    ended = [c for c in after.status.get("conditions") or [] if c["type"] in ENDS]
    if ttl is None or not ended or ended[0]["reason"] == "DeadlineExceeded" or is_deleted(after):
        return
    rest, expires_at = life.end, parse_time(ended[0]["lastTransitionTime"]) + timedelta(seconds=ttl)
    if after.now < expires_at:
        assert rest.jobset is not None
        assert rest.draft().due == expires_at
    else:
        assert (rest.jobset, rest.jobs, rest.pods, rest.observed.networks) == (None, (), (), ())
        assert rest.status == after.status


@settings(max_examples=500 if LONG else 10)
@given(LIVES, st.sets(st.sampled_from(PARTS)))
@example(TOLD["it starts over, and once is all"], {"jobset"})
@example((TOLD["nodes wait for a port, start over, and wait again"]), {"jobset", "pods", "job"})
def test_nodes_that_do_their_work_bring_their_job_to_an_end(life: Life, lost: set[str]) -> None:
    """From wherever it is, and whichever of its documents are lost."""
    if not is_deleted(life.last):
        world = do_work(forget(life.last, lost).edit(suspend=False))
        assert is_finished(world.status), world.plan


def do_work(world: World) -> World:
    """Return the world after all that runs was found well, and ended well, again and again."""
    for _ in range(12):
        for _ in range(2):
            world = initialize(end_all(end_all(world).image("present", pulled_at=world.now)))
            for place in find_running(world):
                world = feel(world, place, Health(started=True, ready=True))
        for place in find_running(world, Role.MAIN):
            world = world.exit(place, 0)
        world = end_all(world)
        if is_finished(world.status):
            return world
        world = world.after(700)
    return world


def sum_up(world: World) -> Any:
    """Return all that matters of a world at rest: of a deleted job only what is left."""
    containers = sorted((c.name, c.restart, c.attempt, c.state) for c in world.observed.containers)
    networks, volumes = (
        [thing.name for thing in things] for things in (world.observed.networks, world.observed.volumes)
    )
    left = (containers, networks, volumes, world.kept_volumes)
    if is_deleted(world):
        return left
    ended = {name: find_end(job) for name, job in find_jobs(world).items()}
    counted = get_restarts(world), get_counted(world)
    failures = {name: record.failures for name, record in read_records(world).items() if record.failures}
    return world.conditions, counted, ended, failures, left


test_all_of_it_holds_in_lives_that_are_drawn = in_every_life.build_test(30)
