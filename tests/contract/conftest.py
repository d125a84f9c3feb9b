"""Runs each contract test once for every engine that can do what the test needs."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from engines import KINDS, EngineKind, open_engine
from workbench import Bench


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*what): only for engines that can do this (tests/engines.py)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" not in metafunc.fixturenames:
        return
    needs = {what for marker in metafunc.definition.iter_markers("needs") for what in marker.args}
    kinds = [kind for kind in KINDS.values() if needs <= kind.can]
    metafunc.parametrize("kind", kinds, ids=[kind.name for kind in kinds])


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that any user may enter and write to; pytest's own are its user's alone."""
    with TemporaryDirectory(prefix="trainlet-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory


@pytest.fixture
def bench(kind: EngineKind, tmp_path: Path, shared: Path) -> Iterator[Bench]:
    """An engine with nothing of ours on it; what a test leaves is removed, and the engine closed."""
    engine = open_engine(kind, tmp_path / "engine")
    made = Bench(engine, kind, tmp_path, shared)
    try:
        yield made
    finally:
        owners = engine.find_owners(made.store)
        made.sweep()
        for name in [volume.name for owner in owners for volume in engine.observe(owner.uid).volumes]:
            engine.remove_volume(name)
        engine.close()
