"""Values of a query, as the clients of Kubernetes write them. Raises ApiError (400)."""

from collections.abc import Mapping

from trainlet.kube.errors import ApiError

_TRUE = frozenset({"true", "1", "t"})


def parse_flag(query: Mapping[str, str], name: str) -> bool:
    """Return a yes or no, however it is written; what is not given is a no."""
    return query.get(name, "").lower() in _TRUE


def parse_count(query: Mapping[str, str], name: str) -> int:
    """Return a whole number, 0 if it is not given."""
    text = query.get(name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise refuse(f"{name}: Invalid value: {text!r}: it is a whole number")
    return int(text)


def refuse(what: str) -> ApiError:
    """Return the refusal of a request that cannot be understood."""
    return ApiError(what, code=400, reason="BadRequest")
