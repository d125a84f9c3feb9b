"""The demo's training program: real ranks on the loopback interface, as a node would start them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import trainlet
from waiting import wait_for

PROGRAM = Path(trainlet.__file__).with_name("demo") / "train_digits.py"
ENDLESS = "100000"


class Ranks:
    """The ranks of one training, each with its log in a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = find_free_port()
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, rank: int, size: int | str, *arguments: str) -> None:
        env = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.port)}
        with self._log(rank).open("wb") as log:
            self.processes[rank] = subprocess.Popen(
                [sys.executable, str(PROGRAM), *arguments],
                cwd=self.directory,
                env={"PATH": os.environ["PATH"], **env},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def read(self, rank: int) -> str:
        return self._log(rank).read_text()

    def wait(self, rank: int, timeout_seconds: float = 60) -> int:
        return self.processes[rank].wait(timeout_seconds)

    def kill(self, rank: int) -> None:
        self.processes[rank].send_signal(signal.SIGKILL)
        self.processes[rank].wait()

    def _log(self, rank: int) -> Path:
        return self.directory / f"rank-{rank}.log"


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[Ranks]:
    ranks = Ranks(tmp_path)
    yield ranks
    for rank in ranks.processes:
        ranks.kill(rank)


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def find_all(pattern: str, text: str) -> list[str]:
    return re.findall(pattern, text, flags=re.MULTILINE)


def test_two_ranks_end_with_equal_weights_a_lower_loss_and_one_model(ranks: Ranks, tmp_path: Path) -> None:
    for rank in (1, 0):
        ranks.start(rank, 2, "--epochs", "2")
    assert [ranks.wait(rank) for rank in (0, 1)] == [0, 0]
    first, second = ranks.read(0), ranks.read(1)
    weights = find_all(r"^weights ([0-9a-f]{12})$", first)
    assert len(weights) == 1
    assert weights == find_all(r"^weights ([0-9a-f]{12})$", second)
    losses = [float(text) for text in find_all(r"^epoch \d/2 loss (\d+\.\d{4}) accuracy \d+\.\d%$", first)]
    assert losses == [float(text) for text in find_all(r"loss (\d+\.\d{4})", second)]
    assert losses[1] < losses[0] / 2
    (accuracy,) = find_all(r"^test accuracy (\d+\.\d)%$", first)
    assert "test accuracy" not in second
    model = json.loads((tmp_path / "model.json").read_text())
    assert model["accuracy"] == pytest.approx(float(accuracy) / 100, abs=0.001)
    assert len(model["weights"]) == 64 * 32 + 32 + 32 * 10 + 10


def test_one_rank_alone_learns_to_read_digits(ranks: Ranks) -> None:
    ranks.start(0, 1, "--epochs", "6")
    assert ranks.wait(0) == 0
    (accuracy,) = find_all(r"^test accuracy (\d+\.\d)%$", ranks.read(0))
    assert float(accuracy) > 93


@pytest.mark.parametrize(("dies", "stays"), [(0, 1), (1, 0)])
def test_a_rank_that_dies_ends_the_other_one_soon(ranks: Ranks, dies: int, stays: int) -> None:
    for rank in (0, 1):
        ranks.start(rank, 2, "--epochs", ENDLESS)
    wait_for(lambda: "epoch 1/" in ranks.read(stays), "the first epoch", timeout_seconds=30)
    ranks.kill(dies)
    assert ranks.wait(stays, timeout_seconds=5) == 1
    assert re.search(rf"^error: rank {dies} is lost \(.+\): ", ranks.read(stays), flags=re.MULTILINE)
    assert "Traceback" not in ranks.read(stays)


def test_a_stranger_on_the_port_is_not_taken_for_a_rank(ranks: Ranks) -> None:
    ranks.start(0, 2, "--epochs", "1")

    def find_connection() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", ranks.port), timeout=5)
        except OSError:
            return None

    with wait_for(find_connection, "rank 0 to listen") as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert_closed(stranger)
    ranks.start(1, 2, "--epochs", "1")
    assert [ranks.wait(rank) for rank in (0, 1)] == [0, 0]


def assert_closed(connection: socket.socket) -> None:
    with suppress(ConnectionResetError):
        assert connection.recv(1) == b""


def test_a_port_that_is_taken_is_a_message_and_exit_1(ranks: Ranks) -> None:
    with socket.create_server(("127.0.0.1", ranks.port)):
        ranks.start(0, 2)
        assert ranks.wait(0) == 1
    assert ranks.read(0).startswith(f"error: cannot listen (127.0.0.1:{ranks.port}, Address already in use")
    assert "Traceback" not in ranks.read(0)


def test_a_variable_that_is_no_number_is_a_message_and_exit_1(ranks: Ranks) -> None:
    ranks.start(0, "two")
    assert ranks.wait(0) == 1
    assert ranks.read(0) == "error: WORLD_SIZE is no number ('two'): set it to one\n"
