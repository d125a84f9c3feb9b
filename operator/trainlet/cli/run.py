"""`trainlet run DIR`: the operator."""

import argparse
import json
import logging
import sys
from datetime import UTC, datetime

from trainlet.cli.options import add_operator_options, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("directory", nargs="?", metavar="DIR", help="the watched directory (default: --dir)")
    parser.add_argument("--once", action="store_true", help="exit when nothing is left to do or to wait for")
    add_operator_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the operator until it is told to stop."""
    from trainlet import manager

    if args.directory is not None:
        args.dir = args.directory
    settings = read_settings(args)
    set_up_logging(settings.log_format, debug=args.debug)
    manager.run(settings, once=args.once)
    return 0


def set_up_logging(form: str, *, debug: bool = False) -> None:
    """Write our log to standard error, as text or as one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonFormatter() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logger = logging.getLogger("trainlet")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
