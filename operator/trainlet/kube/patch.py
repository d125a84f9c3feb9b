"""Patches of objects: merge (RFC 7386), JSON (RFC 6902), and strategic merge for the kinds of Kubernetes' core.

Nothing is changed in place.
"""

from collections.abc import Callable, Sequence
from typing import Any

from trainlet.kube.meta import JSON

#: By which field the items of a list are one and the same; of other lists the new one replaces the old.
_MERGE_KEYS = {"ownerReferences": "uid", "conditions": "type"}
_SETS = frozenset({"finalizers"})
_DELETE, _REPLACE = "delete", "replace"
_MOST_OPERATIONS = 10_000


class PatchError(ValueError):
    """A patch that cannot be made: `is_malformed` if it never can, else the object is not as it expects."""

    def __init__(self, what: str, *, is_malformed: bool = False) -> None:
        super().__init__(what)
        self.is_malformed = is_malformed


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """Return the document with the patch's fields; null removes one."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_merge_patch(merged.get(name), value)
    return merged


def apply_strategic_patch(document: Any, patch: Any, field: str = "") -> Any:
    """Return the document with the patch's fields, its lists merged where their kind has a key for them."""
    if isinstance(patch, list) and isinstance(document, list):
        return _merge_lists(document, patch, field)
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    own = {name: value for name, value in patch.items() if not name.startswith("$")}
    if directive == _DELETE:
        return {}
    merged = dict(document) if isinstance(document, dict) and directive != _REPLACE else {}
    if isinstance(retained := patch.get("$retainKeys"), list):
        merged = {name: value for name, value in merged.items() if name in retained}
    for name, value in own.items():
        if value is None or (isinstance(value, dict) and value.get("$patch") == _DELETE):
            merged.pop(name, None)
        else:
            merged[name] = apply_strategic_patch(merged.get(name), value, name)
    for name, gone in patch.items():
        prefix, _, of = name.partition("/")
        if prefix == "$deleteFromPrimitiveList" and isinstance(merged.get(of), list):
            merged[of] = [item for item in merged[of] if item not in gone]
    return merged


def _merge_lists(old: Sequence[Any], new: Sequence[Any], field: str) -> list[Any]:
    if field in _SETS:
        return [*old, *(item for item in new if item not in old)]
    key = _MERGE_KEYS.get(field)
    if key is None or not all(isinstance(item, dict) for item in (*old, *new)):
        return list(new)
    merged = {item.get(key): item for item in old}
    for item in new:
        if item.get("$patch") == _DELETE:
            merged.pop(item.get(key), None)
        elif item.get("$patch") == _REPLACE and key not in item:
            return [each for each in new if "$patch" not in each]
        else:
            merged[item.get(key)] = apply_strategic_patch(merged.get(item.get(key)), item)
    return list(merged.values())


def apply_json_patch(document: Any, patch: Any) -> Any:
    """Return the document after all operations, in their order. Raises PatchError."""
    if not isinstance(patch, list):
        raise PatchError("a JSON patch is a list of operations", is_malformed=True)
    if len(patch) > _MOST_OPERATIONS:
        raise PatchError(f"the patch has more than {_MOST_OPERATIONS} operations", is_malformed=True)
    for operation in patch:
        name = operation.get("op") if isinstance(operation, dict) else None
        if not isinstance(name, str) or name not in _OPERATIONS:
            raise PatchError(f"unexpected kind of operation: {name}", is_malformed=True)
        document = _OPERATIONS[name](document, operation)
    return document


def _add(document: Any, operation: JSON) -> Any:
    return _change(document, _read_path(operation), lambda parent, key: _insert(parent, key, _get_value(operation)))


def _remove(document: Any, operation: JSON) -> Any:
    path = _read_path(operation)
    _get(document, path)
    return _change(document, path, _drop)


def _replace(document: Any, operation: JSON) -> Any:
    path = _read_path(operation)
    _get(document, path)
    return _change(document, path, lambda parent, key: _set(parent, key, _get_value(operation)))


def _move(document: Any, operation: JSON) -> Any:
    source, target = _read_path(operation, "from"), _read_path(operation)
    if target[: len(source)] == source and target != source:
        raise PatchError("a value cannot be moved into itself", is_malformed=True)
    value = _get(document, source)
    return _change(_change(document, source, _drop), target, lambda parent, key: _insert(parent, key, value))


def _copy(document: Any, operation: JSON) -> Any:
    value = _get(document, _read_path(operation, "from"))
    return _change(document, _read_path(operation), lambda parent, key: _insert(parent, key, value))


def _test(document: Any, operation: JSON) -> Any:
    path, wanted = _read_path(operation), operation.get("value")
    try:
        found = _get(document, path)
    except PatchError:
        if wanted is not None:
            raise
        found = None  # as Kubernetes' library has it, what is absent is null
    if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
        raise PatchError(f"testing value {operation.get('path')} failed")
    return document


_OPERATIONS: dict[str, Callable[[Any, JSON], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def _get_value(operation: JSON) -> Any:
    if "value" not in operation:
        raise PatchError(f"the operation at {operation.get('path')} has no value", is_malformed=True)
    return operation["value"]


def _read_path(operation: JSON, field: str = "path") -> tuple[str, ...]:
    text = operation.get(field)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(f"{field} is not a JSON pointer: {text}", is_malformed=True)
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


def _get(document: Any, path: Sequence[str]) -> Any:
    for step in path:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list):
            document = document[_read_index(document, step, len(document) - 1)]
        else:
            raise _missing(path)
    return document


def _change(document: Any, path: Sequence[str], change: Callable[[Any, str], Any]) -> Any:
    """Return the document with what `change` makes of the parent of this path."""
    if not path:
        return change({"": document}, "").get("")
    head, *rest = path
    if not rest:
        if not isinstance(document, dict | list):
            raise _missing(path)
        return change(document, head)
    below = _change(_get(document, [head]), rest, change)
    return _set(document, head, below)


def _insert(parent: Any, key: str, value: Any) -> Any:
    if isinstance(parent, dict):
        return {**parent, key: value}
    place = len(parent) if key == "-" else _read_index(parent, key, len(parent))
    return [*parent[:place], value, *parent[place:]]


def _set(parent: Any, key: str, value: Any) -> Any:
    if isinstance(parent, dict):
        return {**parent, key: value}
    place = _read_index(parent, key, len(parent) - 1)
    return [*parent[:place], value, *parent[place + 1 :]]


def _drop(parent: Any, key: str) -> Any:
    if isinstance(parent, dict):
        return {name: value for name, value in parent.items() if name != key}
    place = _read_index(parent, key, len(parent) - 1)
    return [*parent[:place], *parent[place + 1 :]]


def _read_index(items: Sequence[Any], step: str, last: int) -> int:
    if not (step.isascii() and step.isdigit()) or len(step) > 9 or int(step) > last:
        raise PatchError(f"there is no item {step} in a list of {len(items)}")
    return int(step)


def _missing(path: Sequence[str]) -> PatchError:
    return PatchError(f"there is nothing at /{'/'.join(path)}: unable to find that path in the object")
