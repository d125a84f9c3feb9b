"""A patch and the object that is there -> the object that is wanted, and who owns it then. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from trainlet.kube.kept import LAST_APPLIED
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, get_metadata
from trainlet.kube.ownership import APPLY, ApplyConflict, Owned, Owner, apply, read_owners
from trainlet.kube.patch import PatchError, apply_json_patch, apply_merge_patch, apply_strategic_patch
from trainlet.server.api.bodies import check_body, check_size, owned_by_others, refuse
from trainlet.server.api.types import PatchType, RequestError, Resource, WriteOptions

_ACCEPTED = ", ".join((PatchType.JSON, PatchType.MERGE, PatchType.APPLY))


def patch_object(resource: Resource, old: JSON, type: PatchType, body: Any) -> JSON:
    """Return the object after a patch of any type but server-side apply. Raises RequestError."""
    name = str(get_metadata(old)["name"])
    if type is PatchType.STRATEGIC and resource.group:
        what = f"the body of the request was in an unknown format - accepted media types include: {_ACCEPTED}"
        raise RequestError(what, code=415, reason="UnsupportedMediaType", resource=resource, name=name)
    if isinstance(body, list) is not (type is PatchType.JSON):
        raise refuse("error decoding patch: a JSON patch is a list of operations, any other an object")
    try:
        patched = _PATCHES[type](old, body)
    except PatchError as error:
        code, reason = (400, "BadRequest") if error.is_malformed else (422, "Invalid")
        what = f"the server rejected the patch: {error}"
        raise RequestError(what, code=code, reason=reason, resource=resource, name=name) from None
    if not isinstance(patched, dict):
        raise refuse("the patch leaves no object")
    check_size(patched)
    return patched


_PATCHES = {
    PatchType.MERGE: apply_merge_patch,
    PatchType.JSON: apply_json_patch,
    PatchType.STRATEGIC: apply_strategic_patch,
}


def apply_object(
    resource: Resource, old: JSON | None, config: JSON, options: WriteOptions, schema: JSON, now: str
) -> tuple[JSON, Mapping[Owner, Owned]]:
    """Return the object after a server-side apply, and who owns what then. Raises RequestError."""
    metadata = get_metadata(config)
    if metadata.get("managedFields"):
        raise refuse("metadata.managedFields must be nil")
    if not options.manager:
        raise refuse("fieldManager: Required value: is required for apply patch")
    owner = Owner(options.manager, APPLY, options.subresource)
    owners = read_owners(get_metadata(old or {}).get("managedFields"))
    live = None if old is None else {key: value for key, value in old.items() if key != "status"}
    wanted = {key: value for key, value in config.items() if key != "status"}
    if options.subresource and old is not None:
        live, wanted = _cut(old), _cut(config)
    try:
        merged, owned = apply(live, wanted, owners, owner, schema, now, force=options.is_forced)
    except ApplyConflict as error:
        raise owned_by_others(resource, str(metadata.get("name")), error) from None
    given = {name: metadata[name] for name in ("uid", "resourceVersion") if metadata.get(name)}
    base = get_metadata(old or {}) if options.subresource else get_metadata(merged)
    return {**(old or {}), **merged, "metadata": {**base, **given}}, owned


def read_declared(resource: Resource, name: str, patched: JSON) -> JSON | None:
    """Return what `kubectl apply` says that its manifest is, or None where nothing does. Raises RequestError."""
    text = find(patched, "metadata", "annotations", LAST_APPLIED)
    if not isinstance(text, str):
        return None
    try:
        declared = json.loads(text)
    except ValueError:
        declared = None
    if not isinstance(declared, dict):
        raise refuse(f"the annotation {LAST_APPLIED} is not an object in JSON")
    body = check_body(resource, str(get_metadata(patched).get("namespace", "")), declared, name)
    notes = {**(get_metadata(body).get("annotations") or {}), LAST_APPLIED: text}
    return {**body, "metadata": {**get_metadata(body), "annotations": notes}}


def _cut(document: JSON) -> JSON:
    """Return nothing of an object but its kind and status."""
    return {key: value for key, value in document.items() if key in ("apiVersion", "kind", "status")}
