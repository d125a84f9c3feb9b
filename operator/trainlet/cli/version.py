"""`trainlet version`."""

import argparse
import platform

import trainlet
from trainlet.cli.output import dump


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml"), help="for machines")


def run(args: argparse.Namespace) -> int:
    """Print the version."""
    version = {"version": trainlet.__version__, "python": platform.python_version(), "platform": platform.platform()}
    if args.output:
        print(dump({"clientVersion": version}, args.output))
    else:
        print(f"trainlet {version['version']} (Python {version['python']}, {version['platform']})")
    return 0
