"""`trainlet validate PATH...`: would the operator take these files? Nothing is run and nothing is written."""

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainlet.cli.inputs import read_inputs
from trainlet.cli.options import ADMISSION_OPTIONS, add_operator_options, read_settings
from trainlet.settings import get_environ

if TYPE_CHECKING:
    from trainlet.cli.inputs import Input
    from trainlet.cli.reading import Verdict
    from trainlet.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, a directory, or - for standard input")
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml", "github"), help="for machines")
    parser.add_argument("--color", default="auto", choices=("auto", "always", "never"), help="colour for people")
    parser.add_argument("--old", metavar="FILE", help="admit the documents as updates of the objects in this file")
    add_operator_options(parser, ADMISSION_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Admit every document; return 0 if all are accepted, else 1."""
    settings = read_settings(args)
    gc.disable()  # all that is parsed is kept to the end; to look through it for garbage costs a fifth of the time
    try:
        verdicts = _judge(read_inputs(args.paths, settings), settings, args.old)
    finally:
        gc.enable()
    for line in _render(verdicts, args.output, args.color):
        print(line)
    if not verdicts and args.output not in ("json", "yaml"):
        print(f"nothing to validate in {', '.join(args.paths)}", file=sys.stderr)
    return 0 if all(verdict.admitted for verdict in verdicts) else 1


def _judge(inputs: "Sequence[Input]", settings: "Settings", old: str | None) -> "list[Verdict]":
    from trainlet.cli.reading import parse_inputs

    parsed = parse_inputs(inputs)
    if all(verdict.errors for verdict in parsed):
        return parsed  # a file that cannot be read is refused without all that admission loads
    from trainlet.cli.admission import admit_inputs, open_registry, read_stored

    registry = open_registry(settings, inputs)
    return admit_inputs(parsed, registry, read_stored(old, registry, settings) if old else {})


def _render(verdicts: "Sequence[Verdict]", output: str, color: str) -> list[str]:
    from trainlet.cli.output import dump
    from trainlet.cli.verdicts import choose_palette, render_verdict, write_annotations, write_verdict

    if output == "github":
        return [line for verdict in verdicts for line in write_annotations(verdict)]
    if output:
        return [dump([write_verdict(verdict) for verdict in verdicts], output)]
    palette = choose_palette(color, get_environ(), is_terminal=sys.stdout.isatty())
    return [line for verdict in verdicts for line in render_verdict(verdict, palette)]
