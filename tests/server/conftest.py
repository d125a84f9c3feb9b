"""A status server on a registry of its own, and a client that trusts it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_desk import ApiDesk
from status_client import Desk

_FAST = Path(__file__).parents[2] / ".venv" / "fast"
#: Where what clients may not do is tried on both.
_ON_BOTH = {"test_bounds", "test_api_access", "test_status_server"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let these tests have a server without and with what the extra `fast` brings."""
    if metafunc.module.__name__.rpartition(".")[2] in _ON_BOTH and {"desk", "api"} & set(metafunc.fixturenames):
        metafunc.parametrize("transport", ["plain", "fast"], indirect=True)


@pytest.fixture(autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python alone, or the quick event loop and parser."""
    is_fast = getattr(request, "param", "plain") == "fast"
    if is_fast:
        monkeypatch.syspath_prepend(_FAST)
    for name in ("uvloop", "httptools", "trainlet.server.fast_connection"):
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name) if is_fast else None)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A server with a job `mnist`, reached through the loopback; nothing of it is left at the end."""
    made = Desk(tmp_path)
    made.open()
    yield made
    made.close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiDesk]:
    """The API of a registry without jobs; nothing of it is left at the end."""
    made = ApiDesk(tmp_path)
    yield made
    made.stop()
