"""What is claimed about speed, measured here: trainlet against the engine's own floor and the Kubeflow SDK.

    make bench                                       every engine that answers; bench/RESULTS.md is written anew
    make bench ARGS="--repeats 5 --nodes 2,4"        the same, of less
    make bench ARGS="--no-write"                     only printed

The contestants of one table are measured one after the other in random order, and so again for each repeat, on the
same images, with nothing to pull. Figures are medians in seconds, with the least and the most in brackets.
"""

import argparse
import compileall
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]

from api import Api  # noqa: E402
from contestants import Contestant, Floor, Sdk, Trainlet  # noqa: E402

from engines import KINDS, EngineKind, engine_urls, open_engine  # noqa: E402
from world import World  # noqa: E402

RESULTS = ROOT / "bench" / "RESULTS.md"
FLOOR, OURS, SDK = "engine's floor", "trainlet", "Kubeflow SDK"
BY_API = "trainlet, through its API"
#: The columns that compare two of the contestants.
Ratios = Sequence[tuple[str, str]]
RATIOS: Ratios = ((OURS, FLOOR), (OURS, SDK))
DELETION_RATIOS: Ratios = ((OURS, FLOOR), (BY_API, FLOOR), (OURS, SDK))


def main() -> None:
    """Print, and keep, the tables of every engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nodes", default="1,2,4,8,16,32")
    parser.add_argument("--engines", default="docker,podman")
    parser.add_argument("--no-write", dest="write", action="store_false")
    args = parser.parse_args()
    compileall.compile_dir(str(ROOT / "operator"), quiet=1)  # as it is where trainlet is installed
    lines = [f"# Results of `make bench`\n\n{describe_machine()}\n"]
    # Not rootless: the SDK keeps its jobs' directories in the home of whoever measures, where no other user may look.
    for name in sorted(engine_urls().keys() & set(args.engines.split(",")) & {"docker", "podman"}):
        for line in measure(KINDS[name], [int(n) for n in args.nodes.split(",")], args.repeats):
            print(line, flush=True)
            lines.append(line)
            if args.write:  # so that what was measured is there if the rest is not waited for
                RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def describe_machine() -> str:
    """Say when and where this was measured."""
    facts = Path("/proc/cpuinfo").read_text().split("\n\n")
    model = next((line.partition(":")[2].strip() for line in facts[0].splitlines() if "model name" in line), "")
    where = f"{time.strftime('%Y-%m-%d')}, {platform.platform(terse=True)}, {len(facts) - 1} x {model}"
    return f"{where}. Medians in seconds [least, most]; ratios are of medians."


def measure(kind: EngineKind, node_counts: Sequence[int], repeats: int) -> Iterator[str]:
    """Yield the lines of all tables of one engine."""
    with open_contestants(kind) as (floor, trainlet, by_api, sdk):
        everybody: dict[str, Contestant] = {FLOOR: floor, OURS: trainlet, SDK: sdk}
        yield f"\n## {kind.name} {floor.version}\n"
        yield "### From asking for a job to all of its nodes running\n"
        yield from print_head("nodes", everybody)
        for nodes in node_counts:
            yield compare(str(nodes), everybody, lambda each, n=nodes: each.start(n), repeats)  # type: ignore[misc]
        yield "\n### A torch job over gloo, from asking for it to its completion\n"
        yield from print_head("nodes", everybody)
        for nodes in (2, 4):
            yield compare(str(nodes), everybody, lambda each, n=nodes: each.train(n), repeats)  # type: ignore[misc]
        yield "\n### From deleting a running job, its file or through the API, to nothing left of it\n"
        everybody[BY_API] = by_api
        yield from print_head("nodes", everybody, DELETION_RATIOS)
        for nodes in (1, 4):
            yield compare(str(nodes), everybody, partial(time_deletion, nodes), repeats, DELETION_RATIOS)
        yield "\n### From the last node's last act to hearing of it\n"
        yield "| engine's event, one container | trainlet: terminal condition on disk | ratio |\n| ---: | ---: | ---: |"
        yield time_ends(floor, trainlet, repeats)


@contextmanager
def open_contestants(kind: EngineKind) -> Iterator[tuple[Floor, Trainlet, Trainlet, Sdk]]:
    """Prepare all contestants for one engine, and clean up after them."""
    directory = Path(tempfile.mkdtemp(prefix="trainlet-bench-"))
    directory.chmod(0o755)
    world = World(kind, directory)
    try:
        api = Api(world)
        trainlet, by_api = Trainlet(world, "bench"), Trainlet(world, "bench-api", api.delete)
        yield Floor(open_engine(kind, directory)), trainlet, by_api, Sdk(kind, engine_urls()[kind.name])
    finally:
        world.close()
        shutil.rmtree(directory, ignore_errors=True)


def compare(
    name: str,
    everybody: Mapping[str, Contestant],
    run: Callable[[Contestant], float],
    repeats: int,
    ratios: Ratios = RATIOS,
) -> str:
    """Return one row: each contestant measured so often, in an order drawn anew each time."""
    series: dict[str, list[float]] = {who: [] for who in everybody}
    for _ in range(repeats):
        for who, contestant in random.sample(sorted(everybody.items()), len(everybody)):
            try:
                series[who].append(run(contestant))
            finally:
                contestant.clean()
    return print_row(name, series, ratios)


def time_deletion(nodes: int, contestant: Contestant) -> float:
    """Return how long it takes to delete a job that runs."""
    contestant.start(nodes)
    time.sleep(1)  # python takes a while to be one that SIGTERM ends
    return contestant.delete()


def time_ends(floor: Floor, trainlet: Trainlet, repeats: int) -> str:
    """Return the row of the times from an end to the word of it."""
    told: list[float] = []
    written: list[float] = []
    for _ in range(2 * repeats):
        with tempfile.TemporaryDirectory(prefix="trainlet-bench-") as directory:
            told.append(floor.tell_end(Path(directory)))
        floor.clean()
        written.append(trainlet.tell_end())
        trainlet.clean()
    return f"| {describe(told)} | {describe(written)} | {statistics.median(written) / statistics.median(told):.2f} |"


def print_head(first: str, everybody: Mapping[str, Contestant], ratios: Ratios = RATIOS) -> Iterator[str]:
    """Yield the head of a table of contestants."""
    columns = [first, *everybody, *(f"{one} / {other}" for one, other in ratios)]
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---:' for _ in columns)} |"


def print_row(name: str, series: Mapping[str, list[float]], ratios: Ratios) -> str:
    """Return one row of such a table."""
    medians = {who: statistics.median(figures) for who, figures in series.items()}
    compared = [f"{medians[one] / medians[other]:.2f}" for one, other in ratios]
    return f"| {' | '.join([name, *map(describe, series.values()), *compared])} |"


def describe(figures: Sequence[float]) -> str:
    """Return the median of figures and their range."""
    return f"{statistics.median(figures):.2f} [{min(figures):.2f}, {max(figures):.2f}]"


if __name__ == "__main__":
    main()
