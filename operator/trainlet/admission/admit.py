"""One document -> the object a cluster would store, or all the reasons why not, in the API server's order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from trainlet.admission.claim_rules import judge_claim, judge_claim_change, warn_of_claim
from trainlet.admission.core_kinds import CLAIM, CONFIG_MAP, OBJECT_KINDS, SECRET
from trainlet.admission.crd import Crd, find_crd
from trainlet.admission.metadata import validate_metadata
from trainlet.admission.mutate import default_train_job
from trainlet.admission.object_rules import judge_change, judge_config_map, judge_secret, redact
from trainlet.admission.portability import Finding
from trainlet.admission.rules import validate_rules
from trainlet.admission.security import find_violations
from trainlet.admission.structure import complete
from trainlet.admission.support import build_warnings, find_portability, find_unset, find_unsupported
from trainlet.admission.webhooks import FindRuntime, validate_runtime, validate_train_job
from trainlet.apis.trainer import TRAIN_JOB, TrainJob
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import DEFAULT_NAMESPACE, JSON, ObjectKey, get_metadata
from trainlet.planning.jobset import build_jobset

#: Set to a new value, the object is deleted and made anew from its manifest.
REPLACE = "trainlet.dev/replace"

#: What only the server says of an object; a file that holds it (from `kubectl get -o yaml`) is not believed.
_SERVER_METADATA = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink"}
)
_HOW_TO_REPLACE = (
    f'take the change back, or replace the object: set metadata.annotations["{REPLACE}"] to a new value, '
    "or apply the file with `trainlet apply --replace`"
)


@dataclass(frozen=True)
class Rules:
    """What objects are judged by. `validation` is strict, warn or ignore; `host_path_roots` are resolved."""

    crds: tuple[Crd, ...]
    namespace: str = DEFAULT_NAMESPACE
    validation: str = "strict"
    pod_security: str = "baseline"
    host_path_roots: tuple[str, ...] = ()


@dataclass(frozen=True)
class Admitted:
    """What would be stored, and what its author should know. `replaces`: the object before it has to go first.

    `portability`: what becomes of each field of a job; None where nothing was asked anew, or of a runtime.
    """

    key: ObjectKey
    document: JSON = field(repr=False)
    warnings: tuple[str, ...] = ()
    replaces: bool = False
    portability: tuple[Finding, ...] | None = None


def is_foreign(document: JSON, crds: Iterable[Crd]) -> bool:
    """Tell whether a document is somebody else's: it has apiVersion and kind, and neither is one of ours."""
    api_version, kind = str(document.get("apiVersion") or ""), str(document.get("kind") or "")
    group, slash, _ = api_version.partition("/")
    # Of Kubernetes' core only these kinds are ours, not the whole group.
    return bool(api_version and kind) and not any(kind == crd.kind or (slash and group == crd.group) for crd in crds)


def identify(document: JSON, crds: Iterable[Crd], namespace: str = DEFAULT_NAMESPACE) -> ObjectKey:
    """Return the key of a document; one that names no namespace gets this. Raises ApiError for foreign kinds."""
    crd = _get_crd(document, crds)
    metadata = get_metadata(document)
    name = metadata.get("name")
    own = metadata.get("namespace") or namespace
    return ObjectKey(crd.kind, str(own) if crd.is_namespaced else "", name if isinstance(name, str) else "")


def admit(document: JSON, old: JSON | None, rules: Rules, find_runtime: FindRuntime, now: datetime) -> Admitted:
    """Admit a document as a new object, or as an update of `old`. Raises ApiError with every cause of a stage.

    A document whose replace annotation has another value than `old`'s is admitted as a new object.
    """
    crd = _get_crd(document, rules.crds)
    key = identify(document, rules.crds, rules.namespace)
    candidate, unknown = complete(_clean(document, key), crd)
    replaces = old is not None and _asks_for_replacement(candidate, old)
    before = None if replaces else old
    _judge_structure(candidate, crd, key, unknown if rules.validation == "strict" else ())
    warnings = [f'unknown field "{error.path}"' for error in unknown] if rules.validation == "warn" else []
    if crd.kind in OBJECT_KINDS:
        stored = _admit_object(candidate, before, crd, key)
        return Admitted(key, stored, (*warnings, *(warn_of_claim(stored) if crd.kind == CLAIM else ())), replaces)
    if crd.kind == TRAIN_JOB:
        candidate = default_train_job(candidate, before, now)
    _judge_rules(candidate, before, crd, key)
    portability = None
    if before is None or not _is_same(candidate, before):  # what asks for nothing is no request to a webhook
        told, portability = _ask_webhooks(candidate, before, crd, rules, find_runtime)
        warnings += told
    return Admitted(key, candidate, tuple(warnings), replaces, portability)


def find_pod_violations(job: JSON, runtime: JSON, rules: Rules) -> list[FieldError]:
    """Find what the pods of a job with this runtime would do that the Pod Security Standard forbids."""
    return find_violations(build_jobset(TrainJob.of(job), runtime), rules.pod_security, rules.host_path_roots)


def _judge_structure(candidate: JSON, crd: Crd, key: ObjectKey, unknown: Sequence[FieldError]) -> None:
    from trainlet.admission.schema import validate_schema  # its library takes 70 ms to import

    errors = [*validate_metadata(candidate, crd), *validate_schema(candidate, crd), *unknown]
    _raise_invalid(crd, key, redact(errors) if crd.kind == SECRET else errors)


def _admit_object(candidate: JSON, old: JSON | None, crd: Crd, key: ObjectKey) -> JSON:
    """Ask what the API server itself knows of a kind; there are no other rules and no webhooks for these."""
    judge, judge_update = _OBJECT_RULES[crd.kind]
    stored, errors = judge(candidate)
    _raise_invalid(crd, key, errors)
    _raise_invalid(crd, key, judge_update(stored, old) if old is not None else (), _HOW_TO_REPLACE)
    return stored


def _judge_rules(candidate: JSON, old: JSON | None, crd: Crd, key: ObjectKey) -> None:
    _raise_invalid(crd, key, validate_rules(candidate, old, crd), _HOW_TO_REPLACE if old is not None else "")


def _ask_webhooks(
    candidate: JSON, old: JSON | None, crd: Crd, rules: Rules, find_runtime: FindRuntime
) -> tuple[list[str], tuple[Finding, ...] | None]:
    """Ask the validating webhooks, then pod security, then what this version can do; return what they have to tell."""
    if crd.kind != TRAIN_JOB:
        errors, warnings = validate_runtime(candidate, old)
        _raise_denied(crd, errors)
        return warnings, None
    errors, warnings = validate_train_job(candidate, old, find_runtime)
    _raise_denied(crd, errors, old)
    job = TrainJob.of(candidate)
    runtime = find_runtime(job.spec.runtime_ref.key(job.metadata.namespace))
    assert runtime is not None, "the webhook has found it"
    jobset = build_jobset(job, runtime)
    _raise_forbidden(job, find_violations(jobset, rules.pod_security, rules.host_path_roots))
    findings = find_portability(candidate, job, runtime, jobset)
    _raise_denied(crd, find_unsupported(findings))
    return [*warnings, *find_unset(job, runtime), *build_warnings(findings)], findings


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


def _asks_for_replacement(candidate: JSON, old: JSON) -> bool:
    wish = find(candidate, "metadata", "annotations", REPLACE)
    return wish is not None and wish != find(old, "metadata", "annotations", REPLACE)


def _raise_invalid(crd: Crd, key: ObjectKey, errors: Sequence[FieldError], remedy: str = "") -> None:
    if errors:
        what = f'{crd.group_kind} "{key.name}" is invalid: {_join(errors)}'
        raise ApiError(what, code=422, reason="Invalid", causes=errors, remedy=remedy)


def _raise_denied(crd: Crd, errors: Sequence[FieldError], old: JSON | None = None) -> None:
    if errors:
        hook = f"validator.{crd.singular}.{crd.group}"
        what = f'admission webhook "{hook}" denied the request: {_join(errors)}'
        remedy = _HOW_TO_REPLACE if old is not None and any(error.type == "Forbidden" for error in errors) else ""
        raise ApiError(what, code=403, reason="Forbidden", causes=errors, remedy=remedy)


def _raise_forbidden(job: TrainJob, errors: Sequence[FieldError]) -> None:
    if errors:
        what = f'pods of TrainJob "{job.metadata.name}" are forbidden: {_join(errors)}'
        raise ApiError(what, code=403, reason="Forbidden", causes=errors)


def _join(errors: Sequence[FieldError]) -> str:
    return str(errors[0]) if len(errors) == 1 else f"[{', '.join(map(str, errors))}]"


#: How each kind of Kubernetes' core is judged: by itself, and as a change.
_OBJECT_RULES = {
    CONFIG_MAP: (judge_config_map, judge_change),
    SECRET: (judge_secret, judge_change),
    CLAIM: (judge_claim, judge_claim_change),
}
