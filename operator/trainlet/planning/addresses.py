"""Subnets for jobs and addresses for nodes. Gateway on the first address, nodes from the third on."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network

from trainlet.planning.observed import ObservedNetwork

#: Network address, gateway, broadcast; the first node address keeps one more free, as the engines do.
_RESERVED = 4
_GATEWAY, _FIRST_NODE = 1, 2


def get_prefix_length(hosts: int) -> int:
    """Return the longest prefix whose subnet holds this many nodes; /29 at most."""
    return min(29, 32 - (hosts + _RESERVED - 1).bit_length())


def find_free_subnets(pool: str, hosts: int, taken: Iterable[str]) -> Iterator[str]:
    """Yield the subnets of the pool, lowest first, that overlap with none of those taken."""
    used = [IPv4Network(subnet, strict=False) for subnet in taken]
    network, prefix = IPv4Network(pool), get_prefix_length(hosts)
    if prefix < network.prefixlen:
        return
    used = [subnet for subnet in used if subnet.overlaps(network)]
    for subnet in network.subnets(new_prefix=prefix):
        if not any(subnet.overlaps(other) for other in used):
            yield str(subnet)


def get_gateway(network: ObservedNetwork) -> str:
    """Return the address at which a network has the engine's machine."""
    return _count_on(network.subnet, _GATEWAY)


def get_address(network: ObservedNetwork, number: int) -> str:
    """Return the fixed address of a slot; on a network with one shared address, that one."""
    return _count_on(network.subnet, 0 if network.is_shared_address else _FIRST_NODE + number)


@lru_cache(maxsize=4096)
def _count_on(subnet: str, number: int) -> str:
    """Return an address of a subnet; each node is told those of all its peers."""
    return str(IPv4Network(subnet).network_address + number)
