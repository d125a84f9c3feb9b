"""`trainlet runtimes`: what a TrainJob may name in spec.runtimeRef, and where each comes from."""

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trainlet.cli.options import ADMISSION_OPTIONS, add_operator_options, read_settings
from trainlet.cli.output import dump
from trainlet.cli.resources import KINDS
from trainlet.cli.table import render_table
from trainlet.kube.ages import format_since
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, format_time, get_metadata

if TYPE_CHECKING:
    from trainlet.loading import Listed

_COLUMNS = ("name", "kind", "namespace", "framework", "source", "age")
_WIDE_COLUMNS = (*_COLUMNS, "policy", "image")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml", "name", "wide"), help="for machines")
    parser.add_argument("--refresh", action="store_true", help="ask all sources now, the default one too")
    add_operator_options(parser, ADMISSION_OPTIONS | {"allow_http_sources", "cache_dir"})


def run(args: argparse.Namespace) -> int:
    """Print the runtimes."""
    from trainlet.loading import choose_asking, survey_runtimes
    from trainlet.runtime_sources.offers import Asking

    settings = read_settings(args)
    listed, offers = survey_runtimes(settings, Asking.ALWAYS if args.refresh else choose_asking(settings))
    for offer in offers:
        if offer.problem:
            print(f"warning: runtime source {offer.source}: {offer.problem}", file=sys.stderr)
    rows = sorted(map(_describe, listed), key=_get_order)
    print(_render(rows, args.output))
    return 0


def _render(rows: list[dict[str, str]], output: str) -> str:
    if output == "name":
        singulars = {kind.kind: kind.full_singular for kind in KINDS}
        return "\n".join(f"{singulars[row['kind']]}/{row['name']}" for row in rows)
    if output in ("json", "yaml"):
        return dump(rows, output)
    columns, now = _WIDE_COLUMNS if output == "wide" else _COLUMNS, datetime.now(UTC)
    cells = [[_show(row, column, now) for column in columns] for row in rows]
    return "\n".join(render_table([[column.upper() for column in columns], *cells]))


def _show(row: dict[str, str], column: str, now: datetime) -> str:
    if column == "age":  # of a copy; a file on this machine has none
        return format_since(row["checked"], now) if row["checked"] else ""
    return row[column] or "<none>"


def _get_order(row: dict[str, str]) -> tuple[str, str, str]:
    return row["kind"], row["namespace"], row["name"]


def _describe(listed: "Listed") -> dict[str, str]:
    metadata, checked = get_metadata(listed.runtime), listed.offer and listed.offer.checked
    policies = [name for name in find(listed.runtime, "spec", "mlPolicy") or {} if name != "numNodes"]
    return {
        "name": str(metadata.get("name") or ""),
        "kind": str(listed.runtime["kind"]),
        "namespace": str(metadata.get("namespace") or ""),
        "framework": str(find(metadata, "labels", "trainer.kubeflow.org/framework") or ""),
        "policy": ",".join(policies),
        "image": _find_image(listed.runtime),
        "source": listed.file,
        "url": listed.offer.source if listed.offer else "",
        "checked": format_time(checked) if checked else "",
    }


def _find_image(runtime: JSON) -> str:
    """Return the image that trains: that of the container called `node`, else of the last one."""
    jobs = find(runtime, "spec", "template", "spec", "replicatedJobs") or []
    containers = [c for job in jobs for c in find(job, "template", "spec", "template", "spec", "containers") or []]
    named = [c for c in containers if c.get("name") == "node"]
    return str(next((c.get("image") or "" for c in (*named, *reversed(containers))), ""))
