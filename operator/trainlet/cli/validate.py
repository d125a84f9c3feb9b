"""`trainlet validate PATH...`: would the operator take these files? Nothing is run and nothing is written."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainlet.cli.inputs import read_inputs
from trainlet.cli.options import ADMISSION_OPTIONS, add_operator_options, read_settings
from trainlet.settings import get_surroundings

if TYPE_CHECKING:
    from trainlet.cli.admission import Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, a directory, or - for standard input")
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml", "github"), help="for machines")
    parser.add_argument("--color", default="auto", choices=("auto", "always", "never"), help="colour for people")
    parser.add_argument("--old", metavar="FILE", help="admit the documents as updates of the objects in this file")
    add_operator_options(parser, ADMISSION_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Admit every document; return 0 if all are accepted, else 1."""
    from trainlet.cli.admission import admit_inputs, open_registry, read_stored

    settings = read_settings(args)
    inputs = read_inputs(args.paths, settings)
    registry = open_registry(settings, inputs)
    stored = read_stored(args.old, registry, settings) if args.old else {}
    verdicts = admit_inputs(inputs, registry, stored)
    for line in _render(verdicts, args.output, args.color):
        print(line)
    if not verdicts and args.output not in ("json", "yaml"):
        print(f"nothing to validate in {', '.join(args.paths)}", file=sys.stderr)
    return 0 if all(verdict.admitted for verdict in verdicts) else 1


def _render(verdicts: "Sequence[Verdict]", output: str, color: str) -> list[str]:
    from trainlet.cli.output import dump
    from trainlet.cli.verdicts import choose_palette, render_verdict, write_annotations, write_verdict

    if output == "github":
        return [line for verdict in verdicts for line in write_annotations(verdict)]
    if output:
        return [dump([write_verdict(verdict) for verdict in verdicts], output)]
    palette = choose_palette(color, get_surroundings().environ, is_terminal=sys.stdout.isatty())
    return [line for verdict in verdicts for line in render_verdict(verdict, palette)]
