"""Who may connect: this machine's own programs and the containers of its networks, nobody from elsewhere.

A server for containers has to listen on every address, so that the network outside could reach it too. The source of
a TCP connection cannot be made up: its answers would not arrive.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network


class Neighbours:
    """The addresses of this machine and those of some networks (CIDR)."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [IPv4Network(network) for network in networks]

    def include(self, address: str) -> bool:
        """Tell whether this IPv4 address is one of them."""
        return any(IPv4Address(address) in network for network in self._networks) or _is_own(address)


def _is_own(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True
