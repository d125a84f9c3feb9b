"""What every engine promises of sessions: commands in containers whose streams somebody holds (engine/base.py)."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from trainlet.engine.base import Session, StartFailed, Streams
from trainlet.kube.errors import EngineError
from waiting import wait_for
from workbench import Bench

pytestmark = pytest.mark.engine

SLEEP = "import time; print('ready'); time.sleep(600)"
SECONDS = 20
MEBIBYTE = 1 << 20
#: Counts what it is given, then says so, and how it was.
COUNT = "import hashlib, sys; data = sys.stdin.buffer.read(); print(len(data), hashlib.sha256(data).hexdigest())"


@pytest.fixture
def node(bench: Bench) -> str:
    id = bench.run(bench.spec(SLEEP, env={"COLOUR": "green"}))
    bench.wait_line(id, "ready")
    return id


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def open_shell(bench: Bench, id: str, script: str, *, with_input: bool = False, with_terminal: bool = False) -> Session:
    command = ["sh", "-c", script]
    return bench.engine.open_session(id, command, with_input=with_input, with_terminal=with_terminal)


def read_all(session: Session) -> dict[str, bytes]:
    found = {"stdout": b"", "stderr": b""}
    for stream, data in session.read():
        found[stream] += data
    return found


def read_until(pieces: Iterator[tuple[str, bytes]], text: bytes) -> bytes:
    found = b""
    while text not in found:
        found += next(pieces)[1]
    return found


@pytest.mark.parametrize("code", [0, 1, 126, 127, 255])
def test_the_streams_and_the_exit_code_are_told(bench: Bench, node: str, code: int) -> None:
    with closing(open_shell(bench, node, f"echo $COLOUR; echo err >&2; exit {code}")) as session:
        assert read_all(session) == {"stdout": b"green\n", "stderr": b"err\n"}
        assert session.wait() == code


@pytest.mark.parametrize("with_terminal", [False, True])
@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_run_is_told(bench: Bench, node: str, command: str, code: int, with_terminal: bool) -> None:
    assert try_command(bench, node, command, with_terminal=with_terminal) == (True, code)


def try_command(bench: Bench, id: str, command: str, *, with_terminal: bool) -> tuple[bool, int | None]:
    """Return whether the command was named in what was said of it, and its exit code."""
    try:
        session = bench.engine.open_session(id, [command], with_input=False, with_terminal=with_terminal)
    except StartFailed as error:
        return command in str(error), error.exit_code
    with closing(session):
        said = b"".join(read_all(session).values())
        return command.encode() in said, session.wait()


def test_a_command_is_answered_while_it_runs(bench: Bench, node: str) -> None:
    with closing(
        open_shell(bench, node, "while read word; do echo got $word; done; exit 7", with_input=True)
    ) as session:
        pieces = iter(session.read())
        for word in (b"one", b"two"):
            session.write(word + b"\n")
            assert read_until(pieces, b"\n") == b"got " + word + b"\n"
        session.close_input()
        assert list(pieces) == []
        assert session.wait() == 7


def test_what_is_written_at_once_is_not_lost(bench: Bench, node: str) -> None:
    for number in range(5):
        with closing(open_shell(bench, node, "cat", with_input=True)) as session:
            session.write(b"%d\n" % number)
            session.close_input()
            assert read_all(session)["stdout"] == b"%d\n" % number
            assert session.wait() == 0


def test_a_command_without_input_finds_it_empty(bench: Bench, node: str) -> None:
    with closing(open_shell(bench, node, "cat; echo end")) as session:
        assert read_all(session)["stdout"] == b"end\n"


def test_much_goes_in_and_out(bench: Bench, node: str, pool: ThreadPoolExecutor) -> None:
    data = bytes(range(256)) * (4 * MEBIBYTE // 256)
    command = ["python3", "-c", "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"]
    with closing(bench.engine.open_session(node, command, with_input=True, with_terminal=False)) as session:
        reading = pool.submit(read_all, session)
        for start in range(0, len(data), 65536):
            session.write(data[start : start + 65536])
        session.close_input()
        assert reading.result(SECONDS)["stdout"] == data
        assert session.wait() == 0


def test_who_is_not_read_waits(bench: Bench, node: str) -> None:
    path = f"/tmp/{bench.prefix}-done"
    script = f"head -c {32 * MEBIBYTE} /dev/zero; touch {path}"
    with closing(open_shell(bench, node, script)) as session:
        pieces = iter(session.read())
        size = len(next(pieces)[1])
        assert bench.engine.run_in_container(node, ["test", "-e", path], SECONDS).exit_code == 1
        assert size + sum(len(data) for _, data in pieces) == 32 * MEBIBYTE
        assert session.wait() == 0
    assert bench.engine.run_in_container(node, ["rm", path], SECONDS).exit_code == 0


def test_a_terminal_has_a_size(bench: Bench, node: str) -> None:
    script = "trap 'stty size' WINCH; test -t 0 && echo terminal; while :; do sleep 0.05; done"
    with closing(open_shell(bench, node, script, with_input=True, with_terminal=True)) as session:
        pieces = iter(session.read())
        assert read_until(pieces, b"\n") == b"terminal\r\n"
        session.resize(33, 77)
        assert read_until(pieces, b"33 77").strip() == b"33 77"


def test_a_terminal_echoes_and_ends_with_its_input(bench: Bench, node: str) -> None:
    with closing(open_shell(bench, node, "cat; exit 3", with_input=True, with_terminal=True)) as session:
        pieces = iter(session.read())
        session.write(b"hello\n")
        assert read_until(pieces, b"hello\r\nhello\r\n") == b"hello\r\nhello\r\n"
        session.write(b"\x04")
        assert b"".join(data for _, data in pieces) in (b"", b"^D\b\b")
        assert session.wait() == 3


def test_a_terminal_passes_an_interrupt_on(bench: Bench, node: str) -> None:
    script = "trap 'echo caught; exit 5' INT; echo begun; while :; do sleep 0.05; done"
    with closing(open_shell(bench, node, script, with_input=True, with_terminal=True)) as session:
        pieces = iter(session.read())
        read_until(pieces, b"begun")
        session.write(b"\x03")
        read_until(pieces, b"caught")
        assert list(pieces) in ([], [("stdout", b"\r\n")])
        assert session.wait() == 5


@pytest.mark.parametrize("with_terminal", [False, True])
def test_a_closed_session_holds_nobody_and_its_command_is_gone(
    bench: Bench, node: str, pool: ThreadPoolExecutor, with_terminal: bool
) -> None:
    script = "echo $$; while :; do sleep 0.05; done"
    session = open_shell(bench, node, script, with_input=True, with_terminal=with_terminal)
    pieces = iter(session.read())
    pid = int(read_until(pieces, b"\n"))
    waits = [pool.submit(list, pieces), pool.submit(session.wait), pool.submit(session.write, b"x" * 16 * MEBIBYTE)]
    session.close()
    assert [wait.result(SECONDS) for wait in waits][1] in (None, 137)
    session.close()
    wait_for(
        lambda: bench.engine.run_in_container(node, ["test", "-e", f"/proc/{pid}/cwd"], SECONDS).exit_code == 1,
        "the command to be gone",
    )


def test_what_a_command_does_not_read_is_dropped(bench: Bench, node: str, pool: ThreadPoolExecutor) -> None:
    with closing(open_shell(bench, node, "exit 4", with_input=True)) as session:
        writing = pool.submit(session.write, b"x" * 16 * MEBIBYTE)
        assert read_all(session)["stdout"] == b""
        assert session.wait() == 4
        session.close()
        writing.result(SECONDS)


def test_sessions_run_side_by_side(bench: Bench, node: str) -> None:
    sessions = [open_shell(bench, node, "read word; echo $word", with_input=True) for _ in range(5)]
    for number, session in enumerate(sessions):
        session.write(b"%d\n" % number)
    assert [read_all(session)["stdout"] for session in sessions] == [b"%d\n" % number for number in range(5)]
    assert [session.wait() for session in sessions] == [0] * 5
    for session in sessions:
        session.close()


def test_a_container_that_does_not_run_is_an_error(bench: Bench) -> None:
    spec = bench.spec(SLEEP)
    id = bench.create(spec)
    with pytest.raises(EngineError):
        open_shell(bench, id, "true")
    bench.engine.start_container(id)
    bench.engine.kill_container(id)
    bench.wait_exit(spec)
    with pytest.raises(EngineError):
        open_shell(bench, id, "true")
    with pytest.raises(EngineError):
        open_shell(bench, "no-such-container", "true")


def test_a_session_ends_with_its_container(bench: Bench, node: str) -> None:
    with closing(open_shell(bench, node, "echo begun; while :; do sleep 0.05; done")) as session:
        pieces = iter(session.read())
        read_until(pieces, b"begun\n")
        bench.engine.kill_container(node)
        assert list(pieces) == []
        try:
            assert session.wait() not in (0, None)
        except EngineError:
            return


def test_a_session_ends_with_its_engine(bench: Bench, node: str) -> None:
    session = open_shell(bench, node, "echo begun; while :; do sleep 0.05; done")
    pieces = iter(session.read())
    read_until(pieces, b"begun\n")
    closing_thread = threading.Timer(0.2, bench.engine.close)
    closing_thread.start()
    assert list(pieces) == []
    assert session.wait() is None
    closing_thread.join()
    session.close()


def test_a_followed_log_ends_when_nobody_wants_it(bench: Bench, node: str, pool: ThreadPoolExecutor) -> None:
    streams = Streams()
    lines = bench.engine.read_logs(node, follow=True, streams=streams)
    assert next(lines).text == "ready"
    waiting = pool.submit(list, lines)
    streams.close()
    assert waiting.result(SECONDS) == []
    assert [line.text for line in bench.engine.read_logs(node, follow=True, streams=streams)] in ([], ["ready"])
    assert bench.read(node) == ["ready"], "others read on"


def test_a_log_whose_container_goes_is_an_error_or_at_its_end(bench: Bench, node: str) -> None:
    lines = bench.engine.read_logs(node)
    bench.engine.remove_container(node)
    with suppress(EngineError):
        assert list(lines) == []
    with pytest.raises(EngineError):
        list(bench.engine.read_logs(node))
