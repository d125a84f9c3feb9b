"""An engine in memory that keeps the promises of `engine/base.py` and does what a script says.

Containers run nothing: one runs until a script lets it exit. It does not pull layers, resolve names, rotate logs,
enforce limits, make mounts or files, nor answer late; SIGTERM ends a container at once with `stop_code`, unless it is
`stubborn`. It listens on the ports that the script says, and commands in it end with the code that the script says. Of
the calls' failures it knows two: the call was refused, and the call was done but its answer was lost. One thing real
engines cannot do: `kill_operator` ends the program that calls it, at a chosen call, before or after its effect.
"""

import functools
import itertools
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Network
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

import deaths
from trainlet.engine.base import (
    EngineEvent,
    EngineFacts,
    EngineUnavailable,
    ExecResult,
    ImageMissing,
    LogLine,
    NameTaken,
    OutOfReach,
    Owner,
    PullFailed,
    PullProgress,
    StartFailed,
    SubnetTaken,
)
from trainlet.engine.owners import is_same_volume, read_owners
from trainlet.kube.errors import EngineError
from trainlet.planning import labels
from trainlet.planning.observed import (
    ContainerState,
    ImageFacts,
    Observed,
    ObservedContainer,
    ObservedNetwork,
    ObservedVolume,
)
from trainlet.planning.pull_secrets import Login
from trainlet.planning.specs import ContainerSpec, NetworkSpec, VolumeSpec

_GATE_SECONDS = 20.0
Thing = ObservedContainer | ObservedNetwork | ObservedVolume
Verb = TypeVar("Verb", bound=Callable[..., Any])


class OperatorKilled(BaseException):
    """The operator's process is gone. Nothing in it may catch this."""


@dataclass(frozen=True)
class Started:
    """One start of a container."""

    owner: str
    pod: str
    container: str
    restart: int
    attempt: int


def _verb(method: Verb) -> Verb:
    """Make a method a call of the operator, which may fail, may be its last one, and is counted."""

    @functools.wraps(method)
    def call(self: "ScriptedEngine", *args: Any, **keywords: Any) -> Any:
        with self._lock:
            self._enter(method.__name__)
            answer = method(self, *args, **keywords)
            self._leave(method.__name__)
            return answer

    return cast(Verb, call)


class ScriptedEngine:
    """The engine and, in its other methods, the world around it. It outlives the operators that call it."""

    name, endpoint = "scripted", "memory://"

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._ids = itertools.count(1)
        self._containers: dict[str, tuple[ContainerSpec, ObservedContainer]] = {}
        self._networks: dict[str, ObservedNetwork] = {}
        self._volumes: dict[str, ObservedVolume] = {}
        self.used_bytes: dict[str, int] = {}
        self._ports: dict[str, frozenset[int]] = {}
        self._answers: dict[str, int] = {}
        self._gates: dict[str, threading.Event] = {}
        self.commands: list[str] = []
        self._events: SimpleQueue[EngineEvent | None] = SimpleQueue()
        self._refusals: Counter[str] = Counter()
        self._lost_answers: Counter[str] = Counter()
        self._fate: tuple[int, bool, BaseException] | None = None
        self.images: set[str] = set()
        self.image_architecture = ""
        self.registry: set[str] = set()
        self.login: Login | None = None
        self.tried: list[Login | None] = []
        self.stubborn: set[str] = set()
        self.stop_code = 143
        self.is_down = False
        self.is_operator_dead = False
        self.tells_ports = True
        self.started: list[Started] = []
        self.counted_exits: Counter[tuple[str, str]] = Counter()
        self.calls = 0
        self.pull_gate = threading.Event()
        self.pull_gate.set()

    # The protocol

    @_verb
    def ping(self) -> str:
        return "1"

    def find_facts(self) -> EngineFacts:
        return EngineFacts("scripted", architecture="amd64")

    @_verb
    def observe(self, owner_uid: str, *, with_volumes: bool = True) -> Observed:
        def mine(thing: Thing) -> bool:
            return thing.labels.get(labels.OWNER_UID) == owner_uid

        containers = tuple(c for c in self.containers if mine(c))
        networks = tuple(n for n in self._networks.values() if mine(n))
        return Observed(containers, networks, tuple(v for v in self._volumes.values() if with_volumes and mine(v)))

    @_verb
    def find_owners(self, store: str) -> frozenset[Owner]:
        things: list[Thing] = [*self.containers, *self._networks.values(), *self._volumes.values()]
        return read_owners(thing.labels for thing in things if thing.labels.get(labels.STORE) == store)

    @_verb
    def find_image(self, image: str) -> ImageFacts | None:
        return ImageFacts(architecture=self.image_architecture) if image in self.images else None

    def pull_image(self, image: str, progress: PullProgress, login: Login | None = None) -> None:
        """Not counted as a call, because it is another thread's: when it comes must not change what happens."""
        progress("half of it", 1 << 20, 2 << 20)
        assert self.pull_gate.wait(_GATE_SECONDS), "nobody opened the gate for pulls"
        with self._lock:
            self.tried.append(login)
            if self.is_operator_dead or self.is_down or image not in self.registry:
                raise PullFailed(f"no image {image}", remedy="push it")
            if self.login not in (None, login):
                raise PullFailed(f"image {image} is not for {login.username if login else 'nobody'}")
            self.images.add(image)

    @_verb
    def import_image(self, name: str, tar: Iterator[bytes]) -> None:  # noqa: ARG002 - nobody looks inside
        self.images.add(name)

    @_verb
    def find_subnets(self) -> frozenset[str]:
        return frozenset(network.subnet for network in self._networks.values())

    @_verb
    def create_network(self, spec: NetworkSpec) -> None:
        assert spec.subnet is not None
        named = [n for n in self._networks.values() if n.name == spec.name]
        if named:
            if named[0].labels.get(labels.OWNER_UID) != spec.labels[labels.OWNER_UID]:
                raise NameTaken(f"network {spec.name} is there")
            return
        wanted = IPv4Network(spec.subnet)
        if any(wanted.overlaps(IPv4Network(n.subnet)) for n in self._networks.values()):
            raise SubnetTaken(f"{wanted} is taken")
        network = ObservedNetwork(f"n{next(self._ids)}", spec.name, dict(spec.labels), spec.subnet)
        self._networks[network.id] = network
        self._tell(network)

    @_verb
    def remove_network(self, id: str) -> None:
        network = self._networks.get(id)
        if network is None:
            return
        if any(network.name in c.networks and c.state is ContainerState.RUNNING for _, c in self._containers.values()):
            raise EngineError(f"network {network.name} has active endpoints")
        del self._networks[id]
        self._tell(network)

    @_verb
    def create_volume(self, spec: VolumeSpec) -> None:
        found = self._volumes.setdefault(spec.name, ObservedVolume(spec.name, dict(spec.labels)))
        if not is_same_volume(found.labels, spec.labels):
            raise NameTaken(f"volume {spec.name} is there")

    @_verb
    def measure_volume(self, name: str) -> int | None:
        return self.used_bytes.get(name) if name in self._volumes else None

    def remove_volume(self, name: str) -> None:
        users = [c.name for spec, c in self._containers.values() if name in {mount.volume for mount in spec.volumes}]
        if users:
            raise EngineError(f"volume {name} is in use by {', '.join(users)}")
        self._volumes.pop(name, None)

    @_verb
    def find_ports(self, id: str) -> frozenset[int] | None:
        found = self._find(id)
        if found is None or found[1].state is not ContainerState.RUNNING:
            return frozenset()
        return self._ports.get(found[1].id, frozenset()) if self.tells_ports else None

    def connect(self, id: str, address: str | None, port: int, timeout_seconds: float) -> socket.socket:  # noqa: ARG002
        raise OutOfReach("nothing can be reached in memory")

    def run_in_container(self, id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:  # noqa: ARG002
        self.commands.append(id)
        if id in self._gates:
            assert self._gates[id].wait(_GATE_SECONDS), "nobody opened the gate for commands"
        return self._end_command(id, command)

    @_verb
    def _end_command(self, id: str, command: Sequence[str]) -> ExecResult:
        _, container = self._get(id)
        if container.state is not ContainerState.RUNNING:
            raise EngineError(f"container {container.name} does not run")
        return ExecResult(self._answers.get(container.id, 0), " ".join(command))

    @_verb
    def create_container(self, spec: ContainerSpec) -> None:
        taken = self._find(spec.name)
        if taken is not None:
            same = (labels.OWNER_UID, labels.SPEC_HASH)
            if any(taken[1].labels.get(key) != spec.labels[key] for key in same):
                raise NameTaken(f"the name {spec.name} is taken")
            return
        if spec.image not in self.images:
            raise ImageMissing(f"no image {spec.image}")
        if spec.network and not any(network.name == spec.network for network in self._networks.values()):
            raise EngineError(f"no network {spec.network}")
        self._check_joined(spec)
        for mount in spec.volumes:
            if mount.volume not in self._volumes:
                raise EngineError(f"no volume {mount.volume}")
        container = ObservedContainer(
            f"c{next(self._ids)}",
            spec.name,
            dict(spec.labels),
            ContainerState.CREATED,
            networks=frozenset({spec.network} - {""}),
        )
        self._containers[container.id] = (spec, container)
        self._tell(container)

    @_verb
    def start_container(self, id: str) -> None:
        spec, container = self._get(id)
        if container.state is ContainerState.RUNNING:
            return
        if spec.network and not container.networks:
            raise EngineError(f"network {spec.network} was not found")
        self._check_joined(spec)
        place, pairs = (spec.network, spec.address), self._containers.values()
        living = [(s.network, s.address) for s, c in pairs if c.state is ContainerState.RUNNING]
        if spec.network and place in living:
            raise EngineError(f"address {spec.address} is in use")
        owner = container.labels[labels.OWNER_UID]
        number = (container.restart, container.attempt)
        self.started.append(Started(owner, container.pod, container.container, *number))
        if spec.command and spec.command[0] == "no-such-command":
            self.counted_exits[(container.labels[labels.OWNER_UID], container.pod)] += 1
            raise StartFailed("no-such-command was not found", exit_code=127)
        self._put(spec, replace(container, state=ContainerState.RUNNING, started_at=self._clock(), exit_code=None))

    @_verb
    def stop_container(self, id: str) -> None:
        found = self._find(id)
        if found is not None and found[1].name not in self.stubborn:
            self._end(found[1].id, self.stop_code)

    @_verb
    def kill_container(self, id: str) -> None:
        found = self._find(id)
        if found is not None:
            self._end(found[1].id, 137)

    @_verb
    def remove_container(self, id: str) -> None:
        found = self._find(id)
        if found is not None:
            users = [c.name for spec, c in self._containers.values() if spec.joins == found[1].name]
            if users:
                raise EngineError(f"container {found[1].name} is joined by {', '.join(users)}")
            self._drop(found[1])

    @_verb
    def _read_log(self, id: str) -> list[LogLine]:
        _, container = self._get(id)
        return [LogLine(f"{container.name} attempt {container.attempt}", container.started_at)]

    def read_logs(
        self,
        id: str,
        *,
        follow: bool = False,  # noqa: ARG002 - what has ended has nothing to follow
        since: datetime | None = None,
        tail: int | None = None,
    ) -> Iterator[LogLine]:
        lines = [line for line in self._read_log(id) if since is None or (line.time or since) >= since]
        yield from lines if tail is None else lines[len(lines) - tail :]

    def watch(self) -> Iterator[EngineEvent]:
        while (event := self._events.get()) is not None:
            yield event

    def close(self) -> None:
        self._events.put(None)

    # The script: what others do to the engine, and what befalls it

    def exit(self, name: str, code: int) -> None:
        """Let a running container end by itself."""
        [container] = [c for _, c in self._containers.values() if c.name == name]
        if code:
            self.counted_exits[(container.labels[labels.OWNER_UID], container.pod)] += 1
        self._end(container.id, code)

    def listen(self, name: str, *ports: int) -> None:
        """Let a running container listen on these ports, and on no others, until it ends."""
        [container] = [c for _, c in self._containers.values() if c.name == name]
        self._ports[container.id] = frozenset(ports)

    def answer(self, name: str, code: int) -> None:
        """Let whatever is run in a container end with this code, until it ends itself."""
        [container] = [c for _, c in self._containers.values() if c.name == name]
        self._answers[container.id] = code

    def hold_commands(self, id: str) -> threading.Event:
        """Let whatever is run in a container hang until the event that is returned is set."""
        return self._gates.setdefault(id, threading.Event())

    def take_container(self, name: str) -> None:
        """Remove a container by hand."""
        self._drop(self._get(name)[1])

    def wipe(self) -> None:
        """Remove everything that is ours by hand."""
        for container in self.containers:
            self._drop(container)
        self._networks.clear()
        self._volumes.clear()

    def take_network(self, name: str) -> None:
        """Remove a network by hand, from under its containers."""
        for id in [n.id for n in self._networks.values() if n.name == name]:
            del self._networks[id]
        for spec, container in list(self._containers.values()):
            if name in container.networks:
                self._put(spec, replace(container, networks=frozenset()))

    def take_volume(self, name: str) -> None:
        """Remove a volume by hand, from under its containers."""
        self._volumes.pop(name, None)

    def add_foreign(self, name: str, owner: str = "somebody") -> None:
        """Let somebody else have a container of this name, if it is free."""
        if self._find(name) is None:
            known = {labels.OWNER_UID: owner, labels.STORE: "another", labels.POD: name}
            container = ObservedContainer(f"f{next(self._ids)}", name, known, ContainerState.RUNNING)
            self._containers[container.id] = (ContainerSpec(name, "theirs:1"), container)

    def take_foreign(self) -> None:
        """Let others take all that is theirs away."""
        for container in self.foreign:
            del self._containers[container.id]

    def refuse(self, verb: str, times: int = 1) -> None:
        """Let the next calls of a verb fail."""
        self._refusals[verb] += times

    def lose_answers(self, verb: str, times: int = 1) -> None:
        """Let the next calls of a verb be done and seem to have failed."""
        self._lost_answers[verb] += times

    def kill_operator(self, calls: int, *, done: bool) -> None:
        """Let the operator die at its n-th call from now, before it has an effect or (`done`) after."""
        self._fate = (self.calls + calls, done, OperatorKilled())

    def fail_call(self, calls: int, *, done: bool) -> None:
        """Let the n-th call from now fail, before it has an effect or (`done`) after."""
        self._fate = (self.calls + calls, done, EngineError("the engine was too busy"))

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._refusals.clear()
        self._lost_answers.clear()
        self._fate, self.is_down, self.is_operator_dead = None, False, False
        self.stubborn.clear()
        self.tells_ports = True
        self.take_foreign()
        self.images |= self.registry
        self.pull_gate.set()

    # Looking

    @property
    def containers(self) -> list[ObservedContainer]:
        """All containers that are not somebody else's, in the order of names."""
        return sorted((c for _, c in self._containers.values() if c.id.startswith("c")), key=lambda c: c.name)

    @property
    def running(self) -> list[str]:
        """The names of those that run."""
        return [c.name for c in self.containers if c.state is ContainerState.RUNNING]

    @property
    def networks(self) -> list[str]:
        """The names of all networks."""
        return sorted(network.name for network in self._networks.values())

    @property
    def volumes(self) -> list[str]:
        """The names of all volumes."""
        return sorted(self._volumes)

    @property
    def foreign(self) -> list[ObservedContainer]:
        """The containers that are somebody else's, in the order of names."""
        return sorted((c for _, c in self._containers.values() if c.id.startswith("f")), key=lambda c: c.name)

    def take_events(self) -> list[EngineEvent]:
        """Take the events that nobody has seen yet."""
        events: list[EngineEvent] = []
        while True:
            try:
                event = self._events.get_nowait()
            except Empty:
                return events
            if event is not None:
                events.append(event)

    # The rest

    def _enter(self, verb: str) -> None:
        if self.is_operator_dead:
            raise OperatorKilled
        self.calls += 1
        sys.audit(deaths.CALL, verb)
        self._meet_fate(done=False)
        if self.is_down:
            raise EngineUnavailable("nothing answers", where=self.endpoint, remedy="start it")
        if self._refusals[verb] > 0:
            self._refusals[verb] -= 1
            raise EngineError(f"{verb} was refused")

    def _leave(self, verb: str) -> None:
        self._meet_fate(done=True)
        if self._lost_answers[verb] > 0:
            self._lost_answers[verb] -= 1
            raise EngineError(f"{verb} timed out")

    def _meet_fate(self, *, done: bool) -> None:
        if self._fate is not None and self._fate[1] == done and self.calls >= self._fate[0]:
            error, self._fate = self._fate[2], None
            self.is_operator_dead = isinstance(error, OperatorKilled)
            raise error

    def _find(self, id: str) -> tuple[ContainerSpec, ObservedContainer] | None:
        return next((pair for pair in self._containers.values() if id in (pair[1].id, pair[1].name)), None)

    def _get(self, id: str) -> tuple[ContainerSpec, ObservedContainer]:
        found = self._find(id)
        if found is None:
            raise EngineError(f"no container {id}")
        return found

    def _check_joined(self, spec: ContainerSpec) -> None:
        joined = self._find(spec.joins)
        if spec.joins and (joined is None or joined[1].state is not ContainerState.RUNNING):
            raise EngineError(f"container {spec.joins}, which {spec.name} joins, does not run")

    def _drop(self, container: ObservedContainer) -> None:
        del self._containers[container.id]
        self._tell(container)

    def _put(self, spec: ContainerSpec, container: ObservedContainer) -> None:
        self._containers[container.id] = (spec, container)
        self._tell(container)

    def _end(self, id: str, code: int) -> None:
        spec, container = self._containers[id]
        if container.state is ContainerState.RUNNING:
            ended = replace(container, state=ContainerState.EXITED, exit_code=code, finished_at=self._clock())
            self._put(spec, ended)

    def _tell(self, thing: ObservedContainer | ObservedNetwork) -> None:
        self._events.put(EngineEvent(thing.labels[labels.OWNER_UID]))
