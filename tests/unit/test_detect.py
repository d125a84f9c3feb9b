"""Which engine is found, in what order, and what is said when there is none; on sockets that answer as engines do."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from tempfile import TemporaryDirectory

import pytest

from trainlet.engine.base import EngineUnavailable
from trainlet.engine.detect import Surroundings, find_engine, find_places, probe_engines
from trainlet.kube.errors import UsageError
from waiting import wait_for

DOCKER, PODMAN = "Docker/27.1.0 (linux)", "Libpod/5.2.0 (linux)"
BOTH = {"var/run/docker.sock": DOCKER, "run/podman/podman.sock": PODMAN}
SOURCE = Path(__file__).parents[2] / "operator"

# A program that answers as an engine at the socket its arguments name: stands for `podman` and for `ssh`.
FAKE_PROGRAM = f"""#!{sys.executable}
import sys, pathlib
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(SOURCE)!r}, {str(Path(__file__).parents[1])!r}]
from test_detect import serve
pathlib.Path(__file__).with_suffix(".argv").write_text("\\n".join(sys.argv[1:]))
name = pathlib.Path(sys.argv[0]).name
path = sys.argv[-1].removeprefix("unix://") if name == "podman" else sys.argv[sys.argv.index("-L") + 1].split(":")[0]
serve(path, "Libpod/5.2.0 (linux)").serve_forever()
"""


def serve(path: str | Path, server: str) -> ThreadingUnixStreamServer:
    """Return a server on a unix socket that answers a ping with this Server header."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.send_header("Libpod-Api-Version", "5.2.0")
            self.end_headers()
            self.wfile.write(b"OK")

        def version_string(self) -> str:
            return server

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return ThreadingUnixStreamServer(str(path), Handler)


@contextmanager
def answering(path: Path, server: str) -> Iterator[str]:
    """Answer at a socket while the block runs; gives its URL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with serve(path, server) as engine:
        threading.Thread(target=engine.serve_forever, args=(0.02,), daemon=True).start()
        yield f"unix://{path}"
        engine.shutdown()


@pytest.fixture
def root() -> Iterator[Path]:
    """A short directory, since a socket's path must be; nothing of the machine's own engines is in it."""
    with TemporaryDirectory(prefix="tl-") as name:
        yield Path(name)


@pytest.fixture
def around(root: Path) -> Callable[..., Surroundings]:
    """Build surroundings of a machine that has nothing; keywords are environment variables."""

    def build(system: str = "Linux", **environ: str) -> Surroundings:
        environ = {"PATH": str(root / "bin"), **environ}
        return Surroundings(environ, root / "home", 1000, system, root / "state", root)

    return build


def install(root: Path, name: str, text: str = FAKE_PROGRAM) -> Path:
    """Put a program into the only directory on the PATH."""
    path = root / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_places_are_docker_s_then_podman_s_and_what_the_environment_names_comes_first(
    root: Path, around: Callable[..., Surroundings]
) -> None:
    for machine in ("b", "a"):
        (root / f"home/.local/share/containers/podman/machine/{machine}").mkdir(parents=True)
        (root / f"home/.local/share/containers/podman/machine/{machine}/podman.sock").touch()
    (root / "tmp/podman").mkdir(parents=True)
    (root / "tmp/podman/default-api.sock").touch()
    surroundings = around(
        DOCKER_HOST="tcp://box:2375", CONTAINER_HOST="ssh://me@box/run/p.sock", XDG_RUNTIME_DIR=str(root / "xdg")
    )
    found = [(place.runtime, place.url.removeprefix(f"unix://{root}/")) for place in find_places(None, surroundings)]
    assert found == [
        ("docker", "tcp://box:2375"),
        ("docker", "var/run/docker.sock"),
        ("docker", "xdg/docker.sock"),
        ("docker", "home/.docker/run/docker.sock"),
        ("docker", "home/.docker/desktop/docker.sock"),
        ("docker", "home/.colima/default/docker.sock"),
        ("docker", "home/.colima/docker.sock"),
        ("docker", "home/.orbstack/run/docker.sock"),
        ("docker", "home/.rd/docker.sock"),
        ("podman", "ssh://me@box/run/p.sock"),
        ("podman", "xdg/podman/podman.sock"),
        ("podman", "run/user/1000/podman/podman.sock"),
        ("podman", "run/podman/podman.sock"),
        ("podman", "home/.local/share/containers/podman/machine/a/podman.sock"),
        ("podman", "home/.local/share/containers/podman/machine/b/podman.sock"),
        ("podman", "home/.local/share/containers/podman/machine/podman.sock"),
        ("podman", "tmp/podman/default-api.sock"),
    ]


def test_a_place_is_tried_once(root: Path, around: Callable[..., Surroundings]) -> None:
    urls = [place.url for place in find_places(None, around(DOCKER_HOST=f"unix://{root}/var/run/docker.sock"))]
    assert len(urls) == len(set(urls))
    assert urls[0] == f"unix://{root}/var/run/docker.sock"


def test_colima_may_live_elsewhere(root: Path, around: Callable[..., Surroundings]) -> None:
    urls = [place.url for place in find_places("docker", around(COLIMA_HOME="/elsewhere"))]
    assert "unix:///elsewhere/default/docker.sock" in urls
    assert f"unix://{root}/home/.colima/default/docker.sock" not in urls


@pytest.mark.parametrize(
    ("there", "runtime", "expected"),
    [
        ({"var/run/docker.sock": DOCKER, "run/podman/podman.sock": PODMAN}, None, ("docker", "var/run/docker.sock")),
        (
            {"var/run/docker.sock": DOCKER, "run/podman/podman.sock": PODMAN},
            "podman",
            ("podman", "run/podman/podman.sock"),
        ),
        ({"home/.rd/docker.sock": DOCKER, "run/podman/podman.sock": PODMAN}, None, ("docker", "home/.rd/docker.sock")),
        ({"run/user/1000/docker.sock": DOCKER}, None, ("docker", "run/user/1000/docker.sock")),
        ({"run/user/1000/podman/podman.sock": PODMAN}, None, ("podman", "run/user/1000/podman/podman.sock")),
        ({"var/run/docker.sock": PODMAN}, None, ("podman", "var/run/docker.sock")),
    ],
)
def test_the_first_that_answers_is_taken_for_what_it_is(
    root: Path,
    around: Callable[..., Surroundings],
    there: dict[str, str],
    runtime: str | None,
    expected: tuple[str, str],
) -> None:
    with ExitStack() as stack:
        for path, server in there.items():
            stack.enter_context(answering(root / path, server))
        engine = find_engine(runtime, None, around())
        stack.callback(engine.close)
        assert (engine.name, engine.endpoint) == (expected[0], f"unix://{root / expected[1]}")


@pytest.mark.parametrize(("server", "name"), [(DOCKER, "docker"), (PODMAN, "podman")])
def test_a_given_host_is_asked_what_it_is(
    root: Path, around: Callable[..., Surroundings], server: str, name: str
) -> None:
    with answering(root / "any.sock", server) as url, answering(root / "var/run/docker.sock", DOCKER):
        engine = find_engine(None, url, around())
        assert (engine.name, engine.endpoint) == (name, url)
        engine.close()


def test_a_given_host_that_is_down_is_not_replaced_by_another(root: Path, around: Callable[..., Surroundings]) -> None:
    install(root, "podman")
    with (
        answering(root / "var/run/docker.sock", DOCKER),
        pytest.raises(EngineUnavailable, match=r"unix:///no/such\.sock: there is no such socket"),
    ):
        find_engine(None, "unix:///no/such.sock", around())


def test_podman_is_not_taken_for_docker_when_docker_is_asked_for(
    root: Path, around: Callable[..., Surroundings]
) -> None:
    with (
        answering(root / "var/run/docker.sock", PODMAN),
        pytest.raises(EngineUnavailable, match="it is podman that answers here") as caught,
    ):
        find_engine("docker", None, around())
    assert "--container-runtime podman" in str(caught.value)


def test_when_nothing_answers_each_place_is_named_with_its_reason_and_then_the_remedy(
    root: Path, around: Callable[..., Surroundings]
) -> None:
    dead = root / "var/run/docker.sock"
    dead.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(dead))
    plain = root / "run/podman/podman.sock"
    plain.parent.mkdir(parents=True)
    plain.touch()
    with answering(root / "home/.rd/docker.sock", "nginx"), pytest.raises(EngineUnavailable) as caught:
        find_engine(None, None, around())
    lines = str(caught.value).splitlines()
    assert f"  docker  unix://{dead}: nobody answers (connection refused)" in lines
    assert f"  docker  unix://{root}/home/.docker/run/docker.sock: there is no such socket" in lines
    assert any(line.startswith(f"  docker  unix://{root}/home/.rd/docker.sock: what answers is no") for line in lines)
    assert any(line.startswith(f"  podman  unix://{plain}: ") for line in lines)
    assert len(lines) == len(find_places(None, around())) + 5
    assert "systemctl --user start podman.socket" in lines[-2]
    assert lines[-1] == "  or do without containers: --container-runtime process"


def test_probing_asks_all_and_gives_values(root: Path, around: Callable[..., Surroundings]) -> None:
    with answering(root / "var/run/docker.sock", DOCKER) as docker, answering(root / "p.sock", PODMAN) as podman:
        attempts = probe_engines(None, None, around(CONTAINER_HOST=podman))
    found = {attempt.url: (attempt.runtime, attempt.version) for attempt in attempts if attempt.ok}
    assert found == {docker: ("docker", "27.1.0"), podman: ("podman", "5.2.0")}
    assert all(attempt.error for attempt in attempts if not attempt.ok)


@pytest.mark.parametrize(
    ("runtime", "host", "message"),
    [
        ("containerd", None, "no container runtime 'containerd': use docker, podman, process"),
        ("process", "unix:///x.sock", "this machine only"),
        (None, "https://box:2376", "TLS .* not supported: use ssh"),
        (None, "npipe:////./pipe/docker_engine", "named pipes"),
        (None, "/var/run/docker.sock", "no address of an engine: write unix:///path"),
        (None, "unix://", "no address of an engine"),
        (None, "tcp://", "no address of an engine"),
        (None, "ftp://box", "no address of an engine"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(
    around: Callable[..., Surroundings], runtime: str | None, host: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        find_engine(runtime, host, around())


def test_a_wrong_variable_is_one_attempt_among_others(root: Path, around: Callable[..., Surroundings]) -> None:
    with answering(root / "var/run/docker.sock", DOCKER) as url:
        engine = find_engine(None, None, around(DOCKER_HOST="nonsense"))
        assert engine.endpoint == url
        engine.close()


def test_processes_are_chosen_only_by_name(around: Callable[..., Surroundings]) -> None:
    engine = find_engine("process", None, around())
    assert engine.name == "process"
    assert engine.endpoint.endswith("state/processes")
    engine.close()


def test_podman_s_service_is_started_if_there_is_no_socket_and_ends_with_the_engine(
    root: Path, around: Callable[..., Surroundings]
) -> None:
    install(root, "podman")
    engine = find_engine(None, None, around())
    path = Path(engine.endpoint.removeprefix("unix://"))
    assert (engine.name, path.parent) == ("podman", root / "state")
    assert engine.ping() == "5.2.0"
    engine.close()
    assert not path.exists()


def test_a_service_that_fails_says_why(root: Path, around: Callable[..., Surroundings]) -> None:
    install(root, "podman", "#!/bin/sh\necho no subuid ranges found >&2\nexit 125\n")
    with pytest.raises(EngineUnavailable, match="did not come up: no subuid ranges found"):
        find_engine("podman", None, around())


@pytest.mark.parametrize(("runtime", "system"), [("docker", "Linux"), (None, "Darwin")])
def test_no_service_is_started_where_it_is_not_wanted_or_cannot_be(
    root: Path, around: Callable[..., Surroundings], runtime: str | None, system: str
) -> None:
    program = install(root, "podman")
    with pytest.raises(EngineUnavailable):
        find_engine(runtime, None, around(system))
    assert not program.with_suffix(".argv").exists()


def test_a_state_directory_with_a_long_path_is_no_hindrance(root: Path, around: Callable[..., Surroundings]) -> None:
    install(root, "podman")
    surroundings = around()
    long = Surroundings(surroundings.environ, surroundings.home, 1000, "Linux", root / ("x" * 120), root)
    engine = find_engine("podman", None, long)
    assert engine.ping() == "5.2.0"
    engine.close()


def test_the_service_ends_when_we_are_killed(root: Path) -> None:
    path, program = root / "service.sock", install(root, "podman")
    code = (
        "import sys, pathlib, os; from trainlet.engine.child import SocketProcess\n"
        f"child = SocketProcess([{str(program)!r}, 'unix://{path}'], pathlib.Path({str(path)!r}), os.environ)\n"
        "child.wait_ready(20); print('ready', flush=True); sys.stdin.read()"
    )
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
        owner.send_signal(signal.SIGKILL)
    wait_for(lambda: not path.exists(), "the socket to be removed")

    def is_over() -> bool:
        return subprocess.run(["pgrep", "-f", str(path)], capture_output=True).returncode == 1

    wait_for(is_over, "the service to end")


def test_ssh_goes_through_a_tunnel_that_ends_with_the_engine(root: Path, around: Callable[..., Surroundings]) -> None:
    program = install(root, "ssh")
    engine = find_engine(None, "ssh://me@box:22/run/user/7/podman/podman.sock", around())
    assert engine.endpoint == "ssh://me@box:22/run/user/7/podman/podman.sock"
    assert engine.ping() == "5.2.0"
    argv = program.with_suffix(".argv").read_text().splitlines()
    assert argv[-1] == "ssh://me@box:22"
    local, remote = argv[argv.index("-L") + 1].split(":")
    assert remote == "/run/user/7/podman/podman.sock"
    engine.close()
    assert not Path(local).exists()


def test_ssh_without_a_path_means_the_usual_socket_there(root: Path, around: Callable[..., Surroundings]) -> None:
    program = install(root, "ssh")
    find_engine("podman", "ssh://box", around()).close()
    assert ":/run/podman/podman.sock\n" in program.with_suffix(".argv").read_text()


def test_ssh_that_fails_says_why(root: Path, around: Callable[..., Surroundings]) -> None:
    install(root, "ssh", "#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n")
    with pytest.raises(EngineUnavailable, match=r"Permission denied \(publickey\)"):
        find_engine(None, "ssh://box", around())


def test_no_ssh_program_is_told(around: Callable[..., Surroundings]) -> None:
    with pytest.raises(EngineUnavailable, match="no ssh program"):
        find_engine(None, "ssh://box", around())
