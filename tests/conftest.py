"""What every test may rely on, however and wherever the tests were started."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# In a background job of a shell SIGINT is ignored, and children inherit that: Ctrl-C could not be tried there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure of the program; hangs are bounded by pytest's timeout.
settings.register_profile("trainlet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("trainlet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of engines in one process: jobs of one name would be in each other's way."""
    for item in items:
        if item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.xdist_group("engine"))
