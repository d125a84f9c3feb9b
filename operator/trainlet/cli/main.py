"""The console entry: argv -> one verb's `run`, and what it raises -> an exit status and one line on standard error.

Imports nothing heavy: a verb's module is loaded when the verb is used, and not before.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from trainlet.cli.options import add_global_options
from trainlet.cli.watch import get_terminal_size
from trainlet.kube.errors import ApiError, EngineError, TrainletError, UsageError

DONE, NO, USAGE, ENGINE, OTHER, INTERRUPTED = 0, 1, 2, 3, 4, 130

#: Every verb with its module of this package and its help. A module has `add_arguments(parser)` and `run(args) -> int`.
VERBS = {
    "run": ("run", "the operator: watch the directory and bring about what its files say"),
    "validate": ("validate", "admit files as the operator would, without running anything"),
    "explain": ("field_help", "say what a field of a kind is, as kubectl explain does"),
    "schema": ("schema", "write JSON Schemas for editors and offline checkers"),
    "plan": ("plan", "show the JobSet, pods, containers and networks that would be made"),
    "diff": ("diff", "show what the operator would do now, one action a line"),
    "apply": ("apply", "copy manifests into the watched directory"),
    "get": ("get", "list jobs, runtimes, pods or events"),
    "describe": ("describe", "show all of one object, the root cause of a failure first"),
    "logs": ("logs", "print the logs of a job's nodes"),
    "wait": ("wait", "wait for a condition of a job"),
    "delete": ("delete", "remove an object's manifest"),
    "suspend": ("suspend", "stop a job's nodes until it is resumed"),
    "resume": ("suspend", "let a suspended job go on"),
    "events": ("events", "list events"),
    "runtimes": ("runtimes", "list the runtimes that a TrainJob may name"),
    "kubeconfig": ("kubeconfig", "print how kubectl reaches the operator, or put it into your own kubeconfig"),
    "doctor": ("doctor", "check this machine; each failed check names its remedy"),
    "demo": ("demo", "a two-node training run from nothing, watched live"),
    "version": ("version", "print the version"),
    "completion": ("completion", "print a completion script for a shell"),
}

#: Who must act -> the exit status; the first that fits.
_STATUSES: tuple[tuple[type[BaseException], int], ...] = ((EngineError, ENGINE), (ApiError, NO), (UsageError, USAGE))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return DONE
    except Exception as error:
        return _report(error, debug="--debug" in words)


def _run(words: Sequence[str]) -> int:
    try:
        args = build_parser(words[:1]).parse_args(words)
    except SystemExit as stop:  # after --help
        return stop.code if isinstance(stop.code, int) else DONE
    status: int = load_verb(args.verb).run(args)
    return status


def load_verb(verb: str) -> ModuleType:
    """Import and return a verb's module."""
    return importlib.import_module(f"trainlet.cli.{VERBS[verb][0]}")


def build_parser(begin: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of a command line that begins like this; a verb learns its own arguments when it is used.

    A line that begins with its verb, as nearly all do, does not wait until the parsers of all others are made.
    """
    parser = _Parser(
        prog="trainlet",
        description="Runs Kubeflow TrainJobs on this machine: a directory of YAML files is what shall be.",
        epilog="trainlet VERB --help tells more of one verb.",
    )
    add_global_options(parser)
    parser.set_defaults(debug=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_VerbParser)
    for verb in VERBS.keys() & begin or VERBS:
        help_text = VERBS[verb][1]
        verbs.add_parser(verb, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
    return parser


class _Formatter(argparse.HelpFormatter):
    """Asks for the terminal's width itself: argparse would load what packs archives, whatever verb is called."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=get_terminal_size(sys.stdout).columns - 2)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=_Formatter)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, where=self.prog, remedy=f"see {self.prog} --help")


class _VerbParser(_Parser):
    """A parser that loads its verb at the first argument it is given, and takes flags between names as kubectl does."""

    _is_loaded = False

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Learn the verb's arguments, then parse; nothing may be left over."""
        if self._is_loaded:
            return super().parse_known_args(args, namespace)
        self._load()
        parsed, rest = self.parse_known_intermixed_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed, rest

    def _load(self) -> None:
        self._is_loaded = True
        add_global_options(self, is_repeated=True)
        load_verb(self.prog.split()[-1]).add_arguments(self)


def _report(error: Exception, *, debug: bool) -> int:
    if debug:
        import traceback  # rarely needed, and every start would pay for it

        traceback.print_exception(error)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), OTHER)
    print(f"error: {_explain(error, debug=debug)}", file=sys.stderr)
    for cause in getattr(error, "causes", ()):
        print(f"  {cause}", file=sys.stderr)
    return status


def _explain(error: Exception, *, debug: bool) -> str:
    if isinstance(error, TrainletError):
        return str(error)
    text = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return text if debug else f"{text}: run it again with --debug to see where"


def _discard_output() -> None:
    # The interpreter flushes once more at its end, into a pipe that nobody reads.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
