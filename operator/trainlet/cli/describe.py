"""`trainlet describe KIND [NAME]`: all of an object for people, what went wrong first."""

import argparse
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from trainlet.cli.columns import build_header, build_row
from trainlet.cli.explain import describe_errors, describe_root_cause, get_conditions, get_phase, is_rejected
from trainlet.cli.get import Request, select
from trainlet.cli.options import add_operator_options, read_settings
from trainlet.cli.output import dump
from trainlet.cli.resources import (
    CLAIMS,
    CLUSTER_RUNTIMES,
    CONFIG_MAPS,
    EVENTS,
    PODS,
    RUNTIMES,
    SECRETS,
    TRAIN_JOBS,
    Resource,
    find_workspace,
    list_sorted,
)
from trainlet.cli.table import flatten, render_table
from trainlet.cli.targets import build_not_found, parse_target
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.ages import format_since
from trainlet.kube.errors import UsageError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, get_metadata
from trainlet.settings import Settings

_NODE_HEADER = ("NAME", "STATE", "RESTARTS", "FAILURES", "ADDRESS", "EXIT CODE", "REASON", "MESSAGE")
#: What a report's portability tells field by field, and how it is headed.
_PORTABILITY = {"emulated": "Emulated", "noEffect": "No effect"}
_CONDITION_HEADER = ("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        "target", nargs="+", metavar="KIND [NAME]", help="tj, po, ctr, tr, cm, secret or pvc, and names; or KIND/NAME"
    )
    add_operator_options(parser, ("runtime_source", "workspace_dir"))


def run(args: argparse.Namespace) -> int:
    """Describe the named objects, or all of the kind in the namespace."""
    settings = read_settings(args)
    kind, names = parse_target(args.target)
    if kind.kind not in _DESCRIBERS:
        raise UsageError(f"{kind.plural} have nothing more to tell", remedy=f"trainlet get {kind.short} -o yaml")
    resources = select(Request(settings, kind, names, settings.namespace))
    now = datetime.now(UTC)
    texts = ["\n".join(_DESCRIBERS[kind.kind](resource, settings, now)) for resource in resources]
    if texts:
        print("\n\n\n".join(texts))
    missing = [name for name in names if name not in {resource.name for resource in resources}]
    if missing or not texts:
        raise build_not_found(kind, missing or ["*"], settings.namespace, settings)
    return 0


def _describe_job(job: Resource, settings: Settings, now: datetime) -> list[str]:
    return [
        *_describe_trouble(job),
        *_align(_list_job_facts(job, now)),
        *_indent("Spec", dump(job.wire["spec"], "yaml").splitlines() if "spec" in job.wire else []),
        *_indent("Conditions", _describe_conditions(get_conditions(job), now)),
        *_indent("Nodes", _describe_nodes(job.report.get("nodes") or [])),
        *_indent("Portability", _describe_portability(job.report.get("portability") or {})),
        *_indent("Events", _describe_events(job, settings, now)),
        *_indent("Files", _align(_list_files(job, settings))),
    ]


def _describe_trouble(job: Resource) -> list[str]:
    """Return what a person wants to know first, if something is wrong."""
    cause = describe_root_cause(job)
    if cause:
        told: JSON = job.report["rootCause"]
        remedy = [f"            {told['remedy']}"] if told.get("remedy") else []
        container = f" -c {told['container']}" if told.get("container") else ""
        see = f"            see: trainlet logs {job.name} -n {job.namespace} --step {told.get('node')}{container}"
        return [f"Root cause: {cause}", *remedy, *(f"            | {line}" for line in told.get("log") or []), see, ""]
    errors = describe_errors(job)
    if not errors and not is_rejected(job):
        return []
    return [*_indent("The file is refused", errors or [_get_message(job)])[1:], ""]


def _get_message(job: Resource) -> str:
    conditions = get_conditions(job)
    return next(str(c.get("message", "")) for c in conditions if c.get("type") == "Accepted")


def _list_job_facts(job: Resource, now: datetime) -> Iterable[tuple[str, str]]:
    metadata, report = get_metadata(job.wire), job.report
    yield "Name", job.name
    yield "Namespace", job.namespace
    yield "Phase", get_phase(job)
    if metadata.get("creationTimestamp"):
        created = metadata["creationTimestamp"]
        yield "Created", f"{created} ({format_since(created, now)} ago)"
    if labels := job.labels:
        yield "Labels", ", ".join(f"{key}={value}" for key, value in labels.items())
    if "source" in report:
        yield "Manifest", f"{report['source'].get('file')}, document {int(report['source'].get('document', 0)) + 1}"
    if "engine" in report:
        yield "Engine", f"{report['engine'].get('name')} at {report['engine'].get('endpoint')}"
    if "nodes" in report:
        yield "Restarts", str(report.get("restarts", 0))
    told = {entry["path"] for title in _PORTABILITY for entry in find(report, "portability", title) or []}
    for warning in report.get("warnings") or []:
        if warning.partition(" ")[0] not in told:
            yield "Warning", str(warning)


def _describe_conditions(conditions: Iterable[JSON], now: datetime) -> list[str]:
    rows = [
        [
            str(condition.get("type", "")),
            str(condition.get("status", "")),
            str(condition.get("reason", "")),
            format_since(condition.get("lastTransitionTime"), now),
            flatten(str(condition.get("message", ""))),
        ]
        for condition in conditions
    ]
    return render_table([_CONDITION_HEADER, *rows]) if rows else []


def _describe_nodes(nodes: Iterable[JSON]) -> list[str]:
    rows = []
    for node in nodes:
        rows.append(_build_node_row(node))
        # The first is told by the node itself, whichever place it has among them.
        others = [part for part in node.get("containers") or [] if part.get("step") != node.get("name")]
        rows += [_build_node_row({**part, "name": part.get("step")}) for part in others]
    return render_table([_NODE_HEADER, *rows]) if rows else []


def _build_node_row(node: JSON) -> list[str]:
    # A node that runs again still tells how it ended before.
    end = node if "exitCode" in node else node.get("last") or {}
    reason = node.get("reason") or (f"before: {end['reason']}" if end.get("reason") else "")
    cells = [
        node.get("name", ""),
        node.get("state", ""),
        node.get("restarts", 0),
        node.get("failures", ""),
        node.get("address", ""),
        end.get("exitCode", ""),
        reason,
        flatten(str(node.get("message") or end.get("message") or "")),
    ]
    return [str(cell) for cell in cells]


def _describe_portability(portability: JSON) -> list[str]:
    """Return what is not as on a cluster, a line each, and how much is."""
    entries = [
        (title, flatten(f"{entry['path']}: {entry['message']}"))
        for key, title in _PORTABILITY.items()
        for entry in portability.get(key) or []
    ]
    count = len(portability.get("honoured") or [])
    return _align([("Honoured", f"{count} fields"), *entries]) if portability else []


def _describe_events(job: Resource, settings: Settings, now: datetime) -> list[str]:
    events = [
        event
        for event in list_sorted(EVENTS, settings, job.namespace)
        if find(event.wire, "involvedObject", "name") == job.name
    ]
    rows = [build_row(EVENTS, event, now, wide=False, with_namespace=False) for event in events]
    return render_table([build_header(EVENTS, wide=False, with_namespace=False), *rows]) if rows else []


def _list_files(job: Resource, settings: Settings) -> Iterable[tuple[str, str]]:
    status = StatusDir(settings.status_path).job_path(job.namespace, job.name)
    yield "Status", str(status)
    yield "Details and logs", str(status.with_suffix(""))
    yield "Workspace", str(find_workspace(job, settings, job.namespace, job.name))


def _describe_pod(pod: Resource, settings: Settings, now: datetime) -> list[str]:  # noqa: ARG001 - as the others
    header = build_header(PODS, wide=True, with_namespace=False)
    cells = build_row(PODS, pod, now, wide=True, with_namespace=False)
    facts = [(title.capitalize() if title != "IP" else title, cell) for title, cell in zip(header, cells, strict=True)]
    return [
        *_align([facts[0], ("Namespace", pod.namespace), *facts[1:]]),
        *_indent("Containers", dump(find(pod.wire, "status", "containerStatuses") or [], "yaml").splitlines()),
        *_indent("Spec", dump(pod.wire.get("spec") or {}, "yaml").splitlines()),
    ]


def _describe_runtime(runtime: Resource, settings: Settings, now: datetime) -> list[str]:  # noqa: ARG001
    return [*_describe_origin(runtime), *_indent("Spec", dump(runtime.wire.get("spec") or {}, "yaml").splitlines())]


def _describe_object(stored: Resource, settings: Settings, now: datetime) -> list[str]:  # noqa: ARG001
    """Describe a ConfigMap, Secret or claim; of data only how much it is."""
    sizes = ((key, f"{size} bytes") for key, size in stored.sizes.items())
    spec = dump(stored.wire["spec"], "yaml").splitlines() if "spec" in stored.wire else []
    return [*_describe_origin(stored), *_indent("Data", _align(sizes)), *_indent("Spec", spec)]


def _describe_origin(resource: Resource) -> list[str]:
    labels = ", ".join(f"{key}={value}" for key, value in resource.labels.items())
    facts = (
        ("Name", resource.name),
        ("Namespace", resource.namespace),
        ("Type", str(resource.wire.get("type") or "")),
        ("Immutable", "true" if resource.wire.get("immutable") else ""),
        ("Source", resource.source),
        ("Labels", labels),
    )
    return _align((title, text) for title, text in facts if text)


def _align(facts: Iterable[tuple[str, str]]) -> list[str]:
    return render_table([(f"{title}:", text) for title, text in facts])


def _indent(title: str, lines: Iterable[str]) -> list[str]:
    """Return a section, or nothing if it is empty."""
    indented = [f"  {line}".rstrip() for line in lines]
    return ["", f"{title}:", *indented] if indented else []


_DESCRIBERS: dict[str, Callable[[Resource, Settings, datetime], list[str]]] = {
    TRAIN_JOBS.kind: _describe_job,
    PODS.kind: _describe_pod,
    RUNTIMES.kind: _describe_runtime,
    CLUSTER_RUNTIMES.kind: _describe_runtime,
    CONFIG_MAPS.kind: _describe_object,
    SECRETS.kind: _describe_object,
    CLAIMS.kind: _describe_object,
}
