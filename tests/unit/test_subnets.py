"""Every network gets a subnet that nobody has, however many ask at once."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest

from harness import Clock
from scripted_engine import ScriptedEngine
from trainlet.controller import subnets
from trainlet.controller.subnets import SubnetAllocator, read_host_routes
from trainlet.engine.base import NameTaken, SubnetTaken
from trainlet.kube.errors import EngineError
from trainlet.planning import labels
from trainlet.planning.specs import NetworkSpec

POOL = "10.250.0.0/16"


class Engine(ScriptedEngine):
    """An engine that refuses some subnets only when it is asked for them."""

    def __init__(self) -> None:
        super().__init__(Clock().now)
        self.hidden: set[str] = set()
        self.asked: list[str | None] = []

    def create_network(self, spec: NetworkSpec) -> None:
        self.asked.append(spec.subnet)
        if spec.subnet in self.hidden:
            raise SubnetTaken(f"{spec.subnet} is taken")
        super().create_network(spec)


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The machine's routes, as a test wants them."""
    routes: set[str] = set()
    monkeypatch.setattr(subnets, "read_host_routes", lambda: frozenset(routes))
    return routes


def build_spec(name: str = "net", hosts: int = 2) -> NetworkSpec:
    return NetworkSpec(name, hosts, {labels.OWNER_UID: name})


def test_subnets_are_taken_from_the_start_of_the_pool_and_given_back() -> None:
    engine = Engine()
    allocator = SubnetAllocator(engine, POOL)
    for name in ("a", "b", "c"):
        allocator.create_network(build_spec(name))
    assert sorted(engine.find_subnets()) == ["10.250.0.0/29", "10.250.0.16/29", "10.250.0.8/29"]
    [second] = engine.observe("b").networks
    engine.remove_network(second.id)
    allocator.create_network(build_spec("d"))
    assert [n.subnet for n in engine.observe("d").networks] == ["10.250.0.8/29"]


def test_a_subnet_holds_all_nodes_of_the_job() -> None:
    engine = Engine()
    for hosts in (1, 4, 5, 100, 1000):
        SubnetAllocator(engine, POOL).create_network(build_spec(str(hosts), hosts))
        [network] = engine.observe(str(hosts)).networks
        assert IPv4Network(network.subnet).num_addresses >= hosts + 4


@pytest.mark.parametrize("taken", ["10.250.0.0/24", "10.250.0.3/32", "10.250.0.0/30"])
def test_what_the_machine_has_a_route_to_is_left_alone(routes: set[str], taken: str) -> None:
    routes.add(taken)
    engine = Engine()
    SubnetAllocator(engine, POOL).create_network(build_spec())
    [subnet] = engine.find_subnets()
    assert not IPv4Network(subnet).overlaps(IPv4Network(taken))


def test_a_subnet_that_turns_out_to_be_taken_is_passed_over() -> None:
    engine = Engine()
    engine.hidden = {"10.250.0.0/29", "10.250.0.8/29"}
    SubnetAllocator(engine, POOL).create_network(build_spec())
    assert engine.asked == ["10.250.0.0/29", "10.250.0.8/29", "10.250.0.16/29"]


@pytest.mark.parametrize(
    ("pool", "hosts", "fitting"), [("10.250.0.0/29", 2, 1), ("10.250.0.0/28", 20, 0), ("10.250.0.0/30", 1, 0)]
)
def test_a_pool_that_is_exhausted_or_too_small_is_said(pool: str, hosts: int, fitting: int) -> None:
    allocator = SubnetAllocator(Engine(), pool)
    for number in range(fitting):
        allocator.create_network(build_spec(str(number), hosts))
    with pytest.raises(EngineError) as refusal:
        allocator.create_network(build_spec("late", hosts))
    remedy = "give a larger or another one with --network-pool, or delete jobs"
    assert str(refusal.value) == f"no free subnet for {hosts} nodes (pool {pool}): {remedy}"


def test_a_route_over_the_whole_pool_is_exhaustion(routes: set[str]) -> None:
    routes.add("10.0.0.0/8")
    with pytest.raises(EngineError, match="no free subnet"):
        SubnetAllocator(Engine(), POOL).create_network(build_spec())


def test_a_taken_name_is_told_at_once() -> None:
    engine = Engine()
    allocator = SubnetAllocator(engine, POOL)
    allocator.create_network(build_spec())
    with pytest.raises(NameTaken):
        allocator.create_network(NetworkSpec("net", 2, {labels.OWNER_UID: "another"}))
    assert len(engine.asked) == 2


def test_many_at_once_never_get_the_same() -> None:
    engine = Engine()
    allocator = SubnetAllocator(engine, POOL)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: allocator.create_network(build_spec(str(number))), range(100)))
    found = [IPv4Network(subnet) for subnet in engine.find_subnets()]
    assert len(found) == 100
    assert not any(one.overlaps(other) for one, other in combinations(found, 2))


def test_routes_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "tun0\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "lo\t0108080A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
    )
    assert read_host_routes(table) == {"192.168.1.0/24", "10.213.0.0/16", "10.8.8.1/32"}


def test_a_machine_without_such_a_list_has_no_routes_to_avoid(tmp_path: Path) -> None:
    assert read_host_routes(tmp_path / "none") == frozenset()
