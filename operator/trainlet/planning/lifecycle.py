"""How a slot lives: from what is remembered and what is seen of its containers to what is now true.

Two rules hold the file together. An end is recorded once and never taken back. A container is acted on
only after its end was written down, so that no exit code is lost when the operator dies in between.
Follows the kubelet and batch/v1 Indexed Jobs.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from trainlet.planning.observed import ContainerState, Observed, ObservedContainer
from trainlet.planning.options import Options
from trainlet.planning.pod_failures import apply_policy
from trainlet.planning.probes import OVER_SIZE, has_probes
from trainlet.planning.records import (
    CONTAINER_LOST,
    DISRUPTED,
    EVICTED,
    ContainerRecord,
    PodRecord,
    Termination,
    build_record,
)
from trainlet.planning.slots import Member, Role, Slot

#: The kubelet's longest restart delay, and how long a container must run to start over with short ones.
MAX_BACKOFF_SECONDS = 300.0
BACKOFF_RESET_SECONDS = 600.0


#: What a kubelet says of a pod that ran for too long.
OVER_DEADLINE = "Pod was active on the node longer than the specified deadline"
_KILLED = 137
#: What an exit code says by itself. An engine's init reports a command that is not there by 127, with no other word.
_MEANINGS = {
    126: "the command cannot be executed: check its permissions and the image's architecture",
    127: "the command was not found in the image: check command and image",
    134: "aborted (SIGABRT)",
    137: "killed (SIGKILL), possibly because memory ran out",
    139: "crashed (SIGSEGV)",
    143: "ended by SIGTERM",
}


def advance(
    slot: Slot, record: PodRecord, seen: Mapping[str, ObservedContainer], observed: Observed, now: datetime
) -> PodRecord:
    """Return the record of a slot after a look at its containers, which are by their names in the pod."""
    record = replace(record, containers={name: _end_by(now, each) for name, each in record.containers.items()})
    newest = max((container.restart for container in seen.values()), default=0)
    if newest > record.restart:
        record = build_record(slot, now, newest)
    if (ahead := _count_pods_after(slot, record, seen)) > 0:
        record = record.begin_anew(now, ahead)
    for member in slot.members:
        record = _advance(slot, record, member, seen.get(member.name), observed, now)
    return record


def _end_by(now: datetime, record: ContainerRecord) -> ContainerRecord:
    """Let nothing that something waits for have happened later than now: the clock may have been set back."""
    end, since = record.termination, record.stopping_since
    if end is not None and end.finished_at > now:
        record = replace(record, termination=replace(end, finished_at=now))
    return record if since is None or since <= now else replace(record, stopping_since=now)


def _count_pods_after(slot: Slot, pod: PodRecord, seen: Mapping[str, ObservedContainer]) -> int:
    """Return how many pods after the one in the record are seen to have begun: whoever made them did not live to say.

    What is never started again in its pod tells them apart.
    """
    once = (
        m.name for m in slot.members if m.role is Role.SANDBOX or (slot.makes_new_pods and m.role is not Role.SIDECAR)
    )
    mine = (name for name in once if name in seen and seen[name].restart == pod.restart)
    return max((seen[name].attempt - pod.containers[name].attempt for name in mine), default=0)


def _advance(
    slot: Slot,
    pod: PodRecord,
    member: Member,
    container: ObservedContainer | None,
    observed: Observed,
    now: datetime,
) -> PodRecord:
    record = pod.containers[member.name]
    if container is None:
        return end_container(slot, pod, member, _lose(record, now)) if record.running else pod
    if container.restart == pod.restart and container.attempt > record.attempt:
        record = record.begin(container.attempt)
        pod = pod.put(member.name, record)
    if is_older(container, pod, record):
        return pod
    if record.termination is not None:
        return _excuse(slot, pod, member) if container.disrupted else pod
    if container.state is ContainerState.RUNNING:
        record = replace(record, started_at=container.started_at or record.started_at or now, waiting=None)
        record = _examine(member, record, container, observed)
        deadline = get_pod_deadline(slot, member, record)
        if deadline is not None and now >= deadline:
            record = replace(record, unhealthy=True, complaint=OVER_DEADLINE)
        return pod.put(member.name, record)
    if container.state is ContainerState.EXITED:
        return end_container(slot, pod, member, _read_end(record, container, now))
    return pod


def _examine(
    member: Member, record: ContainerRecord, container: ObservedContainer, observed: Observed
) -> ContainerRecord:
    """Take what probes and hooks say of a running container; where nobody has asked yet, it stays as it was."""
    if container.name in observed.starting:
        return replace(record, started=False, ready=False)
    health = observed.health.get(container.id)
    if health is None:
        return record if has_probes(member.container) else replace(record, started=True, ready=True)
    unhealthy = record.unhealthy or not health.alive
    complaint = health.message or (record.complaint if unhealthy else "")
    return replace(record, started=health.started, ready=health.ready, complaint=complaint, unhealthy=unhealthy)


def get_pod_deadline(slot: Slot, member: Member, record: ContainerRecord) -> datetime | None:
    """Return when a running main container is over its pod's `activeDeadlineSeconds`, or None.

    A kubelet fails the pod then and its Job makes another; here the containers are ended as failed, and begin again.
    """
    seconds = slot.job_spec.template.spec.active_deadline_seconds
    if seconds is None or not record.running or record.started_at is None or member.role is not Role.MAIN:
        return None
    return record.started_at + timedelta(seconds=seconds)


def end_container(slot: Slot, pod: PodRecord, member: Member, end: Termination) -> PodRecord:
    """Record the end of a container, and what it means for the pod."""
    after = pod.change(member.name, lambda record: record.terminate(end))
    if member.role is Role.SANDBOX:
        return after
    if slot.makes_new_pods and (has_pod_failed(slot, pod) or not has_pod_failed(slot, after)):
        return after
    after = apply_policy(after, slot)
    if end.reason == EVICTED and not slot.makes_new_pods:  # its volumes go with it
        after = replace(after, deleted_at=end.finished_at)
    return replace(after, failures=after.failures + _counts(slot, after, member))


def _excuse(slot: Slot, pod: PodRecord, member: Member) -> PodRecord:
    """Take back that an end counts: it was the engine's going down, as is known only afterwards."""
    if not pod.containers[member.name].has_failed:
        return pod
    after = pod.change(member.name, lambda record: record.ignore(DISRUPTED))
    if not _counts(slot, pod, member) or _counts(slot, after, member):
        return after
    return replace(after, failures=max(0, after.failures - 1), given_up=False)


def _counts(slot: Slot, pod: PodRecord, member: Member) -> bool:
    """Tell whether the end of a container is a failure of the Job's: its own, or that of the pod that goes with it."""
    if not slot.makes_new_pods:
        return pod.containers[member.name].has_failed
    return has_pod_failed(slot, pod) and any(
        c.has_failed for c in pod.containers.values() if c.role is not Role.SIDECAR
    )


def has_pod_failed(slot: Slot, pod: PodRecord) -> bool:
    """Tell whether a pod that is not restarted in place is over without having done its work."""
    if not slot.makes_new_pods:
        return False
    if any(c.termination is not None and not c.succeeded for c in pod.containers.values() if c.role is Role.INIT):
        return True
    return bool(pod.mains) and all(c.termination is not None for c in pod.mains) and not pod.succeeded


def is_older(container: ObservedContainer, pod: PodRecord, record: ContainerRecord) -> bool:
    """Tell whether a container is of an earlier attempt than its record's."""
    return (container.restart, container.attempt) < (pod.restart, record.attempt)


def get_restart_time(slot: Slot, record: ContainerRecord, options: Options) -> datetime | None:
    """Return when a container that ended may be followed by the next; None for one that is not restarted.

    The kubelet restarts in place at once the first time, then after doubling delays; a new pod (restartPolicy
    Never) is delayed from the first time on, by the Job controller. Upstream's base of 10 s is an option here.
    """
    end = record.termination
    if end is None or (end.succeeded and record.role is not Role.SIDECAR):
        return None
    ran_long = (
        end.started_at is not None and (end.finished_at - end.started_at).total_seconds() >= BACKOFF_RESET_SECONDS
    )
    restarts_in_place = not slot.makes_new_pods or record.role is Role.SIDECAR
    doublings = record.attempt - restarts_in_place
    if doublings < 0 or (restarts_in_place and ran_long):
        return end.finished_at
    delay = min(MAX_BACKOFF_SECONDS, options.restart_backoff_seconds * 2 ** min(doublings, 16))
    return end.finished_at + timedelta(seconds=delay)


def _lose(record: ContainerRecord, now: datetime) -> Termination:
    """Somebody removed the container: its work is lost, which says nothing about the job."""
    message = "The container is gone from the engine without having been seen to end"
    return Termination(137, CONTAINER_LOST, message, record.started_at, now, counted=False)


def _read_end(record: ContainerRecord, container: ObservedContainer, now: datetime) -> Termination:
    exit_code = 128 if container.exit_code is None else container.exit_code
    is_evicted = record.unhealthy and OVER_SIZE in record.complaint
    if is_evicted:
        exit_code = exit_code or _KILLED  # it has not done its work, however well it took it
    # What ends after we asked it to has not done its work, whatever code it ends with; by its probes it has failed.
    was_asked = record.stopping_since is not None and not (record.unhealthy and exit_code)
    counted = not (container.disrupted or was_asked)
    return Termination(
        exit_code=exit_code,
        reason=EVICTED if is_evicted else _explain(exit_code, container),
        message=container.error or _describe(exit_code, record, container),
        started_at=container.started_at or record.started_at,
        finished_at=min(container.finished_at or now, now),
        counted=counted,
        log=container.log if exit_code != 0 else (),
    )


def _describe(exit_code: int, record: ContainerRecord, container: ObservedContainer) -> str:
    if record.unhealthy:
        return record.complaint
    return "" if container.oom_killed else _MEANINGS.get(exit_code, "")


def _explain(exit_code: int, container: ObservedContainer) -> str:
    if container.disrupted:
        return DISRUPTED
    if container.oom_killed:
        return "OOMKilled"
    return "Completed" if exit_code == 0 else "Error"
