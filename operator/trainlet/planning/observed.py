"""What was seen of one job on the engine, as values. Engines fill these; decisions read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from trainlet.planning import labels
from trainlet.planning.devices import UNMANAGED, Allotment
from trainlet.planning.probes import Health
from trainlet.planning.pull_secrets import Login


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
    def container(self) -> str:
        """The container's name in its pod."""
        return self.labels.get(labels.CONTAINER, "")

    @property
    def is_sandbox(self) -> bool:
        """Whether it holds what the containers of its pod share; an engine may refuse to remove it before them."""
        return self.container == labels.SANDBOX

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
class ImageFacts:
    """What an image is. `digest` is REPOSITORY@sha256:… where a registry gave it one; what is not known is empty."""

    id: str = ""
    digest: str = ""
    os: str = ""
    architecture: str = ""

    @property
    def reference(self) -> str:
        """What a kubelet calls its imageID."""
        return self.digest or self.id


@dataclass(frozen=True)
class ObservedImage:
    """One image that the job names, and the `logins` of the job's secrets that fit it.

    `pulled_at`: our last good pull; `retry_at`: the end of back-off; `moved_at`: when the pull that goes on last got
    a byte, None where it waits or the engine does not tell; `problem`: why this machine may not be able to run it.
    """

    state: ImageState
    message: str = ""
    pulled_at: datetime | None = None
    retry_at: datetime | None = None
    moved_at: datetime | None = None
    facts: ImageFacts | None = None
    problem: str = ""
    logins: tuple[Login, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Observed:
    """Everything on the engine that is labelled with one owner uid, and the images it asks for.

    `health` is what probes say of running containers, by the container's id; `starting` names those whose postStart
    hook still runs. `devices` are its GPUs, as the ledger of all jobs has them.
    """

    containers: tuple[ObservedContainer, ...] = ()
    networks: tuple[ObservedNetwork, ...] = ()
    volumes: tuple[ObservedVolume, ...] = ()
    health: Mapping[str, Health] = field(default_factory=dict)
    starting: frozenset[str] = frozenset()
    images: Mapping[str, ObservedImage] = field(default_factory=dict)
    devices: Allotment = UNMANAGED
