"""`trainlet get KIND [NAME...]`: what is on disk, as a table or for machines, once or followed."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trainlet.cli.columns import build_header, build_row
from trainlet.cli.explain import describe_file_error, explain_state, is_unknown
from trainlet.cli.options import ADMISSION_OPTIONS, add_operator_options, read_settings
from trainlet.cli.output import OUTPUTS, dump, render, render_rows
from trainlet.cli.resources import EVENTS, TRAIN_JOBS, Kind, Resource, list_sorted, read_job
from trainlet.cli.table import get_widths, render_table
from trainlet.cli.targets import build_not_found, parse_target
from trainlet.cli.watch import LiveTable, watch_files
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import UsageError
from trainlet.settings import Settings

if TYPE_CHECKING:
    from trainlet.kube.selectors import Requirement


@dataclass(frozen=True)
class Request:
    """What to list. `namespace` None means all; no `names` means any."""

    settings: Settings
    kind: Kind
    names: Sequence[str] = ()
    namespace: str | None = None
    selector: "Sequence[Requirement]" = ()
    output: str = ""
    involved: str = ""

    @property
    def with_namespace(self) -> bool:
        """Whether the table says each object's namespace."""
        return self.namespace is None and self.kind.is_namespaced

    @property
    def is_brief(self) -> bool:
        """Whether the short table's columns are all that is asked for."""
        return self.output in ("", "name") and not self.selector and not self.involved

    @property
    def wide(self) -> bool:
        """Whether the table shows all columns."""
        return self.output == "wide"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        "target",
        nargs="+",
        metavar="KIND [NAME]",
        help="tj, ctr, tr, po, ev, cm, secret or pvc, and names; or KIND/NAME",
    )
    parser.add_argument("-l", "--selector", default="", help="only what has these labels: a=b, a!=b, a in (b,c), !a")
    add_list_arguments(parser)
    add_operator_options(parser, ADMISSION_OPTIONS)


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what all verbs that list take."""
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    parser.add_argument("-o", "--output", default="", choices=OUTPUTS, help="another form than the short table")
    parser.add_argument("-w", "--watch", action="store_true", help="go on and show changes")


def run(args: argparse.Namespace) -> int:
    """Print what is asked for."""
    settings = read_settings(args)
    kind, names = parse_target(args.target)
    if names and args.all_namespaces:
        raise UsageError("a name is in one namespace", where="-A", remedy="give -n NAMESPACE instead")
    namespace = None if args.all_namespaces else settings.namespace
    request = Request(settings, kind, names, namespace, _parse_selector(args.selector), args.output)
    return follow(request) if args.watch else show(request)


def _parse_selector(text: str) -> "Sequence[Requirement]":
    if not text:
        return ()
    from trainlet.kube.selectors import parse_selector  # a table without one does not pay for it

    try:
        return parse_selector(text)
    except ValueError as error:
        raise UsageError(str(error), where="-l") from None


def select(request: Request) -> list[Resource]:
    """Return the objects that a request means."""
    settings, namespace = request.settings, request.namespace
    if request.kind is TRAIN_JOBS and request.names and namespace is not None:
        jobs = (read_job(settings, namespace, name) for name in sorted(set(request.names)))
        return [job for job in jobs if job is not None and _is_meant(request, job)]
    resources = list_sorted(request.kind, settings, namespace, briefly=request.is_brief)
    return [resource for resource in resources if _is_meant(request, resource)]


def _is_meant(request: Request, resource: Resource) -> bool:
    is_named = not request.names or resource.name in request.names
    involved = resource.wire.get("involvedObject") or {}
    is_about = not request.involved or involved.get("name") == request.involved
    return is_named and is_about and all(r.is_met(resource.labels) for r in request.selector)


def show(request: Request) -> int:
    """Print the objects. Raises ApiError for names that are not there, after printing the others."""
    resources = select(request)
    missing = [name for name in request.names if name not in {r.name for r in resources}]
    machine = request.output in ("json", "yaml")
    if resources or (machine and not request.names):
        as_list = len(request.names) != 1
        print(render(request.kind, resources, request.output, as_list=as_list, with_namespace=request.with_namespace))
    elif not missing:
        print(_explain_nothing(request), file=sys.stderr)
    if request.kind is TRAIN_JOBS and request.output in ("", "wide"):
        unknown = (read_job(request.settings, job.namespace, job.name) for job in resources if is_unknown(job))
        for message in sorted({explain_state(job).message for job in unknown if job is not None}):
            print(f"warning: {message}", file=sys.stderr)
        if not request.names:
            _warn_of_files(request.settings)
    if missing:
        raise build_not_found(request.kind, missing, request.namespace, request.settings)
    return 0


def _explain_nothing(request: Request) -> str:
    where = f" in {request.namespace} namespace" if request.namespace and request.kind.is_namespaced else ""
    hint = ""
    if not request.settings.status_path.is_dir():
        hint = f" There is no {request.settings.status_path}: give the directory of trainlet run with --dir."
    return f"No resources found{where}.{hint}"


def _warn_of_files(settings: Settings) -> None:
    for entry in StatusDir(settings.status_path).read_errors():
        for line in describe_file_error(entry):
            print(f"warning: {line}", file=sys.stderr)


def follow(request: Request) -> int:
    """Print the objects and then what changes, until interrupted."""
    if request.output in ("", "wide") and request.kind is not EVENTS and sys.stdout.isatty():
        _redraw(request)
    else:
        _append_changes(request)
    return 0


def _redraw(request: Request) -> None:
    table = LiveTable(sys.stdout)
    for _ in watch_files(lambda: request.kind.find_files(request.settings), tick_seconds=1):
        table.draw(render_rows(request.kind, select(request), wide=request.wide, with_namespace=request.with_namespace))


def _append_changes(request: Request) -> None:
    """Print one line (or document) an object that is new, changed or gone, as `kubectl get -w` does."""
    printer = _Printer(request)
    seen: dict[tuple[str, str], Resource] = {}
    for _ in watch_files(lambda: request.kind.find_files(request.settings)):
        found = {(r.namespace, r.name): r for r in select(request)}
        printer.print([r for key, r in found.items() if seen.get(key) != r])
        printer.print([r for key, r in seen.items() if key not in found])
        seen = found


class _Printer:
    """Prints objects one by one, in columns that only get wider."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._options = {"wide": request.wide, "with_namespace": request.with_namespace}
        self._widths: list[int] = []

    def print(self, resources: Sequence[Resource]) -> None:
        """Print these objects."""
        if not resources:
            return
        kind, output = self._request.kind, self._request.output
        if output in ("json", "yaml"):
            separator = "---\n" if output == "yaml" else ""
            text = "\n".join(separator + dump(resource.wire, output) for resource in resources)
        elif output == "name":
            text = render(kind, resources, output, as_list=True, with_namespace=False)
        else:
            text = "\n".join(self._render_lines(resources))
        print(text, flush=True)

    def _render_lines(self, resources: Sequence[Resource]) -> list[str]:
        request, now = self._request, datetime.now(UTC)
        header = build_header(request.kind, **self._options)
        rows = [build_row(request.kind, resource, now, **self._options) for resource in resources]
        is_first = not self._widths
        self._widths = get_widths([header, *rows], self._widths)
        return render_table([header, *rows] if is_first else rows, self._widths)
