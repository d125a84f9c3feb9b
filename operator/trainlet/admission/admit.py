"""One document -> the object a cluster would store, or all the reasons why not, in the API server's order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainlet.admission.crd import Crd, find_crd
from trainlet.admission.defaults import apply_defaults
from trainlet.admission.metadata import validate_metadata
from trainlet.admission.rules import validate_rules
from trainlet.admission.webhooks import FindRuntime, validate_runtime, validate_train_job
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.meta import DEFAULT_NAMESPACE, JSON, ObjectKey, get_metadata

#: What only the server says of an object; a file that holds it (from `kubectl get -o yaml`) is not believed.
_SERVER_METADATA = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink"}
)


@dataclass(frozen=True)
class Admitted:
    """What would be stored, and what its author should know."""

    key: ObjectKey
    document: JSON
    warnings: tuple[str, ...] = ()


def identify(document: JSON, crds: Iterable[Crd], namespace: str = DEFAULT_NAMESPACE) -> ObjectKey:
    """Return the key of a document; one that names no namespace gets this. Raises ApiError for foreign kinds."""
    crd = _get_crd(document, crds)
    metadata = get_metadata(document)
    name = metadata.get("name")
    own = metadata.get("namespace") or namespace
    return ObjectKey(crd.kind, str(own) if crd.is_namespaced else "", name if isinstance(name, str) else "")


def admit(
    document: JSON,
    old: JSON | None,
    crds: Iterable[Crd],
    find_runtime: FindRuntime,
    namespace: str = DEFAULT_NAMESPACE,
) -> Admitted:
    """Admit a document as a new object, or as an update of `old`. Raises ApiError with every cause of a stage."""
    from trainlet.admission.schema import validate_schema  # its library takes 70 ms to import

    crd = _get_crd(document, crds)
    key = identify(document, crds, namespace)
    candidate = _clean(document, key)
    errors = [*validate_metadata(candidate, crd), *validate_schema(candidate, crd)]
    _raise_invalid(crd, key, errors)
    candidate = apply_defaults(candidate, crd)
    _raise_invalid(crd, key, validate_rules(candidate, old, crd))
    if old is not None and _is_same(candidate, old):
        return Admitted(key, candidate)  # nothing is asked for, so no webhook would be called
    if crd.kind == TRAIN_JOB:
        errors, warnings = validate_train_job(candidate, find_runtime)
    else:
        errors, warnings = validate_runtime(candidate, old)
    _raise_denied(crd, errors)
    return Admitted(key, candidate, tuple(warnings))


def _get_crd(document: JSON, crds: Iterable[Crd]) -> Crd:
    api_version, kind = str(document.get("apiVersion", "")), str(document.get("kind", ""))
    crds = list(crds)
    crd = find_crd(crds, api_version, kind)
    if crd is not None:
        return crd
    if not kind or not api_version:
        missing = "kind" if not kind else "apiVersion"
        error = FieldError(missing, "Required value", "give the apiVersion and kind of the object")
    else:
        known = ", ".join(sorted(f"{c.kind} ({c.api_version})" for c in crds))
        error = FieldError("kind", "Unsupported value", f"supported values: {known}", f"{kind} ({api_version})")
    raise ApiError(str(error), code=404, reason="NotFound", causes=[error])


def _clean(document: JSON, key: ObjectKey) -> JSON:
    """Leave out what only the server may say: status and its metadata; fill in the namespace."""
    metadata = {k: v for k, v in get_metadata(document).items() if k not in _SERVER_METADATA}
    if key.namespace and not metadata.get("namespace"):
        metadata["namespace"] = key.namespace
    kept = {k: v for k, v in document.items() if k != "status"}
    return {**kept, "metadata": metadata} if isinstance(document.get("metadata", {}), dict) else kept


def _is_same(candidate: JSON, old: JSON) -> bool:
    """Whether a stored object already says what its manifest says."""
    before = {k: v for k, v in get_metadata(old).items() if k not in _SERVER_METADATA}
    return candidate["metadata"] == before and candidate.get("spec") == old.get("spec")


def _raise_invalid(crd: Crd, key: ObjectKey, errors: Sequence[FieldError]) -> None:
    if errors:
        what = f'{crd.kind}.{crd.group} "{key.name}" is invalid: {_join(errors)}'
        raise ApiError(what, code=422, reason="Invalid", causes=errors)


def _raise_denied(crd: Crd, errors: Sequence[FieldError]) -> None:
    if errors:
        hook = f"validator.{crd.singular}.{crd.group}"
        what = f'admission webhook "{hook}" denied the request: {_join(errors)}'
        raise ApiError(what, code=403, reason="Forbidden", causes=errors)


def _join(errors: Sequence[FieldError]) -> str:
    return str(errors[0]) if len(errors) == 1 else f"[{', '.join(map(str, errors))}]"
