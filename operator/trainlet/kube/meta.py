"""Object keys, metadata and times, as every Kubernetes object has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trainlet.kube.digests import hash_text

JSON = dict[str, Any]

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, order=True)
class ObjectKey:
    """What names an object within a store; cluster-scoped objects have an empty namespace."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def get_metadata(document: Mapping[str, Any]) -> JSON:
    """Return the object's metadata, or an empty one."""
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def format_time(moment: datetime) -> str:
    """Write a time as metav1.Time does: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(moment: datetime) -> str:
    """Write a time as metav1.MicroTime does: UTC, microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def derive_uid(owner_uid: str, name: str) -> str:
    """Return the uid of what an owner has under this name: the same whenever it is asked for."""
    digest = hash_text(f"{owner_uid}/{name}")
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
