"""Listening sockets as the kernel writes them down, and whose they are."""

import os
import socket
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.engine.sockets import Listener, find_container_ports, find_process_ports, parse_listeners

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the samples are from a little-endian machine")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode             \n"
HEAD6 = (
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr"
    " tm->when retrnsmt   uid  timeout inode\n"
)
QUEUES = "00000000:00000000 00:00000000 00000000"
#: A container of Docker's with a network of its own: our server, Docker's name server, one for itself, a client.
TCP = f"""{HEAD}\
   0: 00000000:733C 00000000:0000 0A {QUEUES}     0        0 2806347 1 000000009a7ced62 100 0 0 10 0
   1: 0B00007F:A639 00000000:0000 0A {QUEUES}     0        0 2806285 1 0000000048f8ef5f 100 0 0 10 0
   2: 0100007F:733D 00000000:0000 0A {QUEUES}  1002        0 2806348 1 000000006707a77c 100 0 0 10 0
   3: 020AD50A:D6DC 030AD50A:733C 01 {QUEUES}     0        0 2806399 1 000000006707a77d 20 4 30 10 -1
   4: 0100007F:843B 0100007F:D6DC 06 00000000:00000000 03:00001316 00000000     0        0 0 3 0000000048b5bf54
"""
TCP6 = f"""{HEAD6}\
   0: 00000000000000000000000000000000:733E 00000000000000000000000000000000:0000 0A {QUEUES}     0        0 2806349 1 0
   1: 00000000000000000000000001000000:733F 00000000000000000000000000000000:0000 0A {QUEUES}     0        0 2806350 1 0
   2: 0000000000000000FFFF00000100007F:7340 00000000000000000000000000000000:0000 0A {QUEUES}     0        0 2806351 1 0
   3: B80D0120000000000000000002000000:0016 00000000000000000000000000000000:0000 0A {QUEUES}     0        0 2806352 1 0
"""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", []),
        (HEAD, []),
        (TCP, [("0.0.0.0", 29500, 2806347), ("127.0.0.11", 42553, 2806285), ("127.0.0.1", 29501, 2806348)]),
        (
            TCP6,
            [
                ("::", 29502, 2806349),
                ("::1", 29503, 2806350),
                ("::ffff:127.0.0.1", 29504, 2806351),
                ("2001:db8::2", 22, 2806352),
            ],
        ),
        (f"{HEAD}   0: cut off\n", []),
    ],
)
def test_only_what_listens_is_read(table: str, expected: list[tuple[str, int, int]]) -> None:
    assert parse_listeners(table) == [Listener(ip_address(address), port, inode) for address, port, inode in expected]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.0.11", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_what_is_loopback(address: str, expected: bool) -> None:
    assert Listener(ip_address(address), 1, 1).is_loopback is expected


@given(st.ip_addresses(), st.integers(0, 65535), st.integers(0, 1 << 40))
def test_every_address_comes_through(address: Listener, port: int, inode: int) -> None:
    packed = ip_address(str(address)).packed
    words = (int.from_bytes(packed[start : start + 4], "little") for start in range(0, len(packed), 4))
    text = f"{HEAD}   0: {''.join(f'{word:08X}' for word in words)}:{port:04X} 0:0 0A {QUEUES}  0  0 {inode} 1 00\n"
    assert parse_listeners(text) == [Listener(ip_address(str(address)), port, inode)]


ID = "30cefb57afb33df2eb7e9cffdb4d9ec6732c255e4ac44cb5218bdf4c8fad0daa"
MONITOR = f"/usr/bin/conmon\0--api-version\0001\0-c\0{ID}\0-n\0job\0"


def write(proc: Path, pid: int, files: Mapping[str, str | bytes]) -> None:
    """Write what /proc says of a process."""
    for name, content in files.items():
        path = proc / str(pid) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


TABLES = {"net/tcp": TCP, "net/tcp6": TCP6}
PORTS = frozenset({29500, 29502, 22})
CHILD = {**TABLES, "cgroup": "0::/\n", "status": "Name:\trunc:[2:INIT]\nPid:\t42\nPPid:\t41\nTracerPid:\t0\n"}
PROCESSES: dict[str, tuple[Mapping[str, str | bytes], frozenset[int] | None]] = {
    "known by its control group": ({**TABLES, "cgroup": f"0::/docker/{ID}\n", "status": "Name:\tpython3\n"}, PORTS),
    "known by its monitor": ({**CHILD, "../41/cmdline": MONITOR}, PORTS),
    "without the new protocol": ({"net/tcp": TCP, "cgroup": f"0::/docker/{ID}\n"}, frozenset({29500})),
    "listens nowhere": ({"net/tcp": HEAD, "net/tcp6": HEAD6, "cgroup": f"/{ID}"}, frozenset()),
    "another process": ({**CHILD, "cgroup": "0::/user.slice\n", "../41/cmdline": "bash\0"}, None),
    "another container": ({**CHILD, "../41/cmdline": MONITOR.replace(ID, ID[::-1])}, None),
    "a child of the kernel": ({**CHILD, "../41/cmdline": ""}, None),
    "an orphan": (CHILD, None),
    "gone": ({}, None),
    "hidden": ({"cgroup": f"0::/docker/{ID}\n"}, None),
}


@pytest.mark.parametrize(("files", "expected"), PROCESSES.values(), ids=PROCESSES)
def test_a_container_s_ports_are_told_if_its_process_is_here(
    tmp_path: Path, files: Mapping[str, str | bytes], expected: frozenset[int] | None
) -> None:
    write(tmp_path, 42, files)
    assert find_container_ports(42, ID, tmp_path) == expected


def test_a_process_s_ports_are_those_of_the_sockets_it_holds(tmp_path: Path) -> None:
    write(tmp_path, 42, {"fd/none": ""})
    for number, target in enumerate(("socket:[2806348]", "socket:[2806349]", "pipe:[2806347]", "/dev/null")):
        (tmp_path / "42" / "fd" / str(number)).symlink_to(target)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TCP)
    (tmp_path / "net" / "tcp6").write_text(TCP6)
    assert find_process_ports([42, 43], tmp_path) == frozenset({29501, 29502})
    assert find_process_ports([43], tmp_path) == frozenset()
    assert find_process_ports([42], tmp_path / "nowhere") is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_our_own_ports_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        found = find_process_ports([os.getpid()])
        assert found is not None
        assert server.getsockname()[1] in found
        assert other.getsockname()[1] not in found
