"""What the API server demands of ConfigMaps and Secrets, beyond their schema (kubernetes pkg/apis/core/validation).

The values of a Secret are nobody's to see: no error holds one, nor does what Python prints of a stored one.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from trainlet.admission.metadata import MOST_NAME_LENGTH, explain_pattern
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON

#: What the API server itself writes in the place of a Secret's value.
REDACTED = "<secret contents redacted>"
OPAQUE = "Opaque"
MOST_DATA_BYTES = 1 << 20

_KEY = r"[-._a-zA-Z0-9]+"
_KEY_PROBLEM = explain_pattern(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_FROZEN = "field is immutable when `immutable` is set"
_NO_BASE64 = "illegal base64 data: encode it as `base64` does, or write {text}"
_ACCOUNT = "kubernetes.io/service-account.name"
#: Fields of a Secret that anybody may see, in whatever error they are.
_SHOWN = re.compile(r"apiVersion|kind|type|metadata(\.(name|namespace|labels)\b.*)?")

Content = dict[str, bytes]


class HiddenData(dict[str, str]):
    """The data of a Secret; what prints it by mistake prints none of it."""

    def __repr__(self) -> str:
        return REDACTED


def redact(errors: Iterable[FieldError]) -> list[FieldError]:
    """Return errors about a Secret without what may be a part of its values."""
    return [
        error if error.value is None or _SHOWN.fullmatch(error.path) else replace(error, value=REDACTED)
        for error in errors
    ]


def judge_config_map(document: JSON) -> tuple[JSON, list[FieldError]]:
    """Return a well-formed ConfigMap as it is stored, and what is wrong with it (ValidateConfigMap)."""
    texts: dict[str, str] = document.get("data") or {}
    given: dict[str, str] = document.get("binaryData") or {}
    content, errors = _decode(given, "binaryData", "plain text into data", lambda text: text[:20])
    twice = "duplicate of key present in binaryData"
    errors += [FieldError(f"data[{key}]", "Invalid value", twice, key) for key in texts if key in given]
    errors += [error for field, keys in (("data", texts), ("binaryData", given)) for error in _judge_keys(field, keys)]
    size = sum(map(len, content.values())) + sum(len(text.encode()) for text in texts.values())
    errors += _judge_size("", size)
    return {**document, "binaryData": _encode(content)} if content else document, errors


def judge_secret(document: JSON) -> tuple[JSON, list[FieldError]]:
    """Return a well-formed Secret as it is stored, and what is wrong with it (ValidateSecret).

    What is wrong with an entry of `stringData` is said of that: it is where the entry is written.
    """
    texts: dict[str, str] = document.get("stringData") or {}
    given: dict[str, str] = document.get("data") or {}
    decoded, errors = _decode(given, "data", "plain text into stringData", lambda _: REDACTED)
    content = {**decoded, **{key: text.encode() for key, text in texts.items()}}
    errors += [error for field, keys in (("data", given), ("stringData", texts)) for error in _judge_keys(field, keys)]
    errors += _judge_size("data", sum(map(len, content.values())))
    kept = {key: value for key, value in document.items() if key not in ("data", "stringData")}
    stored = {**kept, "type": document.get("type") or OPAQUE}
    if not errors:  # else an entry may be left out that is there
        errors += _TYPES.get(stored["type"], _judge_nothing)(stored, content, _Places(texts))
    return {**stored, "data": HiddenData(_encode(content))} if content else stored, errors


def judge_change(new: JSON, old: JSON) -> list[FieldError]:
    """Find what an update changes of a stored ConfigMap or Secret and must not."""
    errors = []
    if new.get("type") != old.get("type"):
        errors.append(FieldError("type", "Invalid value", "field is immutable", new.get("type")))
    if old.get("immutable"):
        if not new.get("immutable"):
            errors.append(FieldError("immutable", "Forbidden", _FROZEN))
        changed = (field for field in ("data", "binaryData") if (new.get(field) or {}) != (old.get(field) or {}))
        errors += [FieldError(field, "Forbidden", _FROZEN) for field in changed]
    return errors


def _decode(
    entries: Mapping[str, str], field: str, otherwise: str, show: Callable[[str], str]
) -> tuple[Content, list[FieldError]]:
    """Return the bytes of what can be decoded, and an error for the rest."""
    content: Content = {}
    errors = []
    for key, text in entries.items():
        try:  # Go passes over line ends
            content[key] = base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
        except ValueError:
            detail = _NO_BASE64.format(text=otherwise)
            errors.append(FieldError(f"{field}[{key}]", "Invalid value", detail, show(text)))
    return content, errors


def _encode(content: Content) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in content.items()}


def _judge_keys(field: str, keys: Iterable[str]) -> Iterator[FieldError]:
    for key in keys:
        for problem in _find_key_problems(key):
            yield FieldError(f"{field}[{key}]", "Invalid value", problem, key)


def _find_key_problems(key: str) -> Iterator[str]:
    """Find why a key cannot be a file's name (validation.IsConfigMapKey)."""
    if len(key) > MOST_NAME_LENGTH:
        yield f"must be no more than {MOST_NAME_LENGTH} characters"
    if not re.fullmatch(_KEY, key):
        yield _KEY_PROBLEM
    if key in (".", ".."):
        yield f"must not be '{key}'"
    elif key.startswith(".."):
        yield "must not start with '..'"


def _judge_size(path: str, size: int) -> list[FieldError]:
    if size <= MOST_DATA_BYTES:
        return []
    return [FieldError(path, "Too long", f"may not be more than {MOST_DATA_BYTES} bytes")]


class _Places:
    """Where the entries of a Secret are written."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = frozenset(texts)

    def name(self, key: str) -> str:
        """Return the path of an entry."""
        return f"{'stringData' if key in self._texts else 'data'}[{key}]"


Judge = Callable[[JSON, Content, _Places], list[FieldError]]


def _judge_nothing(_: JSON, __: Content, ___: _Places) -> list[FieldError]:
    return []


def _require(*keys: str) -> Judge:
    def judge(_: JSON, content: Content, places: _Places) -> list[FieldError]:
        return [FieldError(places.name(key), "Required value", "") for key in keys if key not in content]

    return judge


def _require_json(key: str) -> Judge:
    def judge(_: JSON, content: Content, places: _Places) -> list[FieldError]:
        if key not in content:
            return [FieldError(places.name(key), "Required value", "")]
        if _is_json_object(content[key]):
            return []
        return [FieldError(places.name(key), "Invalid value", "must be a JSON object", REDACTED)]

    return judge


def _is_json_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _require_login(document: JSON, content: Content, places: _Places) -> list[FieldError]:
    # One of the two is enough.
    keys = ("username", "password")
    return [] if content.keys() & set(keys) else _require(*keys)(document, content, places)


def _require_ssh_key(_: JSON, content: Content, places: _Places) -> list[FieldError]:
    key = "ssh-privatekey"
    return [] if content.get(key) else [FieldError(places.name(key), "Required value", "")]


def _require_account(document: JSON, _: Content, __: _Places) -> list[FieldError]:
    if find(document, "metadata", "annotations", _ACCOUNT):
        return []
    return [FieldError(f"metadata.annotations[{_ACCOUNT}]", "Required value", "")]


#: What the entries of each known type of Secret must be.
_TYPES: dict[str, Judge] = {
    "kubernetes.io/service-account-token": _require_account,
    "kubernetes.io/dockercfg": _require_json(".dockercfg"),
    "kubernetes.io/dockerconfigjson": _require_json(".dockerconfigjson"),
    "kubernetes.io/basic-auth": _require_login,
    "kubernetes.io/ssh-auth": _require_ssh_key,
    "kubernetes.io/tls": _require("tls.crt", "tls.key"),
}
