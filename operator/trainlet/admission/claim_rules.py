"""What the API server demands of PersistentVolumeClaims, beyond their schema (kubernetes pkg/apis/core/validation)."""

from collections.abc import Iterator

from trainlet.admission.metadata import SUBDOMAIN_PROBLEM
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.kube.names import is_subdomain
from trainlet.kube.quantity import parse_quantity

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES = ("Block", "Filesystem")
_STORAGE = ("spec", "resources", "requests", "storage")
_NO_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_FROZEN = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
#: What a volume of the engine cannot be, by the field of the spec that asks for it.
_WITHOUT_EFFECT = {
    "dataSource": "the volume begins empty",
    "dataSourceRef": "the volume begins empty",
    "selector": "the claim has a volume of the engine of its own",
    "volumeName": "the claim has a volume of the engine of its own",
}


def judge_claim(document: JSON) -> tuple[JSON, list[FieldError]]:
    """Return a well-formed claim, and what is wrong with it (ValidatePersistentVolumeClaimSpec)."""
    spec: JSON = document.get("spec") or {}
    return document, [*_judge_access_modes(spec), *_judge_sizes(spec), *_judge_classes(spec)]


def judge_claim_change(new: JSON, old: JSON) -> list[FieldError]:
    """Find what an update changes of a stored claim and must not (ValidatePersistentVolumeClaimUpdate).

    Every claim counts as bound: a volume of the engine is there when it is needed.
    """
    errors = []
    if _freeze(new, old) != _freeze(old, old):
        errors.append(FieldError("spec", "Forbidden", _FROZEN))
    if parse_quantity(find(new, *_STORAGE)) < parse_quantity(find(old, *_STORAGE)):
        errors.append(FieldError(".".join(_STORAGE), "Forbidden", "field can not be less than previous value"))
    return errors


def warn_of_claim(document: JSON) -> list[str]:
    """Return what an admitted claim asks for that no volume of an engine has."""
    spec = document["spec"]
    warnings = [f"spec.{field} has no effect: {why}" for field, why in _WITHOUT_EFFECT.items() if spec.get(field)]
    if spec["volumeMode"] == "Block":
        warnings.append("spec.volumeMode Block has no effect: the volume is a directory")
    return warnings


def _judge_access_modes(spec: JSON) -> Iterator[FieldError]:
    modes, path = spec.get("accessModes") or [], "spec.accessModes"
    if not modes:
        yield FieldError(path, "Required value", "at least 1 access mode is required")
    yield from (_refuse_choice(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES)
    if "ReadWriteOncePod" in modes and {*modes} & {*ACCESS_MODES[:-1]}:
        yield FieldError(path, "Forbidden", "may not use ReadWriteOncePod with other access modes")


def _judge_sizes(spec: JSON) -> Iterator[FieldError]:
    resources: JSON = spec.get("resources") or {}
    wrong = list(_find_no_quantities(resources))
    yield from wrong
    size = (resources.get("requests") or {}).get("storage")
    if size is None:
        yield FieldError("spec.resources[storage]", "Required value", "")
    elif not wrong and parse_quantity(size) <= 0:
        yield FieldError("spec.resources[storage]", "Invalid value", "must be greater than zero", str(size))


def _find_no_quantities(resources: JSON) -> Iterator[FieldError]:
    for part in ("requests", "limits"):
        for name, value in (resources.get(part) or {}).items():
            try:
                parse_quantity(value)
            except ValueError:
                yield FieldError(f"spec.resources.{part}[{name}]", "Invalid value", _NO_QUANTITY, value)


def _judge_classes(spec: JSON) -> Iterator[FieldError]:
    for field in ("storageClassName", "volumeAttributesClassName"):
        name = spec.get(field)
        if name and not is_subdomain(name):
            yield FieldError(f"spec.{field}", "Invalid value", SUBDOMAIN_PROBLEM, name)
    mode = spec.get("volumeMode", "Filesystem")
    if mode not in _VOLUME_MODES:
        yield _refuse_choice("spec.volumeMode", mode, _VOLUME_MODES)


def _refuse_choice(path: str, value: str, choices: tuple[str, ...]) -> FieldError:
    quoted = ", ".join(f'"{choice}"' for choice in choices)
    return FieldError(path, "Unsupported value", f'"{value}": supported values: {quoted}')


def _freeze(claim: JSON, old: JSON) -> JSON:
    """Return what must stay of a claim's spec; a volume may be named once."""
    spec: JSON = claim["spec"]
    free = {"resources", "volumeAttributesClassName"} | (set() if find(old, "spec", "volumeName") else {"volumeName"})
    resources: JSON = spec.get("resources") or {}
    requests = {name: size for name, size in (resources.get("requests") or {}).items() if name != "storage"}
    kept = {field: value for field, value in spec.items() if field not in free}
    return {**kept, "requests": requests, "limits": resources.get("limits") or {}}
