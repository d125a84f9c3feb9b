"""What every engine promises of the ports that containers listen on (trainlet/engine/base.py)."""

import pytest

from waiting import wait_for
from workbench import Bench

pytestmark = pytest.mark.engine

#: Listens on a free port of each address given, and tells which they are.
LISTEN = """
import socket, sys, time
sockets = [socket.create_server((address, 0), family=socket.AF_INET6 if ':' in address else socket.AF_INET)
           for address in sys.argv[1:]]
print(" ".join(str(each.getsockname()[1]) for each in sockets))
time.sleep(600)
"""


def listen(bench: Bench, name: str, *addresses: str) -> tuple[str, list[int]]:
    """Run a container that listens on these addresses; return its ID and the ports in the same order."""
    id = bench.run(bench.spec(LISTEN, name, args=addresses))
    lines = wait_for(lambda: bench.read(id), "the ports")
    return id, [int(port) for port in lines[0].split()]


def test_the_ports_of_a_container_are_its_own(bench: Bench) -> None:
    found = [listen(bench, f"node-{number}", "0.0.0.0", "0.0.0.0") for number in range(2)]
    for id, ports in found:
        assert bench.engine.find_ports(id) == frozenset(ports)


def test_ports_of_the_new_protocol_count(bench: Bench) -> None:
    id, ports = listen(bench, "node", "::")
    assert bench.engine.find_ports(id) == frozenset(ports)


@pytest.mark.needs("addresses")
def test_what_only_the_container_itself_can_reach_does_not_count(bench: Bench) -> None:
    network = bench.make_network()
    spec = bench.spec(LISTEN, args=("127.0.0.1", "0.0.0.0"), network=network.name)
    id = bench.run(spec)
    ports = wait_for(lambda: bench.read(id), "the ports")[0].split()
    assert bench.engine.find_ports(id) == frozenset({int(ports[1])})


def test_what_children_listen_on_counts(bench: Bench) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-u', '-c', sys.argv[1], '0.0.0.0'])"
    id = bench.run(bench.spec(code, args=(LISTEN,)))
    port = wait_for(lambda: bench.read(id), "the port")[0]
    assert bench.engine.find_ports(id) == frozenset({int(port)})


def test_a_container_listens_from_the_moment_it_does_until_it_ends(bench: Bench) -> None:
    code = (
        "import signal, socket, threading\nprint('ready')\nwake = threading.Event()\n"
        "signal.signal(signal.SIGTERM, lambda *_: wake.set())\nwake.wait()\n"
        "s = socket.create_server(('0.0.0.0', 0)); print(s.getsockname()[1])\nwake.clear(); wake.wait()"
    )
    spec = bench.spec(code)
    id = bench.create(spec)
    assert bench.engine.find_ports(id) == frozenset()
    bench.engine.start_container(id)
    bench.wait_line(id, "ready")
    assert bench.engine.find_ports(id) == frozenset()
    bench.engine.stop_container(id)
    port = wait_for(lambda: bench.read(id)[1:], "the port")[0]
    assert bench.engine.find_ports(id) == frozenset({int(port)})
    bench.engine.kill_container(id)
    bench.wait_exit(spec)
    assert bench.engine.find_ports(id) == frozenset()
    bench.engine.remove_container(id)
    assert bench.engine.find_ports(id) == frozenset()
