"""Where containers find this machine, by engine; tests/contract/test_host_reachable.py holds it against real ones."""

import socket

import pytest

from trainlet.engine.base import EngineFacts
from trainlet.kube.errors import TrainletError
from trainlet.server.host_address import HOST_GATEWAY, PASTA_HOST, find_host_address, find_own_address

OWN = "192.0.2.7"
DOCKER, PODMAN = "docker", "podman"


@pytest.mark.parametrize(
    ("facts", "address"),
    [
        (EngineFacts(DOCKER), None),
        (EngineFacts(PODMAN), None),
        (EngineFacts(DOCKER, is_rootless=True), OWN),
        (EngineFacts(PODMAN, is_rootless=True), OWN),
        (EngineFacts(PODMAN, is_rootless=True, network_command="slirp4netns"), OWN),
        (EngineFacts(PODMAN, is_rootless=True, network_command="pasta"), PASTA_HOST),
        (EngineFacts(DOCKER, is_in_vm=True), HOST_GATEWAY),
        (EngineFacts(PODMAN, is_in_vm=True, is_rootless=True, network_command="pasta"), HOST_GATEWAY),
    ],
    ids=str,
)
def test_the_way_to_the_host(facts: EngineFacts, address: str | None) -> None:
    assert find_host_address(facts, OWN) == address


def test_a_rootless_engine_needs_an_address_of_the_machine_s() -> None:
    with pytest.raises(TrainletError, match="no way from containers of a rootless podman to this machine: connect"):
        find_host_address(EngineFacts(PODMAN, is_rootless=True), None)


def test_with_root_a_machine_without_network_will_do() -> None:
    assert find_host_address(EngineFacts(DOCKER), None) is None


def test_the_own_address_is_one_that_can_be_listened_on() -> None:
    address = find_own_address()
    if address is not None:
        assert not address.startswith("127.")
        with socket.create_server((address, 0)):
            pass
