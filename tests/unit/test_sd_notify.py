"""What systemd hears on a real datagram socket, and that a socket nobody listens on keeps the program from nothing."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainlet.sd_notify import READY, STOPPING, WATCHDOG, Notifier


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket as systemd gives it, with the name that is in the environment."""
    name = f"@trainlet-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        heard.settimeout(5)
        yield name, heard


def hear_all(heard: socket.socket) -> list[str]:
    heard.setblocking(False)
    messages = []
    while True:
        try:
            messages.append(heard.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_messages_come_one_a_datagram(listener: tuple[str, socket.socket]) -> None:
    name, heard = listener
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.tell(READY, "STATUS=watching /jobs")
    notifier.tell(STOPPING)
    assert hear_all(heard) == ["READY=1\nSTATUS=watching /jobs", "STOPPING=1"]


def test_life_is_told_in_half_of_the_time_and_only_of_the_living(listener: tuple[str, socket.socket]) -> None:
    name, heard = listener
    seconds, alive = [100.0], [True]
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(environ, lambda: seconds[0])
    for each, is_alive in [(100.0, True), (104.9, True), (105.0, True), (110.0, False), (115.0, True)]:
        seconds[0], alive[0] = each, is_alive
        notifier.beat(lambda: alive[0])
    assert hear_all(heard) == [WATCHDOG] * 3


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_nobody_is_told_of_life_who_does_not_ask(listener: tuple[str, socket.socket], watchdog: dict[str, str]) -> None:
    name, heard = listener
    notifier = Notifier({"NOTIFY_SOCKET": name, **watchdog})
    notifier.beat(lambda: pytest.fail("it asks for nothing"))
    assert hear_all(heard) == []


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": "/nonexistent/notify"}, {"NOTIFY_SOCKET": "@nobody-is-here"}]
)
def test_without_a_listener_nothing_happens(environ: dict[str, str]) -> None:
    Notifier(environ).tell(READY)
