"""`trainlet runtimes`: what a TrainJob may name in spec.runtimeRef, and where each comes from."""

import argparse

from trainlet.cli.options import ADMISSION_OPTIONS, add_operator_options, read_settings
from trainlet.cli.output import dump
from trainlet.cli.resources import KINDS
from trainlet.cli.table import render_table
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, get_metadata

_COLUMNS = ("name", "kind", "namespace", "framework", "policy", "image", "source")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml", "name"), help="for machines")
    add_operator_options(parser, ADMISSION_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Print the runtimes."""
    from trainlet.loading import list_runtimes

    rows = sorted((_describe(file, runtime) for file, runtime in list_runtimes(read_settings(args))), key=_get_order)
    if args.output == "name":
        singulars = {kind.kind: kind.full_singular for kind in KINDS}
        print("\n".join(f"{singulars[row['kind']]}/{row['name']}" for row in rows))
    elif args.output:
        print(dump(rows, args.output))
    else:
        cells = [[row[column] or "<none>" for column in _COLUMNS] for row in rows]
        print("\n".join(render_table([[column.upper() for column in _COLUMNS], *cells])))
    return 0


def _get_order(row: dict[str, str]) -> tuple[str, str, str]:
    return row["kind"], row["namespace"], row["name"]


def _describe(file: str, runtime: JSON) -> dict[str, str]:
    metadata = get_metadata(runtime)
    policies = [name for name in find(runtime, "spec", "mlPolicy") or {} if name != "numNodes"]
    return {
        "name": str(metadata.get("name") or ""),
        "kind": str(runtime["kind"]),
        "namespace": str(metadata.get("namespace") or ""),
        "framework": str(find(metadata, "labels", "trainer.kubeflow.org/framework") or ""),
        "policy": ",".join(policies),
        "image": _find_image(runtime),
        "source": file,
    }


def _find_image(runtime: JSON) -> str:
    """Return the image that trains: that of the container called `node`, else of the last one."""
    jobs = find(runtime, "spec", "template", "spec", "replicatedJobs") or []
    containers = [c for job in jobs for c in find(job, "template", "spec", "template", "spec", "containers") or []]
    named = [c for c in containers if c.get("name") == "node"]
    return str(next((c.get("image") or "" for c in (*named, *reversed(containers))), ""))
