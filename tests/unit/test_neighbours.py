"""Who is near: this machine and the networks of its jobs."""

import pytest

from trainlet.server.host_address import find_own_address
from trainlet.server.neighbours import Neighbours


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("127.0.0.1", (), True),
        ("127.1.2.3", (), True),
        (find_own_address() or "127.0.0.1", (), True),
        ("203.0.113.9", (), False),
        ("10.213.4.2", (), False),
        ("10.213.4.2", ("10.213.0.0/16",), True),
        ("10.214.0.2", ("10.213.0.0/16",), False),
        ("10.214.0.2", ("10.213.0.0/16", "10.214.0.0/29"), True),
        ("203.0.113.9", ("10.213.0.0/16",), False),
    ],
)
def test_who_is_near(address: str, networks: tuple[str, ...], expected: bool) -> None:
    assert Neighbours(networks).include(address) is expected
