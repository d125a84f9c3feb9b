"""What tests of clients act on: one operator for all tests on one engine, as a cluster is there for many."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cluster import Cluster, Clusters, require_kubectl
from pod_desk import PodDesk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodDesk]:
    """An API server over pods, without an operator."""
    made = PodDesk(tmp_path_factory.mktemp("desk"))
    yield made
    made.close()


@pytest.fixture
def pods(desk: PodDesk) -> Iterator[PodDesk]:
    """The same, with nothing of another test."""
    yield desk
    desk.clear()


@pytest.fixture(scope="session")
def clusters() -> Iterator[Clusters]:
    """One operator on each kind of engine that is asked for, for all tests."""
    with ExitStack() as stack:
        yield Clusters(stack)


@pytest.fixture
def processes(clusters: Clusters) -> Cluster:
    """A cluster whose nodes are processes, for what is not about containers."""
    return clusters.get("process")


@pytest.fixture(params=["docker", "podman", "podman-rootless"])
def containers(request: pytest.FixtureRequest, clusters: Clusters) -> Cluster:
    """A cluster on a container engine."""
    return clusters.get(request.param)


@pytest.fixture
def kubectl() -> None:
    """Need the real kubectl."""
    require_kubectl()
