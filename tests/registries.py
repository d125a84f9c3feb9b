"""Image registries on this machine: one that wants a login, and one that is slow when a test says so.

Both speak no TLS, which Docker takes from 127.0.0.0/8, and Podman where its registries.conf says so (`insecure`).
"""

import hashlib
import io
import json
import os
import pwd
import shutil
import socket
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from engines import EngineKind, get_url
from trainlet.engine.child import SocketProcess
from trainlet.planning.pull_secrets import Login
from waiting import running, wait_for

LOGIN = Login("trainlet", "open sesame: 1001")
#: Apache's bcrypt of that password (htpasswd -B).
_HTPASSWD = "trainlet:$2y$05$5mY2M95bqwYPMF/J4B25ZuM1gXTGK8hUeoZPwN8Ug6yX.mO.QqaPC\n"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_SECONDS = 30
#: Podman tells of a download once a second, and only when something comes.
_DROP_BYTES, _DROP_SECONDS = 1 << 18, 0.3


@dataclass(frozen=True)
class Image:
    """An image as a registry holds it: its blobs by digest, and its manifest."""

    blobs: dict[str, bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        """What the manifest is known by."""
        return _digest(self.manifest)


def build_image(layers: Sequence[bytes] = (b"hello",), architecture: str = "amd64") -> Image:
    """Return an image with one file a layer, `file-0` and so on, each executable."""
    tars = [_pack(f"file-{number}", content) for number, content in enumerate(layers)]
    rootfs = {"type": "layers", "diff_ids": [_digest(tar) for tar in tars]}
    config = json.dumps({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _refer(_CONFIG, config),
        "layers": [_refer(_LAYER, tar) for tar in tars],
    }
    return Image({_digest(blob): blob for blob in (config, *tars)}, json.dumps(manifest).encode())


@dataclass(frozen=True)
class PrivateRegistry:
    """A registry that lets nobody in but LOGIN."""

    host: str

    def push(self, name: str, image: Image) -> str:
        """Put an image under a name without a tag, as tag 1, and return its full name."""
        url, session = f"http://{self.host}/v2/{name}", requests.Session()
        session.auth = (LOGIN.username, LOGIN.password)
        for digest, blob in image.blobs.items():
            upload = session.post(f"{url}/blobs/uploads/", timeout=_SECONDS)
            upload.raise_for_status()
            session.put(
                upload.headers["Location"], params={"digest": digest}, data=blob, timeout=_SECONDS
            ).raise_for_status()
        headers = {"Content-Type": _MANIFEST}
        session.put(f"{url}/manifests/1", data=image.manifest, headers=headers, timeout=_SECONDS).raise_for_status()
        session.close()
        return f"{self.host}/{name}:1"


@contextmanager
def serve_private(directory: Path) -> Iterator[PrivateRegistry]:
    """Run Debian's docker-registry for as long as the block lasts, its data in a directory."""
    program = shutil.which("docker-registry")
    assert program, "docker-registry is not installed: tests/engines/setup does it"
    host = f"127.0.0.1:{_find_free_port()}"
    (directory / "htpasswd").write_text(_HTPASSWD)
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": host},
        "auth": {"htpasswd": {"realm": "trainlet", "path": str(directory / "htpasswd")}},
    }
    (directory / "config.yml").write_text(json.dumps(config))
    with (directory / "log").open("w") as log, running([program, "serve", str(directory / "config.yml")], stderr=log):
        wait_for(partial(_answers, host), "the registry to answer")
        yield PrivateRegistry(host)


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _answers(host: str) -> bool:
    try:
        return requests.get(f"http://{host}/v2/", timeout=_SECONDS).status_code == 401
    except requests.ConnectionError:
        return False


@dataclass
class SlowRegistry:
    """A registry with one image, for everybody. Of layers it gives but a half, drop by drop, until `gate` is set."""

    image: Image
    host: str = ""
    gate: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve_slowly(image: Image) -> Iterator[SlowRegistry]:
    """Serve one image for as long as the block lasts."""
    registry = SlowRegistry(image)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, registry))
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield registry
    finally:
        registry.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers what engines ask for when they pull."""

    protocol_version = "HTTP/1.1"

    def __init__(self, registry: SlowRegistry, *args: Any) -> None:
        self._registry = registry
        super().__init__(*args)

    def do_GET(self) -> None:
        """Give a blob or the manifest."""
        image, wanted = self._registry.image, self.path.rpartition("/")[2]
        if blob := image.blobs.get(wanted):
            self._send(blob, "application/octet-stream", is_slow=b"diff_ids" not in blob)
        elif "/manifests/" in self.path:
            self._send(image.manifest, _MANIFEST, is_slow=False)
        else:
            self._send(b"{}", "application/json", is_slow=False)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _send(self, body: bytes, kind: str, *, is_slow: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", _digest(body))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            for start in range(0, len(body), _DROP_BYTES):
                if is_slow and not self._registry.gate.is_set():
                    is_last = start >= len(body) // 2
                    self._registry.gate.wait(_SECONDS if is_last else _DROP_SECONDS)
                self.wfile.write(body[start : start + _DROP_BYTES])
        except OSError:  # the engine gave up
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def open_for_plain_http(kind: EngineKind, directory: Path) -> Iterator[str]:
    """Give the URL of the engine; of Podman one more service, which reads a registries.conf of its own."""
    url = get_url(kind)
    if kind.runtime == "docker":
        yield url
        return
    user = pwd.getpwuid(Path(url.removeprefix("unix://")).stat().st_uid)
    conf, path = directory / "registries.conf", directory / "podman.sock"
    conf.write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
    directory.chmod(0o777)
    environ = {"PATH": os.environ["PATH"], "HOME": user.pw_dir, "CONTAINERS_REGISTRIES_CONF": str(conf)}
    command = ["podman", "system", "service", "--time=0", f"unix://{path}"]
    if user.pw_uid != 0:
        environ["XDG_RUNTIME_DIR"] = f"/run/user/{user.pw_uid}"
    if user.pw_uid != os.getuid():
        command = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", *command]
    service = SocketProcess(command, path, environ)
    service.wait_ready(20)
    try:
        yield f"unix://{path}"
    finally:
        service.close()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _refer(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


def _pack(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
