"""A status server on a registry of its own, and a client that trusts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api_desk import ApiDesk
from status_client import Desk


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
