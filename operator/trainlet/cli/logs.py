"""`trainlet logs NAME`: the logs of a job's nodes, once or followed."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from trainlet.cli.explain import describe_state, explain_state, get_end
from trainlet.cli.options import add_operator_options, build_converter, read_settings
from trainlet.cli.resources import TRAIN_JOBS, Resource, read_job
from trainlet.cli.targets import build_not_found, parse_job_name
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine
from trainlet.kube.errors import ApiError, EngineError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, format_micro_time, get_metadata
from trainlet.logs.lines import KeptLogs
from trainlet.logs.reader import JobState, LogReader, NodeLine
from trainlet.settings import Settings, get_surroundings, parse_duration

_COLORS = (36, 33, 32, 35, 34, 31)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("name", metavar="NAME", help="a TrainJob's name")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--node", type=int, metavar="N", help="only this node (its rank)")
    which.add_argument("--step", metavar="STEP", help="only this step: node-0, dataset-initializer, ...")
    parser.add_argument("-c", "--container", metavar="NAME", help="this container of the pods, not the one that trains")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job is finished")
    parser.add_argument("-p", "--previous", action="store_true", help="of the attempt before the last restart")
    parser.add_argument("--tail", type=build_converter(_parse_tail), metavar="N", help="only each node's last lines")
    parser.add_argument(
        "--since", type=build_converter(parse_duration), metavar="DURATION", help="only lines not older: 30s, 5m, 2h"
    )
    parser.add_argument("--timestamps", action="store_true", help="with the time of each line")
    add_operator_options(parser, ("container_runtime", "container_host"))


def _parse_tail(text: str) -> int | None:
    if text == "-1":
        return None
    if not text.isdigit():
        raise ValueError(f"{text!r} is not a number of lines")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print the logs."""
    settings = read_settings(args)
    job = _get_job(settings, parse_job_name(args.name))
    choose = partial(_choose_steps, node=args.node, step=args.step, container=args.container)
    steps = choose(job)
    engine, problem = _open_engine(settings, job)
    printer = _Printer(args.timestamps, with_steps=args.node is None and args.step is None, is_live=args.follow)
    try:
        reader = _build_reader(settings, job, engine, args)
        reader.problem = problem
        _print_present(reader, printer, job, steps, args)
        if args.follow and not args.previous:
            printer.print_all(reader.follow(lambda: _read_state(settings, job, choose)))
    finally:
        if engine is not None:
            engine.close()
    return 0


def _get_job(settings: Settings, name: str) -> Resource:
    job = read_job(settings, settings.namespace, name)
    if job is None:
        raise build_not_found(TRAIN_JOBS, [name], settings.namespace, settings)
    if job.wire.get("kind") != TRAIN_JOBS.kind:
        raise ApiError(f"trainjob {name} never ran: {explain_state(job)}", remedy=f"see trainlet describe tj {name}")
    return job


def _build_reader(settings: Settings, job: Resource, engine: Engine | None, args: argparse.Namespace) -> LogReader:
    since = datetime.now(UTC) - timedelta(seconds=args.since) if args.since is not None else None
    kept = KeptLogs(StatusDir(settings.status_path), job.namespace, job.name)
    return LogReader(engine, str(get_metadata(job.wire).get("uid")), kept, tail=args.tail, since=since)


def _print_present(
    reader: LogReader, printer: "_Printer", job: Resource, steps: Sequence[str], args: argparse.Namespace
) -> None:
    """Print what there is now, and say why if that is nothing or may not be all."""
    if args.previous:
        printer.print_all(reader.read_previous(steps))
    else:
        printer.print_all(reader.read_present(steps, following=args.follow))
    if reader.problem is not None:
        _settle_problem(reader.problem, printer, is_going_on=args.follow and not get_end(job))
    elif not printer.count and not args.follow:
        which = "log of an earlier attempt" if args.previous else "log"
        print(f"trainjob {job.name} has no {which}: it is {describe_state(job)}", file=sys.stderr)


def _settle_problem(problem: EngineError, printer: "_Printer", *, is_going_on: bool) -> None:
    """Be content with kept logs where there are any; else the engine's error is the answer."""
    if not printer.count and not is_going_on:
        raise problem
    print(f"warning: only kept logs are shown: {problem}", file=sys.stderr)


def _read_state(settings: Settings, job: Resource, choose: Callable[[Resource], list[str]]) -> JobState:
    """Look at the job again; one that is gone, or is another one by now, is over."""
    now = read_job(settings, job.namespace, job.name)
    if now is None or get_metadata(now.wire).get("uid") != get_metadata(job.wire).get("uid"):
        return JobState(choose(job), is_over=True)
    return JobState(choose(now), is_over=bool(get_end(now)))


def _choose_steps(job: Resource, *, node: int | None, step: str | None, container: str | None) -> list[str]:
    """Return the steps to show. Raises ApiError when what is asked for is not there."""
    nodes = job.report.get("nodes") or []
    chosen = _choose_nodes(job, nodes, node, step)
    if container is None:
        return chosen
    parts = [part for each in nodes if each["name"] in chosen for part in each.get("containers") or ()]
    found = [str(part["step"]) for part in parts if part["name"] == container]
    if nodes and not found:
        names = ", ".join(dict.fromkeys(str(part["name"]) for part in parts))
        raise ApiError(
            f"trainjob {job.name} has no container {container}",
            code=404,
            reason="NotFound",
            where=f"namespace {job.namespace}",
            remedy=f"it has {names}" if names else "its pods have one container each: leave -c out",
        )
    return found


def _choose_nodes(job: Resource, nodes: Sequence[JSON], node: int | None, step: str | None) -> list[str]:
    steps = [str(each.get("name")) for each in nodes]
    if node is None and step is None:
        return steps
    wanted = step or next((each["name"] for each in nodes if _is_node(each, node)), f"node-{node}")
    if steps and wanted not in steps:
        raise ApiError(
            f"trainjob {job.name} has no step {wanted}",
            code=404,
            reason="NotFound",
            where=f"namespace {job.namespace}",
            remedy=f"it has {', '.join(steps)}",
        )
    return [wanted]


def _is_node(node: JSON, rank: int | None) -> bool:
    return node.get("rank") == rank and not str(node.get("name")).endswith("-initializer")


def _open_engine(settings: Settings, job: Resource) -> tuple[Engine | None, EngineError | None]:
    """Return the engine that flags name, else the one the job is on, else the one that is found; or why not."""
    from trainlet.engine.detect import find_engine

    runtime, host = settings.container_runtime, settings.container_host
    if runtime is None and host is None:
        runtime = find(job.report, "engine", "name")
        host = None if runtime == "process" else find(job.report, "engine", "endpoint")
    try:
        return find_engine(runtime, host, get_surroundings()), None
    except EngineError as error:
        return None, error


class _Printer:
    """Prints lines, each with its step, on a terminal in a color for each; counts them."""

    def __init__(self, with_times: bool, *, with_steps: bool, is_live: bool) -> None:
        self._with_times, self._with_steps, self._is_live = with_times, with_steps, is_live
        self._is_colored = sys.stdout.isatty() and "NO_COLOR" not in get_surroundings().environ
        self._colors: dict[str, int] = {}
        self.count = 0

    def print_all(self, lines: Iterable[NodeLine]) -> None:
        """Print the lines as they come."""
        for step, line in lines:
            time = f"{format_micro_time(line.time)} " if self._with_times and line.time else ""
            prefix = f"{self._paint(step)} " if self._with_steps else ""
            print(f"{prefix}{time}{line.text}", flush=self._is_live)
            self.count += 1

    def _paint(self, step: str) -> str:
        if not self._is_colored:
            return f"[{step}]"
        color = self._colors.setdefault(step, _COLORS[len(self._colors) % len(_COLORS)])
        return f"\x1b[{color}m[{step}]\x1b[0m"
