"""Who gets which GPUs: what the machine has, who holds what, who waits and what a job asks for -> what it gets.

A job gets the GPUs of all its pods that have none at once, or none at all. They stay a pod's until it is over and its
containers have ended, so a container that is started again has the same ones. Who was created first is served first,
resource by resource: nobody takes what an earlier one waits for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from trainlet.kube.meta import ObjectKey
from trainlet.planning import labels
from trainlet.planning.devices import Allotment, Given, Inventory, PodDevices, Shortage, Wish, parse_devices
from trainlet.planning.observed import ContainerState, ObservedContainer

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What a job asks for, by pod; `since` is its creation (RFC 3339, so that texts sort as times do)."""

    job: ObjectKey
    uid: str
    since: str
    wishes: Mapping[str, Sequence[Wish]] = field(default_factory=dict)

    @property
    def turn(self) -> tuple[str, ObjectKey]:
        """What the queue is ordered by."""
        return self.since, self.job

    def count(self, without: Iterable[str] = ()) -> dict[str, int]:
        """Return how many of each resource its pods ask for."""
        wishes = [wishes for pod, wishes in self.wishes.items() if pod not in without]
        resources = {wish.resource: None for each in wishes for wish in each}
        return {resource: sum(_count(each, resource) for each in wishes) for resource in resources}


@dataclass(frozen=True)
class Holder:
    """A job and the GPUs of its pods."""

    job: ObjectKey
    pods: Mapping[str, PodDevices] = field(default_factory=dict)

    def list_devices(self) -> Iterator[tuple[str, str]]:
        """Yield resource and name of every device, those that containers share more than once."""
        for pod in self.pods.values():
            yield from _list_devices(pod)


@dataclass(frozen=True)
class Ledger:
    """All GPUs of the machine that may be given. Holders and those who wait are by the uids of their jobs."""

    inventory: Inventory
    holders: Mapping[str, Holder] = field(default_factory=dict)
    queue: Mapping[str, Request] = field(default_factory=dict)

    def forget(self, uid: str) -> "Ledger":
        """Take back all that a job has, and its place in the queue."""
        return replace(self, holders=_drop(self.holders, uid), queue=_drop(self.queue, uid))

    def hold(self, uid: str, holder: Holder) -> "Ledger":
        """Note what a job has now, be it nothing; it does not wait any more."""
        cleared = self.forget(uid)
        return replace(cleared, holders={**cleared.holders, uid: holder}) if holder.pods else cleared

    def adopt(self, job: ObjectKey, uid: str, containers: Iterable[ObservedContainer]) -> "Ledger":
        """Note what those containers of a job that have not ended say of themselves."""
        live = [c for c in containers if c.state is not ContainerState.EXITED]
        return self.hold(uid, Holder(job, {c.pod: _read_label(c) for c in live if labels.DEVICES in c.labels}))

    def list_taken(self, *, without: str = "") -> set[tuple[str, str]]:
        """Return resource and name of all devices that somebody has, but this job."""
        others = (holder for uid, holder in self.holders.items() if uid != without)
        return {device for holder in others for device in holder.list_devices()}

    def serve(self, request: Request, containers: Sequence[ObservedContainer]) -> tuple["Ledger", Allotment]:
        """Give a job what it asks for, and take back what it needs no more; `containers` are all that it has."""
        kept = _keep(self, request, containers)
        ledger = self.hold(request.uid, Holder(request.job, kept))
        shortage = _find_shortage(ledger, request, kept)
        if shortage is not None:
            waiting = ledger if shortage.is_final else replace(ledger, queue={**ledger.queue, request.uid: request})
            return waiting, Allotment(kept, shortage)
        pods = {**kept, **_choose(ledger, request, kept)}
        return ledger.hold(request.uid, Holder(request.job, pods)), Allotment(pods)


def _keep(ledger: Ledger, request: Request, containers: Sequence[ObservedContainer]) -> dict[str, PodDevices]:
    """Return what a job goes on to have: of pods with a container that has not ended, or that ask for just that.

    What a live container says of itself is true whatever else is known.
    """
    told = [c for c in containers if labels.DEVICES in c.labels]
    live = {c.pod for c in containers if c.state is not ContainerState.EXITED}
    holder = ledger.holders.get(request.uid, Holder(request.job))
    known = {
        **{c.pod: _read_label(c) for c in told},
        **holder.pods,
        **{c.pod: _read_label(c) for c in told if c.state is not ContainerState.EXITED},
    }
    taken = ledger.list_taken(without=request.uid)

    def is_good(pod: str, devices: PodDevices) -> bool:
        asked = {wish.container: (wish.resource, wish.count) for wish in request.wishes.get(pod, ())}
        given = {name: (each.resource, len(each.devices)) for name, each in devices.items()}
        here = {(resource, name) for resource, names in ledger.inventory.items() for name in names}
        return asked == given and set(_list_devices(devices)) <= here - taken

    return {pod: devices for pod, devices in known.items() if pod in live or is_good(pod, devices)}


def _read_label(container: ObservedContainer) -> PodDevices:
    return parse_devices(container.labels[labels.DEVICES])


def _find_shortage(ledger: Ledger, request: Request, kept: Iterable[str]) -> Shortage | None:
    shortages = [_measure(ledger, request, *each) for each in request.count(without=kept).items()]
    final = next((each for each in shortages if each.is_final), None)
    return final or next((each for each in shortages if each.free < each.wanted or each.ahead), None)


def _measure(ledger: Ledger, request: Request, resource: str, wanted: int) -> Shortage:
    free = _list_free(ledger, resource)
    ahead = [r for r in ledger.queue.values() if r.turn < request.turn and resource in r.count()]
    holders = [h.job for h in ledger.holders.values() if any(each == resource for each, _ in h.list_devices())]
    return Shortage(
        resource=resource,
        wanted=wanted,
        free=len(free),
        total=len(ledger.inventory.get(resource, ())),
        holders=_name(sorted(holders)),
        ahead=_name([r.job for r in sorted(ahead, key=lambda r: r.turn)]),
    )


def _choose(ledger: Ledger, request: Request, kept: Iterable[str]) -> dict[str, PodDevices]:
    """Give every pod its own of what is free; there must be enough."""
    free = {resource: iter(_list_free(ledger, resource)) for resource in ledger.inventory}
    chosen = {}
    for pod, wishes in request.wishes.items():
        if pod not in kept:
            resources = {wish.resource: None for wish in wishes}
            pools = {name: [next(free[name]) for _ in range(_count(wishes, name))] for name in resources}
            chosen[pod] = _divide(wishes, pools)
    return chosen


def _divide(wishes: Sequence[Wish], pools: Mapping[str, Sequence[str]]) -> PodDevices:
    """Give the containers of a pod their parts; those that borrow get what others have later."""
    given, used = {}, dict.fromkeys(pools, 0)
    for wish in wishes:
        start = 0 if wish.borrows else used[wish.resource]
        given[wish.container] = Given(wish.resource, tuple(pools[wish.resource][start : start + wish.count]))
        used[wish.resource] += 0 if wish.borrows else wish.count
    return given


def _count(wishes: Sequence[Wish], resource: str) -> int:
    """Return how many a pod needs: the sum of the containers that run together, or more for one before them."""
    own = sum(wish.count for wish in wishes if wish.resource == resource and not wish.borrows)
    return max([own, *(wish.count for wish in wishes if wish.resource == resource and wish.borrows)])


def _list_free(ledger: Ledger, resource: str) -> list[str]:
    taken = ledger.list_taken()
    return [name for name in ledger.inventory.get(resource, ()) if (resource, name) not in taken]


def _list_devices(pod: PodDevices) -> Iterator[tuple[str, str]]:
    return ((given.resource, name) for given in pod.values() for name in given.devices)


def _name(jobs: Iterable[ObjectKey]) -> tuple[str, ...]:
    return tuple(f"{job.namespace}/{job.name}" for job in jobs)


def _drop(entries: Mapping[str, T], key: str) -> Mapping[str, T]:
    return {each: value for each, value in entries.items() if each != key}
