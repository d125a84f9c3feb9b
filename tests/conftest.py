"""What every test may rely on, however and wherever the tests were started."""

import signal

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# In a background job of a shell SIGINT is ignored, and children inherit that: Ctrl-C could not be tried there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure of the program; hangs are bounded by pytest's timeout.
settings.register_profile("trainlet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("trainlet")


class _Scheduling(LoadScopeScheduling):
    """Keeps all tests of engines in one process: jobs of one name would be in each other's way."""

    def _split_scope(self, nodeid: str) -> str:
        return "engines" if nodeid.startswith(_ENGINE_TESTS) else nodeid


_ENGINE_TESTS = ("tests/contract/", "tests/e2e/", "tests/faults/")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Say which process runs which test."""
    return _Scheduling(config, log)
