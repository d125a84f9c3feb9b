"""What is remembered of one pod slot, and how it is kept in a Pod's wire form.

A slot is one index of an Indexed Job. Its pods are numbered by `restart`, the JobSet's when it was made, and
the containers of each by `attempt`. Records live in the Pods of the status directory, so that a restarted
operator knows how often each node failed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, format_micro_time, parse_time
from trainlet.planning import labels

ATTEMPT = "trainlet.dev/attempt"
FAILURES = "trainlet.dev/failures"
COUNTED = "trainlet.dev/counted"
ASKED = "trainlet.dev/asked-to-end"
GIVEN_UP = "trainlet.dev/index-failed"
LOG = "trainlet.dev/log"

DISRUPTED = "Disrupted"
CONTAINER_LOST = "ContainerLost"
NETWORK_LOST = "NetworkLost"


@dataclass(frozen=True)
class Termination:
    """How one attempt ended. Only a `counted` one is a failure of the job (backoffLimit); `log` is its last lines."""

    exit_code: int
    reason: str
    message: str
    started_at: datetime | None
    finished_at: datetime
    counted: bool = True
    log: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the node did its work."""
        return self.exit_code == 0 and self.counted


@dataclass(frozen=True)
class Waiting:
    """Why a slot has no running container, in a kubelet's words."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class PodRecord:
    """The memory of one slot. `attempt` counts containers from 0, `failures` the ended ones that count.

    `ready` is what the readiness probe last said. `stopping_since` is since when its container is to end, and
    `asked` whether it was asked to. `given_up`: a rule says that the index has failed for good.
    """

    created_at: datetime
    restart: int = 0
    attempt: int = 0
    failures: int = 0
    started_at: datetime | None = None
    ready: bool = False
    stopping_since: datetime | None = None
    asked: bool = False
    given_up: bool = False
    termination: Termination | None = None
    previous: Termination | None = None
    waiting: Waiting | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the slot's work is done."""
        return self.termination is not None and self.termination.succeeded

    @property
    def running(self) -> bool:
        """Whether a container of the slot was last seen running."""
        return self.started_at is not None and self.termination is None

    @property
    def last_failure(self) -> Termination | None:
        """How the slot last ended without having done its work."""
        end = self.termination
        return end if end is not None and not end.succeeded else self.previous

    def terminate(self, termination: Termination) -> "PodRecord":
        """Record the end of the attempt."""
        failed = termination.counted and termination.exit_code != 0
        return replace(
            self,
            termination=termination,
            failures=self.failures + failed,
            ready=False,
            waiting=None,
            stopping_since=None,
            asked=False,
        )

    def excuse(self) -> "PodRecord":
        """Take back that the end counts: it was the engine's going down, as is known only afterwards."""
        end = self.termination
        if end is None or not end.counted or end.exit_code == 0:
            return self
        uncounted = self.ignore()
        return replace(uncounted, termination=replace(end, counted=False, reason=DISRUPTED))

    def ignore(self) -> "PodRecord":
        """Do not count the end as a failure."""
        end = self.termination
        if end is None or not end.counted or end.exit_code == 0:
            return self
        return replace(self, termination=replace(end, counted=False), failures=self.failures - 1)

    def give_up(self) -> "PodRecord":
        """Take the end for the index's own."""
        return replace(self, given_up=True)

    def begin(self, attempt: int, now: datetime) -> "PodRecord":
        """Begin a later attempt."""
        return PodRecord(
            created_at=now,
            restart=self.restart,
            attempt=attempt,
            failures=self.failures,
            previous=self.termination or self.previous,
        )


def write_status(record: PodRecord, image: str, container: str, address: str | None, restarts: int) -> JSON:
    """Return the pod's `status` as a kubelet would write it; `restarts` counts those within the pod."""
    state: JSON = {"name": container, "image": image, "restartCount": restarts, "ready": record.ready}
    state["state"] = _write_state(record)
    if record.previous is not None:
        state["lastState"] = {"terminated": _write_termination(record.previous)}
    status: JSON = {"phase": get_phase(record), "containerStatuses": [state]}
    if address:
        status["podIP"] = address
    if record.started_at is not None:
        status["startTime"] = format_micro_time(record.started_at)
    return status


def get_phase(record: PodRecord) -> str:
    """Return the pod phase of a slot; one that waits for its restart is Running, as with in-place restarts."""
    if record.succeeded:
        return "Succeeded"
    return "Running" if record.running or record.attempt or record.termination else "Pending"


def write_annotations(record: PodRecord) -> dict[str, str]:
    """Return what a Pod's status has no field for."""
    flags = {ASKED: record.asked, GIVEN_UP: record.given_up}
    set_flags = {name: "true" for name, is_set in flags.items() if is_set}
    return {ATTEMPT: str(record.attempt), FAILURES: str(record.failures), **set_flags}


def read_record(pod: Mapping[str, object]) -> PodRecord:
    """Read the record back from a Pod."""
    notes = find(pod, "metadata", "annotations") or {}
    state = find(pod, "status", "containerStatuses", 0) or {}
    waiting = find(state, "state", "waiting")
    return PodRecord(
        created_at=parse_time(find(pod, "metadata", "creationTimestamp")),
        restart=int(find(pod, "metadata", "labels", labels.RESTART_ATTEMPT) or 0),
        attempt=int(notes.get(ATTEMPT, 0)),
        failures=int(notes.get(FAILURES, 0)),
        started_at=_read_time(find(pod, "status", "startTime")),
        ready=bool(find(state, "ready")),
        stopping_since=_read_time(find(pod, "metadata", "deletionTimestamp")),
        asked=ASKED in notes,
        given_up=GIVEN_UP in notes,
        termination=_read_termination(find(state, "state", "terminated")),
        previous=_read_termination(find(state, "lastState", "terminated")),
        waiting=Waiting(waiting["reason"], waiting.get("message", "")) if waiting else None,
    )


def _write_state(record: PodRecord) -> JSON:
    if record.termination is not None:
        return {"terminated": _write_termination(record.termination)}
    if record.started_at is not None:
        return {"running": {"startedAt": format_micro_time(record.started_at)}}
    waiting = record.waiting or Waiting("ContainerCreating")
    return {"waiting": {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}}


def _write_termination(termination: Termination) -> JSON:
    wire: JSON = {
        "exitCode": termination.exit_code,
        "reason": termination.reason,
        "finishedAt": format_micro_time(termination.finished_at),
    }
    if termination.started_at is not None:
        wire["startedAt"] = format_micro_time(termination.started_at)
    if termination.message:
        wire["message"] = termination.message
    if not termination.counted:
        wire[COUNTED] = False
    if termination.log:
        wire[LOG] = list(termination.log)
    return wire


def _read_termination(wire: JSON | None) -> Termination | None:
    if wire is None:
        return None
    return Termination(
        exit_code=int(wire["exitCode"]),
        reason=wire["reason"],
        message=wire.get("message", ""),
        started_at=_read_time(wire.get("startedAt")),
        finished_at=parse_time(wire["finishedAt"]),
        counted=wire.get(COUNTED, True),
        log=tuple(wire.get(LOG, ())),
    )


def _read_time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
