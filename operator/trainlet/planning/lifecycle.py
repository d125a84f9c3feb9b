"""How a slot lives: from what is remembered and what is seen of it to what is now true.

Two rules hold the file together. An end is recorded once and never taken back. A container is acted on
only after its end was written down, so that no exit code is lost when the operator dies in between.
Follows the kubelet and batch/v1 Indexed Jobs.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from trainlet.planning.observed import ContainerState, Observed, ObservedContainer
from trainlet.planning.options import Options
from trainlet.planning.pod_failures import apply_policy, is_index_failed
from trainlet.planning.readiness import is_ready
from trainlet.planning.records import CONTAINER_LOST, DISRUPTED, PodRecord, Termination
from trainlet.planning.slots import Slot

#: The kubelet's longest restart delay, and how long a container must run to start over with short ones.
MAX_BACKOFF_SECONDS = 300.0
BACKOFF_RESET_SECONDS = 600.0


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
    slot: Slot, record: PodRecord, container: ObservedContainer | None, observed: Observed, now: datetime
) -> PodRecord:
    """Return the record of a slot after a look at its container."""
    if container is None:
        return _lose(record, now) if record.running else record
    if container.restart > record.restart:
        record = PodRecord(now, restart=container.restart)
    if container.restart == record.restart and container.attempt > record.attempt:
        record = record.begin(container.attempt, now)
    if is_older(container, record):
        return record
    if record.termination is not None:
        return record.excuse() if container.disrupted else record
    if container.state is ContainerState.RUNNING:
        record = replace(record, started_at=container.started_at or record.started_at or now, waiting=None)
        return replace(record, ready=is_ready(slot, record, observed.listening.get(container.id), now))
    if container.state is ContainerState.EXITED:
        return apply_policy(record.terminate(_read_end(record, container, now)), slot)
    return record


def is_older(container: ObservedContainer, record: PodRecord) -> bool:
    """Tell whether a container is of an earlier attempt than the record's."""
    return (container.restart, container.attempt) < (record.restart, record.attempt)


def get_restart_time(slot: Slot, record: PodRecord, options: Options) -> datetime | None:
    """Return when a failed attempt may be followed by the next; None for a slot that needs no restart.

    The kubelet restarts in place at once the first time, then after doubling delays; a new pod (restartPolicy
    Never) is delayed from the first time on, by the Job controller. Upstream's base of 10 s is an option here.
    """
    end = record.termination
    if end is None or end.succeeded or is_index_failed(slot.job_spec, record):
        return None
    ran_long = (
        end.started_at is not None and (end.finished_at - end.started_at).total_seconds() >= BACKOFF_RESET_SECONDS
    )
    restarts_in_place = slot.job_spec.template.spec.restart_policy != "Never"
    doublings = record.attempt - restarts_in_place
    if doublings < 0 or (restarts_in_place and ran_long):
        return end.finished_at
    delay = min(MAX_BACKOFF_SECONDS, options.restart_backoff_seconds * 2 ** min(doublings, 16))
    return end.finished_at + timedelta(seconds=delay)


def _lose(record: PodRecord, now: datetime) -> PodRecord:
    """Somebody removed the container: its work is lost, which says nothing about the job."""
    message = "The container is gone from the engine without having been seen to end"
    return record.terminate(Termination(137, CONTAINER_LOST, message, record.started_at, now, counted=False))


def _read_end(record: PodRecord, container: ObservedContainer, now: datetime) -> Termination:
    exit_code = 128 if container.exit_code is None else container.exit_code
    # What ends after we asked it to has not done its work, whatever code it ends with.
    counted = not (container.disrupted or record.stopping_since)
    return Termination(
        exit_code=exit_code,
        reason=_explain(exit_code, container),
        message=container.error or ("" if container.oom_killed else _MEANINGS.get(exit_code, "")),
        started_at=container.started_at,
        finished_at=container.finished_at or now,
        counted=counted,
        log=container.log if exit_code != 0 else (),
    )


def _explain(exit_code: int, container: ObservedContainer) -> str:
    if container.disrupted:
        return DISRUPTED
    if container.oom_killed:
        return "OOMKilled"
    return "Completed" if exit_code == 0 else "Error"
