"""An API server over pods that run as processes of this machine, without an operator; and who talks to a command."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import websocket

from api_desk import ApiDesk
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.process import ProcessEngine
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState
from trainlet.planning.specs import ContainerSpec
from trainlet.server.api.assembly import Backing
from trainlet.server.api.pods import build_pod_routes
from waiting import wait_for

POD = "mnist-node-0-0-abcde"
PATH = f"/api/v1/namespaces/default/pods/{POD}"
RUNNING: JSON = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
ENDED: JSON = {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:00:00Z"}}
_HOSTNAME = "mnist-node-0-0"


class PodDesk(ApiDesk):
    """Serves the pods of one job. Its engine is real, and what is stored says of it what a pass would."""

    def __init__(self, root: Path) -> None:
        self.engine = ProcessEngine(root / "processes", os.environ)
        self.status = StatusDir(root / "status")
        super().__init__(root)
        self.uid = str(self.add_job()["metadata"]["uid"])
        self.make_pod("node")

    def build_backing(self) -> Backing:
        """Return what is served, pods with all that is below them."""
        backing = super().build_backing()
        routes = lambda reader: build_pod_routes(reader, self.engine, self.status)  # noqa: E731
        return Backing(**{**vars(backing), "build_pod_routes": routes})

    def make_pod(self, *containers: str, state: JSON | None = None, **fields: JSON) -> None:
        """Store the pod, and the JobSet that it is of; all its containers are in one state."""
        spec = {"containers": [{"name": name, "image": "image:1"} for name in containers]}
        template = {"spec": {"parallelism": 1, "completions": 1, "template": {"spec": spec}}}
        self.put("JobSet", "mnist", spec={"replicatedJobs": [{"name": "node", "replicas": 1, "template": template}]})
        entries = [{"name": name, "image": "image:1", "imageID": "", "ready": True} for name in containers]
        told = [{**each, "restartCount": 0, "state": state or RUNNING, **fields} for each in entries]
        status = {"phase": "Running", "containerStatuses": told}
        pod = self.put("Pod", POD, spec={**spec, "hostname": _HOSTNAME}, status=status)
        marked = {**pod["metadata"], "labels": {labels.JOBSET_NAME: "mnist"}}
        self.registry.store.put(ObjectKey("Pod", "default", POD), {**pod, "metadata": marked})

    def annotate(self, **annotations: str) -> None:
        """Put annotations on the pod."""
        key = ObjectKey("Pod", "default", POD)
        pod = self.registry.store.get(key) or {}
        self.registry.store.put(key, {**pod, "metadata": {**pod["metadata"], "annotations": annotations}})

    def run(self, script: str, container: str = "node", attempt: int = 0) -> str:
        """Start a container of the pod with this shell script."""
        name = f"mnist-node-0-{container}-{attempt}"
        step = "node-0" if container == "node" else f"node-0.{container}"
        marks = {
            labels.OWNER_UID: self.uid,
            labels.STORE: "desk",
            labels.NAMESPACE: "default",
            labels.JOB_NAME: "mnist",
            labels.POD: _HOSTNAME,
            labels.CONTAINER: container,
            labels.STEP: step,
            labels.ATTEMPT: str(attempt),
        }
        spec = ContainerSpec(name=name, image="image:1", command=("sh", "-c", script), labels=marks).with_hash()
        self.engine.create_container(spec)
        id = next(each.id for each in self.engine.observe(self.uid).containers if each.name == name)
        self.engine.start_container(id)
        return id

    def wait_end(self, id: str) -> None:
        """Wait until a container has ended."""

        def has_ended() -> bool:
            found = self.engine.observe(self.uid).containers
            return any(each.id == id and each.state is ContainerState.EXITED for each in found)

        wait_for(has_ended, f"{id} to end")

    def keep(self, text: str, *, previous: bool = False) -> None:
        """Write a kept log."""
        path = self.status.log_path("default", "mnist", "node-0", previous=previous)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def read_log(self, **query: object) -> str:
        """Return the log as a client gets it."""
        answer = self.ask(f"{PATH}/log?{urlencode(query)}")
        assert answer.code == 200, answer.data
        assert answer.headers["content-type"] == "text/plain"
        return answer.data.decode()

    @contextmanager
    def talk(self, what: str = "exec", protocol: str = "v5.channel.k8s.io", **query: object) -> "Iterator[Talk]":
        """Open a WebSocket to a command for as long as the block lasts; `command` is a shell script."""
        words = ["sh", "-c", str(query.pop("command"))] if "command" in query else []
        asked = urlencode({"stdout": "true", "stderr": "true", **query})
        command = "".join(f"&command={quote(word)}" for word in words)
        connection = websocket.create_connection(
            f"wss://localhost:{self.port}{PATH}/{what}?{asked}{command}",
            timeout=20,
            subprotocols=[protocol],
            header=[f"Authorization: Bearer {self.token}"],
            suppress_origin=True,
            sslopt={"context": self.tls},
        )
        try:
            yield Talk(connection)
        finally:
            connection.close()
            connection.shutdown()  # it forgets its socket when the server was the first to close

    def clear(self) -> None:
        """Leave nothing of what a test did: one pod, which says that it runs."""
        for container in self.engine.observe(self.uid).containers:
            self.engine.remove_container(container.id)
        self.status.forget("default", "mnist")
        self.make_pod("node")

    def close(self) -> None:
        """End the server, and all that runs."""
        self.clear()
        self.engine.close()
        self.stop()


class Talk:
    """A client of one command."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self.connection = connection

    def send(self, channel: int, data: bytes = b"") -> None:
        """Say something on a channel."""
        self.connection.send_binary(bytes((channel,)) + data)

    def hear(self) -> tuple[int, bytes]:
        """Return what is said next, and on which channel."""
        message = self.connection.recv()
        assert isinstance(message, bytes), message
        return message[0], message[1:]

    def hear_until(self, text: bytes) -> bytes:
        """Return all that is said until this was."""
        heard = b""
        while text not in heard:
            heard += self.hear()[1]
        return heard

    def hear_all(self) -> tuple[dict[int, bytes], JSON]:
        """Return all that is said on each channel, and the Status at the end, after which the server closes."""
        heard: dict[int, bytearray] = {}
        while True:
            channel, data = self.hear()
            if channel == 3:
                assert self.connection.recv_data() == (8, (1000).to_bytes(2, "big"))
                return {channel: bytes(all) for channel, all in heard.items()}, json.loads(data)
            heard.setdefault(channel, bytearray()).extend(data)
