"""Containers report to a program of this machine: at the address that find_host_address gives, on every engine."""

from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from status_client import TIME, Desk, get_path
from trainlet.planning.observed import ObservedNetwork
from trainlet.server.credentials import SERVICE
from trainlet.server.host_address import LISTEN_ADDRESS, find_host_address, find_own_address
from workbench import Bench

pytestmark = [pytest.mark.engine, pytest.mark.needs("addresses")]

# What training code does, with nothing but the standard library.
REPORT = f"""
import json, os, ssl, urllib.request
status = {{"progressPercentage": 42, "lastUpdatedTime": "{TIME}"}}
request = urllib.request.Request(
    os.environ["URL"],
    json.dumps({{"trainerStatus": status}}).encode(),
    {{"Authorization": "Bearer " + os.environ["TOKEN"]}},
)
context = ssl.create_default_context(cadata=os.environ["CA"])
with urllib.request.urlopen(request, context=context, timeout=20) as response:
    print(response.status)
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "desk")
    yield made
    made.close()


def is_rootless(bench: Bench) -> bool:
    return bench.kind.name.endswith("-rootless")


def find_address(bench: Bench, network: ObservedNetwork) -> str:
    facts = bench.engine.find_facts()
    assert facts.is_rootless is is_rootless(bench)
    return find_host_address(facts, find_own_address()) or str(IPv4Network(network.subnet)[1])


def run_report(bench: Bench, desk: Desk, network: ObservedNetwork) -> tuple[int | None, str]:
    """Report from a container of the network; return its exit code and the last line it wrote."""
    spec = bench.spec(
        REPORT,
        network=network.name,
        address=str(IPv4Network(network.subnet)[2]),
        hosts=((find_address(bench, network), (SERVICE,)),),
        env={
            "URL": f"https://{SERVICE}:{desk.port}{get_path()}",
            "TOKEN": desk.build_token(),
            "CA": desk.credentials.authority,
        },
    )
    id = bench.run(spec)
    return bench.wait_exit(spec).exit_code, bench.read(id)[-1]


def test_a_container_of_a_job_s_network_reports(bench: Bench, desk: Desk) -> None:
    network = bench.make_network()
    desk.open(host=LISTEN_ADDRESS, networks=(network.subnet,))
    assert run_report(bench, desk, network) == (0, "200")
    assert desk.get_reported() == {"progressPercentage": 42, "lastUpdatedTime": TIME}


def test_a_container_of_another_network_is_not_heard(bench: Bench, desk: Desk) -> None:
    network = bench.make_network()
    desk.open(host=LISTEN_ADDRESS)
    code, line = run_report(bench, desk, network)
    if is_rootless(bench):  # what it connects by is a process of this machine
        assert (code, line) == (0, "200")
    else:
        assert code == 1
        assert "Connection reset" in line or "EOF" in line
        assert desk.get_reported() is None
