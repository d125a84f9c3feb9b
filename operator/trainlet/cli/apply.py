"""`trainlet apply -f PATH`: copy manifests into the watched directory; all of them or, if one is refused, none."""

import argparse
import sys
from collections.abc import Sequence

from trainlet.apis.trainer import RUNTIME_KINDS, TRAIN_JOB
from trainlet.cli.admission import admit_inputs, open_registry
from trainlet.cli.inputs import read_inputs
from trainlet.cli.options import add_operator_options, read_settings
from trainlet.cli.placement import Directory, Placement, split
from trainlet.cli.resources import KINDS
from trainlet.cli.verdicts import render_refusals
from trainlet.documents.status_dir import StatusDir
from trainlet.documents.write import write_atomic
from trainlet.kube.errors import TrainletError, UsageError
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.registry import Registry
from trainlet.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        "-f",
        "--filename",
        dest="paths",
        action="extend",
        nargs="+",
        required=True,
        metavar="PATH",
        help="a file, a directory, or - for standard input",
    )
    add_operator_options(parser, ("runtime_source",))


def run(args: argparse.Namespace) -> int:
    """Copy the manifests; return 1, with nothing copied, if a document is refused."""
    settings = read_settings(args)
    inputs = read_inputs(args.paths, settings)
    registry = open_registry(settings)
    verdicts = admit_inputs(inputs, registry, _read_stored(registry, settings))
    if refusals := render_refusals(verdicts):
        print("\n".join(refusals), file=sys.stderr)
        print("error: nothing was applied: correct the above", file=sys.stderr)
        return 1
    if not verdicts:
        raise UsageError("there is nothing to apply", where=", ".join(args.paths), remedy="give other files")
    directory = _open_directory(settings, registry)
    placements = [directory.place(source, group) for source, group in split(verdicts)]
    _copy(placements)
    return 0


def _read_stored(registry: Registry, settings: Settings) -> dict[ObjectKey, JSON]:
    """Return what the manifests would be updates of: the jobs of the status directory, and the known runtimes."""
    stored = {
        ObjectKey(TRAIN_JOB, each.namespace, each.name): each.job
        for each in StatusDir(settings.status_path).read_jobs()
        if each.job and not get_metadata(each.job).get("deletionTimestamp")
    }
    runtimes = [runtime for kind in RUNTIME_KINDS for runtime in registry.store.list(kind)]
    return {**stored, **{registry.identify(runtime): runtime for runtime in runtimes}}


def _open_directory(settings: Settings, registry: Registry) -> Directory:
    try:
        return Directory(settings, registry)
    except OSError as error:
        what = f"cannot read the watched directory: {error.strerror}"
        raise UsageError(what, where=str(settings.dir), remedy="make it, or give another with --dir") from None


def _copy(placements: Sequence[Placement]) -> None:
    singulars = {kind.kind: kind.full_singular for kind in KINDS}
    # Runtimes first, so that the operator finds them when it sees the jobs.
    for placement in sorted(placements, key=_holds_only_jobs):
        _write(placement)
    for placement in placements:
        for key, change in placement.changes:
            print(f"{singulars[key.kind]}/{key.name} {change}")


def _holds_only_jobs(placement: Placement) -> bool:
    return all(key.kind == TRAIN_JOB for key, _ in placement.changes)


def _write(placement: Placement) -> None:
    # Resolved, so that a link stays a link.
    target, data = placement.target.resolve(), placement.input.data
    try:
        if target.exists() and target.read_bytes() == data:
            return
        write_atomic(target, data.decode("utf-8"))
    except OSError as error:
        what = f"cannot write the manifest: {error.strerror}"
        raise TrainletError(what, where=str(target), remedy="make the directory writable for you") from None
