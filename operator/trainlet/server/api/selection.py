"""Which objects a request means: label and field selectors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, get_metadata
from trainlet.kube.selectors import Requirement, matches, parse_selector
from trainlet.planning.labels import JOBSET_NAME
from trainlet.server.api.queries import refuse
from trainlet.server.api.types import Resource

_INVOLVED = ("involvedObject", "name")
_EVERYWHERE = ("metadata.name", "metadata.namespace")
#: What objects of Kubernetes' own kinds can be selected by (kubernetes pkg/apis, AddFieldLabelConversionFunc).
_FIELDS = {
    "Pod": ("status.phase", "spec.nodeName", "spec.restartPolicy", "status.podIP"),
    "Event": (
        *(f"involvedObject.{each}" for each in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")),
        "involvedObject.resourceVersion",
        "reason",
        "reportingComponent",
        "source.component",
        "type",
    ),
    "Job": ("status.successful",),
    "Secret": ("type",),
    "Namespace": ("status.phase",),
    "Node": ("spec.unschedulable",),
}
_ALIASES = {("Event", "source"): "source.component", ("Job", "status.successful"): "status.succeeded"}
_TERM = re.compile(r"(?P<field>[^=!\\]+?)\s*(?P<sign>==|!=|=)\s*(?P<value>(?:\\.|[^\\])*)", re.DOTALL)
_COMMA = re.compile(r"(?<!\\)(?:\\\\)*,")


@dataclass(frozen=True)
class FieldTerm:
    """One condition on a field; one that is not there is the empty text."""

    path: tuple[str, ...]
    value: str
    is_equal: bool

    def is_met(self, document: JSON) -> bool:
        """Tell whether an object meets it."""
        return (_write(find(document, *self.path)) == self.value) is self.is_equal


@dataclass(frozen=True)
class Selection:
    """All conditions of a request; without any it means every object."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldTerm, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any conditions."""
        return bool(self.labels or self.fields)

    def find_jobs(self, resource: Resource) -> frozenset[str] | None:
        """Return the only jobs whose parts can meet the conditions, None if it may be anybody's."""
        if resource.kind == "Event":
            return next((frozenset({t.value}) for t in self.fields if t.is_equal and t.path == _INVOLVED), None)
        return next((each.values for each in self.labels if each.key == JOBSET_NAME and each.operator == "In"), None)

    def includes(self, document: JSON) -> bool:
        """Tell whether an object meets all conditions."""
        labels = get_metadata(document).get("labels")
        known = labels if isinstance(labels, dict) else {}
        return matches(self.labels, known) and all(term.is_met(document) for term in self.fields)


def parse_selection(resource: Resource, labels: str, fields: str) -> Selection:
    """Return the selection of a request's two selectors. Raises ApiError (400)."""
    try:
        requirements = parse_selector(labels.strip().strip(","))
    except ValueError as error:
        raise refuse(f"unable to parse requirement: {error}") from None
    terms = tuple(_parse_term(resource, text) for text in _split(fields) if text.strip())
    return Selection(requirements, terms)


def _split(text: str) -> Sequence[str]:
    """Return the terms; a comma that follows a backslash is part of its term."""
    parts, start = [], 0
    for match in _COMMA.finditer(text):
        parts.append(text[start : match.end() - 1])
        start = match.end()
    return [*parts, text[start:]]


def _parse_term(resource: Resource, text: str) -> FieldTerm:
    match = _TERM.fullmatch(text.strip())
    if match is None:
        raise refuse(f"invalid field selector: {text!r}: write it like metadata.name=mnist")
    field = _ALIASES.get((resource.kind, match["field"]), match["field"])
    if match["field"] not in (*_EVERYWHERE, *_FIELDS.get(resource.kind, ())) and field == match["field"]:
        raise refuse(f"field label not supported: {match['field']}")
    value = re.sub(r"\\(.)", r"\1", match["value"])
    return FieldTerm(tuple(field.split(".")), value, match["sign"] != "!=")


def _write(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
