"""The error tree, split by who must act.

    TrainletError            what happened (where): what to do
    ├── ApiError             the user: a manifest or a request that is refused
    ├── UsageError           the user: a wrong call of the program or a setting that cannot be used
    └── EngineError          the world: retried with back-off (engine/base.py has its leaves)

Anything else that is raised is our own bug; nobody below the worker loop catches it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class TrainletError(Exception):
    """A problem a person can act on, as `what happened (where): what to do`."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.what} ({self.where})" if self.where else self.what
        return f"{text}: {self.remedy}" if self.remedy else text


@dataclass(frozen=True)
class FieldError:
    """One refused field, as Kubernetes' `field.Error` says it (apimachinery util/validation/field).

    `stage` is the admission stage that found it; `line` and `column` (1-based) are filled in by
    whoever holds the text.
    """

    path: str
    type: str
    detail: str
    value: Any = None
    stage: str = "schema"
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        if not self.path:
            return self.detail  # it is about the document as a whole
        if self.type == "Invalid value":
            return f"{self.path}: {self.type}: {_render_value(self.value)}: {self.detail}"
        return f"{self.path}: {self.type}" + (f": {self.detail}" if self.detail else "")


class ApiError(TrainletError):
    """A request that the API refuses, with the HTTP code and reason of a Kubernetes Status."""

    def __init__(
        self,
        what: str,
        *,
        code: int = 422,
        reason: str = "Invalid",
        where: str = "",
        remedy: str = "",
        causes: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.code, self.reason, self.causes = code, reason, tuple(causes)

    def list_causes(self) -> list[FieldError]:
        """Return the causes; a refusal without any is its own."""
        return list(self.causes) or [FieldError("", "Invalid value", self.what)]


class UsageError(TrainletError):
    """A wrong command line, setting or environment: the program cannot start as asked."""


class EngineError(TrainletError):
    """A container engine that did not do what was asked. Retried with back-off."""


def _render_value(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
