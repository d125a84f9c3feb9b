"""Judges the rules (x-kubernetes-validations) that the definitions carry.

Paths, rules and messages come from the schema; here stands, for the text of every rule that the shipped
definitions carry, what it means in Python. A rule about the old value is judged only where a value stood
before and stands now, as on a cluster.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trainlet.admission.crd import Crd
from trainlet.kube.errors import FieldError

Schema = dict[str, Any]

IMMUTABLE = "self == oldSelf"

STORAGE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")
TRAINJOB_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
MANAGERS = ("trainer.kubeflow.org/trainjob-controller", "kueue.x-k8s.io/multikueue")
FRAMEWORKS = ("torch", "mpi", "jax", "xgboost", "flux")


@dataclass(frozen=True)
class Rule:
    """What a rule means: `holds` takes the value, `path` names the field to blame if not the value's own."""

    holds: Callable[[Any], bool]
    path: str = ""


def _get_name(document: Schema) -> str:
    return str(document.get("metadata", {}).get("name", ""))


def _has_one_order(jobset: Schema) -> bool:
    in_order = jobset.get("startupPolicy", {}).get("startupPolicyOrder") == "InOrder"
    return not (in_order and any("dependsOn" in job for job in jobset.get("replicatedJobs", ())))


def _names_no_namespace(policy: Schema) -> bool:
    return not any(template.get("metadata", {}).get("namespace") for template in policy.get("templates", ()))


RULES = {
    "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')": Rule(
        lambda job: bool(TRAINJOB_NAME.fullmatch(_get_name(job))), path="metadata.name"
    ),
    "size(self.metadata.name) <= 63": Rule(lambda job: len(_get_name(job)) <= 63, path="metadata.name"),
    "self in ['trainer.kubeflow.org/trainjob-controller', 'kueue.x-k8s.io/multikueue']": Rule(
        lambda manager: manager in MANAGERS
    ),
    "self == '' || self.matches('^[A-Za-z][A-Za-z0-9+.-]*://.+$')": Rule(
        lambda uri: uri == "" or bool(STORAGE_URI.fullmatch(uri))
    ),
    "self >= 1": Rule(lambda number: bool(number >= 1)),
    "has(self.lastUpdatedTime)": Rule(lambda status: "lastUpdatedTime" in status),
    "[has(self.torch), has(self.mpi), has(self.jax), has(self.xgboost), has(self.flux)].filter(x, x).size() <= 1": Rule(
        lambda policy: sum(name in policy for name in FRAMEWORKS) <= 1
    ),
    "!self.exists(c, c == 'node')": Rule(lambda names: "node" not in names),
    "!(has(self.startupPolicy) && self.startupPolicy.startupPolicyOrder == 'InOrder' "
    "&& self.replicatedJobs.exists(x, has(x.dependsOn)))": Rule(_has_one_order),
    "!has(self.templates) || self.templates.all(t, !has(t.metadata) || !has(t.metadata.__namespace__) "
    "|| size(t.metadata.__namespace__) == 0)": Rule(_names_no_namespace),
}


def validate_rules(new: dict[str, Any], old: dict[str, Any] | None, crd: Crd) -> list[FieldError]:
    """Find every rule that an object breaks, alone or as a change of `old`.

    Both must be defaulted and `new` must have passed validate_schema.
    """
    return list(_judge(new, old, crd.schema, ""))


def _judge(new: Any, old: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if rule["rule"] == IMMUTABLE:
            if old is not None and _normalize(new, schema) != _normalize(old, schema):
                yield _refuse(path, _show(new), rule)
        elif not RULES[rule["rule"]].holds(new):
            blamed = RULES[rule["rule"]].path
            yield _refuse(blamed or path, _get_name(new) if blamed else _show(new), rule)
    if isinstance(new, dict):
        yield from _judge_object(new, old if isinstance(old, dict) else {}, schema, path)
    elif isinstance(new, list) and "items" in schema:
        yield from _judge_list(new, old, schema, path)


def _judge_list(new: list[Any], old: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    previous = _index_items(old, schema)
    for index, item in enumerate(new):
        old_item = previous.get(_get_identity(item, schema))
        yield from _judge(item, old_item, schema["items"], f"{path}[{index}]")


def _refuse(path: str, value: Any, rule: Schema) -> FieldError:
    return FieldError(path, "Invalid value", rule["message"], value, stage="cel")


def _judge_object(new: Schema, old: Schema, schema: Schema, path: str) -> Iterator[FieldError]:
    properties = schema.get("properties", {})
    for name, value in new.items():
        if name in properties:
            child = f"{path}.{name}" if path else name
            yield from _judge(value, old.get(name), properties[name], child)


def _index_items(old: Any, schema: Schema) -> dict[Any, Any]:
    # Only items of a map can be told to be "the same one as before".
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map":
        return {}
    return {_get_identity(item, schema): item for item in old}


def _get_identity(item: Any, schema: Schema) -> tuple[Any, ...] | None:
    keys = schema.get("x-kubernetes-list-map-keys")
    return tuple(item.get(key) for key in keys) if keys else None


def _normalize(value: Any, schema: Schema) -> Any:
    """Bring lists whose order means nothing into one order, so that == compares as Kubernetes does."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {name: _normalize(item, properties.get(name, {})) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    items = [_normalize(item, schema.get("items", {})) for item in value]
    match schema.get("x-kubernetes-list-type"):
        case "map":
            return sorted(items, key=lambda item: str(_get_identity(item, schema)))
        case "set":
            return sorted(items, key=str)
    return items


def _show(value: Any) -> Any:
    """A scalar itself; of a larger value only its type, as the API server prints it."""
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else value
