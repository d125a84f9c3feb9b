"""What every engine promises of commands run in containers, and of connections to them (trainlet/engine/base.py)."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network

import pytest

from trainlet.engine.base import ExecResult, OutOfReach
from trainlet.kube.errors import EngineError
from trainlet.planning.specs import Mount
from waiting import wait_for
from workbench import Bench

pytestmark = pytest.mark.engine

SLEEP = "import time; print('ready'); time.sleep(600)"
#: Answers every connection with the word it was given.
ANSWER = """
import socket, sys
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1])
while True:
    connection, _ = server.accept()
    with connection:
        connection.sendall(sys.argv[2].encode())
"""
SECONDS = 10


def shell(bench: Bench, id: str, script: str, timeout_seconds: float = SECONDS) -> ExecResult:
    return bench.engine.run_in_container(id, ["sh", "-c", script], timeout_seconds)


@pytest.fixture
def node(bench: Bench) -> str:
    id = bench.run(bench.spec(SLEEP, env={"COLOUR": "green"}))
    bench.wait_line(id, "ready")
    return id


@pytest.mark.parametrize("code", [0, 1, 3, 126, 127, 255])
def test_the_exit_code_and_both_streams_are_told(bench: Bench, node: str, code: int) -> None:
    found = shell(bench, node, f"echo out; echo err >&2; exit {code}")
    assert found.exit_code == code
    assert sorted(found.output.split()) == ["err", "out"]
    assert not found.is_left


def test_a_command_that_says_nothing_says_nothing(bench: Bench, node: str) -> None:
    assert bench.engine.run_in_container(node, ["true"], SECONDS) == ExecResult(0)
    assert bench.engine.run_in_container(node, ["false"], SECONDS) == ExecResult(1)


def test_words_are_given_as_they_are(bench: Bench, node: str) -> None:
    words = ["a b", "", "$COLOUR", "'\"", "ü"]
    found = bench.engine.run_in_container(node, ["python3", "-c", "import sys; print(sys.argv[1:])", *words], SECONDS)
    assert found.output == f"{words}\n"


def test_a_command_has_the_environment_of_the_container(bench: Bench, node: str) -> None:
    assert shell(bench, node, "echo $COLOUR").output == "green\n"


@pytest.mark.parametrize(
    ("command", "code"), [("no-such-command", 127), ("/no/such/command", 127), ("/etc/passwd", 126), ("/etc", 126)]
)
def test_what_cannot_be_run_ends_as_in_a_shell(bench: Bench, node: str, command: str, code: int) -> None:
    found = bench.engine.run_in_container(node, [command, "word"], SECONDS)
    assert found.exit_code == code
    assert command in found.output


def test_only_the_end_of_a_long_output_is_kept(bench: Bench, node: str) -> None:
    found = shell(bench, node, "seq 100000")
    assert found.exit_code == 0
    assert len(found.output) == 4096
    assert found.output.endswith("99999\n100000\n")


@pytest.mark.needs("users")
def test_a_command_runs_as_the_container_s_user_in_its_directory(bench: Bench) -> None:
    spec = bench.spec(SLEEP, user="1234:56", groups=(77,), working_dir="/var/tmp")
    found = shell(bench, bench.run(spec), "id -u; id -g; id -G; pwd")
    user, group, groups, directory = found.output.splitlines()
    assert (user, group, directory) == ("1234", "56", "/var/tmp")
    assert "77" in groups.split()


def test_a_command_sees_what_the_container_sees(bench: Bench) -> None:
    (bench.shared / "note").write_text("seen\n")
    spec = bench.spec(SLEEP, mounts=(Mount(str(bench.shared), "/data"),), working_dir="/data")
    id = bench.run(spec)
    assert shell(bench, id, "cat /data/note; cat note").output == "seen\nseen\n"


def test_commands_run_side_by_side(bench: Bench, node: str) -> None:
    meet = "touch {mine}; until [ -e {other} ]; do sleep 0.05; done; echo met"
    names = [f"/tmp/{bench.prefix}-{number}" for number in range(2)]
    scripts = [meet.format(mine=mine, other=other) for mine, other in (names, names[::-1])]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda script: shell(bench, node, script), scripts))
    shell(bench, node, f"rm {' '.join(names)}")
    assert [each.output for each in found] == ["met\n", "met\n"]


@pytest.mark.parametrize("loop", ["sleep 600 & wait", "while true; do echo again; sleep 0.1; done"])
def test_a_command_is_killed_at_its_timeout_with_its_children(bench: Bench, node: str, loop: str) -> None:
    before = time.monotonic()
    found = shell(bench, node, f"echo begun; {loop}", 1.0)
    assert time.monotonic() - before < 6
    assert found.output.startswith("begun\n")
    assert (found.exit_code, found.is_left) == (None, False)
    alive = (
        "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done 2>/dev/null | grep -c '^sl[e]ep 600' || true"
    )
    if "images" in bench.kind.can:
        assert shell(bench, node, alive).output == "0\n"
    bench.engine.kill_container(node)


def test_what_a_command_leaves_behind_is_not_waited_for_for_long(bench: Bench, node: str) -> None:
    before = time.monotonic()
    found = shell(bench, node, "sleep 30 & echo $!")
    assert time.monotonic() - before < 6
    assert found.exit_code == 0


def test_a_container_that_does_not_run_is_an_error(bench: Bench) -> None:
    spec = bench.spec(SLEEP)
    id = bench.create(spec)
    with pytest.raises(EngineError):
        bench.engine.run_in_container(id, ["true"], SECONDS)
    bench.engine.start_container(id)
    bench.engine.kill_container(id)
    bench.wait_exit(spec)
    with pytest.raises(EngineError):
        bench.engine.run_in_container(id, ["true"], SECONDS)
    bench.engine.remove_container(id)
    with pytest.raises(EngineError):
        bench.engine.run_in_container(id, ["true"], SECONDS)


def test_a_command_ends_with_its_container(bench: Bench, node: str) -> None:
    found: list[ExecResult | EngineError] = []

    def run() -> None:
        try:
            found.append(shell(bench, node, f"touch /tmp/{bench.prefix}; sleep 600", 60))
        except EngineError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: shell(bench, node, f"rm /tmp/{bench.prefix}").exit_code == 0, "the command to run")
    bench.engine.remove_container(node)
    thread.join(20)
    assert not thread.is_alive()
    assert isinstance(found[0], EngineError) or found[0].exit_code != 0


def answering(bench: Bench, name: str, number: int, listen: str = "0.0.0.0") -> tuple[str, str | None, int]:
    """Run a container that answers with its name; return its ID, address and port."""
    if "addresses" in bench.kind.can:
        network = bench.see_network()
        address, fields = str(IPv4Network(network.subnet)[number]), {"network": network.name}
        id = bench.run(bench.spec(ANSWER, name, args=(listen, name), address=address, **fields))
    else:
        address, id = None, bench.run(bench.spec(ANSWER, name, args=(listen, name)))
    return id, address, int(wait_for(lambda: bench.read(id), "the port")[0])


def test_a_connection_ends_at_the_container_that_was_meant(bench: Bench) -> None:
    bench.make_network()
    nodes = {name: answering(bench, name, number) for number, name in enumerate(("one", "two"), 2)}
    for name, (id, address, port) in nodes.items():
        with bench.engine.connect(id, address, port, SECONDS) as connection:
            assert connection.recv(100) == name.encode()


def test_nobody_answers_at_a_port_that_is_not_listened_on(bench: Bench) -> None:
    bench.make_network()
    (id, address, port), (_, _, other) = (answering(bench, name, n) for n, name in enumerate(("one", "two"), 2))
    with pytest.raises(OSError, match=str(1)):
        bench.engine.connect(id, address, 1, SECONDS)
    assert port != other
    with pytest.raises(OSError, match=str(other)):
        bench.engine.connect(id, address, other, SECONDS)


@pytest.mark.needs("addresses")
def test_what_listens_for_its_own_container_alone_does_not_answer(bench: Bench) -> None:
    bench.make_network()
    id, address, port = answering(bench, "one", 2, "127.0.0.1")
    with pytest.raises(OSError, match="nothing listens"):
        bench.engine.connect(id, address, port, SECONDS)


@pytest.mark.needs("addresses")
def test_a_container_without_an_address_is_out_of_reach(bench: Bench) -> None:
    id, _, port = answering(bench, "one", 2) if bench.make_network() else ("", None, 0)
    with pytest.raises(OutOfReach):
        bench.engine.connect(id, None, port, SECONDS)
