"""The flags that verbs share, made from the fields of Settings; and the parsed flags -> Settings."""

import argparse
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from typing import Any

from trainlet.settings import Settings, build_settings

#: Every verb takes these, before or after its name.
GLOBAL_OPTIONS = frozenset({"dir", "status_dir", "namespace"})

#: What every verb takes that admits documents, so that it says what the operator would.
ADMISSION_OPTIONS = frozenset(
    {"runtime_source", "allow_http_sources", "cache_dir", "validation", "crds", "pod_security", "allow_host_path"}
)

_OPTIONS = {option.name: option for option in fields(Settings)}


def add_global_options(parser: argparse.ArgumentParser, *, is_repeated: bool = False) -> None:
    """Add what every verb takes; `is_repeated` for a verb's parser, which must not undo what stood before the verb."""
    group = parser.add_argument_group("everywhere") if is_repeated else parser
    for name in sorted(GLOBAL_OPTIONS):
        _add(group, _OPTIONS[name])
    group.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="a file with keys like these flags")
    group.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error came from")


def add_operator_options(parser: argparse.ArgumentParser, names: Collection[str] = _OPTIONS.keys()) -> None:
    """Add the operator's flags, or those of these names, except what every verb takes anyway."""
    for name, option in _OPTIONS.items():
        if name in names and name not in GLOBAL_OPTIONS:
            _add(parser, option)


def read_settings(args: argparse.Namespace) -> Settings:
    """Return the settings of a parsed command line, the environment and the config file. Raises UsageError."""
    flags = dict(vars(args))
    for name, option in _OPTIONS.items():
        if option.metadata["repeatable"] and flags.get(name) is not None:
            flags[name] = tuple(flags[name])
    return build_settings(flags)


def build_converter(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a converter for argparse that shows the ValueErrors of `parse` as they are."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _add(parser: Any, option: Field[Any]) -> None:
    flag = f"--{option.name.replace('_', '-')}"
    words = ["-n", flag] if option.name == "namespace" else [flag]
    notes = option.metadata
    arguments: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS, "help": notes["help"]}
    if isinstance(option.default, bool):
        parser.add_argument(*words, action=argparse.BooleanOptionalAction, **arguments)
        return
    action = "append" if notes["repeatable"] else "store"
    parser.add_argument(
        *words, action=action, type=build_converter(notes["parse"]), metavar=notes["metavar"], **arguments
    )
