"""A Podman service of our own: it serves like any, and containers outlive it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engines import KINDS, get_url
from trainlet.engine.child import SocketProcess
from trainlet.engine.podman import PodmanEngine
from trainlet.planning.observed import ContainerState
from workbench import Bench

pytestmark = pytest.mark.engine


@contextmanager
def served(directory: Path) -> Iterator[PodmanEngine]:
    """Start a service, and end it with its engine."""
    podman = shutil.which("podman")
    if podman is None:
        pytest.skip("podman is only reachable, and not installed on this machine")
    path = directory / "own.sock"
    service = SocketProcess([podman, "system", "service", "--time=0", f"unix://{path}"], path, os.environ)
    service.wait_ready(20)
    engine = PodmanEngine(f"unix://{path}", on_close=service.close)
    try:
        yield engine
    finally:
        engine.close()
    assert not path.exists()


def test_containers_outlive_the_service_and_are_found_through_another(shared: Path) -> None:
    get_url(KINDS["podman"])
    with served(shared) as engine:
        bench = Bench(engine, KINDS["podman"], shared, shared)
        spec = bench.spec("import time; print('ready'); time.sleep(600)")
        bench.wait_line(bench.run(spec), "ready")
    with served(shared) as engine:
        bench = replace(bench, engine=engine)
        found = bench.find(spec)
        bench.sweep()
    assert found is not None
    assert found.state is ContainerState.RUNNING
