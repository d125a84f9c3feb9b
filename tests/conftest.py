"""What every test may rely on, however and wherever the tests were started."""

import os
import re
import signal
import tempfile
from collections.abc import Collection

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# In a background job of a shell SIGINT is ignored, and children inherit that: Ctrl-C could not be tried there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What a developer keeps of runtimes elsewhere is nothing to tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="trainlet-test-cache-")

# A busy machine is no failure of the program; hangs are bounded by pytest's timeout. Everybody draws the same examples,
# so that a change is judged by what it changed; TRAINLET_LONG=1 draws others each time.
settings.register_profile(
    "trainlet",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("TRAINLET_LONG") != "1",
)
settings.load_profile("trainlet")


class _Scheduling(LoadScopeScheduling):
    """Keeps all tests of one engine in one process: jobs of one name would be in each other's way."""

    def _split_scope(self, nodeid: str) -> str:
        words = set(_WORD.findall(nodeid.partition("[")[2]))
        if nodeid.startswith(_CLIENT_TESTS) and words.isdisjoint(_ENGINES):
            return nodeid.partition("::")[0]  # which has one operator for all its tests
        if not nodeid.startswith((*_ENGINE_TESTS, _CLIENT_TESTS)) or "process" in words:
            return nodeid
        if "podman" in words:
            return "podman-rootless" if "rootless" in words else "podman"
        return "docker"


_ENGINE_TESTS = ("tests/contract/", "tests/e2e/", "tests/faults/")
_CLIENT_TESTS = "tests/clients/"
_ENGINES = {"docker", "podman"}
_WORD = re.compile(r"[a-z]+")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Say which process runs which test."""
    return _Scheduling(config, log)


#: Where rootless Podman goes the way of root's: what is of a user's own (ids, mounts, networks, rights) is elsewhere.
_ROOTLESS_IN_A_SOAK = {
    *("test_bad_input.py", "test_demo.py", "test_edits.py", "test_operating.py", "test_progress.py", "test_repair.py"),
    *(
        "test_sdk.py",
        "test_troubles.py",
        "test_engine_exec.py",
        "test_engine_streams.py",
        "test_engine_streams_exec.py",
    ),
}
#: Where root's Podman shows nothing that Docker and rootless Podman do not show together.
_ROOTFUL_IN_A_SOAK = {
    *("test_gpus.py", "test_lifecycle.py", "test_pods.py", "test_policies.py", "test_security.py", "test_training.py"),
    *("test_engine_contract.py", "test_engine_images.py", "test_engine_pods.py", "test_engine_ports.py"),
    *("test_engine_storage.py", "test_prober.py"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, or shows little beside others, unless TRAINLET_SOAK=1 asks for it."""
    if os.environ.get("TRAINLET_SOAK") != "1":
        names = {item.name for item in items}
        kept = [item for item in items if not _is_for_a_soak(item, names)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept


def _is_for_a_soak(item: pytest.Item, names: Collection[str]) -> bool:
    if "podman-rootless" in item.name:
        is_alike = item.path.name in _ROOTLESS_IN_A_SOAK
    else:
        is_alike = item.path.name in _ROOTFUL_IN_A_SOAK and item.name.replace("podman", "podman-rootless") in names
        is_alike = is_alike and "podman" in item.name
    return is_alike or item.get_closest_marker("soak") is not None
