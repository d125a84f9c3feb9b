"""Takes free subnets from the pool: never one that the engine, the machine's routes or another job has."""

import socket
import struct
import threading
from dataclasses import replace
from pathlib import Path

from trainlet.engine.base import Engine, SubnetTaken
from trainlet.kube.errors import EngineError
from trainlet.planning.addresses import find_free_subnets
from trainlet.planning.specs import NetworkSpec

_ROUTES = Path("/proc/net/route")


class SubnetAllocator:
    """Makes networks one at a time, so that two jobs never get one subnet."""

    def __init__(self, engine: Engine, pool: str) -> None:
        self._engine, self._pool = engine, pool
        self._lock = threading.Lock()

    def create_network(self, spec: NetworkSpec) -> None:
        """Make the network on the first free subnet; one that turns out to be taken is passed over."""
        with self._lock:
            taken = self._engine.find_subnets() | read_host_routes()
            for subnet in find_free_subnets(self._pool, spec.hosts, taken):
                try:
                    self._engine.create_network(replace(spec, subnet=subnet))
                except SubnetTaken:
                    continue
                return
        raise EngineError(
            f"no free subnet for {spec.hosts} nodes",
            where=f"pool {self._pool}",
            remedy="give a larger or another one with --network-pool, or delete jobs",
        )


def read_host_routes(path: Path = _ROUTES) -> frozenset[str]:
    """Return the subnets this machine has routes to, the default route left out; empty where the kernel has no list."""
    try:
        rows = path.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return frozenset()
    routes = set()
    for row in rows:
        columns = row.split()
        destination, mask = int(columns[1], 16), int(columns[7], 16)
        if mask:
            routes.add(f"{_address(destination)}/{mask.bit_count()}")
    return frozenset(routes)


def _address(number: int) -> str:
    # The kernel writes addresses as little-endian hexadecimal numbers.
    return socket.inet_ntoa(struct.pack("<L", number))
