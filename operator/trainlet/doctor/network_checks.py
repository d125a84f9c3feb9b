"""Checks of networks: names within and without, free subnets, and the way from the nodes to this machine."""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, ip_address
from itertools import islice

from trainlet.controller.subnets import read_host_routes
from trainlet.doctor.machine import Finding, Machine, fail, ok, warn
from trainlet.kube.merge import find
from trainlet.planning import labels
from trainlet.planning.addresses import find_free_subnets

_FEW_BLOCKS, _ENOUGH_BLOCKS = 10, 1000
_SMALLEST_JOB = 2
_LIBRARIES = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/lib/podman", "/usr/local/libexec/podman")
_PLUGINS = ("/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin", "/usr/local/libexec/cni")
_MAKE, _RESOLVE = "make networks", "resolve names other than those trainlet writes to /etc/hosts"
#: What Podman's network backends consist of: the programs, where, what for, and how they are had.
_BACKENDS = {
    "netavark": (
        ("netavark", _LIBRARIES, _MAKE, "install netavark; on Podman before 4.0 containernetworking-plugins"),
        ("aardvark-dns", _LIBRARIES, _RESOLVE, "install aardvark-dns"),
    ),
    "cni": (
        ("bridge", _PLUGINS, _MAKE, "install containernetworking-plugins"),
        ("dnsname", _PLUGINS, _RESOLVE, "install the CNI plugin dnsname (package podman-plugins), or use netavark"),
    ),
}
_RESOLVED = "/run/systemd/resolve/resolv.conf"
#: Rules that stop whatever no earlier rule has let in.
_CLOSED = re.compile(r"-P INPUT DROP|-A INPUT -j (?:DROP|REJECT)|hook input [^}\n]*policy drop")


def check_names(machine: Machine) -> Iterator[Finding]:
    """Say whether Podman can make networks whose containers find each other by name."""
    if machine.runtime != "podman" or not machine.runs_containers_here:
        return
    backend = find(machine.ask("/v4.0.0/libpod/info"), "host", "networkBackend") or "netavark"
    for program, places, use, remedy in _BACKENDS.get(backend, ()):
        if any(machine.path(f"{directory}/{program}").exists() for directory in places):
            yield ok(f"{program} is installed")
        else:
            yield warn(f"podman has no {program} to {use}", remedy)
    ours = machine.ask("/v4.0.0/libpod/networks/json", label=f"{labels.STORE}={machine.settings.store_id}")
    for name in (row["name"] for row in ours or () if not row.get("dns_enabled")):
        remedy = f"suspend its job, `podman network rm {name}`, resume it: the network is made again with it"
        yield warn(f"the network {name} has no DNS (dns_enabled is false)", remedy)


def check_name_server(machine: Machine) -> Iterator[Finding]:
    """Say whether containers get a name server that they can reach."""
    if not machine.runs_containers_here:
        return
    servers = _read_servers(machine, "/etc/resolv.conf")
    reachable = [each for each in servers if not _is_loopback(each)]
    if not servers:
        remedy = "repair the file, or the link if it is one: `ls -l /etc/resolv.conf`"
        yield warn("/etc/resolv.conf names no name server, so that containers find no host outside", remedy)
    elif reachable or any(not _is_loopback(each) for each in _read_servers(machine, _RESOLVED)):
        yield ok(f"containers get the name server {(reachable or _read_servers(machine, _RESOLVED))[0]}")
    else:
        message = f"the only name server in /etc/resolv.conf is {servers[0]}, which containers cannot reach"
        files = '"dns": ["ADDRESS"] in /etc/docker/daemon.json, dns_servers in /etc/containers/containers.conf'
        yield warn(message, f"give containers one of the network's: {files}")


def _read_servers(machine: Machine, path: str) -> list[str]:
    rows = (line.split() for line in machine.read(path).splitlines())
    return [row[1] for row in rows if row[:1] == ["nameserver"] and len(row) > 1]


def _is_loopback(server: str) -> bool:
    try:
        return ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_pool(machine: Machine) -> Iterator[Finding]:
    """Count the subnets that are left for jobs, and say who has the others."""
    if machine.engine is None or machine.runtime == "process":
        return
    pool, engines = machine.settings.network_pool, machine.engine.find_subnets()
    ours = _find_own_subnets(machine)
    holders = {
        "jobs of this directory": ours,
        "other networks": engines - ours,
        "routes of this machine": read_host_routes(machine.path("/proc/net/route")) - engines,
    }
    taken = frozenset[str]().union(*holders.values())
    free = sum(1 for _ in islice(find_free_subnets(pool, _SMALLEST_JOB, taken), _ENOUGH_BLOCKS))
    yield _judge_pool(pool, free, {whose: _overlap(pool, subnets) for whose, subnets in holders.items()})


def _find_own_subnets(machine: Machine) -> frozenset[str]:
    rows = machine.ask("/networks", label=f"{labels.STORE}={machine.settings.store_id}") or ()
    subnets = (config.get("Subnet") for row in rows for config in find(row, "IPAM", "Config") or ())
    return frozenset(filter(None, subnets))


def _overlap(pool: str, subnets: Iterable[str]) -> list[IPv4Network]:
    """Return those of the subnets that take something of the pool, the largest first."""
    networks = (IPv4Network(subnet, strict=False) for subnet in subnets if ":" not in subnet)
    overlapping = (network for network in networks if network.overlaps(IPv4Network(pool)))
    return sorted(overlapping, key=lambda network: (network.prefixlen, network))


def _judge_pool(pool: str, free: int, holders: dict[str, list[IPv4Network]]) -> Finding:
    taken = ", ".join(f"{len(found)} by {whose}" for whose, found in holders.items() if found)
    counts = f" in {pool}" + (f"; taken: {taken}" if taken else "")
    remedy = "give a larger or another pool with --network-pool, or remove networks"
    for whose, found in holders.items():
        if free == 0 and found and found[0].supernet_of(IPv4Network(pool)):
            remedy = "give a pool outside of it with --network-pool"
            return fail(f"no free subnet in {pool}: {found[0]}, which covers it, is of {whose}", remedy)
    if free < _FEW_BLOCKS:
        return (
            fail(f"no free subnet{counts}", remedy) if free == 0 else warn(f"only {free} free subnets{counts}", remedy)
        )
    return ok(f"{free}{' or more' if free == _ENOUGH_BLOCKS else ''} free subnets{counts}")


def check_firewall(machine: Machine) -> Iterator[Finding]:
    """Guess whether a firewall keeps the nodes of an engine that root runs from the port they report to.

    What a rootless engine's nodes send comes from this machine itself, which no firewall stops.
    """
    port = machine.settings.status_port
    if port is None or not machine.runs_containers_here or machine.is_rootless:
        return
    rules = [machine.run("iptables", "-S", "INPUT"), machine.run("nft", "list", "ruleset")]
    is_ufw = "ENABLED=yes" in machine.read("/etc/ufw/ufw.conf").splitlines()
    rules.append(machine.read("/etc/ufw/user.rules") if is_ufw else "")
    pool = machine.settings.network_pool
    if any(
        re.search(rf"\bdport\b.*\b{port}\b.*accept|{re.escape(pool)}.*accept", each, re.IGNORECASE) for each in rules
    ):
        yield ok(f"the firewall has a rule for the status port {port}")
    elif is_ufw:
        yield warn(_describe_closed(port, "ufw"), f"`sudo ufw allow proto tcp from {pool} to any port {port}`")
    elif any(map(_CLOSED.search, rules)):
        remedy = f"`sudo iptables -I INPUT -s {pool} -p tcp --dport {port} -j ACCEPT`, or the like with nft"
        yield warn(_describe_closed(port, "the firewall"), remedy)
    else:
        yield ok(f"no firewall is seen that keeps nodes from the status port {port}")


def _describe_closed(port: int, firewall: str) -> str:
    return f"{firewall} drops what it has no rule for, and has none for the status port {port} that nodes report to"
