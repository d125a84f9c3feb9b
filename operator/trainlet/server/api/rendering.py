"""Objects -> what a client accepts of them: themselves, a table or their metadata; as JSON bytes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic_core import to_json

from trainlet.kube.meta import JSON
from trainlet.server.api.tables import build_partial, build_table, find_columns
from trainlet.server.api.types import Resource


class Form(StrEnum):
    """What objects are shown as; the values are those of `as` in an Accept header."""

    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


@dataclass(frozen=True)
class Style:
    """What a client asked for; `include` is what rows of tables have of their objects."""

    form: Form = Form.OBJECT
    include: str = "Metadata"


def parse_accept(header: str) -> Form:
    """Return the first form in an Accept header that we write; JSON if there is none."""
    for entry in header.split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        given = dict(part.split("=", 1) for part in parameters if "=" in part)
        wanted = given.get("as", "").removesuffix("List")
        if media_type == "application/json" and wanted in _FORMS and given.get("v", "v1") in ("v1", "v1beta1"):
            return Form(wanted)
    return Form.OBJECT


_FORMS = frozenset(Form)


class Renderer:
    """Writes objects. `definitions` are CustomResourceDefinitions by their names."""

    def __init__(self, definitions: Mapping[str, JSON], clock: Callable[[], datetime]) -> None:
        self._definitions, self._clock = definitions, clock

    def render(self, resource: Resource, shown: JSON, style: Style) -> JSON:
        """Return one object as the client wants it."""
        match style.form:
            case Form.TABLE:
                return self._build_table(resource, [shown], style, shown["metadata"].get("resourceVersion", ""))
            case Form.METADATA:
                return build_partial(shown)
        return shown

    def render_list(self, resource: Resource, objects: Sequence[JSON], metadata: JSON, style: Style) -> JSON:
        """Return a list; its metadata has its version and where it goes on."""
        match style.form:
            case Form.TABLE:
                return {**self._build_table(resource, objects, style), "metadata": metadata}
            case Form.METADATA:
                kind, api_version, items = f"{style.form}List", "meta.k8s.io/v1", list(map(build_partial, objects))
            case Form.OBJECT:
                kind, api_version, items = f"{resource.kind}List", resource.api_version, list(objects)
        return {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}

    def render_bookmark(self, resource: Resource, version: int, style: Style, *, is_first: bool) -> JSON:
        """Return what tells a watch that all changes up to a version were sent, and with the first all that was."""
        annotations = {"annotations": {"k8s.io/initial-events-end": "true"}} if is_first else {}
        metadata = {"resourceVersion": str(version), "creationTimestamp": None, **annotations}
        if style.form is Form.TABLE:
            return {**self._build_table(resource, [], style), "metadata": metadata}
        partial = build_partial({"metadata": metadata})
        if style.form is Form.METADATA:
            return partial
        return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}

    def _build_table(self, resource: Resource, objects: Sequence[JSON], style: Style, version: str = "") -> JSON:
        columns = find_columns(resource, self._definitions)
        table = build_table(columns, objects, self._clock(), style.include)
        return {**table, "metadata": {"resourceVersion": version}}


def encode(document: JSON) -> bytes:
    """Return JSON bytes."""
    return to_json(document)
