"""The ConfigMaps, Secrets and tokens that containers read, and what is said of one that is not there."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainlet.kube.merge import find
from trainlet.kube.meta import JSON

#: What stands for every value of a Secret where it is not to be seen.
HIDDEN = "(hidden)"

#: The data of one object by its keys.
Data = Mapping[str, bytes]


class ConfigError(Exception):
    """A container cannot be made as things are; `reason` is a kubelet's for the pod that waits."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Reference:
    """A ConfigMap or Secret that a pod names (`kind` is the word for it in messages)."""

    kind: str
    name: str
    optional: bool = False


CONFIG_MAP, SECRET = "configmap", "secret"
_KINDS = {CONFIG_MAP: "ConfigMap", SECRET: "Secret"}


@dataclass(frozen=True)
class Objects:
    """All that pods of one namespace may read; `tokens` are by audience. `is_lenient`: what is missing is optional."""

    namespace: str
    data: Mapping[tuple[str, str], Data]
    tokens: Mapping[str, bytes]
    is_lenient: bool = False

    @property
    def has_secrets(self) -> bool:
        """Whether anything is here that only its readers may see."""
        return bool(self.tokens) or any(kind == SECRET for kind, _ in self.data)

    def hide(self) -> "Objects":
        """Return the same with a word in the place of every secret, for what others see."""
        hidden = {
            key: dict.fromkeys(data, HIDDEN.encode()) if key[0] == SECRET else data for key, data in self.data.items()
        }
        return Objects(self.namespace, hidden, dict.fromkeys(self.tokens, HIDDEN.encode()), is_lenient=True)

    def read(self, reference: Reference) -> Data:
        """Return all data of an object. Raises ConfigError with a kubelet's words."""
        data = self.data.get((reference.kind, reference.name))
        if data is None:
            self._miss(reference, f'{reference.kind} "{reference.name}" not found')
        return data or {}

    def read_key(self, reference: Reference, key: str) -> bytes | None:
        """Return the value of one key, None if it is optional and missing. Raises ConfigError."""
        data = self.read(reference)
        if key not in data:
            self._miss(
                reference, f"couldn't find key {key} in {_KINDS[reference.kind]} {self.namespace}/{reference.name}"
            )
        return data.get(key)

    def _miss(self, reference: Reference, message: str) -> None:
        if not (reference.optional or self.is_lenient):
            raise ConfigError(message, "CreateContainerConfigError")


def read_objects(namespace: str, objects: Sequence[JSON], tokens: Mapping[str, str]) -> Objects:
    """Return what pods may read of wire objects."""
    data = {_get_key(each): _READERS[each["kind"]](each) for each in objects if each["kind"] in _READERS}
    return Objects(namespace, data, {audience: token.encode() for audience, token in tokens.items()})


def _get_key(document: JSON) -> tuple[str, str]:
    return str(document["kind"]).lower(), str(find(document, "metadata", "name"))


def _read_config_map(config_map: JSON) -> dict[str, bytes]:
    texts = {key: text.encode() for key, text in (config_map.get("data") or {}).items()}
    return {**texts, **_decode(config_map.get("binaryData") or {})}


def _read_secret(secret: JSON) -> dict[str, bytes]:
    return _decode(secret.get("data") or {})


def _decode(data: Mapping[str, str]) -> dict[str, bytes]:
    return {key: base64.b64decode(text) for key, text in data.items()}


_READERS = {"ConfigMap": _read_config_map, "Secret": _read_secret}
