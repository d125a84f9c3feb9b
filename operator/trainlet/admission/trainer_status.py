"""What training code says of itself in `status.trainerStatus`, judged as the API server judges a write to a status."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from trainlet.admission.crd import Crd, find_crd
from trainlet.admission.rules import validate_rules
from trainlet.admission.structure import complete
from trainlet.apis.trainer import API_VERSION, TRAIN_JOB
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.meta import JSON, get_metadata

_FIELD = "trainerStatus"


def admit_trainer_status(job: JSON, trainer_status: JSON, crds: Iterable[Crd]) -> JSON:
    """Return the job's status with the report in place of the one before. Raises ApiError with every cause."""
    return _judge(job, {**(job.get("status") or {}), _FIELD: trainer_status}, crds, is_strict=True)


def admit_status(job: JSON, status: JSON, crds: Iterable[Crd]) -> JSON:
    """Return a status for the job as it is stored, without unknown fields. Raises ApiError with every cause."""
    return _judge(job, status, crds, is_strict=False)


def _judge(job: JSON, status: JSON, crds: Iterable[Crd], *, is_strict: bool) -> JSON:
    """Judge only the status: what a job asks for is no fault of who tells how it goes."""
    from trainlet.admission.schema import validate_schema  # its library takes 70 ms to import

    crd = find_crd(crds, API_VERSION, TRAIN_JOB)
    assert crd is not None, "an operator without the definition does not start"
    part, old = _get_status_part(crd), {"status": job.get("status") or {}}
    new, unknown = complete({"status": status}, part)
    errors = [*validate_schema(new, part), *(unknown if is_strict else ())] or validate_rules(new, old, part)
    if errors:
        raise _build_invalid(crd, job, errors)
    admitted: JSON = new["status"]
    return admitted


def keep_trainer_status(status: JSON, current: JSON) -> JSON:
    """Return the status that a pass has built with the report that is stored now: it may have come since it began."""
    own = {name: value for name, value in status.items() if name != _FIELD}
    return own | {name: current[name] for name in (_FIELD,) if name in current}


@lru_cache(maxsize=8)
def _get_status_part(crd: Crd) -> Crd:
    """Return a definition of nothing but the status; one object for each, because rules are compiled by it."""
    properties = {"status": crd.schema.get("properties", {}).get("status", {})}
    return replace(crd, schema={"type": "object", "properties": properties})


def _build_invalid(crd: Crd, job: JSON, errors: list[FieldError]) -> ApiError:
    causes = str(errors[0]) if len(errors) == 1 else f"[{', '.join(map(str, errors))}]"
    what = f'{crd.kind}.{crd.group} "{get_metadata(job).get("name", "")}" is invalid: {causes}'
    return ApiError(what, code=422, reason="Invalid", causes=errors)
