"""One slot and its containers as a pass finds them: what is written down, what is seen, and what follows of both."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainlet.planning.observed import ObservedContainer
from trainlet.planning.records import ContainerRecord, PodRecord
from trainlet.planning.slots import Member, Role, Slot


@dataclass(frozen=True)
class View:
    """A slot before the decision: `written` is its record as stored, `record` as it is now seen to be.

    `containers` are those seen, by their names in the pod; `address` is the pod's, once there is a network.
    """

    slot: Slot
    written: PodRecord | None
    record: PodRecord
    containers: Mapping[str, ObservedContainer]
    address: str | None = None

    @property
    def is_born(self) -> bool:
        """Whether there is or was a pod: it is written down, or it has a container."""
        return self.written is not None or bool(self.containers)

    @property
    def parts(self) -> "Iterator[Part]":
        """The containers of the pod in the order in which they begin."""
        for member in self.slot.members:
            yield Part(self, member, self.record.containers[member.name], self.containers.get(member.name))


@dataclass(frozen=True)
class Part:
    """One container of a view."""

    view: View
    member: Member
    record: ContainerRecord
    container: ObservedContainer | None

    @property
    def is_end_written(self) -> bool:
        """Whether the end of this attempt is already on disk, so that its container may go."""
        pod = self.view.written
        if pod is None or pod.restart != self.view.record.restart:
            return False
        written = pod.containers[self.member.name]
        return written.termination is not None and written.attempt == self.record.attempt

    @property
    def lets_next_begin(self) -> bool:
        """Whether the container after it in the pod's order may begin."""
        if self.member.role is Role.INIT:
            return self.record.succeeded
        return self.record.running and (self.record.started or self.member.role is Role.SANDBOX)
