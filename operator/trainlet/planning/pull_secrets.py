"""Which logins fit an image: the pod's imagePullSecrets, and entries as login files hold them, matched as kubelets do.

The rules are kubernetes pkg/credentialprovider's: keyring.go, config.go, secrets/secrets.go.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from trainlet.apis.core_v1 import PodSpec
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, get_metadata
from trainlet.planning.image_names import get_registry, get_repository

#: The key of a Secret's login file by the Secret's type, and what in the file holds the entries.
_FILES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson", ("auths",)),
    "kubernetes.io/dockercfg": (".dockercfg", ()),
}
_HUB, _HUB_KEY = "docker.io", "index.docker.io"
_VERSIONS = ("/v1/", "/v2/")


@dataclass(frozen=True)
class Login:
    """A user of a registry, or the token that stands for one. Its repr tells nothing of it."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Entry:
    """A login, and the pattern of the images that it is for: a host, with `*` for parts of it, a port, a path."""

    pattern: str
    login: Login


def find_pull_logins(pod: PodSpec, objects: Sequence[JSON], image: str) -> tuple[Login, ...]:
    """Return the logins of the pod's secrets that fit an image, in the order in which they are to be tried."""
    secrets = _find_secrets(pod, objects).values()
    return match_logins([entry for secret in secrets for entry in _read_secret(secret) or ()], image)


def find_missing_pull_secrets(pod: PodSpec, objects: Sequence[JSON]) -> tuple[str, ...]:
    """Return the names of the pod's secrets that are not there or hold no logins: no error, but worth an event."""
    found = _find_secrets(pod, objects)
    return tuple(name for name, secret in found.items() if _read_secret(secret) is None)


def match_logins(entries: Iterable[Entry], image: str) -> tuple[Login, ...]:
    """Return the logins that fit an image, each once, the most precise pattern first."""
    repository = get_repository(image)
    ordered = sorted(entries, key=lambda entry: entry.pattern, reverse=True)
    fitting = [entry.login for entry in ordered if _fits(entry.pattern, repository)]
    if not fitting and get_registry(image) == _HUB:
        fitting = [entry.login for entry in ordered if entry.pattern == _HUB_KEY]
    return tuple(dict.fromkeys(fitting))


def read_entries(auths: object) -> list[Entry]:
    """Return the entries of a login file; those that hold no login are passed over. Raises ValueError."""
    if not isinstance(auths, Mapping):
        raise ValueError("it holds no logins")
    logins = ((str(key), _read_login(value)) for key, value in auths.items())
    return [Entry(_clean(key), login) for key, login in logins if login is not None]


def _find_secrets(pod: PodSpec, objects: Sequence[JSON]) -> dict[str, JSON | None]:
    there = {get_metadata(each).get("name"): each for each in objects if each.get("kind") == "Secret"}
    return {each.name: there.get(each.name) for each in pod.image_pull_secrets if each.name}


def _read_secret(secret: JSON | None) -> list[Entry] | None:
    """Return the entries of a Secret; None if it is none of logins."""
    key, path = _FILES.get((secret or {}).get("type", ""), ("", ()))
    try:
        text = base64.b64decode(find(secret, "data", key) or "", validate=True)
        return read_entries(find(json.loads(text), *path))
    except (ValueError, RecursionError):  # broken base64, UTF-8 and JSON are the first too
        return None


def _read_login(entry: object) -> Login | None:
    if not isinstance(entry, Mapping):
        return None
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        username, password = _decode_auth(str(auth))
    login = Login(username, password, str(entry.get("identitytoken") or ""))
    return None if login == Login() else login


def _decode_auth(text: str) -> tuple[str, str]:
    try:
        padded = text + "=" * (-len(text) % 4)
        username, colon, password = base64.b64decode(padded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise ValueError("an entry's auth is not the base64 of USER:PASSWORD") from None
    return username, password.rstrip("\0")


def _clean(key: str) -> str:
    """Return an entry's key as a pattern: without scheme and without the API's version."""
    for scheme in ("https://", "http://"):
        key = key.removeprefix(scheme)
    host, slash, path = key.partition("/")
    path = slash + path
    if path.startswith(_VERSIONS):
        path = path[3:]
    return host if path in ("", "/") else host + path


def _fits(pattern: str, repository: str) -> bool:
    """Tell whether host (part by part), port and the beginning of the path are the same."""
    (globs, glob_port, prefix), (parts, port, path) = _split(pattern), _split(repository)
    if glob_port != port or len(globs) != len(parts) or not path.startswith(prefix):
        return False
    return all(fnmatchcase(part, glob) for part, glob in zip(parts, globs, strict=True))


def _split(name: str) -> tuple[list[str], str, str]:
    host, _, path = name.partition("/")
    host, _, port = host.partition(":")
    return host.split("."), port, path
