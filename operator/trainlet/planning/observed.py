"""What was seen of one job on the engine, as values. Engines fill these; decisions read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from trainlet.planning import labels


class ContainerState(StrEnum):
    """All that decisions need of the engines' many states."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True)
class ObservedContainer:
    """One container that carries our labels. Times are aware; `networks` holds the names it is attached to.

    `exit_code` is set when exited, and also for a container that was created but could not be started
    where the engine remembers that. `disrupted`: it ended because the engine or the machine went down,
    so its exit says nothing about the job.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    state: ContainerState
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    oom_killed: bool = False
    error: str = ""
    networks: frozenset[str] = frozenset()
    disrupted: bool = False

    @property
    def pod(self) -> str:
        """The pod slot this container belongs to (its name without attempt)."""
        return self.labels.get(labels.POD, "")

    @property
    def attempt(self) -> int:
        """Which start of the pod slot this container is, from 0."""
        text = self.labels.get(labels.ATTEMPT, "0")
        return int(text) if text.isdigit() else 0


@dataclass(frozen=True)
class ObservedNetwork:
    """One network that carries our labels.

    `subnet` in CIDR form. An engine without networks of its own (processes) gives a single address
    (`/32`) that all nodes share, resolves no names, and names a free `port` instead of the usual one.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    subnet: str
    port: int | None = None

    @property
    def is_shared_address(self) -> bool:
        """Whether all nodes have one address, so that ports must tell them apart."""
        return self.subnet.endswith("/32")


class ImageState(StrEnum):
    """Where an image stands on this engine."""

    PRESENT = "present"
    ABSENT = "absent"
    PULLING = "pulling"
    FAILED = "failed"


@dataclass(frozen=True)
class ObservedImage:
    """One image that the job names. `pulled_at`: our last good pull; `retry_at`: the end of back-off."""

    state: ImageState
    message: str = ""
    pulled_at: datetime | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True)
class Observed:
    """Everything on the engine that is labelled with one owner uid, and the images it asks for."""

    containers: tuple[ObservedContainer, ...] = ()
    networks: tuple[ObservedNetwork, ...] = ()
    images: Mapping[str, ObservedImage] = field(default_factory=dict)
