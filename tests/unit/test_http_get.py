"""A GET as a kubelet makes it (kubernetes pkg/probe/http), against a server of this machine."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainlet.apis.core_v1 import HttpGet
from trainlet.controller.http_get import Reply, build_url, get
from trainlet.server.credentials import build_context, load_credentials

SECONDS = 5.0


class Answers(BaseHTTPRequestHandler):
    """Answers by the path: /N with status N, /to/N/WHERE and /circle redirect, /drip never ends, /long is long."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers.items())))
        first, *rest = self.path.split("?")[0].split("/")[1:]
        if first == "to":
            self.send_response(int(rest[0]))
            self.send_header("Location", "/".join(rest[1:]))
            self.end_headers()
        elif first == "circle":
            self.send_response(302)
            self.send_header("Location", "/circle")
            self.end_headers()
        elif first == "drip":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not self.server.is_closing.wait(0.05):
                    self.wfile.write(b".")
                    self.wfile.flush()
        else:
            body = b"x" * 100_000 if first == "long" else f"this is {first}".encode()
            self.send_response(int(first) if first.isdigit() else 200)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.is_closing = threading.Event()
        self.scheme = "https" if context else "http"
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def get(self, path: str, seconds: float = SECONDS, **headers: str) -> Reply:
        port = self.server_address[1]
        url = build_url(HttpGet.of({"port": 1, "path": path, "scheme": self.scheme.upper()}), "node", port)
        return get(url, headers, lambda port: socket.create_connection(("127.0.0.1", port), seconds), seconds)

    def close(self) -> None:
        self.is_closing.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize("status", [200, 204, 299, 400, 404, 500, 503])
def test_the_status_is_told(server: Server, status: int) -> None:
    assert server.get(f"/{status}").status == status


@pytest.mark.parametrize(
    ("path", "asked"),
    [("", "/"), ("/", "/"), ("ok", "/ok"), ("/ok", "/ok"), ("/ok?a=b&c=%20", "/ok?a=b&c=%20"), ("/ü x", "/%C3%BC%20x")],
)
def test_the_path_is_asked_for_as_it_is_written(server: Server, path: str, asked: str) -> None:
    server.get(path)
    assert [seen for seen, _ in server.seen] == [asked]


def test_a_probe_says_who_it_is_unless_it_is_told_to_say_else(server: Server) -> None:
    server.get("/ok")
    server.get("/ok", **{"x-mine": "1", "user-agent": "me", "host": "there"})
    (_, first), (_, second) = server.seen
    assert first["user-agent"].startswith("kube-probe/")
    assert first["Host"] == f"node:{server.server_address[1]}"
    assert (second["x-mine"], second["user-agent"], second["host"]) == ("1", "me", "there")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(server: Server, status: int) -> None:
    assert server.get(f"/to/{status}//201").status == 201
    assert [path for path, _ in server.seen] == [f"/to/{status}//201", "/201"]


def test_a_redirect_to_another_port_of_the_host_is_followed(server: Server) -> None:
    other = Server()
    try:
        assert server.get(f"/to/302/http://node:{other.server_address[1]}/202").status == 202
    finally:
        other.close()


@pytest.mark.parametrize("where", ["http://elsewhere/500", "//elsewhere/500", "ftp://node/500"])
def test_a_redirect_to_another_host_is_the_answer(server: Server, where: str) -> None:
    assert server.get(f"/to/302/{where}").status == 302


def test_a_circle_ends(server: Server) -> None:
    with pytest.raises(http.client.HTTPException, match="redirects"):
        server.get("/circle")


def test_little_is_read_of_a_long_body(server: Server) -> None:
    assert server.get("/long").text == "x" * 10240


def test_a_server_that_drips_is_cut_off(server: Server) -> None:
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        server.get("/drip", 0.5)
    assert time.monotonic() - before < 3


def test_a_server_that_says_nothing_is_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for scheme in ("http", "https"):
            with pytest.raises(TimeoutError):
                get(
                    f"{scheme}://node:{port}/", {}, lambda port: socket.create_connection(("127.0.0.1", port), 0.3), 0.3
                )


def test_what_is_no_http_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        port = other.getsockname()[1]
        with pytest.raises(http.client.HTTPException):
            get(
                f"http://node:{port}/", {}, lambda port: socket.create_connection(("127.0.0.1", port), SECONDS), SECONDS
            )
        thread.join()


def test_a_certificate_is_not_checked(tmp_path: Path) -> None:
    server = Server(build_context(load_credentials(tmp_path, datetime.now(UTC))))
    try:
        assert server.get("/201").status == 201
    finally:
        server.close()
