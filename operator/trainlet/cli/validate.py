"""`trainlet validate PATH...`: would the operator take these files? Nothing is run and nothing is written."""

import argparse
import sys

from trainlet.cli.inputs import read_inputs
from trainlet.cli.options import add_operator_options, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, a directory, or - for standard input")
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml"), help="for machines")
    parser.add_argument("--old", metavar="FILE", help="admit the documents as updates of the objects in this file")
    add_operator_options(parser, ("runtime_source",))


def run(args: argparse.Namespace) -> int:
    """Admit every document; return 0 if all are accepted, else 1."""
    from trainlet.cli.admission import admit_inputs, open_registry, read_stored
    from trainlet.cli.output import dump
    from trainlet.cli.verdicts import render_verdict, write_verdict

    settings = read_settings(args)
    inputs = read_inputs(args.paths, settings)
    registry = open_registry(settings, inputs)
    stored = read_stored(args.old, registry, settings) if args.old else {}
    verdicts = admit_inputs(inputs, registry, stored)
    if args.output:
        print(dump([write_verdict(verdict) for verdict in verdicts], args.output))
    elif verdicts:
        print("\n".join(line for verdict in verdicts for line in render_verdict(verdict)))
    else:
        print(f"nothing to validate in {', '.join(args.paths)}", file=sys.stderr)
    return 0 if all(verdict.admitted for verdict in verdicts) else 1
