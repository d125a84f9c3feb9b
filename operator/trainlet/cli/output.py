"""Objects -> what `-o` asks for. What is printed for machines is stable."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trainlet.cli.columns import build_header, build_row
from trainlet.cli.resources import Kind, Resource
from trainlet.cli.table import render_table

OUTPUTS = ("wide", "yaml", "json", "name")


def render(kind: Kind, resources: Sequence[Resource], output: str, *, as_list: bool, with_namespace: bool) -> str:
    """Return the objects in the form asked for, without the last line end; `as_list`: as a List, not one object."""
    if output == "name":
        return "\n".join(f"{kind.full_singular}/{resource.name}" for resource in resources)
    if output in ("yaml", "json"):
        wires = [resource.wire for resource in resources]
        return dump({"apiVersion": "v1", "kind": "List", "items": wires} if as_list else wires[0], output)
    return "\n".join(render_rows(kind, resources, wide=output == "wide", with_namespace=with_namespace))


def render_rows(kind: Kind, resources: Sequence[Resource], *, wide: bool, with_namespace: bool) -> list[str]:
    """Return the lines of a table with its header."""
    now = datetime.now(UTC)
    rows = [build_row(kind, r, now, wide=wide, with_namespace=with_namespace) for r in resources]
    return render_table([build_header(kind, wide=wide, with_namespace=with_namespace), *rows])


def dump(document: Any, output: str) -> str:
    """Return a document as `json` or `yaml`."""
    if output == "json":
        import json  # here and below: a table needs neither

        return json.dumps(document, indent=4, ensure_ascii=False)
    from trainlet.documents.write import dump_documents

    return dump_documents([document]).removeprefix("---\n").removesuffix("\n")
