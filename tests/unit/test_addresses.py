"""Subnets are as small as may be and overlap with nothing; every node has an address in its own."""

from ipaddress import IPv4Address, IPv4Network
from itertools import islice

import pytest

from trainlet.planning.addresses import find_free_subnets, get_address, get_prefix_length
from worlds import build_network

POOL = "10.213.0.0/16"


@pytest.mark.parametrize(
    ("hosts", "prefix"), [(0, 29), (1, 29), (4, 29), (5, 28), (12, 28), (13, 27), (100, 25), (1000, 22)]
)
def test_the_subnet_is_the_smallest_that_holds_the_nodes(hosts: int, prefix: int) -> None:
    assert get_prefix_length(hosts) == prefix


@pytest.mark.parametrize("hosts", [1, 2, 3, 4, 5, 11, 12, 13, 28, 29, 60, 124, 125])
def test_all_nodes_have_different_addresses_that_nobody_else_has(hosts: int) -> None:
    [subnet] = islice(find_free_subnets(POOL, hosts, []), 1)
    network = IPv4Network(subnet)
    addresses = {get_address(build_network(subnet=subnet), number) for number in range(hosts)}
    assert len(addresses) == hosts
    reserved = {network.network_address, network.network_address + 1, network.broadcast_address}
    assert all(IPv4Address(address) in network and IPv4Address(address) not in reserved for address in addresses)


def test_subnets_come_lowest_first_and_pass_over_those_taken() -> None:
    taken = ["10.213.0.0/29", "10.213.0.20/30", "10.0.0.0/24"]
    assert list(islice(find_free_subnets(POOL, 2, taken), 2)) == ["10.213.0.8/29", "10.213.0.24/29"]


def test_a_route_to_the_whole_pool_leaves_nothing() -> None:
    assert list(find_free_subnets(POOL, 2, ["10.0.0.0/8"])) == []


def test_more_nodes_than_the_pool_holds_get_nothing() -> None:
    assert list(find_free_subnets("10.213.0.0/28", 13, [])) == []
    assert list(find_free_subnets("10.213.0.0/28", 12, [])) == ["10.213.0.0/28"]


def test_taken_addresses_may_have_host_bits() -> None:
    assert list(find_free_subnets("10.213.0.0/28", 1, ["10.213.0.1/29"])) == ["10.213.0.8/29"]


def test_nodes_without_a_network_of_their_own_share_one_address() -> None:
    shared = build_network(subnet="127.0.0.5/32", port=4000)
    assert [get_address(shared, number) for number in range(3)] == ["127.0.0.5"] * 3
