"""`trainlet suspend NAME` and `trainlet resume NAME`: edit `spec.suspend` in the manifest and touch no other byte."""

import argparse
from functools import partial

from trainlet.cli.manifests import get_manifest
from trainlet.cli.options import read_settings
from trainlet.cli.resources import TRAIN_JOBS
from trainlet.cli.targets import parse_job_name
from trainlet.documents.edit import rewrite_file, set_field
from trainlet.kube.merge import find

_WORDS = {True: "suspended", False: "resumed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a TrainJob's name")


def run(args: argparse.Namespace) -> int:
    """Suspend or resume the named jobs."""
    settings = read_settings(args)
    wanted = args.verb == "suspend"
    for name in map(parse_job_name, args.names):
        manifest = get_manifest(settings, TRAIN_JOBS, settings.namespace, name)
        is_already = bool(find(manifest.document.value, "spec", "suspend")) == wanted
        if not is_already:
            edit = partial(set_field, document_index=manifest.index, path=("spec", "suspend"), value=wanted)
            rewrite_file(manifest.path, edit)
        print(f"{TRAIN_JOBS.full_singular}/{name} {_WORDS[wanted]}{' already' if is_already else ''}")
    return 0
