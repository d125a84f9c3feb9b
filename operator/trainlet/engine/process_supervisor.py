"""The supervisor of one node: starts its command, keeps its log, passes signals on, records how it ended.

One such process stands beside each node because the operator may be dead when the node ends. It decides
nothing, and imports little so that it starts in a few hundredths of a second. `process.py` runs `main` in a
bare interpreter.
"""

import errno
import fcntl
import os
import select
import signal
import time
from typing import Any

from trainlet.engine import process_files as files
from trainlet.engine import process_table as table

_READ_BYTES = 64 * 1024
#: A longer line is cut in two, so that a node that never ends its line cannot fill the memory.
_LONGEST_LINE_BYTES = 1024 * 1024
#: How long a node's leftovers may take to die, and what they wrote to arrive.
_AFTERMATH_SECONDS = 5.0
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
#: Python ignores these, and a program inherits what is ignored.
_RESET = (*_PASSED_ON, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
#: The exit codes that a shell and a kubelet give to a command that cannot be started; 128 for anything else.
START_FAILURES = {
    errno.ENOENT: (127, "command not found"),
    errno.ENOTDIR: (127, "command not found"),
    errno.EACCES: (126, "command is not executable"),
    errno.EPERM: (126, "command is not executable"),
    errno.ENOEXEC: (126, "command is not a program this machine can run"),
}


def main(directory: str) -> None:
    """Start the node of `directory` under a supervisor in a session of its own; return when that is settled."""
    settled, settle = os.pipe()
    if os.fork():
        os.close(settle)
        os.read(settled, 1)  # ends when the supervisor closes its side, or is dead
        return
    os.setsid()
    with open(f"{directory}/{files.LOCK}", "wb") as lock:  # noqa: PTH123
        if _claim(directory, lock.fileno()):
            _supervise(directory, settle)
    os._exit(0)


def _claim(directory: str, lock: int) -> bool:
    """Take the node, unless another supervisor has it or it already ran."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    state = files.read_json(f"{directory}/{files.STATE}")
    return state is None or "error" in state


def _supervise(directory: str, settle: int) -> None:
    container = files.read_json(f"{directory}/{files.CONTAINER}") or {}
    state: files.JSON = {"supervisor": _identify(os.getpid())}
    _write_state(directory, state)
    streams, ends = _open_streams()
    try:
        log = NodeLog(directory, container["log_limit_bytes"])
        leader = _spawn(container["argv"], container["env"], container["working_dir"], ends)
    except OSError as error:
        _write_state(directory, _describe_failure(error, container))
        return
    wake = _pass_signals_to(leader)
    for end in ends:
        os.close(end)
    state |= {"leader": _identify(leader), "started_at": format_now()}
    _write_state(directory, state)
    os.close(settle)
    exit_code = _watch_over(leader, wake, streams, log)
    table.kill_members(leader, state["leader"]["start"], container["id"], _AFTERMATH_SECONDS)
    _drain(streams, log)
    _write_state(directory, state | {"exit_code": exit_code, "finished_at": format_now()})


def _identify(pid: int) -> files.JSON:
    process = table.find_process(pid)  # a child that already ended is found too, as it is not yet reaped
    return {"pid": pid, "start": process.start if process else ""}


def _open_streams() -> tuple[list["Stream"], tuple[int, int]]:
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    return [Stream(out, b"stdout"), Stream(err, b"stderr")], (out_end, err_end)


def _spawn(argv: list[str], env: dict[str, str], working_dir: str, ends: tuple[int, int]) -> int:
    """Start the command as the leader of a new process group. Raises OSError of the best candidate in PATH."""
    os.chdir(working_dir)
    null = os.open(os.devnull, os.O_RDONLY)
    redirections = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((null, *ends))]
    failure: OSError = FileNotFoundError(errno.ENOENT, "")
    for path in _candidates(argv[0], env):
        try:
            return os.posix_spawn(
                path, argv, env, file_actions=redirections, setpgroup=0, setsigmask=(), setsigdef=_RESET
            )
        except (FileNotFoundError, NotADirectoryError):
            if os.path.exists(path):  # noqa: PTH110  a script whose interpreter is missing
                raise
        except PermissionError as error:
            failure = error
    raise failure


def _candidates(program: str, env: dict[str, str]) -> list[str]:
    if "/" in program:
        return [program]
    return [os.path.join(directory, program) for directory in os.get_exec_path(env)]  # noqa: PTH118


def _describe_failure(error: OSError, container: files.JSON) -> files.JSON:
    if error.filename == container["working_dir"]:
        return {"exit_code": 128, "error": f"working directory {error.filename} cannot be used: {error.strerror}"}
    exit_code, what = START_FAILURES.get(error.errno or 0, (128, error.strerror))
    return {"exit_code": exit_code, "error": f"{container['argv'][0]}: {what}"}


def _watch_over(leader: int, wake: int, streams: list["Stream"], log: "NodeLog") -> int:
    """Keep the log until the leader has ended; return its exit code, 128+N for signal N."""
    poll = select.poll()
    by_fd = {stream.fd: stream for stream in streams}
    for fd in (wake, *by_fd):
        poll.register(fd, select.POLLIN)
    while True:
        pid, status = os.waitpid(leader, os.WNOHANG)
        if pid:
            _ignore_signals()
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        for fd, _ in poll.poll():
            if fd == wake:
                os.read(wake, _READ_BYTES)
            elif not by_fd[fd].pump(log):
                poll.unregister(fd)


def _pass_signals_to(leader: int) -> int:
    """Send what we are sent to the leader; return a pipe that becomes readable on every signal, also SIGCHLD."""

    def pass_on(number: int, _: Any) -> None:
        table.send_signal(leader, number)

    wake, end = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(end, False)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    return wake


def _ignore_signals() -> None:
    """Pass nothing on any more: the leader's number may now be given away."""
    for number in _PASSED_ON:
        signal.signal(number, signal.SIG_IGN)


def _drain(streams: list["Stream"], log: "NodeLog") -> None:
    """Read what is left in the pipes, for a bounded time: somebody we could not kill may hold them open."""
    deadline = time.monotonic() + _AFTERMATH_SECONDS
    for stream in streams:
        poll = select.poll()
        poll.register(stream.fd, select.POLLIN)
        while stream.is_open and poll.poll(max(0, deadline - time.monotonic()) * 1000):
            stream.pump(log)
        stream.finish(log)


def _write_state(directory: str, state: files.JSON) -> None:
    """Write the state, however long the disk stays full; a directory that is gone wants none."""
    while True:
        try:
            return files.write_json(f"{directory}/{files.STATE}", state)
        except FileNotFoundError:
            return None
        except OSError:
            time.sleep(1)


def format_now() -> str:
    """Return the time as RFC 3339 in UTC with microseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds // 1000:06d}Z"


class Stream:
    """One output of the node, cut into lines."""

    def __init__(self, fd: int, name: bytes) -> None:
        self.fd, self.name, self.is_open = fd, name, True
        self._rest = b""

    def pump(self, log: "NodeLog") -> bool:
        """Move what is there into the log; False at the end of the stream."""
        data = os.read(self.fd, _READ_BYTES)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        log.write(self.name, lines)
        self.is_open = bool(data)
        return self.is_open

    def finish(self, log: "NodeLog") -> None:
        """Write a last line that was not ended."""
        if self._rest:
            log.write(self.name, [self._rest])


class NodeLog:
    """The node's log: one `TIME STREAM TEXT` a line, rotated once it is full, with one older part kept."""

    def __init__(self, directory: str, limit_bytes: int) -> None:
        self._path, self._before = f"{directory}/{files.LOG}", f"{directory}/{files.LOG_BEFORE}"
        self._limit_bytes = limit_bytes
        self._open()

    def write(self, stream: bytes, lines: list[bytes]) -> None:
        """Append lines; on a full disk they are lost, the node goes on."""
        head = b"%b %b " % (format_now().encode(), stream)
        data = b"".join([b"%b%b\n" % (head, line) for line in lines])
        try:
            if self._size and self._size + len(data) > self._limit_bytes:
                self._rotate()
            self._size += os.write(self._fd, data)
        except OSError:
            return

    def _rotate(self) -> None:
        os.rename(self._path, self._before)  # noqa: PTH104
        full = self._fd
        self._open()
        os.close(full)

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._fd).st_size
