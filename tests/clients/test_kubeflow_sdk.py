"""The unmodified Kubeflow SDK with its Kubernetes backend."""

import pytest

from cluster import Cluster

pytestmark = pytest.mark.engine


def test_every_method_does_its_work(processes: Cluster) -> None:
    said = processes.program("sdk_methods.py", str(processes.data))
    assert "Python: 3." in said


def test_a_function_runs_in_containers(containers: Cluster) -> None:
    containers.workspace("meeting")  # a rootless engine's user is not the operator's
    assert "steps [('node-0', 'Succeeded'), ('node-1', 'Succeeded')]" in containers.program("sdk_function.py")
