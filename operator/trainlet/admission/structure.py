"""Brings a document into the form that is stored: defaults filled in, empty nulls dropped, unknown fields pruned.

Follows apiextensions-apiserver pkg/apiserver/schema/{defaulting,pruning}, in one walk. Judges nothing but
whether a field is known: a value of the wrong type passes through as it is.
"""

from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from trainlet.admission.crd import OBJECT_METADATA, Crd
from trainlet.admission.limits import MOST_ERRORS, count_rest
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON

MOST_NAMES_LISTED = 12
LONGEST_TYPO = 64  # difflib takes quadratic time

EMBEDDED = "x-kubernetes-embedded-resource"
OPEN = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"

_STRING: JSON = {"type": "string"}
#: What every object has, whether its schema says so or not.
_OBJECT_FIELDS: JSON = {"apiVersion": _STRING, "kind": _STRING, "metadata": OBJECT_METADATA}


def complete(document: JSON, crd: Crd) -> tuple[JSON, list[FieldError]]:
    """Build the document as the API server stores it, and report the fields that are left out as unknown.

    The input is not changed; parts that the schema says nothing about are shared with it.
    """
    walk = _Walk()
    completed = walk.complete(document, {"type": "object", **crd.schema, EMBEDDED: True})
    return completed, walk.list_errors()


class _Walk:
    """One walk over a document and its schema; keeps the unknown fields with the names known in their place."""

    def __init__(self) -> None:
        self._unknown: list[tuple[str, str, JSON]] = []

    def list_errors(self) -> list[FieldError]:
        errors = [
            FieldError(path, "Unknown field", _suggest(name, known))
            for path, name, known in self._unknown[:MOST_ERRORS]
        ]
        return errors + count_rest(len(self._unknown) - MOST_ERRORS, "more unknown fields")

    def complete(self, value: Any, schema: JSON, path: str = "", is_open: bool = False) -> Any:
        """Complete a value. `is_open` says that the list it stands in keeps unknown fields."""
        expected = None if INT_OR_STRING in schema else schema.get("type", "any")
        is_open = is_open or bool(schema.get(OPEN))
        if isinstance(value, dict) and expected in ("object", "any"):
            return self._complete_object(value, schema, path, is_open)
        if isinstance(value, list) and expected in ("array", "any"):
            items = schema.get("items", {})
            return [self._complete_item(item, items, f"{path}[{i}]", is_open) for i, item in enumerate(value)]
        return value

    def _complete_object(self, value: JSON, schema: JSON, path: str, is_open: bool) -> JSON:
        known, extra = _get_known(schema), _find_extra(schema)
        completed: JSON = {}
        for name, item in value.items():
            item_schema, item_path = known.get(name, extra), f"{path}.{name}" if path else name
            if item_schema is not None:
                if isinstance(item, str | int | float):
                    completed[name] = item  # as most are
                elif item is not None or item_schema.get("nullable"):
                    completed[name] = self.complete(item, item_schema, item_path)
                elif "default" in item_schema:
                    completed[name] = _build_default(item_schema)
            elif is_open:
                completed[name] = item
            else:
                self._unknown.append((item_path, name, known))
        for name, item_schema in known.items():
            if "default" in item_schema and name not in completed:
                completed[name] = _build_default(item_schema)
        return completed

    def _complete_item(self, item: Any, schema: JSON, path: str, is_open: bool) -> Any:
        if item is None and "default" in schema and not schema.get("nullable"):
            return _build_default(schema)
        return self.complete(item, schema, path, is_open)


def _build_default(schema: JSON) -> Any:
    # A walk of its own: an unknown field in a default is not the document's fault.
    return _Walk().complete(deepcopy(schema["default"]), schema)


def _get_known(schema: JSON) -> JSON:
    known: JSON = schema.get("properties", {})
    return {**known, **_OBJECT_FIELDS} if schema.get(EMBEDDED) else known


def _find_extra(schema: JSON) -> JSON | None:
    """Find the schema of the fields that have no name; `true` knows the fields but nothing in them."""
    extra = schema.get("additionalProperties")
    return {} if extra is True else extra or None


def _suggest(name: str, known: JSON) -> str:
    by_lower = {candidate.lower(): candidate for candidate in known}
    for close in get_close_matches(name.lower(), by_lower, n=1) if len(name) <= LONGEST_TYPO else ():
        return f'did you mean "{by_lower[close]}"?'
    if 0 < len(known) <= MOST_NAMES_LISTED:
        return f"known here: {', '.join(sorted(known))}"
    return ""
