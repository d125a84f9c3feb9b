"""Fills in the defaults of a schema and drops the nulls that mean "not given".

Follows apiextensions-apiserver pkg/apiserver/schema/defaulting. Judges nothing: a value of the wrong type
or an unknown field passes through as it is.
"""

from copy import deepcopy
from typing import Any

from trainlet.admission.crd import Crd

Schema = dict[str, Any]


def apply_defaults(document: dict[str, Any], crd: Crd) -> dict[str, Any]:
    """Build the document as the API server stores it: defaults filled in, nulls that mean nothing dropped.

    The input is not changed; parts that the schema says nothing about are shared with it.
    """
    return _complete_object(document, crd.schema)


def _complete(value: Any, schema: Schema) -> Any:
    if isinstance(value, dict):
        return _complete_object(value, schema)
    if isinstance(value, list) and "items" in schema:
        return [_complete(item, schema["items"]) for item in value]
    return value


def _complete_object(value: dict[str, Any], schema: Schema) -> dict[str, Any]:
    properties, extra = schema.get("properties", {}), _get_extra_schema(schema)
    completed = {}
    for name, item in value.items():
        item_schema = properties.get(name, extra)
        if item_schema is None:
            completed[name] = item
        elif item is not None or item_schema.get("nullable"):
            completed[name] = _complete(item, item_schema)
    for name, item_schema in properties.items():
        if name not in completed and "default" in item_schema:
            completed[name] = _complete(deepcopy(item_schema["default"]), item_schema)
    return completed


def _get_extra_schema(schema: Schema) -> Schema | None:
    extra = schema.get("additionalProperties")
    return extra if isinstance(extra, dict) else None
