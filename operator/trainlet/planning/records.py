"""What is remembered of one pod slot and its containers, and how it is kept in a Pod's wire form.

A slot is one index of an Indexed Job. Its pods are numbered by `restart`, the JobSet's when it was made, and
the starts of each container by `attempt`. Records live in the Pods of the status directory, so that a restarted
operator knows how often each node failed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, format_micro_time, parse_time
from trainlet.planning import labels
from trainlet.planning.slots import Role, Slot

ATTEMPT = "trainlet.dev/attempt"
FAILURES = "trainlet.dev/failures"
COUNTED = "trainlet.dev/counted"
ASKED = "trainlet.dev/asked-to-end"
ENDED = "trainlet.dev/ended"
STOPPING = "trainlet.dev/stopping-since"
GIVEN_UP = "trainlet.dev/index-failed"
DELETED = "trainlet.dev/deleted-at"
FIRST_ATTEMPT = "trainlet.dev/first-attempt"
SANDBOX = "trainlet.dev/sandbox"
LOG = "trainlet.dev/log"
COMPLAINT = "trainlet.dev/probes"
UNHEALTHY = "trainlet.dev/unhealthy"

DISRUPTED = "Disrupted"
CONTAINER_LOST = "ContainerLost"
NETWORK_LOST = "NetworkLost"
#: What a kubelet calls the end of a pod that has taken too much.
EVICTED = "Evicted"
CRASH_LOOP = "CrashLoopBackOff"


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
class ContainerRecord:
    """The memory of one container of a pod. `attempt` counts its starts from 0.

    `started` and `ready` are what its probes last said, and `complaint` what is wrong by them; one that is `unhealthy`
    has to be killed. `stopping_since` is since when it is to end, and `asked`
    whether it was asked to. `image_id` is what the name of its image meant when it was made.
    """

    role: Role = Role.MAIN
    attempt: int = 0
    started_at: datetime | None = None
    started: bool = False
    ready: bool = False
    complaint: str = ""
    unhealthy: bool = False
    stopping_since: datetime | None = None
    asked: bool = False
    termination: Termination | None = None
    previous: Termination | None = None
    waiting: Waiting | None = None
    image_id: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether its work is done."""
        return self.termination is not None and self.termination.succeeded

    @property
    def running(self) -> bool:
        """Whether it was last seen running."""
        return self.started_at is not None and self.termination is None

    @property
    def has_begun(self) -> bool:
        """Whether this attempt was seen to run or to end."""
        return self.started_at is not None or self.termination is not None

    @property
    def has_failed(self) -> bool:
        """Whether it ended in a way that counts as a failure."""
        end = self.termination
        return end is not None and end.counted and end.exit_code != 0

    @property
    def last_failure(self) -> Termination | None:
        """How it last ended without having done its work."""
        end = self.termination
        return end if end is not None and not end.succeeded else self.previous

    def terminate(self, termination: Termination) -> "ContainerRecord":
        """Record the end of the attempt."""
        return replace(
            self,
            termination=termination,
            started_at=termination.started_at,
            started=False,
            ready=False,
            complaint="",
            unhealthy=False,
            waiting=None,
            stopping_since=None,
            asked=False,
        )

    def ignore(self, reason: str | None = None) -> "ContainerRecord":
        """Do not count the end, for this reason or the one it has."""
        end = self.termination
        if end is None or not self.has_failed:
            return self
        return replace(self, termination=replace(end, counted=False, reason=reason or end.reason))

    def begin(self, attempt: int) -> "ContainerRecord":
        """Begin a later attempt."""
        return ContainerRecord(self.role, attempt, previous=self.termination or self.previous)


@dataclass(frozen=True)
class PodRecord:
    """The memory of one slot. `failures` counts what a Job's backoffLimit does: of its containers, or of its pods.

    `given_up`: a rule says that the index has failed for good. `containers` are by their names, in their order.
    `deleted_at`: the pod was deleted or evicted then, and is to go; the one in its place begins at its `first_attempt`.
    """

    created_at: datetime
    restart: int = 0
    failures: int = 0
    given_up: bool = False
    deleted_at: datetime | None = None
    first_attempt: int = 0
    containers: Mapping[str, ContainerRecord] = field(default_factory=dict)

    @property
    def mains(self) -> tuple[ContainerRecord, ...]:
        """The containers whose work is the pod's."""
        return tuple(c for c in self.containers.values() if c.role is Role.MAIN)

    @property
    def attempt(self) -> int:
        """Which start of its main containers the pod is at; where they are not restarted in place, which pod it is."""
        return max((c.attempt for c in self.mains), default=0)

    @property
    def restarts(self) -> int:
        """How often its containers were started again."""
        return sum(c.attempt for c in self.containers.values() if c.role is not Role.SANDBOX)

    @property
    def succeeded(self) -> bool:
        """Whether the pod's work is done."""
        return bool(self.mains) and all(c.succeeded for c in self.mains)

    @property
    def has_begun(self) -> bool:
        """Whether any of its containers has."""
        return any(container.has_begun for container in self.containers.values())

    @property
    def running(self) -> bool:
        """Whether all that is to run does."""
        return any(c.running for c in self.mains) and all(c.running or c.succeeded for c in self.mains)

    @property
    def ready(self) -> bool:
        """Whether all containers that go on are ready."""
        lasting = [c for c in self.containers.values() if c.role in (Role.MAIN, Role.SIDECAR)]
        return bool(lasting) and all(c.ready for c in lasting)

    @property
    def stopping_since(self) -> datetime | None:
        """Since when the pod is to end."""
        return min((c.stopping_since for c in self.mains if c.stopping_since is not None), default=None)

    def list_ends(self) -> Iterator[tuple[str, Termination]]:
        """Yield the ends of its containers."""
        for name, container in self.containers.items():
            if container.termination is not None and container.role is not Role.SANDBOX:
                yield name, container.termination

    def list_failures(self) -> Iterator[tuple[str, Termination]]:
        """Yield how its containers last ended without having done their work."""
        for name, container in self.containers.items():
            if container.last_failure is not None and container.role is not Role.SANDBOX:
                yield name, container.last_failure

    def change(self, name: str, edit: Callable[[ContainerRecord], ContainerRecord]) -> "PodRecord":
        """Change one container's record."""
        return replace(self, containers={**self.containers, name: edit(self.containers[name])})

    def put(self, name: str, container: ContainerRecord) -> "PodRecord":
        """Put one container's record in the place of the one there was."""
        return self.change(name, lambda _: container)

    def begin_anew(self, now: datetime, pods: int = 1) -> "PodRecord":
        """Begin a pod in the place of this one, or of the last of so many."""
        later = {name: container.begin(container.attempt + pods) for name, container in self.containers.items()}
        return replace(self, created_at=now, containers=later)

    def replace_deleted(self, now: datetime) -> "PodRecord":
        """Begin a pod in the place of one that was deleted and is gone: it is another, and has a name of its own."""
        later = self.begin_anew(now)
        return replace(later, deleted_at=None, first_attempt=later.attempt)


def build_record(slot: Slot, now: datetime, restart: int = 0) -> PodRecord:
    """Return the record of a slot's first pod."""
    return PodRecord(now, restart, containers={each.name: ContainerRecord(each.role) for each in slot.members})


def write_status(slot: Slot, record: PodRecord, address: str | None) -> JSON:
    """Return the pod's `status` as a kubelet would write it."""
    by_role = {role: _write_containers(slot, record, role) for role in Role}
    status: JSON = {"phase": get_phase(record), "containerStatuses": by_role[Role.MAIN]}
    if inits := [*by_role[Role.INIT], *by_role[Role.SIDECAR]]:
        order = [member.name for member in slot.members]
        status["initContainerStatuses"] = sorted(inits, key=lambda each: order.index(each["name"]))
    if by_role[Role.SANDBOX]:
        status[SANDBOX] = by_role[Role.SANDBOX][0]
    if address:
        status["podIP"] = address
        status["podIPs"] = [{"ip": address}]
    starts = [c.started_at for c in record.containers.values() if c.started_at is not None]
    if starts:
        status["startTime"] = format_micro_time(min(starts))
    return status


def _write_containers(slot: Slot, record: PodRecord, role: Role) -> list[JSON]:
    members = [member for member in slot.members if member.role is role]
    return [_write_container(slot, record, member.name, member.container.image) for member in members]


def _write_container(slot: Slot, pod: PodRecord, name: str, image: str) -> JSON:
    record = pod.containers[name]
    status: JSON = {
        "name": name,
        "image": image,
        "imageID": record.image_id,
        "restartCount": record.attempt - (pod.attempt if slot.makes_new_pods else pod.first_attempt),
        "ready": record.ready,
        "started": record.started,
        "state": _write_state(pod, record),
        ATTEMPT: record.attempt,
    }
    last = record.termination if _is_between(record) else record.previous
    if _is_between(record):
        status[ENDED] = True
    if last is not None:
        status["lastState"] = {"terminated": _write_termination(last)}
    if record.complaint or record.unhealthy:
        status |= {COMPLAINT: record.complaint, UNHEALTHY: record.unhealthy}
    if record.stopping_since is not None:
        status |= {STOPPING: format_micro_time(record.stopping_since), ASKED: record.asked}
    return status


def get_phase(record: PodRecord) -> str:
    """Return the pod phase of a slot; one that waits for its restart is Running, as with in-place restarts."""
    if record.succeeded:
        return "Succeeded"
    has_begun = any(c.attempt > record.first_attempt or c.has_begun for c in record.mains)
    return "Running" if has_begun else "Pending"


def write_annotations(record: PodRecord) -> dict[str, str]:
    """Return what a Pod's status has no field for."""
    return {
        FAILURES: str(record.failures),
        **({GIVEN_UP: "true"} if record.given_up else {}),
        **({DELETED: format_micro_time(record.deleted_at)} if record.deleted_at is not None else {}),
        **({FIRST_ATTEMPT: str(record.first_attempt)} if record.first_attempt else {}),
    }


def read_record(slot: Slot, pod: Mapping[str, object]) -> PodRecord:
    """Read the record of a slot back from its Pod."""
    notes = find(pod, "metadata", "annotations") or {}
    known = read_containers(pod)
    return PodRecord(
        created_at=parse_time(find(pod, "metadata", "creationTimestamp")),
        restart=read_restart(pod),
        failures=int(notes.get(FAILURES, 0)),
        given_up=GIVEN_UP in notes,
        deleted_at=_read_time(notes.get(DELETED)),
        first_attempt=int(notes.get(FIRST_ATTEMPT, 0)),
        containers={m.name: replace(known.get(m.name, ContainerRecord()), role=m.role) for m in slot.members},
    )


def read_restart(pod: Mapping[str, object]) -> int:
    """Return of which restart of the JobSet a Pod is."""
    return int(find(pod, "metadata", "labels", labels.RESTART_ATTEMPT) or 0)


def read_containers(pod: Mapping[str, object]) -> dict[str, ContainerRecord]:
    """Read the records of a Pod's containers, which do not tell their roles, by their names."""
    status = find(pod, "status") or {}
    sandbox = [status[SANDBOX]] if SANDBOX in status else []
    entries = [*sandbox, *status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return {str(entry["name"]): _read_container(entry) for entry in entries}


def _read_container(entry: JSON) -> ContainerRecord:
    waiting = find(entry, "state", "waiting")
    ends = [_read_termination(find(entry, state, "terminated")) for state in ("state", "lastState")]
    if entry.get(ENDED):
        ends = [ends[1], None]
    running, end = find(entry, "state", "running", "startedAt"), ends[0]
    return ContainerRecord(
        attempt=int(entry.get(ATTEMPT, 0)),
        started_at=_read_time(running) if end is None else end.started_at,
        started=bool(entry.get("started")),
        ready=bool(entry.get("ready")),
        complaint=entry.get(COMPLAINT, ""),
        unhealthy=bool(entry.get(UNHEALTHY)),
        stopping_since=_read_time(entry.get(STOPPING)),
        asked=bool(entry.get(ASKED)),
        termination=end,
        previous=ends[1],
        waiting=Waiting(waiting["reason"], waiting.get("message", "")) if waiting else None,
        image_id=entry.get("imageID", ""),
    )


def _is_between(record: ContainerRecord) -> bool:
    """Whether a container that ended waits for its next start."""
    return record.termination is not None and record.waiting is not None


def _write_state(pod: PodRecord, record: ContainerRecord) -> JSON:
    if record.termination is not None and not _is_between(record):
        return {"terminated": _write_termination(record.termination)}
    if record.started_at is not None and record.termination is None:
        return {"running": {"startedAt": format_micro_time(record.started_at)}}
    has_inits = any(c.role in (Role.INIT, Role.SIDECAR) for c in pod.containers.values())
    waiting = record.waiting or Waiting("PodInitializing" if has_inits else "ContainerCreating")
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
