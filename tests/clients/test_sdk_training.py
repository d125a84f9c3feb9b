"""Real PyTorch by the Kubeflow SDK on container engines: the examples of its documentation, with another backend."""

import pytest

from cluster import Cluster, build_runtime
from world import TORCH_IMAGE

pytestmark = pytest.mark.engine


@pytest.fixture
def torch(containers: Cluster) -> Cluster:
    """A cluster whose default runtime has an image that is here."""
    containers.drop(build_runtime("torch-distributed", TORCH_IMAGE, torch={}), file="torch.yaml")
    return containers


@pytest.mark.parametrize("containers", ["podman"], indirect=True)
def test_functions_train_each_on_its_own(torch: Cluster) -> None:
    torch.program("sdk_example.py")


@pytest.mark.parametrize("containers", ["docker"], indirect=True)
def test_functions_train_together(torch: Cluster) -> None:
    torch.program("sdk_distributed.py")
