"""What open streams of the API cost, and how soon they tell: whole programs, over TLS, on the process engine.

    .venv/bin/python bench/streams.py                  200 watches of jobs and 20 followers of one node's log

- memory: resident, of the operator, before and with the streams; what each adds. The followers' node writes a line
  every 0.1 s.
- latency: from an edit of a file to the event of it at each watch; 20 edits, one after the other.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]

from api import JOBS, Api  # noqa: E402
from scale import build_job, read_memory_kb, settle  # noqa: E402

from engines import KINDS  # noqa: E402
from waiting import wait_for  # noqa: E402
from world import World  # noqa: E402

TALK = "import time\nwhile True: print(time.time(), flush=True); time.sleep(0.1)"
EDITS = 20


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watches", type=int, default=200)
    parser.add_argument("--followers", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trainlet-bench-") as directory:
        world = World(KINDS["process"], Path(directory))
        try:
            measure(world, args.watches, args.followers)
        finally:
            world.close()


def measure(world: World, watches: int, followers: int) -> None:
    """Open the streams of each kind in turn."""
    api = Api(world)
    operator = api.operator
    world.drop(build_job("talker", ["python3", "-c", TALK]))
    world.drop(build_job("edited", suspend=True))
    world.wait_phase("talker", "Running")
    items = json.load(api.open("/api/v1/namespaces/default/pods"))["items"]
    version = json.load(api.open(JOBS))["metadata"]["resourceVersion"]
    settle(operator)
    print("| streams | memory before (MB) | with them (MB) | each (KB) |\n| --- | ---: | ---: | ---: |")
    before = read_memory_kb(operator)
    streams = [api.open(f"{JOBS}?watch=true&resourceVersion={version}") for _ in range(watches)]
    latencies = time_events(world, streams)
    tell(f"{watches} watches", operator, before, watches)
    before = read_memory_kb(operator)
    path = f"/api/v1/namespaces/default/pods/{items[0]['metadata']['name']}/log?follow=true"
    for each in [api.open(path) for _ in range(followers)]:
        threading.Thread(target=read, args=(each, lambda _: None), daemon=True).start()
    time.sleep(5)
    tell(f"{followers} followers of a log", operator, before, followers)
    ordered = sorted(latencies)
    print(
        f"\nFrom an edit to its event at each of {watches} watches, in ms: median {statistics.median(ordered):.0f},"
        f" 99th percentile {ordered[int(len(ordered) * 0.99)]:.0f}."
    )


def read(stream: http.client.HTTPResponse, use: Callable[[bytes], object]) -> None:
    """Read lines until the operator ends."""
    with suppress(http.client.IncompleteRead, OSError):
        for line in stream:
            use(line)


def tell(name: str, operator: int, before: float, count: int) -> None:
    """Print one row."""
    after = read_memory_kb(operator)
    print(f"| {name} | {before / 1024:.1f} | {after / 1024:.1f} | {(after - before) / count:.1f} |", flush=True)


def time_events(world: World, streams: list[http.client.HTTPResponse]) -> list[float]:
    """Return, in ms, how long each event of each edit took to each stream."""
    seen: list[list[float]] = [[] for _ in streams]

    def note(line: bytes, times: list[float]) -> None:
        if json.loads(line)["object"]["metadata"]["name"] == "edited":
            times.append(time.monotonic())

    for stream, times in zip(streams, seen, strict=True):
        threading.Thread(target=read, args=(stream, partial(note, times=times)), daemon=True).start()
    latencies = []
    for number in range(EDITS):
        job = build_job("edited", suspend=True)
        job["metadata"]["labels"] = {"edit": str(number)}
        began = time.monotonic()
        world.drop(job)
        wait_for(lambda n=number: all(len(times) > n for times in seen), "an event at every watch", 30)  # type: ignore[misc]
        latencies += [1000 * (times[number] - began) for times in seen]
    return latencies


if __name__ == "__main__":
    main()
