"""The Kubernetes API of one operator: its settings -> a server, and what clients are told of it."""

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from trainlet.admission.core_kinds import CORE_KINDS
from trainlet.admission.crd import parse_crd
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine
from trainlet.kube.errors import EngineError
from trainlet.package_data import read_crds
from trainlet.registry import Registry
from trainlet.server.api.assembly import Backing, assemble
from trainlet.server.api.pods import build_pod_routes
from trainlet.server.api.types import Writer
from trainlet.server.api.virtual import Machine
from trainlet.server.api_server import Access, ApiServer
from trainlet.server.credentials import Credentials, Identity, load_credentials, load_token
from trainlet.server.host_address import find_own_address
from trainlet.server.kubeconfig import build_kubeconfig, get_path, write_kubeconfig
from trainlet.server.listener import Address, parse_address
from trainlet.settings import Settings, get_capacity

log = logging.getLogger(__name__)

_OPEN_TO_ALL = (
    "the Kubernetes API listens on %s, which other machines may reach: whoever has its token runs programs here"
)


@dataclass(frozen=True)
class Operator:
    """What an operator serves; `find_dead` and `find_unready` say what is wrong with it, a line each."""

    settings: Settings
    registry: Registry
    engine: Engine
    status_dir: StatusDir
    secret: bytes
    writer: Writer
    find_dead: Callable[[], list[str]]
    find_unready: Callable[[], list[str]]
    clock: Callable[[], datetime]


class OperatorApi:
    """Serves an operator's API on the addresses of its settings."""

    def __init__(self, operator: Operator) -> None:
        settings = operator.settings
        self._namespace, self._private = settings.namespace, settings.private_path
        addresses = [parse_address(each) for each in settings.listen]
        identity = Identity("api", _list_hosts(addresses))
        self._token = load_token(self._private)
        self._renew = partial(_renew, self._private, operator.clock, identity)
        access = Access(self._token, identity.hosts, self._renew)
        self._server = ApiServer(partial(assemble, _build_backing(operator)), addresses, access)

    def start(self) -> None:
        """Listen, and keep a kubeconfig for clients on this machine. Raises TrainletError where it cannot listen."""
        self._server.start()
        ports = [each for each in self._server.addresses if not isinstance(each, str)]
        for address in self._server.addresses:
            log.info("the Kubernetes API is at %s", _write_address(address))
        for host, port in ports:
            if not _is_loopback(host):
                log.warning(_OPEN_TO_ALL, _write_address((host, port)))
        if ports:
            kubeconfig = build_kubeconfig(ports[0], self._renew().authority, self._token, self._namespace)
            write_kubeconfig(get_path(self._private), kubeconfig)

    def stop(self, timeout_seconds: float) -> None:
        """End all answers."""
        self._server.stop(timeout_seconds)


def _renew(directory: Path, clock: Callable[[], datetime], identity: Identity) -> Credentials:
    return load_credentials(directory, clock(), identity)


def _build_backing(operator: Operator) -> Backing:
    definitions = read_crds(operator.settings.crds)
    own = find_own_address()
    machine = Machine(
        platform.node() or "localhost",
        get_capacity(),
        (own,) if own else ("127.0.0.1",),
        partial(_describe_engine, operator.engine),
        operator.find_unready,
    )
    return Backing(
        operator.registry,
        operator.writer,
        machine,
        definitions,
        (*map(parse_crd, definitions), *CORE_KINDS),
        operator.secret,
        operator.clock,
        operator.find_dead,
        lambda reader: build_pod_routes(reader, operator.engine, operator.status_dir),
    )


def _describe_engine(engine: Engine) -> str:
    try:
        return f"{engine.name}://{engine.ping()}"
    except EngineError:
        return f"{engine.name}://unknown"


def _list_hosts(addresses: Sequence[Address]) -> tuple[str, ...]:
    """Return what clients may call a server that listens there."""
    given = {address[0].lower() for address in addresses if not isinstance(address, str)}
    names = ["localhost", "127.0.0.1", "::1"]
    if not all(map(_is_loopback, given)):
        names += [platform.node().lower(), *filter(None, [find_own_address()])]
    return tuple(dict.fromkeys([*names, *sorted(each for each in given if not _is_any(each))]))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _write_address(address: Address) -> str:
    if isinstance(address, str):
        return f"unix://{address}"
    host, port = address
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"
