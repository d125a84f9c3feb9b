"""Containers in memory that are probed, by a prober whose time is the test's."""

from datetime import datetime, timedelta
from typing import Any

from builders import NOW
from scripted_engine import ScriptedEngine
from trainlet.apis.core_v1 import Container
from trainlet.controller.handlers import Place
from trainlet.controller.prober import Prober, Target
from trainlet.kube.meta import ObjectKey
from trainlet.planning import labels
from trainlet.planning.probes import NEW, Health, find_probes
from trainlet.planning.specs import ContainerSpec, NetworkSpec


class Ward:
    """A prober with its engine and its clock, and whom it woke."""

    def __init__(self) -> None:
        self.now = NOW
        self.engine = ScriptedEngine(self.clock)
        self.engine.images.add("image:1")
        self.woken: list[ObjectKey] = []
        self.asked: list[str] = []
        self.prober = Prober(self.engine, self.clock, self.woken.append, lambda: self.now.timestamp())
        self.engine.create_network(NetworkSpec("net", 2, {labels.OWNER_UID: "uid"}, "10.1.0.0/24"))

    def clock(self) -> datetime:
        return self.now

    def run(self, name: str) -> str:
        known = {labels.OWNER_UID: "uid", labels.SPEC_HASH: "x", labels.POD: name}
        address = f"10.1.0.{len(self.engine.containers) + 2}"
        self.engine.create_container(ContainerSpec(name, "image:1", labels=known, network="net", address=address))
        self.engine.start_container(name)
        return next(each.id for each in self.engine.containers if each.name == name)

    def target(self, id: str, known: Health = NEW, **fields: Any) -> Target:
        probes = find_probes(Container.of({"name": "node", **fields}))
        assert probes is not None
        return Target(Place(id), probes, self.now, known)

    def pass_seconds(self, seconds: int) -> None:
        """Let time go by, second for second, and whatever is due then be asked."""
        for _ in range(seconds):
            self.now += timedelta(seconds=1)
            self.prober.ask_due(lambda visit, *arguments: visit(*arguments))
