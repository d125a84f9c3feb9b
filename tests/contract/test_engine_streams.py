"""What every engine promises of its logs and its events (trainlet/engine/base.py), held against the real ones."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from engines import open_engine
from trainlet.engine.base import Engine
from trainlet.kube.errors import EngineError
from trainlet.planning.observed import ContainerState
from waiting import wait_for
from workbench import Bench

pytestmark = pytest.mark.engine

SLEEP = "import time; print('ready'); time.sleep(600)"


def ended(bench: Bench, code: str) -> str:
    """Run code to its end and return the container's ID."""
    spec = bench.spec(code)
    id = bench.run(spec)
    bench.wait_exit(spec)
    return id


def test_both_streams_are_read_with_their_times(bench: Bench) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    id = ended(bench, "import sys; print('out'); print('err', file=sys.stderr); print()")
    lines = list(bench.engine.read_logs(id))
    assert sorted((line.stream, line.text) for line in lines) == [("stderr", "err"), ("stdout", ""), ("stdout", "out")]
    assert all(line.time is not None and line.time >= before for line in lines)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize(("tail", "expected"), [(1, ["49"]), (3, ["47", "48", "49"]), (0, [])])
def test_the_tail_is_the_last_lines(bench: Bench, tail: int, expected: list[str], follow: bool) -> None:
    in_pieces = "import sys\nfor n in range(50):\n    for piece in (*str(n), '\\n'): sys.stdout.write(piece)"
    id = ended(bench, in_pieces)
    assert [line.text for line in bench.engine.read_logs(id, tail=tail, follow=follow)] == expected


def test_a_tail_that_is_longer_than_the_log_is_the_log(bench: Bench) -> None:
    id = ended(bench, "for n in range(3): print(n)")
    assert [line.text for line in bench.engine.read_logs(id, tail=3)] == ["0", "1", "2"]
    assert [line.text for line in bench.engine.read_logs(id, tail=9, follow=True)] == ["0", "1", "2"]


def test_since_leaves_out_what_is_older(bench: Bench) -> None:
    code = "import time; print('old'); time.sleep(2.5); print('new')"
    id = ended(bench, code)
    times = {line.text: line.time for line in bench.engine.read_logs(id)}
    assert times["old"] is not None
    since = times["old"] + timedelta(seconds=1.5)
    assert [line.text for line in bench.engine.read_logs(id, since=since)] == ["new"]


@pytest.mark.parametrize("size", [16_384, 40_000, 200_000])
def test_a_long_line_stays_one_line(bench: Bench, size: int) -> None:
    id = ended(bench, f"print('x' * {size}); print('after')")
    assert [len(line) for line in bench.read(id)] == [size, 5]


def test_bytes_that_are_no_text_are_replaced(bench: Bench) -> None:
    id = ended(bench, r"import sys; sys.stdout.buffer.write(b'a\xff\xfeb\n\xc3\xbc\n')")
    assert bench.read(id) == ["a��b", "ü"]


def test_a_carriage_return_ends_no_line(bench: Bench) -> None:
    id = ended(bench, r"import sys; sys.stdout.write('1%\r2%\r3%\ndone')")
    assert bench.read(id) == ["1%\r2%\r3%", "done"]


def test_following_begins_at_the_start_and_ends_with_the_container(bench: Bench) -> None:
    spec = bench.spec("import time\nfor n in range(5): print(n); time.sleep(0.2)")
    id = bench.run(spec)
    assert [line.text for line in bench.engine.read_logs(id, follow=True)] == ["0", "1", "2", "3", "4"]
    assert bench.wait_exit(spec).exit_code == 0


def test_following_shows_a_line_while_the_container_runs(bench: Bench) -> None:
    id = bench.run(bench.spec(SLEEP))
    lines = bench.engine.read_logs(id, follow=True)
    assert next(lines).text == "ready"
    lines.close()  # type: ignore[attr-defined]


def test_a_log_of_nobody_is_an_error(bench: Bench) -> None:
    id = bench.create(bench.spec(SLEEP))
    bench.engine.remove_container(id)
    with pytest.raises(EngineError):
        list(bench.engine.read_logs(id))


def test_a_log_that_is_read_while_its_container_is_removed_is_whole_or_an_error(bench: Bench) -> None:
    id, read = ended(bench, "print('last words')"), []

    def read_on() -> None:
        with suppress(EngineError):
            while True:
                read.append([line.text for line in bench.engine.read_logs(id)])

    threads = [threading.Thread(target=read_on) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: read, "the first to read it")
    bench.engine.remove_container(id)
    for thread in threads:
        thread.join()
    assert [each for each in read if each != ["last words"]] == []


@contextmanager
def watching(engine: Engine) -> Iterator["queue.Queue[str]"]:
    """Collect the owners that events name, in a thread that ends with the engine's stream."""
    seen: queue.Queue[str] = queue.Queue()
    thread = threading.Thread(target=lambda: [seen.put(event.owner_uid) for event in engine.watch()])
    thread.start()
    try:
        yield seen
    finally:
        engine.close()
        thread.join(5)
        assert not thread.is_alive(), "close() must end the stream"


def await_event(seen: "queue.Queue[str]", owner: str) -> None:
    """Wait for an event of this owner; others' may come between."""
    deadline = time.monotonic() + 10
    while seen.get(timeout=max(0.01, deadline - time.monotonic())) != owner:
        pass


def await_stream(bench: Bench, seen: "queue.Queue[str]") -> None:
    """Wait until the stream is open: until it tells of something that happens again and again."""

    def poke() -> bool:
        other = bench.stranger()
        spec = other.spec("pass", name="poke")
        other.engine.remove_container(other.run(spec))
        return not seen.empty()

    wait_for(poke, "the stream to open", 20)


def drain(seen: "queue.Queue[str]") -> None:
    """Forget what has come, until nothing more comes for a moment."""
    try:
        while seen.get(timeout=1):
            pass
    except queue.Empty:
        return


def test_start_exit_and_removal_wake_up_and_the_new_state_is_seen(bench: Bench) -> None:
    watcher = open_engine(bench.kind, bench.directory / "engine")
    with watching(watcher) as seen:
        await_stream(bench, seen)
        spec = bench.spec(SLEEP)
        id = bench.run(spec)
        await_event(seen, bench.owner)
        drain(seen)
        bench.engine.kill_container(id)
        await_event(seen, bench.owner)
        assert bench.see(spec).state is ContainerState.EXITED, "a reader woken by the event must find the end"
        drain(seen)
        bench.engine.remove_container(id)
        await_event(seen, bench.owner)
        assert bench.find(spec) is None


@pytest.mark.needs("network-events")
def test_a_network_s_removal_wakes_up(bench: Bench) -> None:
    watcher = open_engine(bench.kind, bench.directory / "engine")
    with watching(watcher) as seen:
        await_stream(bench, seen)
        network = bench.make_network()
        watcher.observe(bench.owner)
        drain(seen)
        bench.engine.remove_network(network.id)
        await_event(seen, bench.owner)


def test_close_ends_a_silent_watch_at_once(bench: Bench) -> None:
    watcher = open_engine(bench.kind, bench.directory / "engine")
    opened, done = threading.Event(), threading.Event()

    def watch() -> None:
        stream = watcher.watch()
        opened.set()
        for _ in stream:
            pass
        done.set()

    thread = threading.Thread(target=watch)
    thread.start()
    assert opened.wait(5)
    watcher.close()
    assert done.wait(5)
    thread.join(5)


def test_close_ends_a_log_that_is_followed(bench: Bench) -> None:
    reader = open_engine(bench.kind, bench.directory / "engine")
    id = bench.run(bench.spec(SLEEP))
    lines: queue.Queue[str] = queue.Queue()
    thread = threading.Thread(target=lambda: [lines.put(line.text) for line in reader.read_logs(id, follow=True)])
    thread.start()
    assert lines.get(timeout=10) == "ready"
    started = time.monotonic()
    reader.close()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - started < 2
