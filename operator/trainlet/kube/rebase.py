"""What a change makes of another text of the same object: a manifest that leaves out what was filled in."""

import json
from difflib import SequenceMatcher
from typing import Any

_ABSENT = object()


def rebase(written: Any, old: Any, new: Any) -> Any:
    """Return what is written with everything changed in it that differs between old and new, and nothing else."""
    if old == new and type(old) is type(new):
        return written
    if isinstance(written, dict) and isinstance(old, dict) and isinstance(new, dict):
        return _rebase_mapping(written, old, new)
    if isinstance(written, list) and isinstance(old, list) and isinstance(new, list) and len(written) == len(old):
        return _rebase_list(written, old, new)
    return new


def _rebase_mapping(written: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    rebased = {key: value for key, value in written.items() if key in new or key not in old}
    for key, value in new.items():
        before = old.get(key, _ABSENT)
        if before is _ABSENT or before != value:
            rebased[key] = rebase(written[key], before, value) if key in written else _diff(before, value)
    return rebased


def _diff(old: Any, new: Any) -> Any:
    """Return what of a value that was filled in is to be written: of a mapping only what is new."""
    if isinstance(old, dict) and isinstance(new, dict) and all(key in new for key in old):
        return {key: _diff(old.get(key), value) for key, value in new.items() if key not in old or old[key] != value}
    return new


def _rebase_list(written: list[Any], old: list[Any], new: list[Any]) -> list[Any]:
    rebased: list[Any] = []
    matcher = SequenceMatcher(None, list(map(_freeze, old)), list(map(_freeze, new)), autojunk=False)
    for what, start, end, new_start, new_end in matcher.get_opcodes():
        if what == "equal":
            rebased += written[start:end]
            continue
        both = min(end - start, new_end - new_start)
        rebased += [rebase(written[start + i], old[start + i], new[new_start + i]) for i in range(both)]
        rebased += new[new_start + both : new_end]
    return rebased


def _freeze(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
