"""What `trainlet doctor` says of networks: names, subnets and firewalls, on trees of files that stand for machines."""

from pathlib import Path

import pytest

from trainlet.doctor.machine import Level
from trees import DOCKER, FAIL, OK, OWN_PODMAN, PODMAN, WARN, StillEngine, Tree, levels, run


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_podman_needs_netavark_and_its_dns(tree: Tree) -> None:
    machine = tree.look(StillEngine("podman", PODMAN))
    assert levels("container dns", machine) == [WARN, WARN]
    tree.write("/usr/lib/podman/netavark")
    tree.write("/usr/libexec/podman/aardvark-dns")
    assert levels("container dns", machine) == [OK, OK]
    assert run("container dns", tree.look(StillEngine("docker"))) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ((), [WARN, WARN]),
        (("/usr/lib/cni/bridge",), [OK, WARN]),
        (("/opt/cni/bin/bridge", "/usr/libexec/cni/dnsname"), [OK, OK]),
    ],
)
def test_podman_on_cni_needs_other_programs(tree: Tree, files: tuple[str, ...], expected: list[Level]) -> None:
    tree.replies["/v4.0.0/libpod/info"] = {"host": {"networkBackend": "cni"}}
    for file in files:
        tree.write(file)
    machine = tree.look(StillEngine("podman", PODMAN))
    assert levels("container dns", machine) == expected
    assert all("dnsname" in each.message + each.remedy for each in run("container dns", machine)[1:])


def test_a_network_without_dns_is_told(tree: Tree) -> None:
    tree.write("/usr/lib/podman/netavark")
    tree.write("/usr/lib/podman/aardvark-dns")
    rows = [{"name": "a-net", "dns_enabled": True}, {"name": "b-net", "dns_enabled": False}]
    tree.replies["/v4.0.0/libpod/networks/json"] = rows
    *_, finding = run("container dns", tree.look(StillEngine("podman", PODMAN)))
    assert (finding.level, finding.message) == (WARN, "the network b-net has no DNS (dns_enabled is false)")


@pytest.mark.parametrize(
    ("text", "resolved", "level", "word"),
    [
        ("nameserver 10.0.0.1\n", "", OK, "10.0.0.1"),
        ("# none\nsearch example.com\n", "", WARN, "names no name server"),
        ("nameserver\n", "", WARN, "names no name server"),
        ("nameserver 127.0.0.1\n", "", WARN, "127.0.0.1, which containers cannot reach"),
        ("nameserver ::1\n", "", WARN, "cannot reach"),
        ("nameserver 127.0.0.53\n", "nameserver 192.0.2.1\n", OK, "192.0.2.1"),
        ("nameserver 127.0.0.53\nnameserver fe80::1%eth0\n", "", OK, "fe80::1"),
    ],
)
def test_containers_need_a_name_server_within_reach(
    tree: Tree, text: str, resolved: str, level: Level, word: str
) -> None:
    tree.write("/etc/resolv.conf", text)
    tree.write("/run/systemd/resolve/resolv.conf", resolved)
    [finding] = run("name server", tree.look(StillEngine()))
    assert (finding.level, word in finding.message) == (level, True)


def test_a_resolv_conf_that_leads_nowhere_is_told(tree: Tree) -> None:
    tree.write("/etc/hosts")
    (tree.root / "etc/resolv.conf").symlink_to("absent")
    assert levels("name server", tree.look(StillEngine())) == [WARN]
    assert run("name server", tree.look(StillEngine("process", "file:///state"))) == []


@pytest.mark.parametrize(
    ("pool", "taken", "level", "count"),
    [
        ("10.213.0.0/16", (), OK, "1000 or more"),
        ("10.213.0.0/24", (), OK, "32"),
        ("10.213.0.0/24", ("10.213.0.0/25", "10.213.0.128/26"), WARN, "only 8"),
        ("10.213.0.0/24", ("10.213.0.0/16",), FAIL, "no"),
    ],
)
def test_free_subnets_are_counted(tree: Tree, pool: str, taken: tuple[str, ...], level: Level, count: str) -> None:
    [finding] = run("address pool", tree.look(StillEngine(subnets=frozenset(taken)), settings={"network_pool": pool}))
    assert (finding.level, finding.message.partition(" free")[0]) == (level, count)


def test_the_machines_own_routes_are_not_free(tree: Tree) -> None:
    # Destination and mask as the kernel writes them: 10.213.0.0/24, little-endian.
    tree.write("/proc/net/route", f"Iface Destination ...\neth0 0000D50A {'0 ' * 5}00FFFFFF 0 0 0\n")
    machine = tree.look(StillEngine(), settings={"network_pool": "10.213.0.0/24"})
    assert levels("address pool", machine) == [FAIL]


def test_who_has_the_subnets_is_told(tree: Tree) -> None:
    tree.write("/proc/net/route", f"Iface Destination ...\ntun0 0001D50A {'0 ' * 5}00FFFFFF 0 0 0\n")
    tree.replies["/networks"] = [{"IPAM": {"Config": [{"Subnet": "10.213.0.0/29"}]}}]
    subnets = frozenset({"10.213.0.0/29", "10.213.0.8/29", "10.99.0.0/16", "fd00::/64"})
    [finding] = run("address pool", tree.look(StillEngine(subnets=frozenset(subnets - {"fd00::/64"}))))
    taken = "1 by jobs of this directory, 1 by other networks, 1 by routes of this machine"
    assert finding.message == f"1000 or more free subnets in 10.213.0.0/16; taken: {taken}"


def test_a_vpn_that_covers_the_pool_is_named(tree: Tree) -> None:
    tree.write("/proc/net/route", f"Iface Destination ...\ntun0 0000000A {'0 ' * 5}000000FF 0 0 0\n")
    [finding] = run("address pool", tree.look(StillEngine()))
    assert finding.level is FAIL
    assert "10.0.0.0/8, which covers it, is of routes of this machine" in finding.message
    assert "--network-pool" in finding.remedy


DROPS = "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n"
REJECTS = "-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -j REJECT --reject-with icmp\n"
LETS_IN = DROPS + "-A INPUT -p tcp -m tcp --dport 8443 -j ACCEPT\n"
NFT = "table inet filter {\n chain input {\n  type filter hook input priority filter; policy drop;\n%s }\n}\n"


@pytest.mark.parametrize(
    ("program", "rules", "level"),
    [
        ("iptables", "-P INPUT ACCEPT\n-A INPUT -s 192.0.2.0/24 -j DROP\n", OK),
        ("iptables", DROPS, WARN),
        ("iptables", REJECTS, WARN),
        ("iptables", LETS_IN, OK),
        ("iptables", DROPS + "-A INPUT -s 10.213.0.0/16 -j ACCEPT\n", OK),
        ("nft", NFT % "", WARN),
        ("nft", NFT % "  tcp dport { 22, 8443 } accept\n", OK),
        (
            "nft",
            "table ip x {\n chain forward {\n  type filter hook forward priority filter; policy drop;\n }\n}\n",
            OK,
        ),
    ],
)
def test_a_firewall_before_the_status_port_is_guessed(tree: Tree, program: str, rules: str, level: Level) -> None:
    tree.install(program, f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <<'END'\n{rules}END\n")
    machine = tree.look(StillEngine(), settings={"status_port": 8443})
    [finding] = run("firewall", machine)
    assert finding.level is level
    assert ("8443" in finding.remedy) == (level is WARN)


@pytest.mark.parametrize(
    ("rules", "level"), [("", WARN), ("-A ufw-user-input -p tcp --dport 8443 -s 10.213.0.0/16 -j ACCEPT\n", OK)]
)
def test_ufw_has_words_of_its_own(tree: Tree, rules: str, level: Level) -> None:
    tree.write("/etc/ufw/ufw.conf", "# x\nENABLED=yes\nLOGLEVEL=low\n")
    tree.write("/etc/ufw/user.rules", rules)
    [finding] = run("firewall", tree.look(StillEngine(), settings={"status_port": 8443}))
    assert finding.level is level
    assert ("sudo ufw allow" in finding.remedy) == (level is WARN)


@pytest.mark.parametrize("program", ["#!/bin/sh\nexit 4\n", "no program at all"])
def test_rules_that_may_not_be_read_are_no_problem(tree: Tree, program: str) -> None:
    tree.install("iptables", program)
    assert levels("firewall", tree.look(StillEngine(), settings={"status_port": 8443})) == [OK]


def test_without_a_port_or_from_this_machine_no_firewall_matters(tree: Tree) -> None:
    assert run("firewall", tree.look(StillEngine("docker", DOCKER))) == []
    machine = tree.look(StillEngine("podman", OWN_PODMAN), uid=1000, settings={"status_port": 8443})
    assert run("firewall", machine) == []
