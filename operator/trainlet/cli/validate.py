"""`trainlet validate PATH...`: would the operator take these files? Nothing is run and nothing is written."""

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trainlet.cli.inputs import read_inputs
from trainlet.cli.options import ADMISSION_OPTIONS, add_operator_options, read_settings
from trainlet.cli.side_by_side import MANY, Outcome, judge_side_by_side
from trainlet.settings import get_environ

if TYPE_CHECKING:
    from trainlet.cli.inputs import Input
    from trainlet.cli.reading import Verdict
    from trainlet.cli.side_by_side import Write
    from trainlet.settings import Settings

#: What gives one list of all verdicts.
_LISTS = ("json", "yaml")


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
        write = _choose_form(args.output, args.color, settings.allow_unsafe_files)
        outcomes = _judge(read_inputs(args.paths, settings), settings, args.old, write)
    finally:
        gc.enable()
    for line in _render(outcomes, args.output):
        print(line)
    if not outcomes and args.output not in _LISTS:
        print(f"nothing to validate in {', '.join(args.paths)}", file=sys.stderr)
    return 0 if all(outcome.is_accepted for outcome in outcomes) else 1


def _judge(inputs: "Sequence[Input]", settings: "Settings", old: str | None, write: "Write") -> "list[Outcome]":
    from trainlet.cli.reading import parse_inputs

    if len(inputs) < MANY:
        parsed = parse_inputs(inputs)
        if all(verdict.errors for verdict in parsed):
            return [write(verdict) for verdict in parsed]  # they are refused without all that admission loads
    from trainlet.cli.admission import admit_inputs, open_registry, read_stored

    registry = open_registry(settings, inputs)
    if len(inputs) >= MANY and not old and (outcomes := judge_side_by_side(inputs, registry, write)) is not None:
        return outcomes
    stored = read_stored(old, registry, settings) if old else {}
    return [write(verdict) for verdict in admit_inputs(parse_inputs(inputs), registry, stored)]


def _choose_form(output: str, color: str, trusting: bool) -> "Write":
    """Return what writes a verdict down in the form that was asked for."""
    from trainlet.cli.verdicts import choose_palette, render_verdict, write_annotations, write_verdict

    palette = choose_palette(color, get_environ(), is_terminal=sys.stdout.isatty())
    forms: dict[str, Callable[[Verdict], object]] = {"github": write_annotations, "json": write_verdict}
    form = forms["json" if output in _LISTS else output] if output else partial(render_verdict, palette=palette)
    return partial(_write, form, trusting)


def _write(form: "Callable[[Verdict], object]", trusting: bool, verdict: "Verdict") -> Outcome:
    key = verdict.key if verdict.key and verdict.key.name else None
    return Outcome(key, verdict.admitted is not None, form(verdict if trusting else _warn_of_readers(verdict)))


def _warn_of_readers(verdict: "Verdict") -> "Verdict":
    """Say of a Secret that the operator would not take it from this file; in a checkout most files are like that."""
    if verdict.admitted is None or verdict.admitted.key.kind != "Secret" or not verdict.input.readers:
        return verdict
    from trainlet.documents.safe_read import build_exposed

    told = f"trainlet run will not take it: {build_exposed(Path(verdict.input.name), verdict.input.readers).detail}"
    return replace(verdict, admitted=replace(verdict.admitted, warnings=(*verdict.admitted.warnings, told)))


def _render(outcomes: "Sequence[Outcome]", output: str) -> list[str]:
    from trainlet.cli.output import dump

    if output in _LISTS:
        return [dump([outcome.written for outcome in outcomes], output)]
    return [line for outcome in outcomes for line in outcome.written]
