"""A status server as an operator runs it, registry and keys on disk, and the requests that training code makes."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders import build_job, build_runtime
from trainlet.admission.admit import Rules
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.documents.secret import load_secret
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.loading import now
from trainlet.package_data import read_crds
from trainlet.planning.status_token import build_token
from trainlet.registry import Registry, Source
from trainlet.server.connections import DEFAULT_BOUNDS, Bounds
from trainlet.server.credentials import SERVICE, load_credentials
from trainlet.server.status_server import StatusServer
from trainlet.store import Store

RULES = Rules(tuple(parse_crd(document) for document in read_crds()))
TIME = "2026-01-02T03:04:05Z"
#: No test waits longer for a server that does not answer.
PATIENCE_SECONDS = 30
STOP_SECONDS = 20


def get_path(name: str = "mnist", namespace: str = "default") -> str:
    """Return the path that a job's reports go to."""
    return f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs/{name}/status"


def build_report(**trainer_status: Any) -> JSON:
    """Return the body of a report; without a time of its own it gets one."""
    return {"trainerStatus": {"lastUpdatedTime": TIME, **trainer_status}}


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    code: int
    body: JSON

    @property
    def said(self) -> tuple[int, str, str]:
        """Code, reason and message of a Status."""
        assert self.body["kind"] == "Status"
        assert self.body["status"] == "Failure"
        assert self.body["code"] == self.code
        return self.code, self.body["reason"], self.body["message"]


class Desk:
    """One status server. Its directory holds the registry's documents and the keys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.secret = load_secret(root / "keys")
        self.credentials = load_credentials(root / "keys", now())
        self.registry = self.build_registry()
        self.add_job()
        self.server: StatusServer | None = None

    def build_registry(self) -> Registry:
        """Return a registry that knows what is on disk."""
        registry = Registry(Store(), StatusDir(self.root / "status"), RULES, now)
        registry.apply(build_runtime(), Source("/runtimes/torch.yaml", 0))
        registry.load({})
        return registry

    def open(self, bounds: Bounds = DEFAULT_BOUNDS, **options: Any) -> None:
        """Start a server, in the place of one that runs."""
        self.close()
        options = {"renew": lambda: self.credentials, "host": "127.0.0.1", "port": 0, **options}
        self.server = StatusServer(self.registry, self.secret, bounds=bounds, **options)
        self.server.start()

    def close(self) -> None:
        """Stop the server."""
        if self.server is not None:
            self.server.stop(STOP_SECONDS)
            self.server = None

    # Jobs

    def add_job(self, name: str = "mnist", namespace: str = "default") -> None:
        """Accept a job."""
        job = {**build_job(name), "metadata": {"name": name, "namespace": namespace}}
        self.registry.apply(job, Source(f"/jobs/{name}.yaml", 0))

    def get_job(self, name: str = "mnist", namespace: str = "default") -> JSON:
        """Return the stored job, or nothing."""
        return self.registry.store.get(ObjectKey(TRAIN_JOB, namespace, name)) or {}

    def get_reported(self, name: str = "mnist") -> JSON | None:
        """Return what is stored of a job's reports."""
        return (self.get_job(name).get("status") or {}).get("trainerStatus")

    def build_token(self, name: str = "mnist", namespace: str = "default", uid: str | None = None) -> str:
        """Return the token of a job, by default of the one that is there."""
        uid = uid or self.get_job(name, namespace)["metadata"]["uid"]
        return build_token(self.secret, namespace, name, uid)

    # Requests

    @property
    def port(self) -> int:
        """Where the server listens."""
        assert self.server is not None
        return self.server.port

    def connect(self) -> ssl.SSLSocket:
        """Open a connection and shake hands, under the name that jobs use."""
        context = ssl.create_default_context(cadata=self.credentials.authority)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        return context.wrap_socket(plain, server_hostname=SERVICE)

    def open_http(self) -> http.client.HTTPConnection:
        """Open a connection for requests."""
        connection = http.client.HTTPConnection(SERVICE, self.port)
        connection.sock = self.connect()
        return connection

    def post(self, report: Any, name: str = "mnist", token: str | None = None) -> Answer:
        """Report as training code does."""
        token = self.build_token(name) if token is None else token
        return self.ask(get_path(name), json.dumps(report).encode(), {"Authorization": f"Bearer {token}"})

    def ask(
        self,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> Answer:
        """Make one request; a body in pieces is sent in chunks, its length unannounced."""
        with closing(self.open_http()) as connection:
            connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes))
            response = connection.getresponse()
            assert response.headers["Content-Type"] == "application/json"
            text = response.read()
        return Answer(response.status, json.loads(text) if text else {})
