"""Refusals in the words of upstream's validating webhook, for the rules of policies and of the JobSet."""

from collections.abc import Container

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError


def invalid(path: str, value: object, detail: str) -> FieldError:
    """Refuse a value; it is shown to the user as it was given."""
    return FieldError(path, "Invalid value", detail, value, stage="webhook")


def forbid(path: str, detail: str) -> FieldError:
    """Refuse that a field is set or changed at all."""
    return FieldError(path, "Forbidden", detail, stage="webhook")


def refuse_reserved(job: TrainJob, reserved: Container[str]) -> list[FieldError]:
    """Refuse environment of the trainer that the policy sets itself: one error that names them all."""
    given = job.spec.trainer.env if job.spec.trainer else []
    names = sorted({env["name"] for env in given if env["name"] in reserved})
    if not names:
        return []
    detail = f"must not have reserved envs, invalid envs configured: [{' '.join(names)}]"
    return [invalid("spec.trainer.env", given, detail)]  # upstream shows the whole list
