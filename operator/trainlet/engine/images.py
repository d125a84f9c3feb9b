"""What Docker and Podman have in common of images: their facts, pulls with a login, how far a pull is.

Podman is asked for pulls in Docker's way too: its own tells of no layers and no bytes, so a large layer looks like one
that stands still. Knows no library.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trainlet.engine import explain, wire
from trainlet.engine.base import PullProgress
from trainlet.engine.explain import Refused
from trainlet.engine.http import PULL_SILENCE_SECONDS
from trainlet.kube.errors import EngineError
from trainlet.planning.image_names import get_registry, get_repository, split_image
from trainlet.planning.observed import ImageFacts
from trainlet.planning.pull_secrets import Login

#: Where both engines take a pull.
PULL_PATH = "images/create"
#: What Linux calls a processor, where it is not what images call it.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i386": "386",
    "i686": "386",
    "loongarch64": "loong64",
}
#: What is said of a layer: once it is fetched, and before that.
_FETCHED = ("Verifying Checksum", "Download complete", "Extracting", "Pull complete", "Already exists")
_LAYER = ("Pulling fs layer", "Waiting", "Downloading", *_FETCHED)

#: Sends a request below the API's root and gives the chunks of its answer: method, path, query, silence, headers.
Stream = Callable[[str, str, dict[str, str], float, dict[str, str]], Iterator[bytes]]


def pull(stream: Stream, where: str, image: str, progress: PullProgress, login: Login | None) -> None:
    """Fetch an image. Raises PullFailed with the registry's words, EngineError when nothing comes any more."""
    repository, tag = split_image(image)
    query, tally = {"fromImage": repository, "tag": tag}, PullTally()
    try:
        chunks = stream("POST", PULL_PATH, query, PULL_SILENCE_SECONDS, build_login_header(image, login))
        for message in wire.decode_json_lines(chunks):
            if message.get("error"):
                raise explain.build_pull_error(image, message["error"], where)
            progress(*tally.read(message))
    except Refused as refused:
        raise explain.build_pull_error(image, refused.text, where) from refused
    except wire.StreamBroken as broken:
        what = f"could not pull {image}: the engine broke off, or said nothing for {PULL_SILENCE_SECONDS:g} s"
        raise EngineError(what, where=where, remedy="see whether the registry can be reached") from broken


def build_login_header(image: str, login: Login | None) -> dict[str, str]:
    """Return the header that hands a login to an engine; none for nobody."""
    if login is None:
        return {}
    body = {"serveraddress": get_registry(image)}
    if login.identity_token:
        body |= {"identitytoken": login.identity_token}
    else:
        body |= {"username": login.username, "password": login.password}
    return {"X-Registry-Auth": urlsafe_b64encode(json.dumps(body).encode()).decode()}


def read_image(image: str, row: Mapping[str, Any]) -> ImageFacts:
    """Read what an engine says of an image; of several digests that of the repository by which it was asked for."""
    id, repository = row["Id"], get_repository(image)
    known = [f"{get_repository(each)}@{each.partition('@')[2]}" for each in row.get("RepoDigests") or ()]
    mine = [each for each in known if each.startswith(f"{repository}@")]
    return ImageFacts(
        id=id if ":" in id else f"sha256:{id}",
        digest=next(iter(mine or known), ""),
        os=row.get("Os") or "",
        architecture=read_architecture(row.get("Architecture")),
    )


def read_architecture(name: str | None) -> str:
    """Return a processor architecture as images call it."""
    return _ARCHITECTURES.get(name or "", name or "")


class PullTally:
    """Adds up the layers of one pull, so that progress is one line and two numbers."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._bytes: dict[str, tuple[int, int]] = {}
        self._line = ""

    def read(self, message: Mapping[str, Any]) -> tuple[str, int | None, int | None]:
        """Return the line to show, and the bytes done and in all of the layers known so far."""
        status, layer = message.get("status") or "", message.get("id") or ""
        if status in _LAYER:
            self._note(layer, status, message.get("progressDetail") or {})
            self._line = self._describe(message)
        elif not self._states:
            self._line = status
        if not self._bytes:
            return self._line, None, None
        done, total = (sum(column) for column in zip(*self._bytes.values(), strict=True))
        return self._line, done, total

    def _note(self, layer: str, status: str, detail: Mapping[str, int]) -> None:
        self._states[layer] = status
        if status == "Downloading" and detail.get("total", 0) > 0:
            self._bytes[layer] = (detail.get("current", 0), detail["total"])
        elif status in _FETCHED and layer in self._bytes:
            total = self._bytes[layer][1]
            self._bytes[layer] = (total, total)

    def _describe(self, message: Mapping[str, Any]) -> str:
        done = sum(status in _FETCHED for status in self._states.values())
        line = f"{done} of {len(self._states)} layers"
        if message["status"] != "Extracting":
            return line
        detail = message.get("progressDetail") or {}
        amount = f" {detail['current'] >> 20} MB" if detail.get("total") else ""
        return f"{line}, unpacking {message.get('id')}{amount}"
