"""The text of `--runtime-source` -> where that is. Judges texts only."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trainlet.kube.errors import TrainletError, UsageError
from trainlet.package_data import data_dir

#: The runtimes that come with the program; they are the last source even if nobody names them.
BUILT_IN = "builtin"
#: What is asked when no source is given.
DEFAULT_SOURCE = "github://kubeflow/trainer"
#: Where upstream keeps its runtimes, and what a repository without a path means.
DEFAULT_PATH = "manifests/base/runtimes"

_GITHUB = re.compile(r"(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+)(?:@(?P<ref>[^@/]+))?(?:/(?P<path>.*))?", re.ASCII)
_GITHUB_FORM = "write it github://OWNER/REPO, with @REF and /PATH behind it if need be"


@dataclass(frozen=True)
class LocalAddress:
    """A file or directory of this machine."""

    path: Path


@dataclass(frozen=True)
class WebAddress:
    """One file of a web server."""

    url: str


@dataclass(frozen=True)
class GitHubAddress:
    """A file or directory of a repository; `ref` is a branch, a tag or a commit."""

    owner: str
    repo: str
    path: str = DEFAULT_PATH
    ref: str = "HEAD"

    @property
    def root(self) -> str:
        """The repository as a source; what is in it is named below."""
        return f"github://{self.owner}/{self.repo}" + (f"@{self.ref}" if self.ref != "HEAD" else "")


@dataclass(frozen=True)
class GitHub:
    """Where GitHub is, and who asks. The token goes to the API's host only."""

    api: str = "https://api.github.com"
    raw: str = "https://raw.githubusercontent.com"
    token: str = field(default="", repr=False)


class SourceError(TrainletError):
    """A source that does not give what is asked of it."""


RemoteAddress = WebAddress | GitHubAddress
Address = LocalAddress | RemoteAddress


def parse_address(text: str, *, allow_http: bool = False) -> Address:
    """Return where a source is. Raises UsageError for what can be none."""
    if text == BUILT_IN:
        return LocalAddress(data_dir("manifests") / "runtimes")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _parse_path(text, text)
    if scheme == "http" and not allow_http:
        raise _refuse("http:// is not taken: anybody on the way could change it", text, _HTTP_REMEDY)
    if scheme not in _PARSERS:
        raise _refuse(f"{scheme}:// is no source of runtimes", text, "use github://, https://, file:// or a path")
    return _PARSERS[scheme](text, rest)


_HTTP_REMEDY = "use https://, or say --allow-http-sources where the network is yours"


def check_url(url: str) -> None:
    """Raise ValueError for a URL that names no host, or a login."""
    parts = urlsplit(url)
    _ = parts.port  # it raises for what is no number
    if not parts.hostname:
        raise ValueError("the URL names no host")
    if "@" in parts.netloc:
        raise ValueError("a login in a URL is not used")


def _parse_web(text: str, _: str) -> WebAddress:
    try:
        check_url(text)
    except ValueError as error:
        raise _refuse(str(error), text, "write it https://HOST/FILE.yaml") from None
    return WebAddress(text)


def _parse_github(text: str, rest: str) -> GitHubAddress:
    match = _GITHUB.fullmatch(rest)
    if match is None:
        raise _refuse("that names no repository", text, _GITHUB_FORM)
    path = unquote(match["path"] or "").removesuffix("/")
    ref = unquote(match["ref"] or "HEAD")
    if {".", "..", ""} & {match["owner"], match["repo"], *ref.split("/"), *(path or DEFAULT_PATH).split("/")}:
        raise _refuse("a part of it is empty, . or ..", text, _GITHUB_FORM)
    return GitHubAddress(match["owner"], match["repo"], path or DEFAULT_PATH, ref)


def _parse_path(text: str, rest: str) -> LocalAddress:
    path = Path(rest).expanduser()
    if not path.exists():
        raise _refuse("no such file or directory", text, "give a path that is")
    return LocalAddress(path)


_PARSERS: dict[str, Callable[[str, str], Address]] = {
    "github": _parse_github,
    "https": _parse_web,
    "http": _parse_web,
    "file": _parse_path,
}


def _refuse(what: str, text: str, remedy: str) -> UsageError:
    return UsageError(what, where=f"--runtime-source {text}", remedy=remedy)
