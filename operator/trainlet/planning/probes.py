"""What probes make of a running container: started, ready, alive. How often and in what row answers count.

What a container's volumes take is asked as one more probe, by which it is alive or not.

Follows the kubelet (kubernetes pkg/kubelet/prober/worker.go). Who asks, and when, is the controller's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from trainlet.apis.core_v1 import Container, Handler, Probe

#: How it begins what is said of a volume that takes too much.
OVER_SIZE = "Usage of EmptyDir volume"
AnyHandler = TypeVar("AnyHandler", bound=Handler)


class Kind(StrEnum):
    """What a probe decides: whether a container has started, has to be killed, may be reached, takes too much."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"
    USAGE = "Usage"


@dataclass(frozen=True)
class SizeLimit:
    """How much the files of a pod's `volume` may take on disk; `said` is the manifest's word for it.

    `prefix` is the beginning of all the engine's names for it and its parts, which are `seen`.
    """

    volume: str
    prefix: str
    size_bytes: int
    said: str
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class SizeCheck:
    """The question whether volumes are within their limits, as often as a kubelet puts it."""

    limits: tuple[SizeLimit, ...]
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 1


Question = Probe | SizeCheck
Probes = Mapping[Kind, Question]


@dataclass(frozen=True)
class Health:
    """What is known of a running container that is probed; the default is what is known of a new one.

    `message` is what is wrong, for people.
    """

    started: bool = False
    ready: bool = False
    alive: bool = True
    message: str = ""


NEW = Health()


@dataclass(frozen=True)
class Answer:
    """What came of one question. `ok` None: it could not be put, which counts for nothing."""

    ok: bool | None
    message: str = ""


@dataclass(frozen=True)
class Tally:
    """The answers to one probe: `passes` is its verdict so far, `run` how often `last` came in a row."""

    passes: bool | None
    last: bool | None = None
    run: int = 0
    message: str = ""

    def count(self, answer: Answer, probe: Question) -> "Tally":
        """Return the tally after one more answer."""
        if answer.ok is None:
            return replace(self, message=answer.message)
        run = self.run + 1 if answer.ok == self.last else 1
        threshold = probe.success_threshold if answer.ok else probe.failure_threshold
        return Tally(answer.ok if run >= threshold else self.passes, answer.ok, run, answer.message)


Tallies = Mapping[Kind, Tally]


def has_probes(container: Container) -> bool:
    """Tell whether a container is more than ready when it runs."""
    return any((container.startup_probe, container.liveness_probe, container.readiness_probe))


def find_probes(container: Container) -> Probes:
    """Return a container's probes, their named ports as numbers; none of one that is ready when it runs."""
    given = {
        Kind.STARTUP: container.startup_probe,
        Kind.LIVENESS: container.liveness_probe,
        Kind.READINESS: container.readiness_probe,
    }
    return {kind: resolve_ports(probe, container) for kind, probe in given.items() if probe is not None}


def resolve_ports(handler: AnyHandler, container: Container) -> AnyHandler:
    """Return a probe or hook with numbers for the names of ports; a name that the container has not stays one."""
    numbers: dict[int | str, int] = {port.name: port.container_port for port in container.ports if port.name}

    def resolve(port: int | str) -> int | str:
        return int(port) if str(port).isdecimal() else numbers.get(port, port)

    actions = {"http_get": handler.http_get, "tcp_socket": handler.tcp_socket}
    changed = {
        name: action.model_copy(update={"port": resolve(action.port)})
        for name, action in actions.items()
        if action is not None
    }
    return handler.model_copy(update=changed)


def begin(probes: Probes, known: Health) -> Tallies:
    """Return the tallies before the first question; `known` is what an earlier operator found out."""
    verdicts = {Kind.STARTUP: known.started or None, Kind.READINESS: known.ready, Kind.LIVENESS: True, Kind.USAGE: True}
    return {kind: Tally(verdicts[kind]) for kind in probes}


def list_asked(tallies: Tallies) -> frozenset[Kind]:
    """Return which probes are to be asked: until it has started only that and the disk, none that failed for good."""
    startup, usage = tallies.get(Kind.STARTUP), tallies.keys() & {Kind.USAGE}
    if startup is not None and not startup.passes:
        return frozenset({Kind.STARTUP, *usage} if startup.passes is None else ())
    final = {Kind.STARTUP: True, Kind.LIVENESS: False, Kind.USAGE: False}
    return frozenset(kind for kind, tally in tallies.items() if kind not in final or tally.passes is not final[kind])


def judge(tallies: Tallies) -> Health:
    """Return what the answers so far say of the container."""
    verdicts = {kind: tallies[kind].passes if kind in tallies else True for kind in Kind}
    started = bool(verdicts[Kind.STARTUP])
    return Health(
        started=started,
        ready=started and bool(verdicts[Kind.READINESS]),
        alive=False not in (verdicts[Kind.STARTUP], verdicts[Kind.LIVENESS], verdicts[Kind.USAGE]),
        message="; ".join(_describe(kind, tally.message) for kind, tally in tallies.items() if tally.message),
    )


def _describe(kind: Kind, message: str) -> str:
    return message if kind is Kind.USAGE else f"{kind} probe {message}"


def check_size(limit: SizeLimit, used_bytes: int) -> Answer:
    """Return what to say of a volume whose files take so much, in the kubelet's words."""
    if used_bytes <= limit.size_bytes:
        return Answer(True)
    return Answer(False, f'{OVER_SIZE} "{limit.volume}" exceeds the limit "{limit.said}"')
