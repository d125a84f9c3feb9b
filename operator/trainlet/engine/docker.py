"""The Docker engine, through docker-py's low-level client. The only file that knows docker-py.

Reads with one list call each and asks about single containers only for what a list does not say.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException
from docker.utils import version_lt

from trainlet.engine import docker_wire, explain, http, images, wire
from trainlet.engine.base import EngineEvent, EngineFacts, Owner, PullProgress
from trainlet.engine.docker_networks import DockerNetworks
from trainlet.engine.explain import Refused
from trainlet.engine.http import POOL_SIZE, HttpEngine
from trainlet.engine.owners import is_ours, is_same_volume, read_owners
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.image_names import split_image
from trainlet.planning.observed import ContainerState, ImageFacts, Observed, ObservedContainer
from trainlet.planning.pull_secrets import Login
from trainlet.planning.specs import ContainerSpec, NetworkSpec, VolumeSpec

_GPUS_SINCE = "1.40"
_EVENTS = {"type": ["container", "network"], "event": ["start", "die", "oom", "destroy"]}

# Docker tells of an exit some 50 ms before its list shows it; a reader that is woken at once would see nothing.
_SETTLE_STEP_SECONDS = 0.02
_SETTLE_STEPS = 50
#: Of two mounts it takes either one, the right one in an eighth of all asks: the wrong one for so long is no chance.
_MOST_ASKS = 200


class _Client(docker.APIClient):
    """The library's client, which has one timeout for all calls."""

    def _get(self, url: str, **options: Any) -> Any:
        return super()._get(url, **{"timeout": http.ANSWER_SECONDS, **options})  # type: ignore[misc]


class DockerEngine(HttpEngine):
    """Implements Engine on the Docker API."""

    name = "docker"
    fills_read_only_root = False

    def __init__(
        self,
        url: str,
        *,
        endpoint: str = "",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(url, endpoint=endpoint, on_close=on_close)
        self._networks = DockerNetworks(self._asking, self.endpoint)
        self._started: dict[str, JSON] = {}

    def ping(self) -> str:
        """Return the engine's version."""
        with self._asking("ask for its version") as api:
            return str(api.version()["Version"])

    def find_facts(self) -> EngineFacts:
        """Return how the engine runs, as it says itself."""
        with self._asking("ask how it runs") as api:
            return docker_wire.read_facts(api.info())

    def observe(self, owner_uid: str, *, with_volumes: bool = True) -> Observed:
        """Return what carries this owner's label: a list call for each kind, and one more for each that has ended."""
        label = f"{labels.OWNER_UID}={owner_uid}"
        rows, networks = self._list_containers(label), self._networks.list_of(owner_uid)
        containers = (self._see(row) for row in rows)
        return Observed(
            containers=tuple(sorted((each for each in containers if each), key=lambda each: each.name)),
            networks=tuple(docker_wire.read_network(row) for row in networks),
            volumes=tuple(map(wire.read_volume, self._list_volumes(label) if with_volumes else ())),
        )

    def find_owners(self, store: str) -> frozenset[Owner]:
        """Return the owners of everything labelled with this store."""
        label = f"{labels.STORE}={store}"
        rows = (*self._list_containers(label), *self._networks.list_by(label), *self._list_volumes(label))
        return read_owners(row["Labels"] for row in rows)

    def _list_containers(self, label: str) -> list[JSON]:
        with self._asking("list containers") as api:
            return list(api.containers(all=True, filters={"label": [label]}))

    def _list_volumes(self, label: str) -> list[JSON]:
        with self._asking("list volumes") as api:
            return api.volumes(filters={"label": [label]})["Volumes"] or []

    def _see(self, row: JSON) -> ObservedContainer | None:
        """Read one row; None if the container was removed meanwhile."""
        if docker_wire.STATES.get(row["State"]) is ContainerState.RUNNING:
            state = self._started.get(row["Id"]) or self._inspect_state(row["Id"])
            if state is not None:
                # When a running container started does not change: ask once.
                self._started[row["Id"]] = state = {"StartedAt": state["StartedAt"]}
        else:
            self._started.pop(row["Id"], None)
            state = self._inspect_state(row["Id"])
        return None if state is None else docker_wire.read_container(row, state)

    def _inspect_state(self, id: str) -> JSON | None:
        found = self._inspect(id)
        return None if found is None else found["State"]

    def _inspect(self, id: str) -> JSON | None:
        try:
            with self._asking(f"look at container {id[:20]}") as api:
                return dict(api.inspect_container(id))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def find_image(self, image: str) -> ImageFacts | None:
        """Return what the image is, None if it is not here."""
        try:
            with self._asking(f"look for image {image}") as api:
                return images.read_image(image, api.inspect_image(image))
        except Refused as refused:
            # Under a name that cannot be there is nothing either; to pull it tells the user why.
            if refused.status == 404 or "invalid reference format" in refused.text:
                return None
            raise

    def pull_image(self, image: str, progress: PullProgress, login: Login | None = None) -> None:
        """Fetch the image."""
        images.pull(self._stream, self.endpoint, image, progress, login)

    def import_image(self, name: str, tar: Iterator[bytes]) -> None:
        """Make an image from the tar stream of a file system."""
        repository, tag = split_image(name)
        with self._asking(f"import image {name}") as api:
            reply = api.import_image_from_data(tar, repository=repository, tag=tag)
        for message in wire.decode_json_lines([reply.encode()]):
            if "error" in message:  # the status was sent before the stream was read
                raise EngineError(f"could not import image {name}: {message['error']}", where=self.endpoint)

    def find_subnets(self) -> frozenset[str]:
        """Return the subnets of all networks."""
        return self._networks.find_subnets()

    def create_network(self, spec: NetworkSpec) -> None:
        """Make a bridge network with Docker's own DNS."""
        self._networks.create(spec)

    def remove_network(self, id: str) -> None:
        """Remove a network; one that is gone counts as done."""
        self._networks.remove(id)

    def create_volume(self, spec: VolumeSpec) -> None:
        """Make a named volume; Docker gives the one of this name that is there, whosever it is."""
        self._known_volumes.pop(spec.name, None)
        with self._asking(f"create volume {spec.name}") as api:
            options = wire.build_memory_options(spec) if spec.in_memory else None
            created = api.create_volume(spec.name, driver_opts=options, labels=dict(spec.labels))
        if not is_same_volume(created["Labels"], spec.labels):
            raise explain.build_name_taken(self.name, "volume", spec.name, self.endpoint)

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone counts as done."""
        self._known_volumes.pop(name, None)
        try:
            with self._asking(f"remove volume {name}") as api:
                api.remove_volume(name)
        except Refused as refused:
            if refused.status != 404:
                raise

    def _find_volume(self, name: str) -> JSON | None:
        try:
            with self._asking(f"look at volume {name}") as api:
                return dict(api.inspect_volume(name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def _make_container(self, spec: ContainerSpec, covers: Sequence[str]) -> bool:
        """Make it; once more if a link of the image, such as /var/run, lies on the way to a volume.

        Under a read-only root Docker takes archives only for what it knows as a volume by its real path.
        """
        made = self._create(spec, covers)
        if not made or not spec.privileges.read_only_root:
            return made
        real = {path: self._follow_links(spec.name, path) for path in (*covers, *(v.target for v in spec.volumes))}
        if all(path == target for path, target in real.items()):
            return made
        self.remove_container(spec.name)
        volumes = tuple(replace(each, target=real[each.target]) for each in spec.volumes)
        return self._create(replace(spec, volumes=volumes), [real[path] for path in covers])

    def _follow_links(self, container: str, path: str) -> str:
        """Return where a path really is in the container; what is not there yet has no links."""
        real = PurePosixPath("/")
        for part in PurePosixPath(path).parts[1:]:
            link = self._stat(container, str(real / part)).get("linkTarget")
            real = PurePosixPath(link or real / part)
        return str(real)

    def _put_archive(self, name: str, path: str, tar: bytes) -> None:
        """Unpack a tar; Docker judges by any one of the mounts around the path, a read-only one too, so ask again."""
        for _ in range(_MOST_ASKS):
            try:
                return super()._put_archive(name, path, tar)
            except Refused as refused:
                if "mounted volume is marked read-only" not in refused.text:
                    raise
        return super()._put_archive(name, path, tar)

    def _create(self, spec: ContainerSpec, covers: Sequence[str]) -> bool:
        network_id, cpus = self._networks.get_id(spec), self._cpus if spec.limits.cpus else None
        body = docker_wire.build_container(spec, network_id, cpus, covers)
        try:
            with self._asking(f"create container {spec.name}") as api:
                if spec.limits.gpus and version_lt(api.api_version, _GPUS_SINCE):
                    raise EngineError("this Docker knows no GPUs", where=self.endpoint, remedy="update it to 19.03")
                api.create_container_from_config(body, name=spec.name)
        except Refused as refused:
            return self._accept_container(spec, refused)
        return True

    def _accept_container(self, spec: ContainerSpec, refused: Refused) -> bool:
        if refused.status == 404 and "image" in refused.text.lower():
            raise explain.build_image_missing(spec.image, self.endpoint) from refused
        if refused.status != 409:
            raise refused
        found = self._inspect(spec.name)
        if found is None or not is_ours(found["Config"]["Labels"], spec):
            whose = found and (found["Config"]["Labels"] or {})
            raise explain.build_name_taken(self.name, "container", spec.name, self.endpoint, whose) from refused
        return docker_wire.STATES.get(found["State"]["Status"]) is ContainerState.CREATED

    @cached_property
    def _cpus(self) -> float:
        with self._asking("ask for its size") as api:
            return float(api.info()["NCPU"])

    def start_container(self, id: str) -> None:
        """Start it; a running one counts as done."""
        try:
            with self._asking(f"start container {id[:20]}") as api:
                api.start(id)
        except Refused as refused:
            raise explain.build_start_error(refused) from refused

    def _signal(self, id: str, signal: str) -> None:
        with self._asking(f"send {signal} to container {id[:20]}") as api:
            api.kill(id, signal=signal)

    def remove_container(self, id: str) -> None:
        """Kill if need be and remove, with its anonymous volumes."""
        try:
            with self._asking(f"remove container {id[:20]}") as api:
                api.remove_container(id, v=True, force=True)
        except Refused as refused:
            # 409: it is being removed already.
            if refused.status not in (404, 409):
                raise
        self._started.pop(id, None)

    def watch(self) -> Iterator[EngineEvent]:
        """Yield the events of our containers and networks.

        Docker's label filter would drop all network events, which have no labels: so all are read, and sorted here.
        """
        query = {"filters": json.dumps(_EVENTS)}
        for event in self._follow_events(query):
            owner_uid = self._find_owner(event)
            if owner_uid:
                with suppress(EngineError):  # it is only a wait; what is wrong will show in the stream
                    self._settle(event)
                yield EngineEvent(owner_uid)

    def _find_owner(self, event: JSON) -> str | None:
        actor = event["Actor"]
        if event["Type"] == "container":
            uid: str | None = actor["Attributes"].get(labels.OWNER_UID)
            return uid
        return self._networks.find_owner(actor["ID"])

    def _settle(self, event: JSON) -> None:
        """Wait until the list shows what the event says, for a moment at most."""
        if event["Type"] != "container" or event["Action"] not in ("die", "destroy"):
            return
        id = event["Actor"]["ID"]
        self._started.pop(id, None)
        for _ in range(_SETTLE_STEPS):
            with self._asking("list containers") as api:
                rows = api.containers(all=True, filters={"id": [id]})
            if not any(docker_wire.STATES.get(row["State"]) is ContainerState.RUNNING for row in rows):
                return
            if self._streams.closed.wait(_SETTLE_STEP_SECONDS):
                return

    def _connect(self) -> docker.APIClient:
        client = _Client(base_url=self._url, version="auto", timeout=int(http.CHANGE_SECONDS), max_pool_size=POOL_SIZE)
        # No proxy and no .netrc lies between us and a socket; looking for them costs each call.
        client.trust_env = not self._url.startswith("unix:")
        return client

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Any]:
        try:
            yield self._get_client()
        except APIError as error:
            text, status = str(error.explanation or error), error.status_code or 500
            raise Refused(doing, status=status, text=text, where=self.endpoint) from error
        except (DockerException, requests.exceptions.RequestException) as error:
            raise explain.build_unreachable(error, self.name, self.endpoint) from error

    def _open(self, client: Any, method: str, path: str, **options: Any) -> Any:
        return client.request(method, f"{client.base_url}{self._get_root(client)}/{path}", stream=True, **options)

    def _get_root(self, client: Any) -> str:
        return f"/v{client.api_version}"
