"""A server that plays an https site and GitHub, with a certificate of an authority that only the tests know."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from builders import build_runtime
from trainlet.kube.meta import JSON
from trainlet.runtime_sources.github import hash_blob
from trainlet.server.credentials import build_context, load_credentials

COMMIT = "c" * 40
PATH = "manifests/base/runtimes"
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    """What the server says to a path."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass
class Site:
    """A server: its replies by path, and the requests it got.

    Without `is_up` it hangs up on everybody; with a `gate` it lets everybody wait until that is set.
    """

    port: int = 0
    scheme: str = "https"
    is_up: bool = True
    gate: threading.Event | None = None
    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    @property
    def root(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def give(self, path: str, body: str | bytes, **headers: str) -> str:
        """Serve this at a path, with the ETag of its content, and return its URL."""
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies[path] = Reply(200, data, {"ETag": build_etag(data), **named})
        return self.root + path

    def give_repository(self, files: Mapping[str, str], commit: str = COMMIT, name: str = "kubeflow/trainer") -> None:
        """Serve a repository of these files as GitHub does."""
        api, blobs = f"/api/repos/{name}", {path: hash_blob(text.encode()) for path, text in files.items()}
        self.give(f"{api}/commits/HEAD", commit)
        self.give(f"{api}/commits/v2.1", commit)
        entries = [{"path": path, "type": "blob", "mode": "100644", "sha": sha} for path, sha in blobs.items()]
        below = [{**each, "path": str(each["path"]).removeprefix(f"{PATH}/")} for each in entries]
        parent = [
            {"name": "crds", "type": "dir", "sha": "f" * 40},
            {"name": "runtimes", "type": "dir", "sha": "e" * 40},
        ]
        self.give(f"{api}/contents/manifests/base?ref={commit}", json.dumps(parent))
        self.give(f"{api}/git/trees/{'e' * 40}?recursive=1", json.dumps({"tree": below, "truncated": False}))
        top = [{"name": path, "type": "file", "sha": sha} for path, sha in blobs.items() if "/" not in path]
        self.give(f"{api}/contents/?ref={commit}", json.dumps(top))
        for path, text in files.items():
            self.give(f"/raw/{name}/{commit}/{path}", text)
            self.give(f"{api}/contents/{path}?ref={commit}", text)


def build_etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        site.requests.append((self.path, dict(self.headers.items())))
        self.close_connection = True
        if site.gate is not None:
            site.gate.wait(_TIMEOUT_SECONDS)
        if not site.is_up:
            return
        reply = site.replies.get(self.path, Reply(404))
        if self.headers.get("If-None-Match") == reply.headers.get("ETag", ""):
            reply = Reply(304, headers=reply.headers)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 304:
            self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Lets each make its handshake in a thread of its own; one that fails is the client's business."""

    def __init__(self, site: Site, authority: Path | None) -> None:
        self.site = site
        self.context = build_context(load_credentials(authority.parent, datetime.now(UTC))) if authority else None
        super().__init__(("127.0.0.1", 0), Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError):
            if self.context is None:
                super().finish_request(request, client_address)
                return
            with self.context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)


@contextmanager
def serving(authority: Path | None) -> Iterator[Site]:
    site = Site(scheme="https" if authority else "http")
    with Server(site, authority) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        site.port = server.server_port
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def make_authority(directory: Path) -> Path:
    """Return the file of a new authority's certificate; its key stays beside it."""
    path = directory / "ca.pem"
    path.write_text(load_credentials(directory, datetime.now(UTC)).authority)
    return path


def dump(*documents: JSON) -> str:
    return yaml.safe_dump_all(documents)


def build_text(name: str = "torch-distributed", image: str = "image:1") -> str:
    return dump(build_runtime(name, container={"image": image}))
