"""`trainlet events`: what happened, in the order of time."""

import argparse

from trainlet.cli.get import Request, add_list_arguments, follow, show
from trainlet.cli.options import read_settings
from trainlet.cli.resources import EVENTS
from trainlet.cli.targets import parse_job_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("--for", dest="involved", metavar="tj/NAME", default="", help="only those of this job")
    add_list_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the events."""
    settings = read_settings(args)
    request = Request(
        settings,
        EVENTS,
        namespace=None if args.all_namespaces else settings.namespace,
        output=args.output,
        involved=parse_job_name(args.involved),
    )
    return follow(request) if args.watch else show(request)
