"""`trainlet apply -f PATH`: copy manifests into the watched directory; all of them or, if one is refused, none."""

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace

from trainlet.admission.admit import REPLACE
from trainlet.admission.core_kinds import OBJECT_KINDS, SECRET
from trainlet.apis.trainer import RUNTIME_KINDS, TRAIN_JOB
from trainlet.cli.admission import admit_inputs, open_registry
from trainlet.cli.inputs import Input, read_inputs
from trainlet.cli.options import ADMISSION_OPTIONS, add_operator_options, read_settings
from trainlet.cli.placement import Directory, Placement, split
from trainlet.cli.reading import Verdict, parse_inputs
from trainlet.cli.resources import KINDS
from trainlet.cli.verdicts import render_refusals
from trainlet.documents.edit import set_field
from trainlet.documents.safe_read import find_readers
from trainlet.documents.status_dir import StatusDir
from trainlet.documents.write import write_atomic
from trainlet.kube.errors import TrainletError, UsageError
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.loading import load_directory, now
from trainlet.registry import Registry
from trainlet.settings import Settings

#: What can be deleted and made anew by one call.
_REPLACEABLE = (TRAIN_JOB, *OBJECT_KINDS)


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
    parser.add_argument(
        "--replace", action="store_true", help="delete what is there but runtimes, and make it anew from the manifests"
    )
    add_operator_options(parser, ADMISSION_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Copy the manifests; return 1, with nothing copied, if a document is refused."""
    settings = read_settings(args)
    inputs = read_inputs(args.paths, settings)
    registry = open_registry(settings)
    stored = _read_stored(registry, settings)
    replaced = frozenset(key for key in stored if key.kind in _REPLACEABLE) if args.replace else frozenset()
    kept = {key: document for key, document in stored.items() if key not in replaced}
    verdicts = admit_inputs(parse_inputs(inputs), registry, kept)
    if refusals := render_refusals(verdicts):
        print("\n".join(refusals), file=sys.stderr)
        print("error: nothing was applied: correct the above", file=sys.stderr)
        return 1
    for verdict in verdicts:
        for warning in verdict.admitted.warnings if verdict.admitted else ():
            print(f"warning: {warning} ({verdict.input.name}:{verdict.line})", file=sys.stderr)
    ours = [verdict for verdict in verdicts if verdict.key]
    if not ours:
        raise UsageError("there is nothing to apply", where=", ".join(args.paths), remedy="give other files")
    directory = _open_directory(settings, registry)
    marked = [(_mark(source, group, replaced), group) for source, group in split(ours)]
    _copy([directory.place(source, group) for source, group in marked], replaced)
    return 0


def _mark(source: Input, verdicts: Sequence[Verdict], replaced: Collection[ObjectKey]) -> Input:
    """Give the manifests of what is replaced the annotation that tells the operator to."""
    path, stamp = ("metadata", "annotations", REPLACE), now().isoformat(timespec="microseconds")
    text = source.data.decode("utf-8-sig")
    for verdict in verdicts:
        if verdict.key in replaced and verdict.document is not None:
            text = set_field(text, 0 if source.path is None else verdict.document.index, path, stamp)
    return replace(source, data=text.encode()) if replaced else source


def _read_stored(registry: Registry, settings: Settings) -> dict[ObjectKey, JSON]:
    """Return what the manifests would be updates of: jobs of the status directory, known runtimes, and objects."""
    stored = {
        ObjectKey(TRAIN_JOB, each.namespace, each.name): each.job
        for each in StatusDir(settings.status_path).read_jobs()
        if each.job and not get_metadata(each.job).get("deletionTimestamp")
    }
    load_directory(registry, settings, kinds=OBJECT_KINDS)
    others = [other for kind in (*RUNTIME_KINDS, *OBJECT_KINDS) for other in registry.store.list(kind)]
    return {**stored, **{registry.identify(other): other for other in others}}


def _open_directory(settings: Settings, registry: Registry) -> Directory:
    try:
        return Directory(settings, registry)
    except OSError as error:
        what = f"cannot read the watched directory: {error.strerror}"
        raise UsageError(what, where=str(settings.dir), remedy="make it, or give another with --dir") from None


def _copy(placements: Sequence[Placement], replaced: Collection[ObjectKey]) -> None:
    singulars = {kind.kind: kind.full_singular for kind in KINDS}
    # Jobs last, so that the operator has what they name when it sees them.
    for placement in sorted(placements, key=_holds_only_jobs):
        _write(placement)
    for placement in placements:
        for key, change in placement.changes:
            print(f"{singulars[key.kind]}/{key.name} {'replaced' if key in replaced else change}")


def _holds_only_jobs(placement: Placement) -> bool:
    return all(key.kind == TRAIN_JOB for key, _ in placement.changes)


def _write(placement: Placement) -> None:
    # Resolved, so that a link stays a link.
    target, data = placement.target.resolve(), placement.input.data
    mode = 0o600 if any(key.kind == SECRET for key, _ in placement.changes) else 0o644
    try:
        if target.exists() and target.read_bytes() == data and (mode == 0o644 or not find_readers(target.stat())):
            return
        write_atomic(target, data.decode("utf-8"), mode=mode)
    except OSError as error:
        what = f"cannot write the manifest: {error.strerror}"
        raise TrainletError(what, where=str(target), remedy="make the directory writable for you") from None
