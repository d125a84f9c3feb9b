"""Events that clients tell: completed as an API server does, and in the one form of times that kubectl reads. Pure."""

from datetime import datetime

from trainlet.admission.metadata import SUBDOMAIN_PROBLEM
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON, format_micro_time, format_time, get_metadata, parse_time
from trainlet.kube.names import is_subdomain
from trainlet.server.api.bodies import invalid
from trainlet.server.api.types import Resource

_TIMES = {"firstTimestamp": format_time, "lastTimestamp": format_time, "eventTime": format_micro_time}


def complete_event(resource: Resource, body: JSON, now: datetime) -> JSON:
    """Return an event as it is stored. Raises RequestError (422)."""
    name, namespace = str(get_metadata(body)["name"]), get_metadata(body)["namespace"]
    if not is_subdomain(name):
        cause = FieldError("metadata.name", "Invalid value", SUBDOMAIN_PROBLEM, name)
        raise invalid(resource, name, [cause])
    involved = body.get("involvedObject")
    if not isinstance(involved, dict):
        raise invalid(resource, name, [FieldError("involvedObject", "Required value", "what is the event about?")])
    own = involved.get("namespace") or namespace
    if own != namespace:
        detail = "does not match event.namespace"
        raise invalid(resource, name, [FieldError("involvedObject.namespace", "Invalid value", detail, own)])
    times = {field: _rewrite(resource, name, body, field) for field in _TIMES}
    moment = times["eventTime"]
    seen = times["lastTimestamp"] or (moment and format_time(parse_time(moment))) or format_time(now)
    count = body.get("count")
    return {
        **body,
        "involvedObject": {**involved, "namespace": own},
        "type": str(body.get("type") or "Normal"),
        "reason": str(body.get("reason") or ""),
        "message": str(body.get("message") or ""),
        "count": count if isinstance(count, int) and count > 0 else 1,
        "firstTimestamp": times["firstTimestamp"] or seen,
        "lastTimestamp": seen,
        "eventTime": moment,
    }


def _rewrite(resource: Resource, name: str, body: JSON, field: str) -> str | None:
    text = body.get(field)
    if text is None:
        return None
    try:
        return _TIMES[field](parse_time(str(text)))
    except (ValueError, OverflowError):
        cause = FieldError(field, "Invalid value", "is no time of RFC 3339, like 2026-01-02T03:04:05Z", text)
        raise invalid(resource, name, [cause]) from None
