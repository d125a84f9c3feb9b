"""`trainlet diff`: what the operator would do now. The engine is looked at; nothing is done and nothing written."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.cli.options import add_operator_options, read_settings
from trainlet.cli.output import dump
from trainlet.controller.file_source import FileSource
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine
from trainlet.engine.detect import find_engine
from trainlet.kube.errors import ApiError, UsageError
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.loading import build_registry, now
from trainlet.manager import build_options
from trainlet.planning.observed import ImageState, Observed, ObservedImage
from trainlet.planning.options import Options
from trainlet.planning.plan import Plan
from trainlet.planning.reconcile import build_teardown, reconcile
from trainlet.planning.scene import Case, survey
from trainlet.registry import Registry
from trainlet.settings import Settings, get_surroundings


@dataclass(frozen=True)
class Change:
    """What would be done about one job, `NS/NAME`; or why nothing can be."""

    job: str
    plan: Plan = ()
    problem: str = ""


class _UnwrittenStatusDir(StatusDir):
    """A status directory as it is on disk; what would be written is dropped."""

    def write_job(self, namespace: str, name: str, objects: Sequence[JSON]) -> None:
        """Drop it."""

    def write_part(self, namespace: str, name: str, part: str, objects: Sequence[JSON]) -> None:
        """Drop it."""

    def write_errors(self, errors: Sequence[JSON]) -> None:
        """Drop it."""

    def write_kept(self, key: ObjectKey, known: Sequence[JSON]) -> None:
        """Drop it."""

    def forget(self, namespace: str, name: str) -> None:
        """Keep everything."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml"), help="for machines")
    add_operator_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the actions, one a line; return 0 if there are none, else 1."""
    settings = read_settings(args)
    if not settings.dir.is_dir():
        raise UsageError("the watched directory does not exist", where=str(settings.dir), remedy="give it with --dir")
    engine = find_engine(settings.container_runtime, settings.container_host, get_surroundings())
    with closing(engine):
        changes = [change for change in find_changes(settings, engine) if change.plan or change.problem]
    if args.output:
        print(dump(_write(changes), args.output))
    else:
        for change in changes:
            for action in change.plan:
                print(f"{change.job}: {action}")
    for change in changes:
        if change.problem:
            print(f"{change.job}: nothing can be done: {change.problem}", file=sys.stderr)
    return 1 if changes else 0


def find_changes(settings: Settings, engine: Engine) -> Iterator[Change]:
    """Yield the plan of the next pass over each job, then of what belongs to jobs that are not known."""
    registry, options = _load(settings, engine), build_options(settings, engine.name)
    for key in registry.list_jobs():
        yield _find_change(key, registry, engine, options)
    known = {get_metadata(job).get("uid") for job in registry.store.list(TRAIN_JOB)}
    for owner in sorted(engine.find_owners(settings.store_id), key=lambda owner: (owner.namespace, owner.name)):
        if owner.uid not in known:
            plan = build_teardown(engine.observe(owner.uid), "its job is not known any more")
            yield Change(f"{owner.namespace}/{owner.name}", plan)


def _load(settings: Settings, engine: Engine) -> Registry:
    """Bring a registry to where the operator's would be after its first look at the directory."""
    status_dir = _UnwrittenStatusDir(settings.status_path)
    registry = build_registry(settings, status_dir)
    owners = engine.find_owners(settings.store_id)
    registry.load({(owner.namespace, owner.name): owner.uid for owner in owners})
    excluded = (settings.status_path, settings.workspace_path)
    trusting = settings.allow_unsafe_files
    FileSource(settings.dir, excluded, registry, status_dir, lambda _: None, trusting=trusting).take_over()
    return registry


def _find_change(key: ObjectKey, registry: Registry, engine: Engine, options: Options) -> Change:
    name = f"{key.namespace}/{key.name}"
    try:
        case = registry.get_case(key)
        assert case is not None, "the registry has just listed it"
        return Change(name, reconcile(case, _observe(case, engine, options), now(), options).plan)
    except ApiError as error:
        return Change(name, problem=str(error))


def _observe(case: Case, engine: Engine, options: Options) -> Observed:
    needs = survey(case, options)
    observed = engine.observe(str(get_metadata(case.job)["uid"]))
    return replace(
        observed,
        images={image: _look_at_image(image, engine) for image in needs.images},
    )


def _look_at_image(image: str, engine: Engine) -> ObservedImage:
    facts = engine.find_image(image)
    return ObservedImage(ImageState.ABSENT if facts is None else ImageState.PRESENT, facts=facts)


def _write(changes: Iterable[Change]) -> list[JSON]:
    return [
        {"job": change.job, "action": type(action).__name__, "target": action.target, "reason": action.reason}
        for change in changes
        for action in change.plan
    ]
