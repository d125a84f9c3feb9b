"""Refusals -> the Status objects that clients of Kubernetes read, with what they print of the object and its fields."""

import re

from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.meta import JSON
from trainlet.server.api.types import RequestError
from trainlet.server.responses import build_status

#: What a client may send to a path that answers some of them.
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
#: How a field's trouble is called where programs read it (apimachinery pkg/apis/meta/v1, CauseType).
_CAUSES = {
    "Required value": "FieldValueRequired",
    "Invalid value": "FieldValueInvalid",
    "Unsupported value": "FieldValueNotSupported",
    "Duplicate value": "FieldValueDuplicate",
    "Forbidden": "FieldValueForbidden",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
    "Not found": "FieldValueNotFound",
}
#: What server-side apply calls a field of another's; kubectl prints each cause of this kind with advice.
_CONFLICT = "FieldManagerConflict"


def write_status(error: ApiError) -> JSON:
    """Return the Status of a refusal. Its details are always there: some clients crash without."""
    return {**build_status(error), "message": _write_message(error), "details": _build_details(error)}


def _write_message(error: ApiError) -> str:
    """Return what a client prints: our own advice too, where it is not upstream's words alone."""
    return f"{error.what}: {error.remedy}" if error.remedy else error.what


def _build_details(error: ApiError) -> JSON:
    details: JSON = {}
    if isinstance(error, RequestError) and error.resource is not None:
        kind = error.resource.kind if error.reason == "Invalid" else error.resource.plural
        details = {"name": error.name, "group": error.resource.group, "kind": kind}
    if isinstance(error, RequestError) and error.retry_after_seconds:
        details["retryAfterSeconds"] = error.retry_after_seconds
    if error.causes:
        details["causes"] = [_build_cause(each) for each in error.causes]
    return {key: value for key, value in details.items() if value != ""}


def _build_cause(cause: FieldError) -> JSON:
    if cause.type == _CONFLICT:
        return {"reason": _CONFLICT, "message": cause.detail, "field": cause.path}
    # The field is told beside the message, and printed before it.
    message = str(cause).removeprefix(f"{cause.path}: ") if cause.path else str(cause)
    reason = _CAUSES.get(cause.type.partition(":")[0], re.sub(r"\W", "", cause.type.title()))
    return {"reason": reason, "message": message, "field": cause.path}


def build_method_error() -> ApiError:
    """Return the refusal of a verb that a resource does not have."""
    what = "the server does not allow this method on the requested resource"
    return ApiError(what, code=405, reason="MethodNotAllowed")


def build_path_error() -> ApiError:
    """Return the refusal of a path that nothing is at."""
    return ApiError("the server could not find the requested resource", code=404, reason="NotFound")


def build_expired_error(what: str) -> ApiError:
    """Return the refusal of a version that is no longer there: who asked lists again."""
    return ApiError(what, code=410, reason="Expired")
