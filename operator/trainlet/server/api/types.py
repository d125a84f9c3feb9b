"""What the parts of the API say to each other: resources, what a write asks for and answers, who reads and who writes.

Knows nothing of HTTP and nothing of files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.meta import JSON, ObjectKey


@dataclass(frozen=True)
class Resource:
    """One kind as discovery tells of it; the group of core kinds is empty."""

    group: str
    version: str
    kind: str
    plural: str
    is_namespaced: bool = True
    verbs: frozenset[str] = frozenset({"get", "list", "watch"})
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """`trainer.kubeflow.org/v1alpha1`, or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """`trainjob`."""
        return self.kind.lower()

    @property
    def full_name(self) -> str:
        """`trainjobs.trainer.kubeflow.org`, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def key(self, namespace: str, name: str) -> ObjectKey:
        """Return the key of an object; the namespace of what has none is dropped."""
        return ObjectKey(self.kind, namespace if self.is_namespaced else "", name)


class Validation(StrEnum):
    """What becomes of fields that the schema does not know (`fieldValidation`)."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"


class PatchType(StrEnum):
    """The four media types of a patch."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"
    STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class WriteOptions:
    """What a request says beside its object. `manager` is who owns what is written.

    `subresource` is empty or `status`.
    """

    manager: str = ""
    is_dry_run: bool = False
    validation: Validation = Validation.WARN
    is_forced: bool = False
    subresource: str = ""


@dataclass(frozen=True)
class DeleteOptions:
    """What a deletion says; `grace_seconds` None is the object's own."""

    is_dry_run: bool = False
    propagation: str = "Background"
    grace_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True)
class Written:
    """What a write leaves: the object, whether it was made by it, and what the client is to be warned of."""

    object: JSON
    is_new: bool = False
    warnings: tuple[str, ...] = ()


class Reader(Protocol):
    """All objects as the API shows them: with kind, apiVersion, uid and resourceVersion."""

    def get(self, resource: Resource, namespace: str, name: str) -> JSON:
        """Return an object. Raises ApiError (404)."""

    def list(self, resource: Resource, namespace: str | None = None) -> list[JSON]:
        """Return the objects of a namespace, or of all, in the order of their keys; events as they happened."""


class Writer(Protocol):
    """The verbs that change objects. Every one blocks until the change is stored and in the directory; thread-safe."""

    def create(self, resource: Resource, namespace: str, body: JSON, options: WriteOptions) -> Written:
        """Make an object. Raises ApiError: 409 AlreadyExists, 422 Invalid, 400 BadRequest, 405 MethodNotAllowed."""

    def update(self, resource: Resource, namespace: str, name: str, body: JSON, options: WriteOptions) -> Written:
        """Put an object in the place of the one that is there. Raises ApiError: 404, 409 Conflict, 422."""

    def patch(
        self, resource: Resource, namespace: str, name: str, type: PatchType, body: object, options: WriteOptions
    ) -> Written:
        """Change parts of an object; server-side apply makes it if it is not there. Raises ApiError."""

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> JSON:
        """Delete an object and return it as it is now. Raises ApiError."""


class RequestError(ApiError):
    """A refusal whose Status names the object: `kind` in `details` is the plural, for an invalid object its kind."""

    def __init__(
        self,
        what: str,
        *,
        code: int,
        reason: str,
        resource: Resource | None = None,
        name: str = "",
        causes: Sequence[FieldError] = (),
        retry_after_seconds: int = 0,
    ) -> None:
        super().__init__(what, code=code, reason=reason, causes=causes)
        self.resource, self.name, self.retry_after_seconds = resource, name, retry_after_seconds


def not_found(resource: Resource, name: str) -> RequestError:
    """Return the refusal of a name that nothing has."""
    what = f'{resource.full_name} "{name}" not found'
    return RequestError(what, code=404, reason="NotFound", resource=resource, name=name)
