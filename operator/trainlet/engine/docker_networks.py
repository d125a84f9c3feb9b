"""The networks of a Docker engine. They are referred to by ID, because Docker lets two of them share a name.

Knows no library: the engine gives it a way to ask.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from trainlet.engine import docker_wire, explain
from trainlet.engine.base import SubnetTaken
from trainlet.engine.explain import Refused
from trainlet.engine.owners import KnownNetworks
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.specs import ContainerSpec, NetworkSpec


class DockerNetworks:
    """Remembers the IDs that it has seen. `asking` gives the client for one call; `where` is for error texts."""

    def __init__(self, asking: Callable[[str], AbstractContextManager[Any]], where: str) -> None:
        self._asking, self._where = asking, where
        self._known = KnownNetworks()
        # The engine does not protect a network's name against two calls at once.
        self._lock = threading.Lock()

    def list_by(self, label: str) -> list[JSON]:
        """Return what Docker says of all networks with this label."""
        with self._asking("list networks") as api:
            return [*api.networks(filters={"label": [label]})]

    def list_of(self, owner_uid: str) -> list[JSON]:
        """Return what Docker says of the owner's networks, and remember them."""
        rows = self.list_by(f"{labels.OWNER_UID}={owner_uid}")
        self._known.replace(owner_uid, rows)
        return rows

    def find_subnets(self) -> frozenset[str]:
        """Return the subnets of all networks."""
        with self._asking("list networks") as api:
            return frozenset(subnet for row in api.networks() for subnet in docker_wire.read_subnets(row))

    def find_owner(self, id: str) -> str | None:
        """Return whose network this is."""
        return self._known.find_owner(id)

    def get_id(self, spec: ContainerSpec) -> str:
        """Return the ID of a container's network, empty for the default one. Raises EngineError if it is gone."""
        if not spec.network:
            return ""
        network = self._find(spec.labels, spec.network)
        if network is None:
            raise EngineError(f"network {spec.network} is gone", where=self._where, remedy="it is made again")
        return network

    def create(self, spec: NetworkSpec) -> None:
        """Make a bridge network. Raises NameTaken, SubnetTaken."""
        try:
            with self._lock, self._asking(f"create network {spec.name}") as api:
                created = api.create_network(
                    spec.name,
                    driver="bridge",
                    check_duplicate=True,
                    labels=dict(spec.labels),
                    ipam=docker_wire.build_ipam(spec),
                )
        except Refused as refused:
            self._accept(spec, refused)
        else:
            self._known.add(created["Id"], spec.labels.get(labels.OWNER_UID, ""), spec.name)

    def _accept(self, spec: NetworkSpec, refused: Refused) -> None:
        if "overlap" in refused.text:
            raise SubnetTaken(refused.what, where=refused.where, remedy="another subnet is tried") from refused
        if refused.status != 409:
            raise refused
        if self._find(spec.labels, spec.name) is None:
            found = self._find_labels(spec.name)
            raise explain.build_name_taken("docker", "network", spec.name, self._where, found) from refused

    def _find_labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of a network of this name, whosever it is."""
        with self._asking("list networks") as api:
            rows = api.networks(names=[name])
        return next((row["Labels"] or {} for row in rows if row["Name"] == name), None)

    def _find(self, wanted: Mapping[str, str], name: str) -> str | None:
        owner = wanted.get(labels.OWNER_UID, "")
        known = self._known.find(owner, name)
        if known is None:
            self.list_of(owner)
            known = self._known.find(owner, name)
        return known

    def remove(self, id: str) -> None:
        """Remove a network; one that is gone counts as done."""
        try:
            with self._asking(f"remove network {id[:20]}") as api:
                api.remove_network(id)
        except Refused as refused:
            if refused.status != 404:
                raise
        self._known.discard(id)
