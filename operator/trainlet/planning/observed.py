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
    so its exit says nothing about the job. `log` is the last lines of one whose end is news.
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
    log: tuple[str, ...] = ()

    @property
    def pod(self) -> str:
        """The pod slot this container belongs to (its name without attempt)."""
        return self.labels.get(labels.POD, "")

    @property
    def restart(self) -> int:
        """Which restart of the whole JobSet this container is of, from 0."""
        return self._read_count(labels.RESTART_ATTEMPT)

    @property
    def attempt(self) -> int:
        """Which start of its pod this container is, from 0."""
        return self._read_count(labels.ATTEMPT)

    def _read_count(self, label: str) -> int:
        text = self.labels.get(label, "0")
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


@dataclass(frozen=True)
class ObservedVolume:
    """One volume that carries our labels."""

    name: str
    labels: Mapping[str, str]


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
    """Everything on the engine that is labelled with one owner uid, and the images it asks for.

    `listening` holds the TCP ports that processes of a container listen on, by the container's id; one whose
    ports the engine cannot tell is missing.
    """

    containers: tuple[ObservedContainer, ...] = ()
    networks: tuple[ObservedNetwork, ...] = ()
    volumes: tuple[ObservedVolume, ...] = ()
    listening: Mapping[str, frozenset[int]] = field(default_factory=dict)
    images: Mapping[str, ObservedImage] = field(default_factory=dict)
