"""Probes and hooks in containers of the real engines: what the controller finds out of them, and does in them."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

import pytest

from trainlet.apis.core_v1 import Container, Handler
from trainlet.controller.handlers import Handlers, Place
from trainlet.controller.hooks import Hooks
from trainlet.controller.prober import Prober, Target
from trainlet.kube.meta import ObjectKey
from trainlet.planning.events import Note
from trainlet.planning.observed import ContainerState
from trainlet.planning.probes import Answer, Health, find_probes
from trainlet.planning.specs import ContainerSpec
from waiting import wait_for
from workbench import Bench

pytestmark = pytest.mark.engine

JOB = ObjectKey("TrainJob", "default", "job")
#: Serves files of its directory by HTTP once there is a file `up`; tells its port. SIGTERM is its good end.
SERVE = """
import http.server, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
os.mkdir('serve'); os.chdir('serve')
print(f'ready {os.getcwd()}')
while not os.path.exists('up'): time.sleep(0.02)
class Answers(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/moved':
            self.send_response(302); self.send_header('Location', '/up'); self.end_headers()
        else:
            super().do_GET()
server = http.server.ThreadingHTTPServer(('0.0.0.0', 0), Answers)
print(f'port {server.server_address[1]}')
server.serve_forever()
"""


@dataclass
class Node:
    """One container that serves, with what the controller uses."""

    bench: Bench
    spec: ContainerSpec
    place: Place

    @property
    def directory(self) -> str:
        return str(wait_for(lambda: self._find("ready"), "the node"))

    @property
    def port(self) -> int:
        return int(wait_for(lambda: self._find("port"), "the port"))

    def _find(self, word: str) -> str | None:
        return next((line.split()[1] for line in self.bench.read(self.place.id) if line.startswith(word)), None)

    def shell(self, script: str) -> None:
        command = ["sh", "-c", f"cd {self.directory} && {script}"]
        assert self.bench.engine.run_in_container(self.place.id, command, 10).exit_code == 0

    def ask(self, **handler: Any) -> Answer:
        return Handlers(self.bench.engine).ask(self.place, Handler.of(handler), 5)

    def target(self, **fields: Any) -> Target:
        probes = find_probes(Container.of({"name": "node", **fields}))
        assert probes is not None
        return Target(self.place, probes, datetime.now(UTC))


@pytest.fixture
def node(bench: Bench) -> Node:
    address, network = None, ""
    if "addresses" in bench.kind.can:
        seen = bench.make_network()
        address, network = str(IPv4Network(seen.subnet)[2]), seen.name
    spec = bench.spec(SERVE, address=address, network=network)
    return Node(bench, spec, Place(bench.run(spec), address))


@pytest.fixture
def prober(bench: Bench) -> Iterator[tuple[Prober, threading.Event]]:
    woken = threading.Event()
    made = Prober(bench.engine, lambda: datetime.now(UTC), lambda _: woken.set())
    made.start()
    yield made, woken
    made.close()


@pytest.mark.parametrize("scheme", ["HTTP", "HTTPS"])
def test_a_request_is_answered_by_the_container_alone(node: Node, scheme: str) -> None:
    assert node.ask(httpGet={"port": 1}).ok is False
    node.shell("touch up")
    get = {"port": node.port, "scheme": scheme}
    if scheme == "HTTPS":
        assert node.ask(httpGet=get).ok is False
        return
    assert node.ask(httpGet={**get, "path": "up"}) == Answer(True)
    assert node.ask(httpGet={**get, "path": "/moved"}) == Answer(True)
    assert node.ask(httpGet={**get, "path": "/no"}) == Answer(False, "failed: HTTP status 404")


def test_a_port_and_a_command_are_asked(node: Node) -> None:
    there = {"command": ["test", "-e", f"{node.directory}/up"]}
    assert node.ask(exec=there).ok is False
    node.shell("touch up")
    assert node.ask(exec=there) == Answer(True)
    assert node.ask(tcpSocket={"port": node.port}) == Answer(True)
    assert node.ask(tcpSocket={"port": 1}).ok is False
    node.bench.engine.kill_container(node.place.id)
    node.bench.wait_exit(node.spec)
    assert node.ask(exec=there).ok is None
    assert node.ask(tcpSocket={"port": 2222}).ok is False


def test_a_container_comes_up_and_goes_down(node: Node, prober: tuple[Prober, threading.Event]) -> None:
    asked, woken = prober
    ask = {"exec": {"command": ["test", "-e", f"{node.directory}/up"]}, "periodSeconds": 1}
    wanted = {node.place.id: node.target(startupProbe={**ask, "failureThreshold": 99}, livenessProbe=ask)}

    def await_health(is_it: Callable[[Health], bool], what: str) -> None:
        wait_for(lambda: is_it(asked.look(JOB, wanted)[node.place.id]), what, 20)

    await_health(lambda health: "exit code 1" in health.message and not health.started, "the first answer")
    node.shell("touch up")
    await_health(lambda health: health == Health(started=True, ready=True), "the start")
    node.shell("rm up")
    await_health(lambda health: not health.alive, "the end")
    assert woken.is_set()


def test_before_sigterm_comes_the_hook(node: Node) -> None:
    told: list[Note] = []
    script = f"touch {node.directory}/up; sleep 1; exit 4"
    hook = Handler.of({"exec": {"command": ["sh", "-c", script]}})
    Hooks(node.bench.engine).stop("node", node.place, hook, 20, told.append)
    assert node.port, "the hook ran while the container did"
    assert node.bench.wait_exit(node.spec).exit_code == 7
    assert [note.message for note in told] == ["node: the preStop hook failed: exit code 4: "]


def test_a_hook_after_the_start_may_fail_the_container(node: Node) -> None:
    told: list[Note] = []
    hooks, done = Hooks(node.bench.engine), threading.Event()
    good = Handler.of({"exec": {"command": ["touch", f"{node.directory}/up"]}})
    hooks.run_post_start("node", node.place, good, told.append, done.set)
    assert done.wait(20)
    assert node.port
    assert node.bench.see(node.spec).state is ContainerState.RUNNING
    hook = Handler.of({"exec": {"command": ["no-such-command"]}})
    hooks.run_post_start("node", node.place, hook, told.append, lambda: None)
    assert node.bench.wait_exit(node.spec).exit_code == 137
    assert [note.reason for note in told] == ["FailedPostStartHook"]
