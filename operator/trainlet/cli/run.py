"""`trainlet run DIR`: the operator."""

import argparse

from trainlet.cli.options import add_operator_options, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("directory", nargs="?", metavar="DIR", help="the watched directory (default: --dir)")
    parser.add_argument("--once", action="store_true", help="exit when nothing is left to do or to wait for")
    add_operator_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the operator until it is told to stop."""
    from trainlet import manager
    from trainlet.cli.log_records import set_up_logging

    if args.directory is not None:
        args.dir = args.directory
    settings = read_settings(args)
    set_up_logging(settings.log_format, settings.log_level, debug=args.debug)
    manager.run(settings, once=args.once)
    return 0
