"""A bench to try an engine on: what a test makes there carries a store label of its own and is swept away after."""

import uuid
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from engines import IMAGE, EngineKind
from trainlet.engine.base import Engine, SubnetTaken
from trainlet.kube.errors import EngineError
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, ObservedContainer, ObservedNetwork
from trainlet.planning.specs import ContainerSpec, NetworkSpec
from waiting import wait_for


@dataclass
class Bench:
    """An engine, and what a test makes on it. `shared` may be mounted: the engine's user can enter it."""

    engine: Engine
    kind: EngineKind
    directory: Path
    shared: Path
    store: str = field(default_factory=lambda: f"contract-{uuid.uuid4().hex[:12]}")
    owner: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def prefix(self) -> str:
        """What all names of this bench begin with."""
        return self.store.removeprefix("contract-")

    def labels(self, **more: str) -> dict[str, str]:
        """Return the labels that say whose a thing is."""
        return {
            labels.OWNER_UID: self.owner,
            labels.STORE: self.store,
            labels.NAMESPACE: "default",
            labels.JOB_NAME: "job",
            **more,
        }

    def spec(self, code: str = "", name: str = "node", **fields: Any) -> ContainerSpec:
        """Return a container that runs this Python code."""
        fields.setdefault("command", ("python3", "-u", "-c", code))
        fields.setdefault("labels", self.labels())
        fields.setdefault("image", IMAGE)
        return ContainerSpec(name=f"{self.prefix}-{name}", **fields).with_hash()

    def network_spec(self, subnet: str | None = None, name: str = "net") -> NetworkSpec:
        """Return a network for two nodes."""
        return NetworkSpec(f"{self.prefix}-{name}", hosts=2, labels=self.labels(), subnet=subnet)

    def make_network(self, name: str = "net") -> ObservedNetwork:
        """Make a network on a free subnet."""
        subnets = list(ip_network(self.kind.pool).subnets(new_prefix=28))
        start = int(self.prefix, 16) % len(subnets)
        for subnet in subnets[start:] + subnets[:start]:
            try:
                self.engine.create_network(self.network_spec(str(subnet), name))
            except SubnetTaken:
                continue
            except EngineError as error:
                # Podman looks at all interfaces of the machine, of which one may go meanwhile; the program tries again.
                if "no such network interface" not in str(error):
                    raise
                continue
            break
        return self.see_network(name)

    def see_network(self, name: str = "net") -> ObservedNetwork:
        """Return the network of this name."""
        networks = self.engine.observe(self.owner).networks
        return next(each for each in networks if each.name == f"{self.prefix}-{name}")

    def create(self, spec: ContainerSpec) -> str:
        """Make a container and return its ID."""
        self.engine.create_container(spec)
        return self.see(spec).id

    def run(self, spec: ContainerSpec) -> str:
        """Make a container, start it and return its ID."""
        id = self.create(spec)
        self.engine.start_container(id)
        return id

    def find(self, spec: ContainerSpec) -> ObservedContainer | None:
        """Return what is seen of a container."""
        found = self.engine.observe(self.owner).containers
        return next((each for each in found if each.name == spec.name), None)

    def see(self, spec: ContainerSpec) -> ObservedContainer:
        """Return what is seen of a container that must be there."""
        found = self.find(spec)
        assert found is not None, f"{spec.name} is not there"
        return found

    def wait_exit(self, spec: ContainerSpec, timeout_seconds: float = 30) -> ObservedContainer:
        """Wait until a container has ended, and return it."""

        def ended() -> ObservedContainer | None:
            seen = self.see(spec)
            return seen if seen.state is ContainerState.EXITED else None

        found = wait_for(ended, f"{spec.name} to end", timeout_seconds)
        assert found is not None
        return found

    def wait_line(self, id: str, text: str) -> None:
        """Wait until a container has written this line."""
        wait_for(lambda: text in self.read(id), f"the line {text!r}")

    def read(self, id: str) -> list[str]:
        """Return all lines a container has written so far."""
        return [line.text for line in self.engine.read_logs(id)]

    def output(self, code: str, **fields: Any) -> list[str]:
        """Run Python code to its end, which must be a good one, and return what it wrote."""
        spec = self.spec(code, **fields)
        id = self.run(spec)
        ended = self.wait_exit(spec)
        assert ended.exit_code == 0, self.read(id)
        return self.read(id)

    def stranger(self) -> "Bench":
        """Return a bench of another owner in the same store, with the same names."""
        return replace(self, owner=str(uuid.uuid4()))

    def sweep(self) -> None:
        """Remove all that carries our store label."""
        for owner in self.engine.find_owners(self.store):
            seen = self.engine.observe(owner.uid)
            # What others join goes last.
            for container in sorted(seen.containers, key=lambda each: each.name == f"{self.prefix}-pod"):
                self.engine.remove_container(container.id)
            for network in seen.networks:
                self.engine.remove_network(network.id)
            for volume in seen.volumes:
                self.engine.remove_volume(volume.name)
