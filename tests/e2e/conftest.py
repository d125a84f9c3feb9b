"""A world to try the program in: one live engine, one directory, and the operator as a process of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import KINDS
from world import World

ARTIFACTS = Path(__file__).parents[2] / ".cache" / "failures"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Let fixtures know how the test went; show with a failure what the operator said."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if call.when != "call":
        return
    item.stash[FAILED] = report.failed
    worlds = [each for each in getattr(item, "funcargs", {}).values() if isinstance(each, World)]
    if report.failed:
        logs = [each.log.read_text(errors="replace")[-6000:] for each in worlds if each.log.exists()]
        report.sections += [("log of the operator", text) for text in logs]


FAILED = pytest.StashKey[bool]()


@pytest.fixture
def engine_url() -> str | None:
    """Where the engine of a world is, if not where it usually is."""
    return None


@pytest.fixture(params=["docker", "podman", "podman-rootless"])
def world(request: pytest.FixtureRequest, engine_url: str | None) -> Iterator[World]:
    """A directory and an engine that nothing of ours is on; what a failed test leaves is kept."""
    yield from open_world(request, request.param, engine_url)


@pytest.fixture(params=["docker"])
def docker_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The same on Docker only."""
    yield from open_world(request, request.param)


@pytest.fixture(params=["process"])
def process_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The same on plain processes."""
    yield from open_world(request, request.param)


def open_world(request: pytest.FixtureRequest, kind: str, url: str | None = None) -> Iterator[World]:
    """Open a world, and close it whatever happened in it."""
    # Not pytest's tmp_path: a rootless engine's user must be able to enter it.
    directory = Path(tempfile.mkdtemp(prefix="trainlet-e2e-"))
    directory.chmod(0o755)
    world = World(KINDS[kind], directory, url)
    try:
        yield world
    finally:
        try:
            world.close()
        finally:
            if request.node.stash.get(FAILED, True):
                target = ARTIFACTS / request.node.name.replace("/", "_")
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(directory, target, ignore_dangling_symlinks=True)
            shutil.rmtree(directory, ignore_errors=True)
