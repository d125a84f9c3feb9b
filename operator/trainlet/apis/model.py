"""The base of every view: frozen, camelCase on the wire, unknown fields kept, null read as absent."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from trainlet.kube.meta import JSON


class Model(BaseModel):
    """A view of one wire object. It trusts admission: it converts and defaults, it does not judge."""

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data

    @classmethod
    def of(cls, document: JSON) -> Self:
        """Return the view of a wire object."""
        return cls.model_validate(document)


class ObjectMeta(Model):
    """The metadata that we read. `uid` is empty until the object is stored."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 1
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class TemplateMeta(Model):
    """The labels and annotations of a template."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
