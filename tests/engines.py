"""The live engines that tests may use: where they are, and what each of them can do.

TRAINLET_TEST_DOCKER, TRAINLET_TEST_PODMAN and TRAINLET_TEST_PODMAN_ROOTLESS hold their URLs (tests/engines/setup prints
them). An engine without its variable is skipped; with TRAINLET_TEST_REQUIRE_ENGINES=1 its tests fail instead.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainlet.engine.base import Engine

IMAGE = os.environ.get("TRAINLET_TEST_IMAGE", "localhost/trainlet-python:test")
#: Open MPI, OpenSSH, JAX and XGBoost; tests/images/build says what else.
FRAMEWORKS_IMAGE = "localhost/trainlet-frameworks:test"

#: What containers have on every engine: an image, a network of their own, a file system, users.
_CONTAINERS = frozenset({"images", "addresses", "mounts", "shm", "users"})


@dataclass(frozen=True)
class EngineKind:
    """One way to run an engine. `can` names what it does beyond what every engine must."""

    name: str
    variable: str
    can: frozenset[str]
    #: Engines of one machine do not look at each other's networks, tests of several run at once, and users have jobs.
    pool: str = "10.213.0.0/16"

    @property
    def runtime(self) -> str:
        """`docker`, `podman` or `process`."""
        return self.name.split("-")[0]


# Rootless engines may set limits only with cgroups v2; Podman tells of no out-of-memory kill with cgroups v1.
KINDS = {
    kind.name: kind
    for kind in (
        EngineKind(
            "docker",
            "TRAINLET_TEST_DOCKER",
            _CONTAINERS | {"limits", "oom", "network-events", "loses-networks"},
            "10.216.0.0/16",
        ),
        EngineKind("podman", "TRAINLET_TEST_PODMAN", _CONTAINERS | {"limits"}, "10.214.0.0/16"),
        EngineKind("podman-rootless", "TRAINLET_TEST_PODMAN_ROOTLESS", _CONTAINERS | {"owner-ids"}, "10.215.0.0/16"),
        EngineKind("process", "", frozenset()),
    )
}


def engine_urls(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the URL of each kind of container engine that this run may use."""
    return {name: environ[kind.variable] for name, kind in KINDS.items() if environ.get(kind.variable)}


def get_url(kind: EngineKind) -> str:
    """Return where the engine is; skip or fail the test that asks, if it is nowhere."""
    url = engine_urls().get(kind.name)
    if url:
        return url
    missing = kind.variable.replace("TRAINLET_TEST_", "TRAINLET_TEST_MISSING_")
    reason = f"{kind.name}: {os.environ.get(missing) or f'{kind.variable} is not set'}"
    if os.environ.get("TRAINLET_TEST_REQUIRE_ENGINES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def open_engine(kind: EngineKind, directory: Path, url: str | None = None) -> Engine:
    """Connect to an engine; `directory` is where the process engine keeps its nodes. The caller closes it."""
    if kind.runtime == "process":
        from trainlet.engine.process import ProcessEngine

        return ProcessEngine(directory, os.environ)
    url = url or get_url(kind)
    if kind.runtime == "docker":
        from trainlet.engine.docker import DockerEngine

        return DockerEngine(url)
    from trainlet.engine.podman import PodmanEngine

    return PodmanEngine(url)
