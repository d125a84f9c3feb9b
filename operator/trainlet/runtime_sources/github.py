"""A directory of a repository on GitHub -> its files, of one commit, by GitHub's API.

Three requests of the API find the files: what the ref is, where the path is, what is below it. The files come from
the host of raw files, which counts no requests; who has a token gets them through the API, for private repositories.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from trainlet.documents.parse import MAX_BYTES
from trainlet.documents.scan import is_manifest_name
from trainlet.kube.meta import format_time
from trainlet.runtime_sources.address import GitHub, GitHubAddress, SourceError
from trainlet.runtime_sources.copies import File
from trainlet.runtime_sources.web import Answer, Refused, Web

MOST_FILES = 100
_MOST_LISTING_BYTES = 8 << 20  # GitHub gives 7 MB at most
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "kustomization.json")
_JSON, _RAW, _SHA = ("application/vnd.github+json", "application/vnd.github.raw", "application/vnd.github.sha")
_COMMIT, _TIME = re.compile(r"[0-9a-f]{40,64}"), re.compile(r"[0-9]{1,11}")
_TOKEN_HELPS = "set GITHUB_TOKEN to a token that may read it"


@dataclass(frozen=True)
class _Blob:
    """A file of a commit; `sha` is git's own digest of its content."""

    path: str
    sha: str


class GitHubVisit:
    """One look at one address."""

    def __init__(self, address: GitHubAddress, github: GitHub, web: Web) -> None:
        self._address, self._github, self._web = address, github, web
        self._repository = f"{address.owner}/{address.repo}"

    def fetch(
        self, known: Iterable[File], conditions: Mapping[str, str]
    ) -> tuple[tuple[File, ...], Mapping[str, str]] | None:
        """Return the files, and the headers that ask if they are others; None if they are those known.

        A known file is not fetched again while its content is the same. Raises SourceError.
        """
        commit = self._ask(f"commits/{quote(self._address.ref)}", _SHA, conditions)
        if commit is None:
            return None
        sha = commit.body.decode(errors="replace").strip()
        if not _COMMIT.fullmatch(sha):
            raise self._build_misunderstanding()
        contents = {hash_blob(file.data): file.data for file in known}
        files = tuple(self._fetch_file(sha, blob, contents) for blob in self._find_blobs(sha))
        return files, commit.conditions

    def _find_blobs(self, commit: str) -> list[_Blob]:
        parent, _, name = self._address.path.rpartition("/")
        listing = self._list(f"contents/{quote(parent)}?ref={quote(commit)}")
        entry = next((each for each in listing if each.get("name") == name), {})
        if entry.get("type") == "file":
            return [_Blob(self._address.path, str(entry.get("sha")))]
        if entry.get("type") != "dir":
            what = f"there is no {self._address.path} in {self._repository}"
            raise SourceError(what, where=self._address.root, remedy="correct the path, or the ref")
        tree = self._list(f"git/trees/{quote(str(entry.get('sha')))}?recursive=1")
        blobs = [
            _Blob(f"{self._address.path}/{each['path']}", str(each.get("sha"))) for each in tree if _is_manifest(each)
        ]
        if len(blobs) > MOST_FILES:
            what = f"there are more than {MOST_FILES} manifests in {self._address.path}"
            raise SourceError(what, where=self._address.root, remedy="name a directory with fewer")
        return sorted(blobs, key=lambda blob: blob.path)

    def _fetch_file(self, commit: str, blob: _Blob, contents: Mapping[str, bytes]) -> File:
        name = f"{self._address.root}/{blob.path}"
        if blob.sha in contents:
            return File(name, contents[blob.sha])
        path = quote(blob.path)
        if self._github.token:
            answer = self._ask(f"contents/{path}?ref={commit}", _RAW)
        else:
            answer = self._web.get(f"{self._github.raw}/{self._repository}/{commit}/{path}", {}, MAX_BYTES)
        data = answer.body if answer else b""
        if hash_blob(data) != blob.sha:
            raise SourceError("the file is not what GitHub says it is", where=name, remedy="it is asked again later")
        return File(name, data)

    def _list(self, path: str) -> list[dict[str, Any]]:
        """Return the entries of a directory. Raises SourceError."""
        answer = self._ask(path, _JSON)
        try:
            value = json.loads(answer.body if answer else b"")
            return [dict(each) for each in (value["tree"] if isinstance(value, dict) else value)]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._build_misunderstanding() from None

    def _build_misunderstanding(self) -> SourceError:
        remedy = "check the path; a proxy may answer in GitHub's place"
        return SourceError("GitHub's answer cannot be understood", where=self._address.root, remedy=remedy)

    def _ask(self, path: str, accept: str, conditions: Mapping[str, str] | None = None) -> Answer | None:
        headers = {"Accept": accept, "X-GitHub-Api-Version": "2022-11-28", **(conditions or {})}
        if self._github.token:
            headers["Authorization"] = f"Bearer {self._github.token}"
        try:
            return self._web.get(f"{self._github.api}/repos/{self._repository}/{path}", headers, _MOST_LISTING_BYTES)
        except Refused as refusal:
            raise self._explain(refusal) from None

    def _explain(self, refusal: Refused) -> SourceError:
        """Say what an answer means on GitHub."""
        limited = _find_limit(refusal)
        if limited:
            remedy = "wait until then" if self._github.token else f"wait until then, or {_TOKEN_HELPS}"
            return SourceError(limited, where=self._address.root, remedy=remedy)
        what, remedy = {
            401: ("GitHub does not take the token", "correct GITHUB_TOKEN, or unset it"),
            404: (
                f"GitHub shows no {self._repository} with that ref and path",
                f"correct it; if it is private, {_TOKEN_HELPS}",
            ),
            422: (f"GitHub knows no {self._address.ref} of {self._repository}", "correct the ref"),
        }.get(refusal.code, (refusal.what, refusal.remedy))
        return SourceError(what, where=self._address.root, remedy=remedy)


def hash_blob(data: bytes) -> str:
    """Return git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _is_manifest(entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry of a tree is a regular file with a manifest's name."""
    name = str(entry.get("path", "")).rpartition("/")[2]
    is_file = entry.get("type") == "blob" and str(entry.get("mode", "")).startswith("100")
    return is_file and is_manifest_name(name) and name not in _KUSTOMIZATIONS


def _find_limit(refusal: Refused) -> str | None:
    """Say until when GitHub answers no more, if that is what it means."""
    headers = refusal.headers
    if refusal.code not in (403, 429):
        return None
    reset, after = headers.get("X-RateLimit-Reset", ""), headers.get("Retry-After", "")
    if headers.get("X-RateLimit-Remaining") == "0" and _TIME.fullmatch(reset):
        return f"GitHub takes no more requests from here until {format_time(datetime.fromtimestamp(int(reset), UTC))}"
    return f"GitHub takes no more requests from here for {after} s" if after.isdecimal() else None
