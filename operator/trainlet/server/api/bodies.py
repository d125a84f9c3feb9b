"""What a write's object must be before anybody judges what it asks for, and how that is refused. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from trainlet.documents.parse import MAX_DEPTH, MAX_NODES
from trainlet.kube.errors import ApiError, FieldError, TrainletError
from trainlet.kube.meta import JSON, get_metadata
from trainlet.kube.ownership import ApplyConflict
from trainlet.server.api.types import DeleteOptions, RequestError, Resource

_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_STALE = "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might "
_ENDINGS = {"UID": "have been deleted and then recreated", "ResourceVersion": "have been modified"}

_TEXTS = ("name", "generateName", "namespace", "uid", "resourceVersion")


def check_body(resource: Resource, namespace: str, body: JSON, name: str = "") -> JSON:
    """Return the object with the kind, namespace and name of the request. Raises RequestError where it has others."""
    for field, wanted, what in (("apiVersion", resource.api_version, "API version"), ("kind", resource.kind, "kind")):
        found = body.get(field) or wanted
        if found != wanted:
            raise refuse(f"the {what} in the data ({found}) does not match the expected {what} ({wanted})")
    if not isinstance(body.get("metadata", {}), dict):
        raise refuse("metadata is not an object")
    metadata = get_metadata(body)
    if not all(isinstance(metadata.get(field) or "", str) for field in _TEXTS):
        raise refuse(f"of metadata these are text: {', '.join(_TEXTS)}")
    own = namespace if resource.is_namespaced else ""
    if own and (metadata.get("namespace") or own) != own:
        raise refuse("the namespace of the provided object does not match the namespace sent on the request")
    if name and (metadata.get("name") or name) != name:
        found = metadata["name"]
        raise refuse(f"the name of the object ({found}) does not match the name on the URL ({name})")
    given = {"namespace": own} if own else {}
    named = {"name": name} if name else {}
    document = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
    return {**document, "metadata": {**metadata, **named, **given}}


def check_size(value: Any) -> None:
    """Raise RequestError (400) for what no manifest could say: it has too many values, or they are nested too deep."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH):
        level = [each for part in level for each in _list_parts(part)]
        count += len(level)
        if count > MAX_NODES:
            raise refuse(f"the object has more than {MAX_NODES} values")
    if level:
        raise refuse(f"the object is nested more than {MAX_DEPTH} levels deep")


def _list_parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def check_version(resource: Resource, old: JSON, new: JSON) -> None:
    """Raise RequestError (409) for a change that was made of another state of the object, or of another object."""
    before, after = get_metadata(old), get_metadata(new)
    uid = before.get("uid")  # of an event that we tell nothing is stored, and another is shown
    if uid and (after.get("uid") or uid) != uid:
        what = f"Precondition failed: UID in precondition: {after['uid']}, UID in object meta: {uid}"
        raise conflict(resource, before["name"], what)
    version = after.get("resourceVersion") or before["resourceVersion"]
    if version != before["resourceVersion"]:
        raise conflict(resource, before["name"], _MODIFIED)


def require_version(resource: Resource, name: str, body: JSON) -> None:
    """Raise RequestError (422) for an update that does not say of what; the kinds of the core need not."""
    if resource.group and not get_metadata(body).get("resourceVersion"):
        cause = FieldError("metadata.resourceVersion", "Invalid value: 0x0", "must be specified for an update")
        raise invalid(resource, name, [cause])


def check_preconditions(resource: Resource, old: JSON, options: DeleteOptions) -> None:
    """Raise RequestError (409) for a deletion of something else than what is there."""
    metadata = get_metadata(old)
    wishes = (("UID", options.uid, "uid"), ("ResourceVersion", options.resource_version, "resourceVersion"))
    for what, wanted, field in wishes:
        if wanted and wanted != metadata.get(field):
            text = _STALE.format(what=what, wanted=wanted, found=metadata.get(field)) + _ENDINGS[what]
            raise conflict(resource, metadata["name"], text)


def check_finalizers(resource: Resource, old: JSON, new: JSON) -> None:
    """Raise RequestError (422) for one that comes when the object is on its way out."""
    before, after = get_metadata(old), get_metadata(new)
    added = sorted(set(map(str, after.get("finalizers") or ())) - set(map(str, before.get("finalizers") or ())))
    if before.get("deletionTimestamp") and added:
        detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {added}"
        raise invalid(resource, before["name"], [FieldError("metadata.finalizers", "Forbidden", detail)])


def refuse(what: str) -> RequestError:
    """Return the refusal of a request that makes no sense."""
    return RequestError(what, code=400, reason="BadRequest")


def conflict(resource: Resource, name: str, why: str) -> RequestError:
    """Return the refusal of a change that is about another state than the one there is."""
    what = f'Operation cannot be fulfilled on {resource.full_name} "{name}": {why}'
    return RequestError(what, code=409, reason="Conflict", resource=resource, name=name)


def taken(resource: Resource, name: str, *, is_going: bool = False, remedy: str = "") -> RequestError:
    """Return the refusal of a name that something has."""
    what = f'{"object is being deleted: " if is_going else ""}{resource.full_name} "{name}" already exists'
    what = f"{what}: {remedy}" if remedy else what
    return RequestError(what, code=409, reason="AlreadyExists", resource=resource, name=name)


def invalid(resource: Resource, name: str, causes: Sequence[FieldError]) -> RequestError:
    """Return the refusal of what the object says."""
    listed = str(causes[0]) if len(causes) == 1 else f"[{', '.join(map(str, causes))}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    what = f'{kind} "{name}" is invalid: {listed}'
    return RequestError(what, code=422, reason="Invalid", resource=resource, name=name, causes=causes)


def not_allowed(resource: Resource, why: str = "") -> RequestError:
    """Return the refusal of what can be done to nothing of this kind."""
    what = why or "the server does not allow this method on the requested resource"
    return RequestError(what, code=405, reason="MethodNotAllowed", resource=resource)


def forbidden(resource: Resource, name: str, why: str) -> RequestError:
    """Return the refusal of what can be done to others of this kind."""
    what = f'{resource.full_name} "{name}" is forbidden: {why}'
    return RequestError(what, code=403, reason="Forbidden", resource=resource, name=name)


def unknown_fields(resource: Resource, fields: Sequence[str]) -> RequestError:
    """Return the refusal of fields that the kind does not have."""
    listed = ", ".join(f'unknown field "{field}"' for field in fields)
    where = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    return refuse(f"{where}: strict decoding error: {listed}")


def owned_by_others(resource: Resource, name: str, error: ApplyConflict) -> RequestError:
    """Return the refusal of what others have set."""
    causes = [
        FieldError(str(each), "FieldManagerConflict", f'conflict with "{each.owner.manager}" using {each.api_version}')
        for each in error.conflicts
    ]
    return RequestError(str(error), code=409, reason="Conflict", resource=resource, name=name, causes=causes)


def build_refusal(resource: Resource, name: str, error: TrainletError) -> RequestError:
    """Return an error of whoever judges or writes as the refusal of this request."""
    if isinstance(error, RequestError):
        return error
    if not isinstance(error, ApiError):
        return RequestError(str(error), code=500, reason="InternalError", resource=resource, name=name)
    what, causes = str(error), error.causes
    return RequestError(what, code=error.code, reason=error.reason, resource=resource, name=name, causes=causes)


def prune(document: Any, completed: Any) -> Any:
    """Return what of a document its schema knows: what is left of it in its completed form, without defaults."""
    if isinstance(document, dict) and isinstance(completed, dict):
        kept = {key: (value, completed[key]) for key, value in document.items() if key in completed}
        return {key: prune(value, other) for key, (value, other) in kept.items() if value is not None or other is None}
    if isinstance(document, list) and isinstance(completed, list) and len(document) == len(completed):
        return [prune(value, other) for value, other in zip(document, completed, strict=True)]
    return document
