"""`trainlet doctor`: what stands between a manifest and its training on this machine, each with a remedy."""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from trainlet.cli.options import add_operator_options, read_settings
from trainlet.cli.output import dump
from trainlet.doctor.checks import examine
from trainlet.doctor.machine import Finding, Level, Machine
from trainlet.engine.base import EngineUnavailable
from trainlet.engine.detect import find_engine, probe_engines
from trainlet.settings import Settings, get_surroundings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml"), help="for machines")
    add_operator_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print what each check found; return 1 if one failed."""
    with ExitStack() as opened:
        findings = list(examine(_look(read_settings(args), opened)))
    if args.output:
        print(dump([_write(check, finding) for check, finding in findings], args.output))
    else:
        print("\n".join(_render(findings)))
    return 1 if any(finding.level is Level.FAIL for _, finding in findings) else 0


def _look(settings: Settings, opened: ExitStack) -> Machine:
    """Look for engines; the one that is used is closed with `opened`."""
    around = get_surroundings()
    wanted = settings.container_runtime, settings.container_host, around
    with ThreadPoolExecutor(1) as pool:
        # Beside the search, because each waits where an engine hangs.
        attempts = pool.submit(probe_engines, *wanted)
        try:
            engine = opened.enter_context(closing(find_engine(*wanted)))
        except EngineUnavailable as error:
            return Machine(settings, around, attempts.result(), complaint=str(error))
        return Machine(settings, around, attempts.result(), engine)


def _write(check: str, finding: Finding) -> dict[str, str]:
    return {"check": check, "level": str(finding.level), "message": finding.message, "remedy": finding.remedy}


def _render(findings: Sequence[tuple[str, Finding]]) -> list[str]:
    width = max(len(check) for check, _ in findings)
    lines = []
    for check, finding in findings:
        lines.append(f"{finding.level:<4}  {check:<{width}}  {finding.message}")
        if finding.remedy:
            lines.append(f"{'':<{width + 6}}  -> {finding.remedy}")
    return lines
