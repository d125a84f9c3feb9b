"""Which TCP ports are listened on, from what Linux tells of a network namespace in /proc.

The tables are readable by every user, also those of another user's container; whose a socket is (its inode) only for
processes of one's own. Where there is no /proc, or the process is another machine's, nothing can be told.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")

_TABLES = ("net/tcp", "net/tcp6")
_LISTENING = "0A"
_WORD_DIGITS = 8
_PARENT = re.compile(r"^PPid:\s*(\d+)$", re.MULTILINE)
_SOCKET = re.compile(r"socket:\[(\d+)\]")


class Listener(NamedTuple):
    """One listening socket."""

    address: IPv4Address | IPv6Address
    port: int
    inode: int

    @property
    def is_loopback(self) -> bool:
        """Whether only its own network namespace can reach it."""
        mapped = self.address.ipv4_mapped if isinstance(self.address, IPv6Address) else None
        return (mapped or self.address).is_loopback


def parse_listeners(table: str) -> list[Listener]:
    """Return the listening sockets of a table as /proc/net/tcp or tcp6 has it."""
    rows = (line.split() for line in table.splitlines()[1:])
    return [_parse_row(row) for row in rows if len(row) > 9 and row[3] == _LISTENING]


def _parse_row(row: Sequence[str]) -> Listener:
    address, _, port = row[1].partition(":")
    # Each 32-bit word is printed as a number of this machine's byte order.
    starts = range(0, len(address), _WORD_DIGITS)
    words = (int(address[start : start + _WORD_DIGITS], 16).to_bytes(4, sys.byteorder) for start in starts)
    return Listener(ip_address(b"".join(words)), int(port, 16), int(row[9]))


def find_container_ports(pid: int, id: str, proc: Path = PROC) -> frozenset[int] | None:
    """Return the ports that a container's peers can reach; `pid` is its first process.

    None if this machine has no such process, or another one under its number: the engine then runs elsewhere.
    What listens on the container's loopback alone is left out, as Docker's own name server does in each of them.
    """
    directory = proc / str(pid)
    if not _is_container(directory, id):
        return None
    listeners = _read_listeners(directory)
    return None if listeners is None else frozenset(each.port for each in listeners if not each.is_loopback)


def _is_container(process: Path, id: str) -> bool:
    """Tell by its control group or, where rootless engines have none, by its parent: the monitor that names its charge.

    Its own command tells nothing: for a moment after its start it is still the runtime's.
    """
    wanted = id.encode()
    try:
        if wanted in (process / "cgroup").read_bytes():
            return True
        parent = _PARENT.search((process / "status").read_text())
        return parent is not None and wanted in (process.parent / parent[1] / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def find_process_ports(pids: Iterable[int], proc: Path = PROC) -> frozenset[int] | None:
    """Return the ports on which these processes listen, on any address; None without /proc.

    They must be the caller's own and share its network.
    """
    listeners = _read_listeners(proc)
    if listeners is None:
        return None
    inodes = {inode for pid in pids for inode in _read_inodes(proc / str(pid) / "fd")}
    return frozenset(each.port for each in listeners if each.inode in inodes)


def _read_listeners(directory: Path) -> list[Listener] | None:
    """Read both tables; the second is missing where there is no IPv6."""
    tables = []
    for name in _TABLES:
        with suppress(OSError):
            tables.append((directory / name).read_text())
    return [each for table in tables for each in parse_listeners(table)] if tables else None


def _read_inodes(descriptors: Path) -> Iterator[int]:
    """Yield the inodes of the sockets that a process holds; one that is gone holds none."""
    with suppress(OSError):
        for path in descriptors.iterdir():
            with suppress(OSError):
                if match := _SOCKET.fullmatch(str(path.readlink())):
                    yield int(match[1])
