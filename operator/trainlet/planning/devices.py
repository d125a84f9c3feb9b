"""What a job may be told of its GPUs: which are whose, or why it has to wait for them; and the label that remembers.

Who gets what is decided in device_ledger.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Names of devices by resource (`nvidia.com/gpu`), in the order in which they are given.
Inventory = Mapping[str, tuple[str, ...]]
UNSCHEDULABLE, INSUFFICIENT = "Unschedulable", "InsufficientResources"
#: The report's condition that says whether a job waits for GPUs.
QUEUED = "Queued"


@dataclass(frozen=True)
class Wish:
    """The GPUs that one container of a pod asks for. `borrows`: it ends before others begin, and uses theirs."""

    container: str
    resource: str
    count: int
    borrows: bool = False


@dataclass(frozen=True)
class Given:
    """The GPUs of one container, by their names."""

    resource: str
    devices: tuple[str, ...]


#: The GPUs of a pod, by container.
PodDevices = Mapping[str, Given]


@dataclass(frozen=True)
class Shortage:
    """Why a job has to wait: `free` of `total` could be given. `holders` have the others, `ahead` came first."""

    resource: str
    wanted: int
    free: int
    total: int
    holders: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the machine can never give so many."""
        return self.wanted > self.total

    @property
    def reason(self) -> str:
        """The reason in one word."""
        return UNSCHEDULABLE if self.is_final else INSUFFICIENT

    @property
    def scheduler_message(self) -> str:
        """What a cluster's scheduler says of the pods (kubernetes pkg/scheduler/framework, FitError)."""
        return f"0/1 nodes are available: 1 Insufficient {self.resource}."

    @property
    def message(self) -> str:
        """What people are told, with what they can do."""
        if not self.total:
            return (
                f"no {self.resource} can be given here ({self.wanted} asked for): install the driver and the vendor's "
                "container toolkit, `trainlet doctor` tells what is missing"
            )
        asked = f"{self.wanted} {self.resource} asked for at once"
        if self.is_final:
            return f"{asked} and {self.total} can be given here: ask for fewer, or allow more with --gpus"
        others = (
            f"{', '.join(names)} {verb}"
            for names, verb in ((self.holders, "in possession"), (self.ahead, "first in the queue"))
            if names
        )
        return f"{asked} and {self.free} of {self.total} free: {'; '.join(others)}"


@dataclass(frozen=True)
class Allotment:
    """The GPUs of a job's pods, or what is short.

    `is_managed` False: nobody here knows the engine's GPUs, so it gives some by count. `hides_others`: a container
    sees only those that are named, so one that asked for none is to be told so.
    """

    pods: Mapping[str, PodDevices] = field(default_factory=dict)
    shortage: Shortage | None = None
    is_managed: bool = True
    hides_others: bool = False

    def find(self, pod: str, container: str) -> tuple[str, ...] | None:
        """Return the names of a container's GPUs; None: nothing is to be said of them."""
        given = self.pods.get(pod, {}).get(container)
        if given is not None:
            return given.devices
        return () if self.hides_others else None

    def find_wait(self, pod: str, wishes: Sequence[Wish]) -> tuple[str, str] | None:
        """Return reason and message of a pod that may not begin yet, or None."""
        if not wishes or not self.is_managed or pod in self.pods:
            return None
        if self.shortage is not None:
            return UNSCHEDULABLE, self.shortage.scheduler_message
        return "ContainerCreating", "its GPUs are being chosen"

    def describe(self, pod: str) -> str:
        """Return the text of the label on every container of a pod; empty if it has no GPUs."""
        texts = (f"{name} {given.resource}={','.join(given.devices)}" for name, given in self.pods.get(pod, {}).items())
        return "; ".join(texts)


#: The engine gives GPUs by count.
UNMANAGED = Allotment(is_managed=False)


def parse_devices(text: str) -> PodDevices:
    """Return what a label says; what cannot be read is left out."""
    found = {}
    for part in filter(None, text.split("; ")):
        name, _, rest = part.partition(" ")
        resource, _, devices = rest.partition("=")
        if devices:
            found[name] = Given(resource, tuple(devices.split(",")))
    return found


def build_queue_condition(shortage: Shortage | None) -> tuple[bool, str, str]:
    """Return status, reason and message of the report's condition `Queued`."""
    if shortage is None:
        return False, "Admitted", "nothing is waited for"
    return not shortage.is_final, shortage.reason, shortage.message
