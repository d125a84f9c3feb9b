"""An API server as an operator runs it, over a registry without an engine, and the requests that clients make."""

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from builders import build_job, build_runtime
from trainlet.admission.admit import Rules
from trainlet.admission.core_kinds import CORE_KINDS
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.documents.status_dir import StatusDir
from trainlet.documents.version_mark import VersionMark
from trainlet.kube.errors import ApiError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.loading import now
from trainlet.package_data import read_crds
from trainlet.planning.events import Note
from trainlet.planning.status_token import build_token
from trainlet.registry import Registry, Source
from trainlet.server.api.assembly import Backing, assemble
from trainlet.server.api.types import DeleteOptions, PatchType, Resource, WriteOptions, Written
from trainlet.server.api.virtual import Machine
from trainlet.server.api_server import BOUNDS, Access, ApiServer
from trainlet.server.connections import Bounds
from trainlet.server.credentials import Identity, load_credentials, load_token
from trainlet.server.kubeconfig import build_kubeconfig, write_kubeconfig
from trainlet.server.listener import Address
from trainlet.store import Store

DEFINITIONS = read_crds()
CRDS = (*map(parse_crd, DEFINITIONS), *CORE_KINDS)
SECRET = bytes(32)
HOSTS = ("localhost", "127.0.0.1")
PATIENCE_SECONDS = 30
STOP_SECONDS = 20
JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs"
ALL_JOBS = "/apis/trainer.kubeflow.org/v1alpha1/trainjobs"


@dataclass
class ScriptedWriter:
    """Notes what it is asked for, and answers what the test says: a refusal, or the object that it was given."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    refusal: ApiError | None = None
    warnings: tuple[str, ...] = ()
    is_new: bool = False

    def create(self, resource: Resource, namespace: str, body: JSON, options: WriteOptions) -> Written:
        """Make an object."""
        return self._answer(("create", resource.plural, namespace, body, options), body)

    def update(self, resource: Resource, namespace: str, name: str, body: JSON, options: WriteOptions) -> Written:
        """Replace an object."""
        return self._answer(("update", resource.plural, namespace, name, body, options), body)

    def patch(
        self, resource: Resource, namespace: str, name: str, type: PatchType, body: object, options: WriteOptions
    ) -> Written:
        """Change an object."""
        shown = {"kind": resource.kind, "metadata": {"name": name, "namespace": namespace}}
        return self._answer(("patch", resource.plural, namespace, name, type, body, options), shown)

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> JSON:
        """Delete an object."""
        shown = {"kind": resource.kind, "metadata": {"name": name, "namespace": namespace}}
        return self._answer(("delete", resource.plural, namespace, name, options), shown).object

    def _answer(self, asked: tuple[Any, ...], shown: JSON) -> Written:
        self.asked.append(asked)
        if self.refusal is not None:
            raise self.refusal
        return Written({"metadata": {"name": "some"}, **shown}, self.is_new, self.warnings)


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    code: int
    headers: http.client.HTTPMessage
    data: bytes

    @property
    def body(self) -> Any:
        """The JSON in it."""
        return json.loads(self.data)

    @property
    def said(self) -> tuple[int, str, str]:
        """Code, reason and message of a Status."""
        assert (self.body["kind"], self.body["status"], self.body["code"]) == ("Status", "Failure", self.code)
        return self.code, self.body["reason"], self.body["message"]


class ApiDesk:
    """One API server. Its directory holds the registry's documents and the keys."""

    def __init__(self, root: Path, bounds: Bounds = BOUNDS, addresses: Sequence[Address] = (("127.0.0.1", 0),)) -> None:
        self.root, self.bounds, self.wanted = root, bounds, addresses
        self.writer, self.problems = ScriptedWriter(), list[str]()
        self.keys = root / "keys"
        self.token = load_token(self.keys)
        self.kubeconfig = root / "kubeconfig"
        self.start()

    def start(self) -> None:
        """Begin as an operator does: with what is on disk."""
        mark = VersionMark(self.root / "status")
        self.registry = Registry(Store(mark.read(), mark.reserve), StatusDir(self.root / "status"), Rules(CRDS), now)
        self.registry.apply(build_runtime(), Source("/runtimes/torch.yaml", 0))
        self.registry.load({})
        identity = Identity("api", HOSTS)
        access = Access(self.token, HOSTS, partial(self._renew, identity))
        self.server = ApiServer(partial(assemble, self.build_backing()), self.wanted, access, self.bounds)
        self.server.start()
        tcp = [each for each in self.server.addresses if not isinstance(each, str)]
        if tcp:
            self.port = tcp[0][1]
            authority = self._renew(identity).authority
            self.tls = ssl.create_default_context(cadata=authority)
            write_kubeconfig(self.kubeconfig, build_kubeconfig(tcp[0], authority, self.token, "default"))

    def build_backing(self) -> Backing:
        """Return what is served."""
        machine = Machine("box", {"cpu": 2.0, "memory": 2.0**31}, ("192.0.2.1",), lambda: "docker://20.10", self._find)
        return Backing(self.registry, self.writer, machine, DEFINITIONS, CRDS, SECRET, now)

    def _find(self) -> list[str]:
        return self.problems

    def _renew(self, identity: Identity) -> Any:
        return load_credentials(self.keys, now(), identity)

    def stop(self) -> None:
        """End the server."""
        self.server.stop(STOP_SECONDS)

    # Objects

    def add_job(self, name: str = "mnist", namespace: str = "default", labels: JSON | None = None, **spec: Any) -> JSON:
        """Accept a job, or change it."""
        metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
        self.registry.apply({**build_job(name, **spec), "metadata": metadata}, Source(f"/jobs/{name}.yaml", 0))
        return self.get_job(name, namespace)

    def get_job(self, name: str = "mnist", namespace: str = "default") -> JSON:
        """Return the stored job."""
        return self.registry.store.get(ObjectKey(TRAIN_JOB, namespace, name)) or {}

    def set_status(self, name: str = "mnist", **status: Any) -> JSON:
        """Write the status of a job as a pass does."""
        key = ObjectKey(TRAIN_JOB, "default", name)
        return self.registry.store.put(key, {**self.get_job(name), "status": status})

    def put(self, kind: str, name: str, namespace: str = "default", **fields: Any) -> JSON:
        """Store an object as it is given."""
        stored = {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **fields}
        return self.registry.store.put(ObjectKey(kind, namespace, name), stored)

    def add_pod(self, job: str = "mnist", index: int = 0, phase: str = "Running", **labels: str) -> JSON:
        """Store a pod of a job, as a pass writes it."""
        name = f"{job}-node-0-{index}-abcde"
        known = {
            "jobset.sigs.k8s.io/jobset-name": job,
            "jobset.sigs.k8s.io/replicatedjob-name": "node",
            "batch.kubernetes.io/job-completion-index": str(index),
        }
        status = {"name": "node", "image": "image:1", "imageID": "", "ready": phase == "Running", "restartCount": 0}
        stored: JSON = {
            "metadata": {"name": name, "namespace": "default", "labels": {**known, **labels}},
            "spec": {"containers": [{"name": "node", "image": "image:1", "resources": {"limits": {}}}]},
            "status": {"phase": phase, "podIP": f"10.0.0.{index + 2}", "containerStatuses": [status]},
        }
        return self.registry.store.put(ObjectKey("Pod", "default", name), stored)

    def note(self, reason: str = "Started", job: str = "mnist") -> None:
        """Record an event of a job."""
        self.registry.note(ObjectKey(TRAIN_JOB, "default", job), Note("Normal", reason, f"{reason} as it should"))

    def forget(self, name: str = "mnist", namespace: str = "default") -> None:
        """Let a job be gone."""
        self.registry.forget(ObjectKey(TRAIN_JOB, namespace, name))

    def build_job_token(self, name: str = "mnist") -> str:
        """Return what a job's own code reports with."""
        return build_token(SECRET, "default", name, self.get_job(name)["metadata"]["uid"])

    # Requests

    def connect(self) -> ssl.SSLSocket:
        """Open a connection and shake hands."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(plain, server_hostname="localhost")

    def open_http(self) -> http.client.HTTPConnection:
        """Open a connection for requests."""
        connection = http.client.HTTPConnection("localhost", self.port)
        connection.sock = self.connect()
        return connection

    def ask(self, path: str, method: str = "GET", body: Any = None, token: str | None = None, **headers: str) -> Answer:
        """Make one request with the owner's token or another; without a body of bytes it is JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {self.token if token is None else token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(self.open_http()) as connection:
            connection.request(method, path, data, {name: value for name, value in given.items() if value})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def get(self, path: str, **headers: str) -> Any:
        """Return what a path shows."""
        answer = self.ask(path, **headers)
        assert answer.code == 200, answer.data
        return answer.body

    @contextmanager
    def watch(self, path: str, **headers: str) -> "Iterator[Watch]":
        """Open a watch for as long as the block lasts."""
        with closing(self.open_http()) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}", **headers})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield Watch(response)

    def kubectl(self, *words: str, given: str = "", code: int = 0) -> str:
        """Run the real kubectl; return what it prints."""
        ran = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), "--cache-dir", str(self.root / "cache"), *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr


@dataclass
class Watch:
    """The frames of a watch."""

    response: http.client.HTTPResponse

    def next(self) -> JSON:
        """Return the next frame; there has to be one."""
        line = self.response.readline()
        assert line, "the watch has ended"
        frame: JSON = json.loads(line)
        return frame

    def next_name(self) -> tuple[str, str]:
        """Return the type of the next frame and the name of its object."""
        frame = self.next()
        return frame["type"], frame["object"]["metadata"]["name"]

    def read_rest(self) -> list[JSON]:
        """Return all frames until the server ends the watch."""
        return [json.loads(line) for line in self.response]


def dump(*documents: JSON) -> str:
    """Return documents as somebody types them."""
    return yaml.safe_dump_all(documents)
