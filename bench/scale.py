"""What a directory with very many objects costs, measured here on the process engine, whole programs at a time.

    .venv/bin/python bench/scale.py                    10 objects against 10,000
    .venv/bin/python bench/scale.py --objects 1000     10 against 1,000; seconds instead of minutes
    .venv/bin/python bench/scale.py --queued 1000      also this many jobs dropped at once, until the last is complete

The objects are finished jobs, as an operator left them: one is run, and copies of its manifest and of its status
documents stand for the others. Then, for both numbers of objects:

- start: from the program's start to the status of a job that was dropped before it; beside it the processor time
- memory: resident, after the start, and what each object adds to the smaller directory's
- idle: processor time of a second in which nothing happens, in % of one core
- one edit: a job's file is replaced; processor time, and the wait for the status that tells it
- one node event: a running node is killed; processor time, and the wait for the report that tells it
- get: `trainlet get tj` as a process of its own; `get JOB` likewise; `get tj` without the start of a process

Figures are medians, with the least and the most of the repeats in brackets.
"""

import argparse
import compileall
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from engines import KINDS  # noqa: E402
from trainlet.cli.main import main as run_verb  # noqa: E402
from trainlet.kube.meta import JSON  # noqa: E402
from trainlet.registry import build_digest  # noqa: E402
from waiting import wait_for  # noqa: E402
from world import COMMAND, TRAINLET, World, build_train_job  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
SEED = "seed-00000"
PATIENCE_SECONDS = 1200.0
MOST_RESTARTS = 5  # a node that ends once more has failed for good
SLEEP = ["python3", "-c", "import time; time.sleep(600)"]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    parser.add_argument("--queued", type=int, default=0)
    args = parser.parse_args()
    compileall.compile_dir(str(ROOT / "operator"), quiet=1)  # as it is where trainlet is installed
    counts = (10, args.objects)
    columns = [with_world(lambda world, n=n: measure(world, n, args)) for n in counts]  # type: ignore[misc]
    added = (columns[1].memory_kb - columns[0].memory_kb) / (counts[1] - counts[0])
    print(f"| | {counts[0]:,} objects | {counts[1]:,} objects | ratio |\n| --- | ---: | ---: | ---: |")
    for name, few in columns[0].rows.items():
        many = columns[1].rows[name]
        ratio = statistics.median(many) / (statistics.median(few) or float("nan"))
        print(f"| {name} | {describe(few)} | {describe(many)} | {ratio:.2f} |")
    print(f"\nEach object adds {added:.2f} KB of memory.")
    if args.queued:
        print(with_world(lambda world: time_queue(world, args.queued)))


class Column:
    """What was measured with one number of objects."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}
        self.memory_kb = 0.0


def with_world(measure_world: "Callable[[World], T]") -> "T":  # type: ignore[name-defined] # noqa: F821
    """Run a measurement in a world of its own."""
    directory = Path(tempfile.mkdtemp(prefix="trainlet-bench-"))
    world = World(KINDS["process"], directory)
    try:
        return measure_world(world)
    finally:
        world.close()
        shutil.rmtree(directory, ignore_errors=True)


def measure(world: World, count: int, args: argparse.Namespace) -> Column:
    """Return all figures of one directory."""
    column = Column()
    populate(world, count)
    world.drop(build_job("edited", suspend=True))
    began = time.monotonic()
    operator = world.start("--restart-backoff", "0s", prefix=COMMAND).pid
    wait_for(lambda: world.report("edited").get("phase") == "Suspended", "the start", PATIENCE_SECONDS)
    column.rows["start (s)"] = [time.monotonic() - began]
    settle(operator)
    column.rows["start, processor time (s)"] = [read_seconds(operator)]
    column.memory_kb = read_memory_kb(operator)
    column.rows["memory (MB)"] = [column.memory_kb / 1024]
    before = read_seconds(operator)
    time.sleep(args.idle_seconds)
    column.rows["idle (% of a core)"] = [100 * (read_seconds(operator) - before) / args.idle_seconds]
    edits = [time_edit(world, operator, number) for number in range(args.repeats)]
    column.rows["one edit, processor time (ms)"], column.rows["one edit, until told (ms)"] = transpose(edits)
    world.drop(build_job("running", command=SLEEP))
    world.wait_phase("running", "Running")
    settle(operator)
    events = [time_event(world, operator) for _ in range(min(args.repeats, MOST_RESTARTS))]
    column.rows["one node event, processor time (ms)"], column.rows["one node event, until told (ms)"] = transpose(
        events
    )
    column.rows["get tj (ms)"] = [time_verb(world, "get", "tj") for _ in range(args.repeats)]
    column.rows["get tj JOB (ms)"] = [time_verb(world, "get", "tj", "edited") for _ in range(args.repeats)]
    column.rows["get tj, without its start (ms)"] = [time_listing(world) for _ in range(args.repeats)]
    return column


def build_job(name: str, command: Iterable[str] = ("true",), **spec: object) -> JSON:
    """Return a job of one node."""
    job = build_train_job(name, 1, list(command), **spec)
    del job["spec"]["trainer"]["image"]
    return job


def populate(world: World, count: int) -> None:
    """Leave so many finished jobs behind, as if an operator had run them all."""
    manifest = world.drop(build_job(SEED))
    world.start(once=True, prefix=COMMAND).wait(60)
    uid = world.job(SEED)["metadata"]["uid"]
    status = world.status.root / "default"
    texts = {path.relative_to(status): path.read_text() for path in status.rglob("*") if path.is_file()}
    files = {manifest: manifest.read_text()} | {status / path: text for path, text in texts.items()}
    digest = build_digest(manifest.read_bytes(), "default")
    for number in range(1, count):
        name, own = f"copy-{number:05}", f"{number:08x}{uid[8:]}"
        its = build_digest(manifest.read_bytes().replace(SEED.encode(), name.encode()), "default")
        for path, text in files.items():
            copy = Path(str(path).replace(SEED, name))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text.replace(SEED, name).replace(uid, own).replace(digest, its))


def settle(operator: int) -> None:
    """Wait until a program does nothing but look for news."""

    def is_calm() -> bool:
        before = read_seconds(operator)
        time.sleep(2)
        return read_seconds(operator) - before < 0.2

    wait_for(is_calm, "the operator to come to rest", PATIENCE_SECONDS)


def time_edit(world: World, operator: int, number: int) -> tuple[float, float]:
    """Return processor time and wait, in ms, of one edit."""

    def is_told() -> bool:
        return bool(world.job("edited")["metadata"].get("labels") == labels)

    labels, job = {"edit": str(number)}, build_job("edited", suspend=True)
    job["metadata"]["labels"] = labels
    return time_change(operator, lambda: world.drop(job), is_told)


def time_event(world: World, operator: int) -> tuple[float, float]:
    """Return processor time and wait, in ms, of one node's end; then the node runs again."""
    restarts = world.report("running")["restarts"]
    victim = world.running("running")[0]
    figures = time_change(
        operator, lambda: world.engine.kill_container(victim.id), lambda: world.report("running")["restarts"] > restarts
    )
    world.wait_phase("running", "Running")
    return figures


def time_change(operator: int, change: Callable[[], object], is_told: Callable[[], bool]) -> tuple[float, float]:
    """Return processor time, all that follows in the next second included, and wait, in ms, of one change."""
    before, began = read_seconds(operator), time.monotonic()
    change()
    wait_for(is_told, "the status that tells of a change", 60)
    told = time.monotonic() - began
    time.sleep(max(0.0, 1.0 - told))
    return 1000 * (read_seconds(operator) - before), 1000 * told


def time_verb(world: World, *words: str) -> float:
    """Return how long a verb takes, in ms, its start included."""
    began = time.monotonic()
    subprocess.run([TRAINLET, *words], env=world.environ, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (time.monotonic() - began)


def time_listing(world: World) -> float:
    """Return how long it takes, in ms, until all jobs are listed by a program that runs already."""
    began = time.monotonic()
    with redirect_stdout(StringIO()):
        assert run_verb(["get", "tj", "--dir", str(world.jobs)]) == 0
    return 1000 * (time.monotonic() - began)


def time_queue(world: World, count: int) -> str:
    """Drop very many jobs at once, and say how long it takes until all are complete."""
    for number in range(count):
        world.drop(build_job(f"queued-{number:05}"))
    began = time.monotonic()
    exit_code = world.start(once=True, prefix=COMMAND).wait(PATIENCE_SECONDS)
    phases = {world.report(f"queued-{number:05}").get("phase") for number in range(count)}
    return f"\n{count:,} jobs at once: {time.monotonic() - began:.1f} s, exit {exit_code}, phases {phases}."


def read_seconds(pid: int) -> float:
    """Return the processor time that a program has used, that of the processes it started left out."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def read_memory_kb(pid: int) -> float:
    """Return the resident memory of a program."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def transpose(pairs: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the first and the second of all pairs."""
    first, second = zip(*pairs, strict=True)
    return list(first), list(second)


def describe(figures: list[float]) -> str:
    """Return the median of figures and, of several, their range."""
    spread = f" ({min(figures):.1f} to {max(figures):.1f})" if len(figures) > 1 else ""
    return f"{statistics.median(figures):.1f}{spread}"


if __name__ == "__main__":
    main()
