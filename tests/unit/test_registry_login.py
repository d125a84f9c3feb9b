"""The user's own logins are found where docker and podman keep them; what cannot be read is a warning."""

import json
import logging
from pathlib import Path

import pytest

from trainlet.engine import registry_login
from trainlet.engine.registry_login import LoginFiles, find_login_files
from trainlet.planning.pull_secrets import Login

HOME = Path("/home/ann")
HUB = "https://index.docker.io/v1/"
FILE = {"auths": {"r.example": {"username": "ann", "password": "rose"}}}


@pytest.mark.parametrize(
    ("runtime", "environ", "paths"),
    [
        ("docker", {}, ["/home/ann/.docker/config.json"]),
        ("docker", {"DOCKER_CONFIG": "/d", "REGISTRY_AUTH_FILE": "/f"}, ["/d/config.json"]),
        ("podman", {}, ["/home/ann/.config/containers/auth.json", "/home/ann/.docker/config.json"]),
        (
            "podman",
            {"XDG_RUNTIME_DIR": "/run/user/1", "XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"},
            ["/run/user/1/containers/auth.json", "/c/containers/auth.json", "/d/config.json"],
        ),
        ("podman", {"REGISTRY_AUTH_FILE": "/f", "XDG_RUNTIME_DIR": "/run/user/1"}, ["/f"]),
    ],
)
def test_each_engine_has_its_files(runtime: str, environ: dict[str, str], paths: list[str]) -> None:
    assert [str(path) for path in find_login_files(runtime, environ, HOME)] == paths


class Place:
    """A home with files and programs of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.bin = home, home / "bin"
        self.bin.mkdir()

    def write(self, path: str, content: object) -> None:
        """Write a file, as JSON if it is no text."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))

    def add_helper(self, name: str, script: str) -> None:
        """Write a credential helper."""
        self.write(f"bin/docker-credential-{name}", f"#!/bin/sh\nread -r registry\n{script}\n")
        (self.bin / f"docker-credential-{name}").chmod(0o755)

    def find(self, image: str, runtime: str = "docker") -> tuple[Login, ...]:
        """Return the logins that fit."""
        return LoginFiles(runtime, {"PATH": f"{self.bin}:/usr/bin:/bin"}, self.home).find(image)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_first_file_that_has_a_login_counts(place: Place) -> None:
    assert place.find("r.example/x", "podman") == ()
    place.write(".docker/config.json", FILE)
    assert place.find("r.example/x", "podman") == (Login("ann", "rose"),)
    place.write(".config/containers/auth.json", {"auths": {"r.example/x": {"username": "bob", "password": "b"}}})
    assert place.find("r.example/x", "podman") == (Login("bob", "b"),)
    assert place.find("r.example/y", "podman") == (Login("ann", "rose"),)


@pytest.mark.parametrize("content", ["no JSON", "3", '{"auths": []}', "[" * 100_000, '{"auths": {"r": {"auth": "!"}}}'])
def test_a_broken_file_is_a_warning(place: Place, caplog: pytest.LogCaptureFixture, content: str) -> None:
    place.write(".docker/config.json", content)
    assert place.find("r.example/x") == ()
    assert "config.json are not used" in caplog.text


def test_a_helper_is_asked_before_the_file(place: Place) -> None:
    place.write(".docker/config.json", {**FILE, "credHelpers": {"r.example": "cloud"}, "credsStore": "safe"})
    place.add_helper("cloud", """echo '{"Username": "robot", "Secret": "'$1-$registry'"}'""")
    place.add_helper("safe", """echo '{"Username": "<token>", "Secret": "'$registry'"}'""")
    assert place.find("r.example/x") == (Login("robot", "get-r.example"),)
    assert place.find("other.example:5000/x") == (Login(identity_token="other.example:5000"),)
    assert place.find("python") == (Login(identity_token=HUB),)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'credentials not found in native keychain'; exit 1", None),
        ("echo tulip; exit 1", "ended with 1"),
        ("echo tulip", "JSONDecodeError"),
        ("exec sleep 60", "TimeoutExpired"),
        (None, "FileNotFoundError"),
    ],
)
def test_a_helper_that_gives_nothing_is_a_warning_and_the_file_counts(
    place: Place,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    script: str | None,
    told: str | None,
) -> None:
    monkeypatch.setattr(registry_login, "HELPER_TIMEOUT_SECONDS", 0.5 if script == "exec sleep 60" else 30)
    if script is not None:
        place.add_helper("cloud", script)
    place.write(".docker/config.json", {**FILE, "credsStore": "cloud"})
    with caplog.at_level(logging.WARNING):
        assert place.find("r.example/x") == (Login("ann", "rose"),)
    assert (told is None and not caplog.text) or (told is not None and told in caplog.text)
    assert "tulip" not in caplog.text
