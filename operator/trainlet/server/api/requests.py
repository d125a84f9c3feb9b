"""HTTP requests -> what they ask for: targets, bodies and options of writes. Raises ApiError."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from trainlet.documents.parse import parse_documents
from trainlet.kube.errors import ApiError, TrainletError
from trainlet.kube.meta import JSON
from trainlet.server.api.queries import parse_flag, refuse
from trainlet.server.api.resources import BY_PLURAL
from trainlet.server.api.types import DeleteOptions, PatchType, Resource, Validation, WriteOptions

#: What an API server takes of a body (kubernetes apiserver, MaxRequestBodyBytes).
MOST_BYTES = 3 << 20
_JSON_TYPES = ("", "application/json")
_YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
_PROPAGATIONS = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True)
class Target:
    """What a path names: a resource in a namespace or all, perhaps one object, perhaps a part of it."""

    resource: Resource
    namespace: str | None = None
    name: str = ""
    subresource: str = ""


def find_target(path: str) -> Target | None:
    """Return what a path names, or None."""
    match path.removeprefix("/").removesuffix("/").split("/"):
        case ["api", "v1", *rest]:
            return _find_in_group("", "v1", rest)
        case ["apis", group, version, *rest] if group:
            return _find_in_group(group, version, rest)
    return None


def _find_in_group(group: str, version: str, words: list[str]) -> Target | None:
    namespace = None
    if len(words) > 2 and words[0] == "namespaces" and (group, version, words[2]) in BY_PLURAL:
        _, namespace, *words = words
    resource = BY_PLURAL.get((group, version, words[0] if words else ""))
    if resource is None or len(words) > 3 or not all(words) or (namespace is not None) > resource.is_namespaced:
        return None
    name, subresource = [*words[1:], "", ""][:2]
    if subresource and subresource not in resource.subresources:
        return None
    if name and resource.is_namespaced and namespace is None:
        return None
    return Target(resource, namespace, name, subresource)


async def read_body(request: Request) -> bytes:
    """Return the body. Raises ApiError (413) for one that is too large, announced or not."""
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > MOST_BYTES:
        raise _build_size_error()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _build_size_error()
    return bytes(body)


def _build_size_error() -> ApiError:
    what = f"Request entity too large: limit is {MOST_BYTES}"
    return ApiError(what, code=413, reason="RequestEntityTooLarge")


def get_media_type(header: str) -> str:
    """Return the media type of a Content-Type header."""
    return header.partition(";")[0].strip().lower()


def parse_object(body: bytes, media_type: str) -> JSON:
    """Return the object of a body; without a type it is JSON. Raises ApiError (400, 415)."""
    if media_type in _YAML_TYPES:
        parsed = _parse_yaml(body)
    elif media_type in _JSON_TYPES:
        parsed = _parse_json(body)
    else:
        raise _refuse_type("application/json, application/yaml")
    if not isinstance(parsed, dict):
        raise refuse("the body of the request is not an object")
    return parsed


def _refuse_type(accepted: str) -> ApiError:
    what = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return ApiError(what, code=415, reason="UnsupportedMediaType")


def parse_patch(body: bytes, media_type: str) -> tuple[PatchType, Any]:
    """Return the type and the content of a patch. Raises ApiError (400, 415)."""
    try:
        type = PatchType(media_type)
    except ValueError:
        raise _refuse_type(", ".join(PatchType)) from None
    parsed = _parse_yaml(body) if type is PatchType.APPLY and not body.lstrip().startswith(b"{") else _parse_json(body)
    if isinstance(parsed, list) is not (type is PatchType.JSON) or not isinstance(parsed, list | dict):
        form = "a list of operations" if type is PatchType.JSON else "an object"
        raise refuse(f"error decoding patch: a patch of type {type} is {form}")
    return type, parsed


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise refuse(f"the body of the request is not JSON: {error}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _parse_yaml(body: bytes) -> Any:
    try:
        documents = parse_documents(body)
    except TrainletError as error:
        raise refuse(f"the body of the request is not YAML: {error}") from None
    if len(documents) != 1:
        raise refuse(f"the body of the request has {len(documents)} documents: it must have one")
    return documents[0].value


# Options


def parse_write(query: Mapping[str, str], user_agent: str, subresource: str = "") -> WriteOptions:
    """Return what a write says beside its object. Raises ApiError."""
    validation = query.get("fieldValidation") or Validation.WARN
    if validation not in list(Validation):
        raise refuse(f"fieldValidation: Unsupported value: {validation!r}: it is one of {', '.join(Validation)}")
    return WriteOptions(
        manager=query.get("fieldManager") or user_agent.partition("/")[0].split(" ")[0] or "unknown",
        is_dry_run=_parse_dry_run(query.get("dryRun")),
        validation=Validation(validation),
        is_forced=parse_flag(query, "force"),
        subresource=subresource,
    )


def parse_delete(query: Mapping[str, str], body: JSON) -> DeleteOptions:
    """Return what a deletion says, in its body or else in its query. Raises ApiError."""
    dry_run, preconditions = body.get("dryRun") or query.get("dryRun"), body.get("preconditions") or {}
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
    if propagation not in _PROPAGATIONS:
        raise refuse(f"propagationPolicy: Unsupported value: {propagation!r}: one of {', '.join(_PROPAGATIONS)}")
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    if not isinstance(preconditions, dict):
        raise refuse("preconditions are an object")
    return DeleteOptions(
        is_dry_run=_parse_dry_run(dry_run),
        propagation=propagation,
        grace_seconds=None if grace is None else _parse_grace(grace),
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
    )


def _parse_dry_run(value: Any) -> bool:
    values = [value] if isinstance(value, str) else value or []
    if not isinstance(values, list) or any(each not in ("All", "") for each in values):
        raise refuse(f"dryRun: Unsupported value: {value!r}: it is All")
    return "All" in values


def _parse_grace(value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise refuse(f"gracePeriodSeconds: Invalid value: {value!r}: it is a number of seconds")
    return int(text)
