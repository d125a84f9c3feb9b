"""The pages are there on a port and on a unix socket, and what is in the way of either is told."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trainlet.kube.errors import TrainletError
from trainlet.server.listener import Address, parse_address
from trainlet.server.metrics_server import MetricsServer, Pages
from trainlet.settings import parse_flag

PATIENCE_SECONDS = 30


class Desk:
    """A server of pages that say what the test wants."""

    def __init__(self, address: Address) -> None:
        self.dead: list[str] = []
        self.unready: list[str] = []
        pages = Pages(lambda: "x 1\n", "text/plain; version=0.0.4", lambda: self.dead, lambda: self.unready)
        self.server = MetricsServer(address, pages)
        self.server.start()

    def get(self, path: str) -> tuple[int, str, str]:
        """Return code, type and body."""
        connection = http.client.HTTPConnection("127.0.0.1", timeout=PATIENCE_SECONDS)
        with closing(connection), connect(self.server.address) as connection.sock:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, str(answer.headers["content-type"]), answer.read().decode()


def connect(address: Address) -> socket.socket:
    if not isinstance(address, str):
        return socket.create_connection(address, PATIENCE_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection


@pytest.fixture(params=["port", "path"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(("127.0.0.1", 0) if request.param == "port" else str(tmp_path / "metrics.sock"))
    yield desk
    desk.server.stop(PATIENCE_SECONDS)


def test_metrics_have_prometheus_type(desk: Desk) -> None:
    assert desk.get("/metrics") == (200, "text/plain; version=0.0.4", "x 1\n")


def test_health_is_told_by_code_and_words(desk: Desk) -> None:
    assert desk.get("/healthz")[::2] == (200, "ok\n")
    assert desk.get("/readyz")[::2] == (200, "ok\n")
    desk.dead, desk.unready = ["thread files has ended", "a worker is stuck"], ["the engine is away"]
    assert desk.get("/healthz")[::2] == (500, "thread files has ended\na worker is stuck\n")
    assert desk.get("/readyz")[::2] == (500, "the engine is away\n")


def test_there_is_nothing_else(desk: Desk) -> None:
    assert desk.get("/")[0] == desk.get("/metrics/")[0] == 404


def test_a_socket_that_was_left_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "metrics.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    desk = Desk(path)
    with pytest.raises(
        TrainletError, match=r"^cannot listen for who asks for metrics: Address already in use \(/.*: end"
    ):
        Desk(path)
    assert desk.get("/metrics")[0] == 200
    desk.server.stop(PATIENCE_SECONDS)
    assert not Path(path).exists()


def test_a_file_of_the_user_s_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(TrainletError, match="Address already in use"):
        Desk(str(path))
    assert path.read_text() == "mine"


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(TrainletError, match=r"already in use \(127"):
        Desk(taken.getsockname())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("9464", ("127.0.0.1", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("unix:///run/x.sock", "/run/x.sock"),
        ("/run/x.sock", "/run/x.sock"),
    ],
)
def test_an_address_is_read_as_it_is_given(text: str, address: Address) -> None:
    assert parse_address(parse_flag("metrics_listen", text)) == address


@pytest.mark.parametrize("text", ["localhost", "127.0.0.1:0", "127.0.0.1:99999", "run/x.sock", "unix://x.sock"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address to listen on: write it like"):
        parse_flag("metrics_listen", text)
