"""Conditions as apimachinery's `meta.SetStatusCondition` keeps them."""

from collections.abc import Sequence
from datetime import datetime

from trainlet.kube.meta import JSON, format_time


def find_condition(conditions: Sequence[JSON], type: str) -> JSON | None:
    """Return the condition of this type, or None."""
    return next((condition for condition in conditions if condition.get("type") == type), None)


def is_true(conditions: Sequence[JSON], type: str) -> bool:
    """Tell whether the condition of this type is there and True."""
    condition = find_condition(conditions, type)
    return condition is not None and condition.get("status") == "True"


def set_condition(
    conditions: Sequence[JSON], type: str, status: bool, reason: str, message: str, now: datetime
) -> list[JSON]:
    """Return the conditions with this one set in its old place; its transition time moves only with its status."""
    new = {
        "type": type,
        "status": "True" if status else "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": format_time(now),
    }
    old = find_condition(conditions, type)
    if old is None:
        return [*conditions, new]
    if old.get("status") == new["status"]:
        new["lastTransitionTime"] = old.get("lastTransitionTime", new["lastTransitionTime"])
    return [new if condition is old else condition for condition in conditions]
