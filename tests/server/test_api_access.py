"""Attempts to get in, and to be in the way: each ends with a Status or a closed connection."""

import http.client
import os
import resource
import socket
import ssl
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from api_desk import ALL_JOBS, JOBS, ApiDesk
from trainlet.kube.errors import TrainletError
from trainlet.server import api_server
from trainlet.server.api.requests import MOST_BYTES
from trainlet.server.api_server import ApiServer
from trainlet.server.connections import Bounds
from trainlet.server.credentials import load_token
from trainlet.server.listener import Address
from waiting import wait_for

TIME = "2026-01-02T03:04:05Z"
OPEN = ["/healthz", "/livez", "/readyz", "/version"]
CLOSED = ["/", "/api", "/apis", "/api/v1", "/openapi/v3", JOBS, ALL_JOBS, "/api/v1/secrets", "/metrics", "/healthz/x"]


# Who asks


@pytest.mark.parametrize("path", OPEN)
def test_health_and_version_are_for_everybody(api: ApiDesk, path: str) -> None:
    assert api.ask(path, token="wrong").code == 200
    assert api.ask(f"{path}/", Authorization="").code == 200


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_nobody_gets_anything_else_without_the_token(api: ApiDesk, path: str, method: str) -> None:
    answer = api.ask(path, method, Authorization="")
    assert answer.code == 401
    if method != "HEAD":
        assert answer.said == (401, "Unauthorized", "Unauthorized")
        assert answer.body["details"] == {}
    assert api.writer.asked == []


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer wrong", "Basic {}", "{}", "Bearer {}x", "Bearer x{}", "Bearer {} {}", "Bearer \xff"],
)
def test_nothing_but_the_token_is_the_token(api: ApiDesk, header: str) -> None:
    assert api.ask(JOBS, Authorization=header.format(api.token, api.token)).code == 401
    assert api.ask(JOBS, Authorization=f"bearer  {api.token} ").code == 200, "the scheme is written in any case"


def test_the_token_in_the_query_is_nothing(api: ApiDesk) -> None:
    assert api.ask(f"{JOBS}?token={api.token}&access_token={api.token}", Authorization="").code == 401


def test_a_job_s_token_is_for_its_reports_and_nothing_else(api: ApiDesk) -> None:
    api.add_job()
    api.add_job("other")
    token, report = api.build_job_token(), {"trainerStatus": {"lastUpdatedTime": TIME, "progressPercentage": 7}}
    assert api.ask(JOBS, token=token).code == 401
    assert api.ask(f"{JOBS}/mnist/status", token=token).code == 401
    assert api.ask(f"{JOBS}/other/status", "POST", report, token).said[:2] == (403, "Forbidden")
    assert api.ask(f"{JOBS}/mnist/status", "POST", report, "wrong").said[:2] == (403, "Forbidden")
    answer = api.ask(f"{JOBS}/mnist/status", "POST", report, token)
    assert (answer.code, answer.body) == (200, report)
    assert api.get_job()["status"]["trainerStatus"]["progressPercentage"] == 7
    assert api.ask(f"{JOBS}/other/status", "POST", report).code == 200, "the owner may speak for any job"
    assert api.ask(f"{JOBS}/ghost/status", "POST", report).said[:2] == (404, "NotFound")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{}", "127.0.0.1.evil.example", "169.254.169.254", "[::2]"]
)
def test_other_names_are_refused_even_with_the_token(api: ApiDesk, host: str) -> None:
    """A web page may give its own name our address; its browser then takes us for its own server."""
    for path in (JOBS, "/version"):
        assert api.ask(path, Host=host.format(api.port)).said[:2] == (403, "Forbidden")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{}", "127.0.0.1:{}", "127.0.0.1"])
def test_our_own_names_are_taken(api: ApiDesk, host: str) -> None:
    assert api.ask(JOBS, Host=host.format(api.port)).code == 200


def test_web_pages_are_refused(api: ApiDesk) -> None:
    assert api.ask(JOBS, Origin="https://localhost").said[:2] == (403, "Forbidden")
    assert api.ask(JOBS, Origin="null").code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/healthz/../api/v1/secrets",
        "/version/..%2fapi/v1/secrets",
        "//api/v1/secrets",
        "/api//v1/secrets",
        "/api/v1/secrets/%2e%2e/secrets",
        "/%2fhealthz",
        "/healthz%00",
        "/api/v1/namespaces/default/secrets/../../secrets",
        "/apis/../api/v1/secrets",
        "/API/V1/secrets",
    ],
)
def test_no_path_leads_around_the_token_nor_into_the_disk(api: ApiDesk, path: str) -> None:
    assert api.ask(path, Authorization="").code == 401
    answer = api.ask(path)
    assert answer.said[:2] == (404, "NotFound")


@pytest.mark.parametrize("name", ["..%2f..%2fkeys%2ftoken", "%2e%2e", "a%00b", quote("ä"), "x" * 4000])
def test_names_that_are_none_are_not_found(api: ApiDesk, name: str) -> None:
    assert api.ask(f"{JOBS}/{name}").code == 404
    assert api.ask(f"/api/v1/namespaces/{name}/pods/x").code == 404


def test_a_websocket_without_the_token_is_refused(api: ApiDesk) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    answer = api.ask(
        "/api/v1/namespaces/default/pods/x/exec", token="wrong", **upgrade, Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA=="
    )
    assert answer.code == 401
    assert answer.body["reason"] == "Unauthorized"


def test_plain_http_is_not_served(api: ApiDesk) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)) as plain:
        plain.request("GET", "/version")
        with pytest.raises((http.client.BadStatusLine, ConnectionError)):
            plain.getresponse()


# What is sent


def test_a_body_that_is_announced_as_too_large_is_not_read(api: ApiDesk) -> None:
    with closing(api.open_http()) as connection:
        connection.putrequest("POST", JOBS)
        connection.putheader("Authorization", f"Bearer {api.token}")
        connection.putheader("Content-Length", str(MOST_BYTES + 1))
        connection.endheaders(b"{")
        assert connection.getresponse().status == 413


def test_a_body_in_pieces_is_read_as_far_as_allowed(api: ApiDesk) -> None:
    with closing(api.open_http()) as connection, suppress(ConnectionError, ssl.SSLError):
        pieces = (b" " * 65536 for _ in range(200))
        connection.request("POST", JOBS, pieces, {"Authorization": f"Bearer {api.token}"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    assert api.writer.asked == []
    assert api.ask(JOBS).code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GET /version HTTP/1.1\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /version HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"\x00" * 1000,
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /version HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["long header", "many headers", "long path", "noise", "two hosts", "two lengths", "smuggling", "http2"],
)
def test_what_is_no_request_ends_the_connection(api: ApiDesk, data: bytes) -> None:
    with closing(api.connect()) as connection, suppress(ConnectionError, ssl.SSLError):
        connection.sendall(data)
        head = connection.recv(65536)
        assert head == b"" or head.split(b" ")[1] in (b"400", b"403", b"431")
    assert api.ask("/version").code == 200


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[ApiDesk]:
    """A server that waits for nobody and has few places."""
    made = ApiDesk(
        tmp_path, Bounds(connections=20, read_seconds=0.5, write_seconds=0.5, idle_seconds=0.5, streams=True)
    )
    yield made
    made.stop()


def test_slow_heads_and_bodies_are_cut(hasty: ApiDesk) -> None:
    head = f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {hasty.token}\r\n".encode()
    for data in (b"GET /ver", head + b"Content-Length: 100\r\n\r\n{"):
        with closing(hasty.connect()) as connection:
            connection.sendall(data)
            begin = time.monotonic()
            with suppress(ConnectionError, ssl.SSLError):
                assert connection.recv(100) == b""
            assert time.monotonic() - begin < 10


def test_those_who_never_shake_hands_are_cut(hasty: ApiDesk) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), 10) as silent, suppress(ConnectionError):
        assert silent.recv(1) == b""


def test_a_watch_outlives_all_bounds_but_its_own(hasty: ApiDesk) -> None:
    with hasty.watch(f"{JOBS}?watch=true") as watch:
        begin = time.monotonic()
        wait_for(lambda: time.monotonic() - begin > 1.5, "three times the bound to pass")
        hasty.add_job()
        assert watch.next_name() == ("ADDED", "mnist")


def test_strangers_push_out_strangers_and_no_watch(hasty: ApiDesk) -> None:
    """Whoever is without the token has no place that somebody with it wants."""
    with hasty.watch(f"{JOBS}?watch=true") as watch, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", hasty.port), 10))
        hasty.add_job()
        assert watch.next_name() == ("ADDED", "mnist")
        assert hasty.ask(JOBS).code == 200


def test_thousands_of_connections_leave_the_server_well(api: ApiDesk) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    with api.watch(f"{JOBS}?watch=true") as watch, ExitStack() as stack:
        for _ in range(1500):
            stack.enter_context(socket.create_connection(("127.0.0.1", api.port), 30))
        api.add_job()
        assert watch.next_name() == ("ADDED", "mnist")
        assert api.ask(JOBS).code == 200


# Unix sockets


def ask_socket(path: str, target: str, host: str = "x") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(host)) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(path)
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[tuple[ApiDesk, str]]:
    path = str(tmp_path / "run" / "api.sock")
    made = ApiDesk(tmp_path, addresses=[("127.0.0.1", 0), path])
    yield made, path
    made.stop()
    assert not Path(path).exists()


def test_our_own_user_needs_no_token_on_a_unix_socket(local: tuple[ApiDesk, str]) -> None:
    _, path = local
    assert ask_socket(path, JOBS)[0] == 200
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700


def test_other_users_are_cut(local: tuple[ApiDesk, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says who has connected; here it says that it is somebody else."""
    _, path = local
    told = struct.pack("3i", 1, os.getuid() + 12345, 0)
    monkeypatch.setattr(api_server, "_read_peer", lambda _: told)
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        ask_socket(path, JOBS)
    monkeypatch.undo()
    assert ask_socket(path, JOBS)[0] == 200


@pytest.mark.parametrize("wanted", [None, ("192.0.2.1", 6443), "/proc/x/api.sock"])
def test_an_address_that_cannot_be_had_is_told(api: ApiDesk, wanted: Address | None) -> None:
    address = wanted or ("127.0.0.1", api.port)
    server = ApiServer(api.server._build, [("127.0.0.1", 0), address], api.server._access)
    with pytest.raises(TrainletError, match=r"^cannot listen for clients of the API: "):
        server.start()


# The token on disk


def test_the_token_is_made_once_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    token = load_token(tmp_path / "keys")
    assert len(token) > 40
    assert load_token(tmp_path / "keys") == token
    assert stat.S_IMODE((tmp_path / "keys" / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40, b"two words that are long enough\n"])
def test_a_token_that_is_damaged_is_told_and_not_used(tmp_path: Path, content: bytes) -> None:
    load_token(tmp_path)
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(TrainletError, match="the token is damaged or too short"):
        load_token(tmp_path)
