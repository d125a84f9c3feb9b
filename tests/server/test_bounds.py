"""What no client of the status server may do: be slow, be one too many. Clients, threads and TLS are real."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from status_client import PATIENCE_SECONDS, STOP_SECONDS, Desk, build_report, get_path
from trainlet.loading import now
from trainlet.server.connections import Bounds
from trainlet.server.credentials import load_credentials
from waiting import wait_for

READ_SECONDS, IDLE_SECONDS = 1.0, 1.5
BOUNDS = Bounds(read_seconds=READ_SECONDS, write_seconds=PATIENCE_SECONDS, idle_seconds=IDLE_SECONDS)

HEAD = f"POST {get_path()} HTTP/1.1\r\nHost: x\r\n"


def read_end(connection: socket.socket) -> bytes:
    """Return what comes until the server ends the connection, in whatever way. Raises TimeoutError if it does not."""
    received = b""
    try:
        while chunk := connection.recv(1 << 16):
            received += chunk
    except (ConnectionError, ssl.SSLEOFError):
        pass
    return received


def drip(connection: socket.socket, text: str, gone: threading.Event) -> None:
    """Send a byte at a time, with less than a bound between two, until the other end is gone."""
    for byte in text.encode():
        if gone.wait(READ_SECONDS / 10):
            return
        with suppress(OSError):
            connection.sendall(bytes([byte]))


def connect_plain(desk: Desk) -> socket.socket:
    return socket.create_connection(("127.0.0.1", desk.port), timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("said", ["", "\x16\x03\x01", "GET / HTTP/1.1\r\n"], ids=["nothing", "a piece", "no TLS"])
def test_who_does_not_shake_hands_is_left_without_a_word_in_the_log(
    desk: Desk, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk.open(BOUNDS)
    with connect_plain(desk) as connection:
        connection.sendall(said.encode("latin-1"))
        assert b"HTTP" not in read_end(connection)
    desk.close()
    assert caplog.records == []


@pytest.mark.parametrize(
    "said",
    [
        "",
        "P",
        HEAD,
        f"{HEAD}Content-Length: 10\r\n\r\n",
        f"{HEAD}Content-Length: 10\r\n\r\n123",
        f"{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n123",
    ],
    ids=["nothing", "a byte", "half a head", "no body", "half a body", "half a chunk"],
)
def test_a_request_must_come_to_its_end(desk: Desk, said: str) -> None:
    desk.open(BOUNDS)
    said = said.replace("\r\n\r\n", f"\r\nAuthorization: Bearer {desk.build_token()}\r\n\r\n")
    began = time.monotonic()
    with desk.connect() as connection:
        connection.sendall(said.encode())
        assert read_end(connection) == b""
    assert time.monotonic() - began >= READ_SECONDS


@pytest.mark.parametrize("part", ["head", "body"])
def test_to_say_a_little_now_and_then_wins_no_time(desk: Desk, part: str) -> None:
    desk.open(BOUNDS)
    head = f"{HEAD}Authorization: Bearer {desk.build_token()}\r\nContent-Length: 1000\r\n"
    with desk.connect() as connection:
        connection.sendall((f"{head}\r\n" if part == "body" else head).encode())
        gone = threading.Event()
        dripping = threading.Thread(target=drip, args=(connection, "X-Filler: " + "x" * 900, gone))
        dripping.start()
        assert read_end(connection) == b""
        gone.set()
        dripping.join(PATIENCE_SECONDS)


def build_answered(desk: Desk) -> bytes:
    body = json.dumps(build_report(progressPercentage=5))
    head = f"{HEAD}Authorization: Bearer {desk.build_token()}\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{body}".encode()


@pytest.mark.parametrize("more", ["", "P"], ids=["nothing", "a byte"])
def test_after_an_answer_the_next_request_is_waited_for_so_long(desk: Desk, more: str) -> None:
    desk.open(BOUNDS)
    began = time.monotonic()
    with desk.connect() as connection:
        connection.sendall(build_answered(desk) + more.encode())
        assert read_end(connection).count(b"HTTP/1.1 200") == 1
    assert time.monotonic() - began >= IDLE_SECONDS


@pytest.mark.parametrize("is_in_one_breath", [True, False])
def test_the_next_request_too_must_come_to_its_end(desk: Desk, is_in_one_breath: bool) -> None:
    desk.open(Bounds(read_seconds=READ_SECONDS, idle_seconds=2 * PATIENCE_SECONDS))
    request = build_answered(desk)
    with desk.connect() as connection:
        connection.sendall(request + request[:-3] if is_in_one_breath else request)
        if not is_in_one_breath:
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            connection.sendall(request[:-3])
        assert b"HTTP/1.1 403" not in read_end(connection)


def test_a_whole_request_is_answered_however_long_its_writing_takes(desk: Desk) -> None:
    desk.open(BOUNDS)
    gate = threading.Event()
    timer = threading.Timer(3 * READ_SECONDS, gate.set)
    desk.registry.store.subscribe(lambda _change: gate.wait(PATIENCE_SECONDS))
    timer.start()
    assert desk.post(build_report(progressPercentage=5)).code == 200
    assert gate.is_set()


def test_an_answer_that_takes_too_long_is_not_waited_for(desk: Desk) -> None:
    desk.open(Bounds(read_seconds=READ_SECONDS, write_seconds=READ_SECONDS))
    gate = threading.Event()
    desk.registry.store.subscribe(lambda _change: gate.wait(PATIENCE_SECONDS))
    with desk.connect() as connection:
        connection.sendall(build_answered(desk))
        assert read_end(connection) == b""
    gate.set()


@pytest.mark.parametrize("is_tls", [False, True], ids=["before the handshake", "after the handshake"])
def test_who_comes_takes_the_place_of_who_has_said_nothing_for_longest(desk: Desk, is_tls: bool) -> None:
    desk.open(Bounds(connections=8, read_seconds=2 * PATIENCE_SECONDS))
    open_one: Callable[[], socket.socket] = desk.connect if is_tls else lambda: connect_plain(desk)
    with ExitStack() as stack:
        silent = [stack.enter_context(open_one()) for _ in range(20)]
        assert [read_end(connection) for connection in silent[:12]] == [b""] * 12
        assert desk.post(build_report(progressPercentage=1)).code == 200


def test_who_has_been_answered_is_not_the_first_to_go(desk: Desk) -> None:
    # Twenty come, so some have to go; not more than eight at once, though the server may be late to let them in.
    desk.open(Bounds(connections=8, read_seconds=PATIENCE_SECONDS))
    headers = {"Authorization": f"Bearer {desk.build_token()}"}
    with ExitStack() as stack:
        busy = desk.open_http()
        stack.callback(busy.close)
        for _ in range(10):
            for _ in range(2):
                stack.enter_context(connect_plain(desk))
            busy.request("POST", get_path(), b"{}", headers)
            assert busy.getresponse().read() == b"{}"


def test_nothing_is_left_of_many_connections(desk: Desk) -> None:
    desk.open(Bounds(connections=8))
    before = count_sockets()
    with ExitStack() as stack:
        silent = [stack.enter_context(connect_plain(desk)) for _ in range(30)]
        assert [read_end(connection) for connection in silent[:22]] == [b""] * 22
    wait_for(lambda: count_sockets() <= before, "the connections to be closed", PATIENCE_SECONDS)


def count_sockets() -> int:
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found += str(path.readlink()).startswith("socket:")
    return found


def test_a_client_that_speaks_no_http_is_told_so(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with desk.connect() as connection:
        connection.sendall(b"\x00\x01\x02 what is this\r\n\r\n")
        assert read_end(connection).startswith(b"HTTP/1.1 400")
    desk.close()
    assert caplog.records == []


def test_a_client_that_goes_in_the_middle_of_its_body_is_no_error(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    token = f"Authorization: Bearer {desk.build_token()}\r\n"
    for _ in range(5):
        with desk.connect() as connection:
            connection.sendall(f"{HEAD}{token}Content-Length: 10\r\n\r\n123".encode())
    desk.close()
    assert caplog.records == []


# The certificate


def read_serial(desk: Desk) -> str:
    with desk.connect() as connection:
        certificate = connection.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def test_a_server_that_runs_for_long_renews_its_certificate(desk: Desk) -> None:
    keys, age = desk.root / "ageing", [timedelta(days=350)]
    desk.credentials = load_credentials(keys, now() - age[0])
    desk.open(Bounds(renewal_seconds=0.1), renew=lambda: load_credentials(keys, now() - age[0]))
    first = read_serial(desk)
    age[0] = timedelta()
    wait_for(lambda: read_serial(desk) != first, "another certificate", STOP_SECONDS)
    assert desk.post({}).code == 200


def test_a_certificate_that_cannot_be_renewed_is_kept(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    keys = desk.root / "keys"
    desk.open(Bounds(renewal_seconds=0.1), renew=lambda: load_credentials(keys, now()))
    (keys / "lock").unlink()
    (keys / "lock").mkdir()
    wait_for(lambda: caplog.records, "word of it", STOP_SECONDS)
    assert "keeps its certificate: cannot keep keys and secrets" in caplog.records[0].getMessage()
    assert desk.post({}).code == 200
