"""`spec.runtimePatches` of a TrainJob -> the runtime's template with them in it.

The strategic merge of kubeflow/trainer pkg/runtime/core/trainingruntime.go (apimachinery util/strategicpatch): maps
are merged by key, the lists named here item by item, other lists replaced. What may be patched is the definition's
matter, and whether it may be patched now the webhook's.
"""

from collections.abc import Iterable
from typing import Any

from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON

#: By what the items of a list are told apart: the patch merge keys of core/v1 and of a JobSet's replicatedJobs.
_MERGE_KEYS = {
    "replicatedJobs": "name",
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "schedulingGates": "name",
}
_METADATA = ("labels", "annotations")
_REPLICATED_JOBS = ("spec", "replicatedJobs")


def apply_patches(template: JSON, patches: Iterable[JSON]) -> JSON:
    """Return a runtime's `spec.template` with the patches in it, the later ones over the earlier ones."""
    for patch in patches:
        template = _apply(template, find(patch, "trainingRuntimeSpec", "template") or {})
    return template


def is_same_patch(one: JSON, other: JSON) -> bool:
    """Tell whether two entries ask for the same, whenever they were made.

    As apimachinery's Semantic.DeepEqual: an empty list is an absent one.
    """
    return bool(_settle({**one, "time": None}) == _settle({**other, "time": None}))


def _settle(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _settle(v) for k, v in value.items() if v is not None and v != []}
    return [_settle(item) for item in value] if isinstance(value, list) else value


def _apply(template: JSON, patch: JSON) -> JSON:
    metadata = {key: value for key in _METADATA if (value := find(patch, "metadata", key))}
    merged = _merge(template, {"metadata": metadata or None, "spec": patch.get("spec")})
    # A merge puts what it patches first; replicated jobs stay in the runtime's order, which dependsOn relies on.
    places = {rjob.get("name"): place for place, rjob in enumerate(find(template, *_REPLICATED_JOBS) or [])}
    replicated = find(merged, *_REPLICATED_JOBS) or []
    ordered = sorted(replicated, key=lambda rjob: places.get(rjob.get("name"), len(places)))
    return put(merged, _REPLICATED_JOBS, ordered) if ordered else merged


def _merge(old: JSON, patch: JSON) -> JSON:
    merged = dict(old)
    for name, value in patch.items():
        # Upstream's patch is a Go struct, and Go writes neither nulls nor empty lists: they change nothing.
        if value is not None and value != []:
            merged[name] = _merge_field(name, old.get(name), value)
    return merged


def _merge_field(name: str, old: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return _merge(old if isinstance(old, dict) else {}, value)
    if isinstance(value, list) and isinstance(old, list) and name in _MERGE_KEYS:
        return _merge_list(old, value, _MERGE_KEYS[name])
    return value


def _merge_list(old: list[JSON], patch: list[JSON], key: str) -> list[JSON]:
    """Merge item by item, in the order of strategicpatch's mergeSortedSlice.

    Patched items keep the patch's order. One that is not patched goes before the next patched item that came after
    it already, else it goes last: so new items stand before it.
    """
    places = {item.get(key): place for place, item in enumerate(old)}
    patched = {item.get(key): item for item in patch}
    waiting = [place for place, item in enumerate(old) if item.get(key) not in patched]
    merged: list[JSON] = []
    for name, item in patched.items():
        place = places.get(name, -1)
        passed = next((n for n, other in enumerate(waiting) if other > place), len(waiting))
        merged += [old[other] for other in waiting[:passed]]
        waiting = waiting[passed:]
        merged.append(_merge(old[place] if name in places else {}, item))
    return merged + [old[other] for other in waiting]
