"""`trainlet plan PATH...`: the JobSet, pods, containers and network that a TrainJob would become; no engine needed."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields

from trainlet.admission.core_kinds import OBJECT_KINDS
from trainlet.apis.trainer import TRAIN_JOB, RuntimeRef
from trainlet.cli.admission import admit_inputs, open_registry
from trainlet.cli.inputs import read_inputs
from trainlet.cli.options import add_operator_options, read_settings
from trainlet.cli.output import dump
from trainlet.cli.reading import Verdict, parse_inputs
from trainlet.cli.verdicts import render_refusals
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.meta import JSON, ObjectKey, format_time, get_metadata
from trainlet.loading import load_directory, now
from trainlet.manager import build_options
from trainlet.planning.plan import render_plan
from trainlet.planning.preview import NO_UID, Preview, build_preview
from trainlet.planning.specs import ContainerSpec, Limits
from trainlet.registry import Registry
from trainlet.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, a directory, or - for standard input")
    parser.add_argument("-o", "--output", default="", choices=("json", "yaml"), help="for machines")
    add_operator_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print what each TrainJob would become; return 1 if a document is refused."""
    settings = read_settings(args)
    inputs = read_inputs(args.paths, settings)
    registry = open_registry(settings, inputs)
    load_directory(registry, settings, frozenset(each.path for each in inputs if each.path), OBJECT_KINDS)
    verdicts = admit_inputs(parse_inputs(inputs), registry, {})
    previews = list(_preview(verdicts, registry, settings))
    if args.output:
        print(dump([_write(key, preview) for key, preview in previews], args.output))
    elif previews:
        print("\n\n".join(_render(key, preview) for key, preview in previews))
    elif all(verdict.admitted for verdict in verdicts):
        print(f"no TrainJob in {', '.join(args.paths)}", file=sys.stderr)
    for line in render_refusals(verdicts):
        print(line, file=sys.stderr)
    return 0 if all(verdict.admitted for verdict in verdicts) else 1


def _preview(
    verdicts: Sequence[Verdict], registry: Registry, settings: Settings
) -> Iterator[tuple[ObjectKey, Preview]]:
    given = {v.admitted.key: v.admitted.document for v in verdicts if v.admitted}
    status_dir, options = StatusDir(settings.status_path), build_options(settings)
    for key, document in given.items():
        if key.kind == TRAIN_JOB:
            job = _store(key, document, status_dir)
            ref = RuntimeRef.of(job["spec"]["runtimeRef"]).key(key.namespace)
            runtime = given.get(ref) or registry.store.get(ref)
            assert runtime is not None, "admission found it"
            stored = _list_objects(given, registry, key.namespace)
            yield key, build_preview(job, runtime, settings.network_pool, now(), options, stored)


def _list_objects(given: Mapping[ObjectKey, JSON], registry: Registry, namespace: str) -> list[JSON]:
    """Return the objects of a namespace; those of the call hide those of the directory."""
    known = {registry.identify(stored): stored for stored in registry.list_objects(namespace)}
    nearer = {key: each for key, each in given.items() if key.kind in OBJECT_KINDS and key.namespace == namespace}
    return list({**known, **nearer}.values())


def _store(key: ObjectKey, document: JSON, status_dir: StatusDir) -> JSON:
    """Return the job as it would be stored; one that is stored already keeps its uid."""
    known = status_dir.read_job(key.namespace, key.name)
    before = get_metadata(known.job) if known and known.job else {}
    kept = {
        "uid": before.get("uid") or NO_UID,
        "generation": before.get("generation") or 1,
        "creationTimestamp": before.get("creationTimestamp") or format_time(now()),
    }
    return {**document, "metadata": {**get_metadata(document), **kept}}


def _write(key: ObjectKey, preview: Preview) -> JSON:
    return {
        "trainJob": f"{key.namespace}/{key.name}",
        "jobSet": preview.jobset,
        "objects": list(preview.objects),
        "pods": list(preview.pods),
        "containers": [container.to_json() for container in preview.containers],
        "networks": [asdict(preview.network)],
    }


def _render(key: ObjectKey, preview: Preview) -> str:
    count = len(preview.containers)
    lines = [f"{key}: {count} {'container' if count == 1 else 'containers'}"]
    lines.append(f"  network {preview.network.name} {preview.network.subnet}")
    before: list[str] = []
    for container in preview.containers:
        details = [f"    {name:<9} {text}" for name, text in _describe(container)]
        lines.append(f"  {container.name} {container.address or f'in {container.joins}'}")
        # What is as in the container above is not said again.
        lines += [line for line in details if line not in before]
        before = details
    lines.append("  on a machine where nothing of it is yet:" if preview.plan else "  nothing is done: it is suspended")
    lines += [f"    {line}" for line in render_plan(preview.plan).splitlines()]
    return "\n".join(lines)


def _describe(container: ContainerSpec) -> Iterator[tuple[str, str]]:
    """Yield what is worth a line of a container, with the line's name."""
    yield "image", container.image
    for name, words in (("command", container.command), ("args", container.args)):
        if words is not None:
            yield name, shlex.join(words)
    for name, text in (("user", container.user), ("directory", container.working_dir)):
        if text is not None:
            yield name, text
    if limits := _describe_limits(container.limits):
        yield "limits", limits
    for mount in container.mounts:
        yield "mount", f"{mount.source} at {mount.target}{' (read-only)' if mount.read_only else ''}"
    for volume in container.volumes:
        yield "volume", f"{volume.volume} at {volume.target}{' (read-only)' if volume.read_only else ''}"
    for tmpfs in container.tmpfs:
        yield "memory", f"at {tmpfs.target}"
    for file in container.files:
        yield "file", f"{file.path} (mode {file.mode:04o})"
    for variable, value in container.env.items():
        yield "env", f"{variable}={shlex.quote(value)}"


def _describe_limits(limits: Limits) -> str:
    given = ((field.name, getattr(limits, field.name)) for field in fields(limits))
    return ", ".join(f"{name} {value}" for name, value in given if value)
