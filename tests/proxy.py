"""A unix socket between the operator and a live engine that fails as engines do: by a rule, at a call, for a while.

It reads a request's first lines only and passes all else on as it comes. Every connection carries one request, so that
a rule decides about each. Nothing in it waits longer than until `close`.
"""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_BYTES = 65536
_HEAD_END = b"\r\n\r\n"
_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")

#: What becomes of a request: `late` is passed on after some time, `hang` when the fault is lifted, as a daemon goes on
#: with what it was given up on; `unseen` is cut off before the engine has it, `unanswered` when it has carried it out;
#: `refused` never gets there; `stall` and `cut` are for the answer: it stops to come, the connection open or not.
Kind = Literal["late", "hang", "unseen", "unanswered", "refused", "stall", "cut"]


@dataclass
class Fault:
    """What happens to requests whose `METHOD /path` matches; `first` and `last` count those from 1.

    `after_bytes` is how much of the answer's body comes before it stalls or is cut.
    """

    kind: Kind
    requests: str
    first: int = 1
    last: int | None = None
    seconds: float = 0
    status: int = 500
    message: str = "something broke"
    after_bytes: int = 0
    matched: int = 0
    hits: int = 0
    lifted: threading.Event = field(default_factory=threading.Event)

    def claims(self, request: str) -> bool:
        """Count a request and tell whether the fault is its fate."""
        if self.lifted.is_set() or not re.search(self.requests, request):
            return False
        self.matched += 1
        is_meant = self.first <= self.matched <= (self.last or self.matched)
        self.hits += is_meant
        return is_meant


class Proxy:
    """Listens on `path` for an engine at `engine`, both paths of sockets. `requests` are all that came."""

    def __init__(self, path: Path, engine: str) -> None:
        self.path, self.url, self._engine = path, f"unix://{path}", engine.removeprefix("unix://")
        self.requests: list[str] = []
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._open: dict[socket.socket, str] = {}
        self._stalled: set[socket.socket] = set()
        self._over = threading.Event()
        self._listener = self._listen()

    # What can be done to an engine

    def add(self, kind: Kind, requests: str, **options: float | str) -> Fault:
        """Let a fault happen from now on; of several the first that claims a request is its fate."""
        fault = Fault(kind, requests, **options)  # type: ignore[arg-type]
        with self._lock:
            self._faults.append(fault)
        return fault

    @contextmanager
    def fault(self, kind: Kind, requests: str = "", **options: float | str) -> Iterator[Fault]:
        """Let a fault happen for as long as the block lasts; answers that are on their way stall in a hang."""
        fault = self.add(kind, requests, **options)
        if kind == "hang":
            self.stall_streams(requests)
        try:
            yield fault
        finally:
            self.lift(fault)

    def lift(self, *faults: Fault) -> None:
        """End these faults, or all: what hangs is passed on."""
        with self._lock:
            ended = list(faults or self._faults)
            self._faults = [fault for fault in self._faults if fault not in ended]
        for fault in ended:
            fault.lifted.set()

    def stall_streams(self, requests: str) -> int:
        """Let nothing more come of the answers to these requests, which stay open; return how many there are."""
        with self._lock:
            stalled = [each for each, request in self._open.items() if re.search(requests, request)]
            self._stalled.update(stalled)
            return len(stalled)

    def cut_streams(self, requests: str = "") -> int:
        """Break the connections of these requests; return how many there are."""
        with self._lock:
            cut = [each for each, request in self._open.items() if re.search(requests, request)]
        for each in cut:
            _shut_down(each)
        return len(cut)

    def leave(self, *, with_socket: bool = True) -> None:
        """Be gone as an ended daemon is; `with_socket` its socket is gone too."""
        _shut_down(self._listener)
        self._listener.close()
        if with_socket:
            self.path.unlink()
        self.cut_streams()

    def come_back(self) -> None:
        """Be there again, on a new socket of the same path."""
        self.path.unlink(missing_ok=True)
        self._listener = self._listen()

    def count(self, requests: str) -> int:
        """Return how many such requests came."""
        return sum(bool(re.search(requests, each)) for each in list(self.requests))

    def close(self) -> None:
        """End all of it."""
        self._over.set()
        self.lift()
        self.leave(with_socket=self.path.exists())

    # The inside

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(64)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head, rest = _read_head(client)
            if (found := _REQUEST.match(head)) is None:
                return
            request = f"{found[1].decode()} {found[2].decode()}"
            with self._lock:
                self.requests.append(request)
                self._open[client] = request
                fault = next((fault for fault in self._faults if fault.claims(request)), None)
            try:
                self._meet(client, fault, head, rest)
            finally:
                _shut_down(client)  # a close alone ends nothing while another thread reads
                with self._lock:
                    del self._open[client]
                    self._stalled.discard(client)

    def _meet(self, client: socket.socket, fault: Fault | None, head: bytes, rest: bytes) -> None:
        """Let a request have its fate."""
        match fault.kind if fault is not None else None:
            case "unseen":
                return
            case "refused":
                assert fault is not None
                client.sendall(_build_refusal(fault))
                _drain(client)
                return
            case "late" | "hang":
                assert fault is not None
                fault.lifted.wait(fault.seconds or None)
                if self._over.is_set():
                    return  # nothing may be made any more when a test has cleared away
        self._pass_on(client, fault, head, rest)

    def _pass_on(self, client: socket.socket, fault: Fault | None, head: bytes, rest: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self._engine)
            head = re.sub(rb"\r\nConnection:[^\r]*", b"", head, flags=re.IGNORECASE)
            engine.sendall(head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n" + rest)
            threading.Thread(target=self._pump_body, args=(client, engine), daemon=True).start()
            self._pump_answer(client, engine, fault)

    def _pump_body(self, client: socket.socket, engine: socket.socket) -> None:
        """Pass on what follows the head. A client that goes away takes the engine's connection with it."""
        with suppress(OSError):
            while data := client.recv(_BYTES):
                engine.sendall(data)
        _shut_down(engine)

    def _pump_answer(self, client: socket.socket, engine: socket.socket, fault: Fault | None) -> None:
        kind, seen = fault.kind if fault is not None else None, b""
        while data := engine.recv(_BYTES):
            if kind == "unanswered":  # the engine answers when it has done what it was asked
                return
            if kind in ("stall", "cut"):
                assert fault is not None
                seen += data
                head_bytes = seen.find(_HEAD_END) + len(_HEAD_END)
                room = max(0, head_bytes + fault.after_bytes - (len(seen) - len(data)))
                client.sendall(data[:room])
                if len(data) > room:
                    if kind == "stall":
                        fault.lifted.wait()
                    return
            elif client not in self._stalled:
                client.sendall(data)
        if client in self._stalled:
            self._over.wait()


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """Return the request's first lines, the empty one included, and what came with them."""
    data = b""
    while _HEAD_END not in data:
        if not (more := client.recv(_BYTES)):
            return b"", b""
        data += more
    head, _, rest = data.partition(_HEAD_END)
    return head + _HEAD_END, rest


def _build_refusal(fault: Fault) -> bytes:
    body = f'{{"message": "{fault.message}", "cause": "{fault.message}", "response": {fault.status}}}'.encode()
    lines = f"HTTP/1.1 {fault.status} No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{lines}\r\nConnection: close\r\n\r\n".encode() + body


def _drain(client: socket.socket) -> None:
    """Take what still comes: a socket closed with unread bytes would lose the answer."""
    client.shutdown(socket.SHUT_WR)
    while client.recv(_BYTES):
        pass


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
