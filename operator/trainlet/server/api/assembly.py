"""Puts the application of the API together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from trainlet.admission.crd import Crd
from trainlet.kube.meta import JSON
from trainlet.registry import Registry
from trainlet.server.api.documents import Documents
from trainlet.server.api.history import History
from trainlet.server.api.lists import Lister
from trainlet.server.api.openapi import OpenApi
from trainlet.server.api.reading import StoreReader
from trainlet.server.api.rendering import Renderer
from trainlet.server.api.routes import Parts, build_app
from trainlet.server.api.types import Reader, Writer
from trainlet.server.api.virtual import Machine
from trainlet.server.api.watching import Watcher
from trainlet.server.status_api import StatusEndpoint


@dataclass(frozen=True)
class Backing:
    """What the API is served from. `definitions` are CustomResourceDefinitions, `crds` all kinds with a schema.

    `secret` is what the tokens of jobs are derived from; `find_dead` says what is wrong with the operator.
    """

    registry: Registry
    writer: Writer
    machine: Machine
    definitions: Sequence[JSON]
    crds: Sequence[Crd]
    secret: bytes
    clock: Callable[[], datetime]
    find_dead: Callable[[], list[str]] = list
    build_pod_routes: Callable[[Reader], Sequence[BaseRoute]] = lambda _: ()


def assemble(backing: Backing) -> tuple[ASGIApp, Callable[[], None]]:
    """Return the application, for the loop that this is called in, and what ends its watches.

    Watches see all that changes from now on.
    """
    reader = StoreReader(backing.registry, backing.machine, backing.definitions, backing.clock)
    history = History(reader)
    renderer = Renderer({each["metadata"]["name"]: each for each in backing.definitions}, backing.clock)
    documents = Documents(OpenApi(backing.crds), backing.find_dead, backing.machine.find_unready, backing.clock)
    parts = Parts(
        reader,
        backing.writer,
        Lister(reader),
        Watcher(reader, history, renderer),
        renderer,
        documents,
        StatusEndpoint(backing.registry, backing.secret),
        backing.build_pod_routes(reader),
    )
    return build_app(parts), history.close
