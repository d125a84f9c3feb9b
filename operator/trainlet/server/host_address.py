"""How a container reaches a program of this machine, which is not the same on any two engines.

Measured with Docker 20.10 and Podman 4.3 (netavark, slirp4netns): on an engine with root, a network's gateway is this
machine itself. A rootless engine's gateway is in a network namespace of its own, without our programs; from there
slirp4netns reaches every address of this machine but its loopback.
"""

import socket

from trainlet.engine.base import EngineFacts
from trainlet.kube.errors import TrainletError

#: An engine's own word for its host, which it replaces when it makes the container (Docker 20.10, Podman 5).
HOST_GATEWAY = "host-gateway"
#: Where pasta shows the host in the networks of a rootless Podman from 5.3 on.
PASTA_HOST = "169.254.1.2"
#: What all containers' ways to this machine end at. Who may connect is judged by where they come from.
LISTEN_ADDRESS = "0.0.0.0"

# Of the addresses that no machine has (RFC 5737). Nothing is sent there.
_ELSEWHERE = ("203.0.113.1", 9)


def find_host_address(facts: EngineFacts, own_address: str | None) -> str | None:
    """Return what the line of /etc/hosts for a program of this machine says, None for the network's gateway.

    `own_address` is one of this machine's that is not its loopback. Raises TrainletError where there is no way.
    """
    if facts.is_in_vm:
        return HOST_GATEWAY
    if not facts.is_rootless:
        return None
    if facts.network_command == "pasta":
        return PASTA_HOST
    if own_address is None:
        remedy = "connect the machine to a network, or use an engine that runs as root"
        raise TrainletError(f"no way from containers of a rootless {facts.runtime} to this machine", remedy=remedy)
    return own_address


def find_own_address() -> str | None:
    """Return this machine's address on the way to others, or None if it has no such way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return None
        return str(probe.getsockname()[0])
