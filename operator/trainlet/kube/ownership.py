"""Who owns which field of an object, and server-side apply (sigs.k8s.io/structured-merge-diff, in what it says).

A field is its path in the notation of FieldsV1: `f:name`, `k:{"name":"x"}` for the item of a keyed list, `v:"x"` for
that of a set. Owned are the leaves, what counts as a whole among them, and the items of keyed lists.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from trainlet.kube.meta import JSON

Path = tuple[str, ...]
Paths = frozenset[Path]

APPLY, UPDATE = "Apply", "Update"
#: Whose everything is that was there before anybody applied.
BEFORE = "before-first-apply"
_SERVERS = ("name", "namespace", "generateName", "uid", "resourceVersion", "generation", "creationTimestamp")
_NOBODYS = (
    *(("f:apiVersion",), ("f:kind",)),
    *(("f:metadata", f"f:{name}") for name in (*_SERVERS, "deletionTimestamp", "managedFields", "selfLink")),
)
_NONE: Paths = frozenset()


@dataclass(frozen=True, order=True)
class Owner:
    """Who writes, and how: `operation` is Apply or Update, `subresource` empty or `status`."""

    manager: str
    operation: str
    subresource: str = ""


@dataclass(frozen=True)
class Owned:
    """What an owner has, and since when."""

    paths: Paths
    time: str
    api_version: str


Owners = Mapping[Owner, Owned]


@dataclass(frozen=True)
class Conflict:
    """A field that another owns and that was to be changed."""

    owner: Owner
    api_version: str
    path: Path

    def __str__(self) -> str:
        return render_path(self.path)


class ApplyConflict(Exception):
    """Fields that belong to others, ordered by these."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        self.conflicts = tuple(conflicts)
        noun = "conflict" if len(conflicts) == 1 else "conflicts"
        super().__init__(f"Apply failed with {len(conflicts)} {noun}: {_describe(self.conflicts)}")


def _describe(conflicts: Sequence[Conflict]) -> str:
    parts = []
    for (owner, version), group in groupby(conflicts, key=lambda each: (each.owner, each.api_version)):
        fields = list(map(str, group))
        listed = f": {fields[0]}" if len(fields) == 1 else ":\n- " + "\n- ".join(fields)
        noun = "conflict" if len(fields) == 1 else "conflicts"
        parts.append(f'{noun} with "{owner.manager}" using {version}{listed}')
    return "\n".join(parts)


def render_path(path: Path) -> str:
    """Return a field as messages name it: `.spec.template[name="x"].y`."""
    return "".join(map(_render_step, path))


def _render_step(step: str) -> str:
    kind, _, rest = step.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "v":
        return f"[={rest}]"
    keys = ",".join(f"{name}={json.dumps(value)}" for name, value in json.loads(rest).items())
    return f"[{keys}]"


def track_update(old: JSON, new: JSON, owners: Owners, owner: Owner, schema: JSON, now: str) -> dict[Owner, Owned]:
    """Return who owns what after somebody wrote an object: what changed is the writer's, and nobody else's."""
    before, after = _read_fields(old, schema), _read_fields(new, schema)
    changed = _find_changed(before, after)
    removed = before.keys() - after.keys()
    kept = {each: replace(owned, paths=owned.paths - changed - removed) for each, owned in owners.items()}
    own = (kept[owner].paths if owner in kept else _NONE) | changed
    if changed:
        kept[owner] = Owned(own, now, str(new.get("apiVersion", "")))
    return _keep_times(kept, owners)


def apply(
    live: JSON | None, config: JSON, owners: Owners, owner: Owner, schema: JSON, now: str, *, force: bool
) -> tuple[JSON, dict[Owner, Owned]]:
    """Return the object with what somebody wants of it, without what that one gave up, and who owns what then.

    Raises ApplyConflict unless `force`.
    """
    version = str(config.get("apiVersion", ""))
    if live is not None and not owners:
        owners = {Owner(BEFORE, UPDATE): Owned(frozenset(_read_fields(live, schema)), now, version)}
    wanted = frozenset(_read_fields(config, schema))
    others = {each: owned for each, owned in owners.items() if each != owner}
    left_over = live or {}
    before = owners[owner].paths if owner in owners else _NONE
    for path in sorted(before - wanted, key=len, reverse=True):
        if not any(_holds(paths, path) for paths in (wanted, *(owned.paths for owned in others.values()))):
            left_over = _remove(left_over, path, schema)
    merged: JSON = _merge(left_over, config, schema)
    fields, old = _read_fields(merged, schema), _read_fields(live or {}, schema)
    changed = _find_changed(old, fields)
    conflicts = [
        Conflict(each, o.api_version, p) for each, o in sorted(others.items()) for p in sorted(o.paths & changed)
    ]
    if conflicts and not force:
        raise ApplyConflict(conflicts)
    lost = changed | (old.keys() - fields.keys())
    left = {each: replace(owned, paths=owned.paths - lost) for each, owned in others.items()}
    return merged, _keep_times({**left, owner: Owned(wanted, now, version)}, owners)


def _keep_times(new: Owners, old: Owners) -> dict[Owner, Owned]:
    """Leave out who owns nothing any more, and let the time stand of who owns the same as before."""
    return {
        owner: replace(owned, time=old[owner].time) if owner in old and old[owner].paths == owned.paths else owned
        for owner, owned in new.items()
        if owned.paths
    }


def _find_changed(before: Mapping[Path, Any], after: Mapping[Path, Any]) -> Paths:
    return frozenset(path for path, value in after.items() if path not in before or before[path] != value)


def _holds(paths: Paths, path: Path) -> bool:
    """Tell whether somebody owns a field or anything in it."""
    return any(each[: len(path)] == path for each in paths)


# Values and their fields


def _read_fields(document: JSON, schema: JSON) -> dict[Path, Any]:
    """Return the leaves that can be owned, by their paths."""
    return {
        path: value
        for path, value in _walk(document, schema, ())
        if not any(path[: len(each)] == each for each in _NOBODYS)
    }


def _walk(value: Any, schema: JSON, path: Path) -> Iterator[tuple[Path, Any]]:
    match _classify(value, schema) if value else "":
        case "map":
            for name, item in value.items():
                yield from _walk(item, _get_child(schema, name), (*path, f"f:{name}"))
        case "keyed":
            for item in value:
                place = (*path, _find_key(item, schema))
                yield place, None
                yield from _walk(item, schema.get("items", {}), place)
        case "set":
            yield from (((*path, f"v:{_dump(item)}"), None) for item in value)
        case _:
            yield path, value


def _classify(value: Any, schema: JSON) -> str:
    """Return how a value is owned: by the parts of a `map`, a `keyed` list or a `set`, else as a whole."""
    if isinstance(value, dict):
        return "" if schema.get("x-kubernetes-map-type") == "atomic" else "map"
    kind = schema.get("x-kubernetes-list-type") if isinstance(value, list) else None
    if kind == "map" and all(isinstance(item, dict) for item in value):
        return "keyed"
    return "set" if kind == "set" else ""


def _get_child(schema: JSON, name: str) -> JSON:
    child = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
    return child if isinstance(child, dict) else {}


def _find_key(item: JSON, schema: JSON) -> str:
    properties = schema.get("items", {}).get("properties", {})
    keys = sorted(schema.get("x-kubernetes-list-map-keys", ()))
    found = {key: item.get(key, properties.get(key, {}).get("default")) for key in keys}
    return f"k:{_dump({key: value for key, value in found.items() if value is not None})}"


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _merge(live: Any, config: Any, schema: JSON) -> Any:
    kinds = {_classify(live, schema), _classify(config, schema)}
    if kinds == {"map"}:
        merged = dict(live)
        for name, value in config.items():
            merged[name] = _merge(live[name], value, _get_child(schema, name)) if name in live else value
        return merged
    if kinds == {"keyed"}:
        items = {_find_key(item, schema): item for item in live}
        for item in config:
            key = _find_key(item, schema)
            items[key] = _merge(items[key], item, schema.get("items", {})) if key in items else item
        return list(items.values())
    if kinds == {"set"}:
        return [*live, *(item for item in config if item not in live)]
    return config


def _remove(value: Any, path: Path, schema: JSON) -> Any:
    """Return a value without what is at this path, and without mappings and lists that this leaves empty."""
    head, *rest = path
    if isinstance(value, dict) and head.startswith("f:"):
        name = head.removeprefix("f:")
        if name not in value:
            return value
        below = _remove(value[name], tuple(rest), _get_child(schema, name)) if rest else None
        others = {key: item for key, item in value.items() if key != name}
        return {**value, name: below} if rest and below not in ({}, [], None) else others
    if not isinstance(value, list):
        return value
    items = []
    for item in value:
        is_meant = (f"v:{_dump(item)}" if head.startswith("v:") else _find_key(item, schema)) == head
        if not is_meant:
            items.append(item)
        elif rest and (below := _remove(item, tuple(rest), schema.get("items", {}))):
            items.append(below)
    return items


# The wire


def read_owners(managed: Any) -> dict[Owner, Owned]:
    """Return who owns what as `metadata.managedFields` says it; what says nothing is nobody's."""
    owners: dict[Owner, Owned] = {}
    for entry in managed if isinstance(managed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("fieldsV1"), dict) and entry.get("manager"):
            owner = Owner(str(entry["manager"]), str(entry.get("operation", UPDATE)), str(entry.get("subresource", "")))
            paths = frozenset(_read_paths(entry["fieldsV1"], ()))
            owners[owner] = Owned(paths, str(entry.get("time", "")), str(entry.get("apiVersion", "")))
    return owners


def write_owners(owners: Owners) -> list[JSON]:
    """Return `metadata.managedFields`."""
    return [
        {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": owned.api_version,
            "time": owned.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _write_paths(owned.paths),
            **({"subresource": owner.subresource} if owner.subresource else {}),
        }
        for owner, owned in sorted(owners.items(), key=lambda each: (each[0].operation, each[1].time, each[0]))
    ]


def _read_paths(tree: JSON, path: Path) -> Iterator[Path]:
    for step, below in tree.items():
        if step == ".":
            yield path
        elif isinstance(below, dict):
            yield from _read_paths(below, (*path, step)) if below else ((*path, step),)


def _write_paths(paths: Paths) -> JSON:
    tree: JSON = {}
    for path in sorted(paths):
        below = tree
        for step in path:
            below = below.setdefault(step, {})
    inner = {path[:size] for path in paths for size in range(1, len(path))}
    for path in sorted(paths & inner):
        below = tree
        for step in path:
            below = below[step]
        below["."] = {}
    return tree
