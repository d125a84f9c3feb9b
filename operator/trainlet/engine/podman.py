"""The Podman engine, through podman-py's own low-level client on the libpod API. The only file that knows podman-py.

podman-py's models lose label filters, CPU limits and pull errors, so requests are made here. Podman refers to
networks by name, which it keeps unique.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any
from urllib.parse import quote

import requests
from podman.api.client import APIClient
from podman.errors import PodmanError

from trainlet.engine import explain, http, images, podman_wire, wire
from trainlet.engine.base import EngineEvent, EngineFacts, LogLine, Owner, PullProgress, Streams, SubnetTaken
from trainlet.engine.explain import Refused
from trainlet.engine.http import ENDED_TEXT, POOL_SIZE, PULL_SILENCE_SECONDS, HttpEngine
from trainlet.engine.owners import has_owner, is_ours, is_same_volume, read_owners
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, ImageFacts, Observed, ObservedContainer
from trainlet.planning.pull_secrets import Login
from trainlet.planning.specs import ContainerSpec, NetworkSpec, VolumeSpec

_LOG = logging.getLogger(__name__)

_KILLED = 137
#: What is said of every start of a container whose ids Podman has mapped wrongly.
_IDS_LOST = "can't get final child's PID"
#: What is said of a network's creation when some other interface went while Podman asked the machine for the addresses
#: of all, and how often it is let look again.
_INTERFACE_LEFT, _MOST_LOOKS = "no such network interface", 5
# A filter on a label's key alone finds nothing, so foreign containers are sorted out here.
_EVENTS = {"type": ["container"], "event": ["start", "died", "remove", "oom"]}

# Static programs that can be PID 1 in any image, tried in order where Podman does not find its own.
_INITS: tuple[JSON, ...] = (
    {"init": True},
    *(
        {"init": True, "init_path": path}
        for path in (
            "/usr/bin/catatonit",
            "/usr/libexec/catatonit/catatonit",
            "/usr/bin/tini-static",
            "/usr/libexec/docker/docker-init",
        )
    ),
    {"init": False},
)


class PodmanEngine(HttpEngine):
    """Implements Engine on the libpod API."""

    name = "podman"
    fills_read_only_root = True

    def __init__(
        self,
        url: str,
        *,
        endpoint: str = "",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(url, endpoint=endpoint, on_close=on_close)
        self._init = _INITS[0]
        self._warned: set[str] = set()
        self._warn_lock = threading.Lock()
        # Podman 4 asks the system's library for a user's ids in several threads, and gets wrong answers.
        self._ids_lock = threading.Lock()

    def ping(self) -> str:
        """Return the engine's version."""
        # The version call would run half a dozen programs to ask for theirs.
        return str(self._send("GET", "_ping", "ask for its version").headers.get("Libpod-API-Version", "unknown"))

    def find_facts(self) -> EngineFacts:
        """Return how the engine runs, as it says itself."""
        return podman_wire.read_facts(self._ask("GET", "info", "ask how it runs"))

    def observe(self, owner_uid: str, *, with_volumes: bool = True) -> Observed:
        """Return what carries this owner's label: a list call for each kind, and one more for each that was killed."""
        label = f"{labels.OWNER_UID}={owner_uid}"
        rows, networks = self._list("containers", label), self._list("networks", label)
        containers = (self._see(row) for row in rows)
        return Observed(
            containers=tuple(sorted((each for each in containers if each), key=lambda each: each.name)),
            networks=tuple(podman_wire.read_network(row) for row in networks),
            volumes=tuple(map(wire.read_volume, self._list("volumes", label) if with_volumes else ())),
        )

    def find_owners(self, store: str) -> frozenset[Owner]:
        """Return the owners of everything labelled with this store."""
        label = f"{labels.STORE}={store}"
        rows = (*self._list("containers", label), *self._list("volumes", label))
        return read_owners(
            [*(row["Labels"] for row in rows), *(row["labels"] for row in self._list("networks", label))]
        )

    def find_subnets(self) -> frozenset[str]:
        """Return the subnets of all networks."""
        return frozenset(subnet for row in self._list("networks") for subnet in podman_wire.read_subnets(row))

    def _list(self, what: str, label: str = "") -> list[JSON]:
        query = {"all": "true", "filters": json.dumps({"label": [label]} if label else {})}
        return self._ask("GET", f"{what}/json", f"list {what}", query) or []

    def _see(self, row: JSON) -> ObservedContainer | None:
        """Read one row; None if the container was removed meanwhile."""
        if row.get("ExitCode") != _KILLED or row["State"] == "running":
            return podman_wire.read_container(row, oom_killed=False)
        try:
            found = self._inspect(row["Id"])
        except Refused as refused:
            if "container not known" not in refused.text:
                raise
            found = {"State": {}}  # half of it was removed: it is there until somebody removes the rest
        if found is None:
            return None
        return podman_wire.read_container(row, oom_killed=bool(found["State"].get("OOMKilled")))

    def _inspect(self, id: str) -> JSON | None:
        try:
            return dict(self._ask("GET", f"containers/{id}/json", f"look at container {id[:20]}"))
        except Refused as refused:
            if _is_gone(refused):
                return None
            raise

    def find_image(self, image: str) -> ImageFacts | None:
        """Return what the image is, None if it is not here."""
        try:
            row = self._ask("GET", f"images/{quote(image, safe='')}/json", f"look for image {image}")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return images.read_image(image, row)

    def pull_image(self, image: str, progress: PullProgress, login: Login | None = None) -> None:
        """Fetch the image; the service's own user may be logged in too."""
        images.pull(self._stream, self.endpoint, image, progress, login)

    def import_image(self, name: str, tar: Iterator[bytes]) -> None:
        """Make an image from the tar stream of a file system."""
        doing, headers = f"import image {name}", {"Content-Type": "application/x-tar"}
        with self._asking(doing) as client:
            query, seconds = {"reference": name}, PULL_SILENCE_SECONDS
            response = client.post("images/import", params=query, data=tar, headers=headers, timeout=seconds)
        if response.status_code >= 400:
            text = wire.read_message(response)
            raise Refused(doing, status=response.status_code, text=text, where=self.endpoint)

    def create_network(self, spec: NetworkSpec) -> None:
        """Make a bridge network with DNS."""
        doing, body = f"create network {spec.name}", podman_wire.build_network(spec)
        for asks_left in reversed(range(_MOST_LOOKS)):
            try:
                self._ask("POST", "networks/create", doing, body=body)
            except Refused as refused:
                if asks_left and _INTERFACE_LEFT in refused.text:
                    continue
                self._accept_network(spec, refused)
            return

    def _accept_network(self, spec: NetworkSpec, refused: Refused) -> None:
        if refused.status != 409:
            if "already used" in refused.text or "overlap" in refused.text:
                raise SubnetTaken(refused.what, where=refused.where, remedy="another subnet is tried") from refused
            raise refused
        found = next((row.get("labels") for row in self._list("networks") if row["name"] == spec.name), None)
        if not has_owner(found, spec.labels):
            raise explain.build_name_taken(self.name, "network", spec.name, self.endpoint, found or {}) from refused

    def remove_network(self, id: str) -> None:
        """Remove a network; one that is gone counts as done."""
        with _gone_is_done():
            self._ask("DELETE", f"networks/{id}", f"remove network {id[:20]}")

    def create_volume(self, spec: VolumeSpec) -> None:
        """Make a named volume."""
        self._known_volumes.pop(spec.name, None)
        body = podman_wire.build_volume(spec)
        try:
            self._ask("POST", "volumes/create", f"create volume {spec.name}", body=body)
        except Refused as refused:
            if "already exists" not in refused.text:
                raise
            found = self._find_volume(spec.name)
            if found is None or not is_same_volume(found["Labels"], spec.labels):
                raise explain.build_name_taken(self.name, "volume", spec.name, self.endpoint) from refused

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone counts as done."""
        self._known_volumes.pop(name, None)
        with _gone_is_done():
            self._ask("DELETE", f"volumes/{name}", f"remove volume {name}")

    def _find_volume(self, name: str) -> JSON | None:
        try:
            return dict(self._ask("GET", f"volumes/{name}/json", f"look at volume {name}"))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def _make_container(self, spec: ContainerSpec, covers: Sequence[str]) -> bool:
        try:
            reply = self._create(spec, covers)
        except Refused as refused:
            return self._accept_container(spec, refused)
        for warning in reply.get("Warnings") or ():
            self._warn_once(warning)
        return True

    def _create(self, spec: ContainerSpec, covers: Sequence[str]) -> JSON:
        """Send the create call, with another init if the engine has not the one that was good so far."""
        for init in _INITS[_INITS.index(self._init) :]:
            body = podman_wire.build_container(spec, init, self._host, covers)
            try:
                with self._ids_lock if podman_wire.keeps_ids(body) else nullcontext():
                    reply = self._ask("POST", "containers/create", f"create container {spec.name}", body=body)
            except Refused as refused:
                if "init binary not found" not in refused.text:
                    raise
                continue
            self._init = init
            if not init["init"]:
                self._warn_once("it has no init for its containers, so they may ignore SIGTERM: install catatonit")
            break
        return dict(reply)

    def _accept_container(self, spec: ContainerSpec, refused: Refused) -> bool:
        if "image not known" in refused.text or (refused.status == 404 and "image" in refused.text):
            raise explain.build_image_missing(spec.image, self.endpoint) from refused
        if "already in use" not in refused.text:
            raise refused
        found = self._inspect(spec.name)
        if found is None or not is_ours(found["Config"]["Labels"], spec):
            whose = found and (found["Config"]["Labels"] or {})
            raise explain.build_name_taken(self.name, "container", spec.name, self.endpoint, whose) from refused
        return podman_wire.STATES.get(found["State"]["Status"]) is ContainerState.CREATED

    def _warn_once(self, text: str) -> None:
        with self._warn_lock:
            if text not in self._warned:
                self._warned.add(text)
                _LOG.warning("podman at %s: %s", self.endpoint, text)

    @cached_property
    def _host(self) -> podman_wire.Host:
        return podman_wire.read_host(self._ask("GET", "info", "ask for its size"))

    def start_container(self, id: str) -> None:
        """Start it; a running one counts as done."""
        try:
            self._ask("POST", f"containers/{id}/start", f"start container {id[:20]}")
        except Refused as refused:
            if _IDS_LOST in refused.text:  # it would never start: without it the next try makes it anew
                with suppress(EngineError):
                    self.remove_container(id)
            raise explain.build_start_error(refused) from refused

    def _signal(self, id: str, signal: str) -> None:
        doing = f"send {signal} to container {id[:20]}"
        self._ask("POST", f"containers/{id}/kill", doing, {"signal": signal})

    def remove_container(self, id: str) -> None:
        """Kill if need be and remove, with its anonymous volumes."""
        # Without a timeout of its own, force first waits for the container's stop timeout. The volumes go by
        # `volumes` here, whatever is written; by `v` they go in Docker's words.
        query = {"force": "true", "timeout": "0", "v": "true", "volumes": "true"}
        doing = f"remove container {id[:20]}"
        with _gone_is_done():
            try:
                self._ask("DELETE", f"containers/{id}", doing, query)
            except Refused as refused:
                if ENDED_TEXT not in refused.text:
                    raise
                # It ended just before the kill reached it, which Podman takes for a failure; now it needs no kill.
                self._ask("DELETE", f"containers/{id}", doing, query)

    def read_logs(
        self,
        id: str,
        *,
        follow: bool = False,
        since: datetime | None = None,
        tail: int | None = None,
        streams: Streams | None = None,
    ) -> Iterator[LogLine]:
        """Yield the container's log lines; with `follow` until it ends or nobody wants them any more.

        The tail is cut here: Podman's own mixes up lines that were written in pieces.
        """
        lines = super().read_logs(id, follow=follow, since=since, streams=streams)
        if tail is None:
            yield from lines
        elif not follow:
            yield from deque(lines, maxlen=tail)
        else:
            history = sum(1 for _ in super().read_logs(id, since=since))
            yield from islice(lines, max(0, history - tail), None)

    def watch(self) -> Iterator[EngineEvent]:
        """Yield the events of our containers; Podman has none for networks."""
        query = {"stream": "true", "filters": json.dumps(_EVENTS)}
        for event in self._follow_events(query):
            owner_uid = event.get("Actor", {}).get("Attributes", {}).get(labels.OWNER_UID)
            if owner_uid:
                yield EngineEvent(owner_uid)

    def _ask(
        self,
        method: str,
        path: str,
        doing: str,
        query: Mapping[str, str] | None = None,
        body: JSON | None = None,
    ) -> Any:
        """Make one call below the API's root and return its JSON, or None. Raises Refused, EngineUnavailable."""
        response = self._send(method, path, doing, query, body)
        with self._asking(doing):
            return response.json() if response.content else None

    def _send(
        self,
        method: str,
        path: str,
        doing: str,
        query: Mapping[str, str] | None = None,
        body: JSON | None = None,
    ) -> Any:
        sent = {"data": json.dumps(body), "headers": {"Content-Type": "application/json"}} if body else {}
        seconds = http.ANSWER_SECONDS if method == "GET" else http.CHANGE_SECONDS
        with self._asking(doing) as client:
            response = _METHODS[method](client, path, params=query, timeout=seconds, **sent)
        if response.status_code < 400:
            return response
        text = wire.read_message(response)
        raise Refused(doing, status=response.status_code, text=text, where=self.endpoint)

    def _connect(self) -> APIClient:
        return APIClient(base_url=self._url, num_pools=POOL_SIZE, max_pool_size=POOL_SIZE)

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Any]:  # noqa: ARG002
        try:
            yield self._get_client()
        except (PodmanError, requests.exceptions.RequestException, ValueError) as error:
            raise explain.build_unreachable(error, self.name, self.endpoint) from error

    def _open(self, client: Any, method: str, path: str, **options: Any) -> Any:
        return _METHODS[method](client, path, stream=True, compatible=path == images.PULL_PATH, **options)

    def _get_root(self, client: Any) -> str:
        return str(client.path_prefix).rstrip("/")


_METHODS: Mapping[str, Callable[..., Any]] = {
    "GET": APIClient.get,
    "POST": APIClient.post,
    "PUT": APIClient.put,
    "HEAD": APIClient.head,
    "DELETE": APIClient.delete,
}


@contextmanager
def _gone_is_done() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        if not _is_gone(refused):
            raise


def _is_gone(refused: Refused) -> bool:
    # One that goes while Podman looks at it is a 500.
    return refused.status == 404 or "no such container" in refused.text
