"""Finds the container engine to use: what settings force, else Docker, else Podman, at every usual socket.

Where they may be is a table; each place is asked who it is, because Podman also answers under Docker's name. If
Podman is installed and has no socket, its service is started here. Reads no environment of its own: it is all
in Surroundings.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trainlet.engine.base import Engine, EngineUnavailable
from trainlet.engine.child import LONGEST_PATH_BYTES, SocketProcess
from trainlet.engine.explain import NO_SOCKET
from trainlet.engine.probe import Attempt, ask_version
from trainlet.kube.errors import UsageError

RUNTIMES = ("docker", "podman", "process")
_CONTAINER_RUNTIMES = ("docker", "podman")
_SERVICE_TIMEOUT_SECONDS = 20.0
_TUNNEL_TIMEOUT_SECONDS = 30.0
_REMOTE_SOCKETS = {"docker": "/var/run/docker.sock", "podman": "/run/podman/podman.sock"}
_WITHOUT = "or do without containers: --container-runtime process"
_SCHEMES = "unix:///path, tcp://host:port, http://host:port or ssh://user@host"
_REFUSED_SCHEMES = {
    "https": "TLS to a remote engine is not supported: use ssh://user@host, which needs no open port",
    "npipe": "named pipes are not supported: use unix:// in WSL",
    "fd": "fd:// is what a daemon listens on: give the socket's path as unix:///path",
}


@dataclass(frozen=True)
class Surroundings:
    """All that detection may know of the machine. `system` is as platform.system() says it.

    `root` is what absolute paths begin with.
    """

    environ: Mapping[str, str]
    home: Path
    uid: int
    system: str
    state_dir: Path
    root: Path = Path("/")


@dataclass(frozen=True)
class Place:
    """Where an engine may be. A path may hold `*`."""

    runtime: str
    url: str


def find_engine(runtime: str | None, host: str | None, surroundings: Surroundings) -> Engine:
    """Return the first engine that answers. Raises UsageError, EngineUnavailable with all that was tried."""
    _check(runtime, host)
    if runtime == "process":
        from trainlet.engine.process import ProcessEngine

        return ProcessEngine(surroundings.state_dir / "processes", surroundings.environ)
    attempts = []
    for attempt in _attempt_all(runtime, host, surroundings):
        if attempt.ok:
            return _open(attempt, surroundings)
        attempts.append(attempt)
    podman = _find_program("podman", surroundings)
    if podman and runtime != "docker" and not host and surroundings.system == "Linux":
        try:
            return _start_podman(podman, surroundings)
        except EngineUnavailable as error:
            attempts.append(Attempt("podman", "its service", ok=False, error=str(error)))
    raise EngineUnavailable(_describe(attempts))


def probe_engines(runtime: str | None, host: str | None, surroundings: Surroundings) -> list[Attempt]:
    """Ask every place, also behind the first that answers."""
    _check(runtime, host)
    return list(_attempt_all(runtime, host, surroundings))


def find_places(runtime: str | None, surroundings: Surroundings) -> list[Place]:
    """Return the usual places in the order they are tried, each once."""
    wanted = [each for each in _list_usual(surroundings) if runtime in (None, each.runtime)]
    found = (Place(place.runtime, url) for place in wanted for url in _expand(place.url))
    return list({place.url: place for place in reversed(list(found))}.values())[::-1]


def _list_usual(around: Surroundings) -> list[Place]:
    environ, home, root = around.environ, around.home, around.root
    own_runtime = root / f"run/user/{around.uid}"
    user_runtime = environ.get("XDG_RUNTIME_DIR") or own_runtime
    colima = environ.get("COLIMA_HOME") or f"{home}/.colima"
    machine = f"{home}/.local/share/containers/podman/machine"
    paths = {
        "docker": (
            root / "var/run/docker.sock",
            f"{user_runtime}/docker.sock",
            f"{home}/.docker/run/docker.sock",
            f"{home}/.docker/desktop/docker.sock",
            f"{colima}/default/docker.sock",
            f"{colima}/docker.sock",
            f"{home}/.orbstack/run/docker.sock",
            f"{home}/.rd/docker.sock",
        ),
        "podman": (
            f"{user_runtime}/podman/podman.sock",
            own_runtime / "podman/podman.sock",
            root / "run/podman/podman.sock",
            f"{machine}/*/podman.sock",
            f"{machine}/podman.sock",
            f"{environ.get('TMPDIR') or root / 'tmp'}/podman/*-api.sock",
        ),
    }
    forced = {"docker": environ.get("DOCKER_HOST"), "podman": environ.get("CONTAINER_HOST")}
    return [
        Place(runtime, url)
        for runtime in _CONTAINER_RUNTIMES
        for url in (forced[runtime], *(f"unix://{path}" for path in paths[runtime]))
        if url
    ]


def _expand(url: str) -> list[str]:
    if "*" not in url:
        return [url]
    path = Path(url.removeprefix("unix://"))
    fixed = next(parent for parent in path.parents if "*" not in str(parent))
    return [f"unix://{found}" for found in sorted(fixed.glob(str(path.relative_to(fixed))))]


def _check(runtime: str | None, host: str | None) -> None:
    if runtime not in (None, *RUNTIMES):
        raise UsageError(f"there is no container runtime {runtime!r}", remedy=f"use {', '.join(RUNTIMES)}")
    if host and runtime == "process":
        raise UsageError("the process runtime runs on this machine only", remedy="leave out --container-host")
    if host:
        _check_url(host)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in _REFUSED_SCHEMES:
        raise UsageError(f"cannot use the engine's address {url}", remedy=_REFUSED_SCHEMES[parts.scheme])
    complete = {"unix": parts.path, "tcp": parts.hostname, "http": parts.hostname, "ssh": parts.hostname}
    if not complete.get(parts.scheme):
        raise UsageError(f"{url!r} is no address of an engine", remedy=f"write {_SCHEMES}")


def _attempt_all(runtime: str | None, host: str | None, around: Surroundings) -> Iterator[Attempt]:
    places = [Place(runtime or "docker", host)] if host else find_places(runtime, around)
    for place in places:
        attempt = _attempt(place, around)
        if runtime and attempt.ok and attempt.runtime != runtime:
            remedy = f"to use what answers, give --container-runtime {attempt.runtime}"
            error = f"it is {attempt.runtime} that answers here"
            attempt = Attempt(runtime, place.url, ok=False, error=error, remedy=remedy)
        yield attempt


def _attempt(place: Place, around: Surroundings) -> Attempt:
    try:
        _check_url(place.url)
        with closing(_Way(place.runtime, place.url, around)) as way:
            return ask_version(place.runtime, place.url, way.url)
    except (UsageError, EngineUnavailable) as error:
        return Attempt(place.runtime, place.url, ok=False, error=error.what, remedy=error.remedy)


def _open(attempt: Attempt, around: Surroundings) -> Engine:
    way = _Way(attempt.runtime, attempt.url, around)
    return _build_engine(attempt.runtime, way.url, attempt.url, way.close)


def _build_engine(runtime: str, url: str, endpoint: str, on_close: Callable[[], None]) -> Engine:
    # Both libraries take a while to import, so only the one that is used is.
    if runtime == "docker":
        from trainlet.engine.docker import DockerEngine

        return DockerEngine(url, endpoint=endpoint, on_close=on_close)
    from trainlet.engine.podman import PodmanEngine

    return PodmanEngine(url, endpoint=endpoint, on_close=on_close)


class _Way:
    """How to get to an address: straight, or for ssh:// through a tunnel of the ssh program's that ends with us.

    The libraries' own ssh support needs another package (docker) or waits five minutes for a host that is not
    there (podman); the program knows the user's keys and configuration anyway.
    """

    def __init__(self, runtime: str, url: str, around: Surroundings) -> None:
        self.url, self.close = url, _do_nothing
        parts = urlsplit(url)
        if parts.scheme != "ssh":
            return
        path = _choose_socket_path("ssh", around)
        remote = parts.path if len(parts.path) > 1 else _REMOTE_SOCKETS[runtime]
        options = ("BatchMode=yes", "ExitOnForwardFailure=yes", "ConnectTimeout=10", "ServerAliveInterval=15")
        flags = [flag for option in options for flag in ("-o", option)]
        target = f"ssh://{parts.netloc}"
        ssh = _find_program("ssh", around)
        if ssh is None:
            raise UsageError(f"cannot reach {url}: there is no ssh program", remedy="install an OpenSSH client")
        tunnel = SocketProcess([ssh, "-N", "-T", *flags, "-L", f"{path}:{remote}", target], path, around.environ)
        tunnel.wait_ready(_TUNNEL_TIMEOUT_SECONDS)
        self.url, self.close = f"unix://{path}", tunnel.close


def _do_nothing() -> None:
    """There was no tunnel to close."""


def _start_podman(podman: str, around: Surroundings) -> Engine:
    """Start Podman's service for as long as we live."""
    path = _choose_socket_path("podman", around)
    url = f"unix://{path}"
    service = SocketProcess([podman, "system", "service", "--time=0", url], path, around.environ)
    service.wait_ready(_SERVICE_TIMEOUT_SECONDS)
    attempt = ask_version("podman", url)
    if not attempt.ok:
        service.close()
        raise EngineUnavailable(f"Podman's service does not answer: {attempt.error}")
    return _build_engine("podman", url, url, service.close)


def _find_program(name: str, around: Surroundings) -> str | None:
    return shutil.which(name, path=around.environ.get("PATH", os.defpath))


def _choose_socket_path(stem: str, around: Surroundings) -> Path:
    name = f"{stem}-{secrets.token_hex(4)}.sock"
    path = around.state_dir.absolute() / name
    if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
        return Path(tempfile.gettempdir()) / f"trainlet-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _describe(attempts: list[Attempt]) -> str:
    tried = [f"  {attempt}" for attempt in attempts]
    helps = [f"  {runtime:7} {remedy}" for runtime, remedy in _choose_remedies(attempts).items()]
    return "\n".join(("no container engine answers; tried were", *tried, "what helps", *helps, f"  {_WITHOUT}"))


def _choose_remedies(attempts: list[Attempt]) -> dict[str, str]:
    """Return one remedy for each runtime: of a socket that is there, if there is one."""
    told = sorted((each for each in attempts if each.remedy), key=lambda each: each.error != NO_SOCKET)
    return {each.runtime: each.remedy for each in told}
