"""The unmodified Kubeflow SDK's own container backend lists and reads our jobs through our labels."""

from collections.abc import Iterator
from typing import Any

import pytest

from waiting import wait_for
from world import World, build_train_job

pytestmark = [
    pytest.mark.engine,
    pytest.mark.e2e,
    # The SDK's own imports and clients warn; its code is not ours to repair.
    pytest.mark.filterwarnings("ignore"),
]

RUNTIME = """\
apiVersion: trainer.kubeflow.org/v1alpha1
kind: ClusterTrainingRuntime
metadata:
  name: torch-distributed
  labels: {trainer.kubeflow.org/framework: torch}
spec:
  mlPolicy: {numNodes: 1, torch: {}}
  template:
    spec:
      replicatedJobs:
        - name: node
          template:
            metadata: {labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}}
            spec: {template: {spec: {containers: [{name: node, image: "localhost/trainlet-python:test"}]}}}
"""


@pytest.fixture
def client(world: World) -> Iterator[object]:
    """The SDK's client on the same engine, with its runtimes from a file because there is no GitHub here."""
    from kubeflow.trainer import ContainerBackendConfig, TrainerClient, TrainingRuntimeSource

    file = world.base / "runtime.yaml"
    file.write_text(RUNTIME, encoding="utf-8")
    config = ContainerBackendConfig(
        container_runtime=world.kind.runtime,
        container_host=world.url,
        runtime_source=TrainingRuntimeSource(sources=[f"file://{file}"]),
    )
    return TrainerClient(backend_config=config)


def test_the_sdk_reads_our_jobs(world: World, client: object) -> None:
    world.start("--no-auto-remove")
    world.drop(build_train_job("sdk", 2, ["python3", "-c", "import os; print('rank', os.environ['RANK'])"]))
    world.wait_phase("sdk", "Complete")

    def find_complete() -> Any:
        """Podman says `stopped` of a container that has ended a moment ago, which the SDK knows nothing of."""
        return next((job for job in client.list_jobs() if (job.name, job.status) == ("sdk", "Complete")), None)  # type: ignore[attr-defined]

    job = wait_for(find_complete, "the SDK to see the job complete")
    assert job.num_nodes == 2
    assert [(step.name, step.pod_name) for step in job.steps] == [("node-0", "sdk-node-0"), ("node-1", "sdk-node-1")]
    assert client.get_job("sdk").runtime.name == "torch-distributed"  # type: ignore[attr-defined]
    # Its Podman adapter gives the text of a generator instead of the log unless it is asked to follow.
    follow = world.kind.runtime == "podman"
    logs = "".join(client.get_job_logs("sdk", follow=follow))  # type: ignore[attr-defined]
    assert sorted(logs.split("rank ")[1:]) == ["0\n", "1\n"]


def test_kept_containers_are_found_by_the_label_that_people_know(world: World) -> None:
    world.start("--no-auto-remove")
    world.drop(build_train_job("kept", 1, ["python3", "-c", "print('hello from the node')"]))
    world.wait_phase("kept", "Complete")
    found = world.client("ps", "-a", "--filter", "label=kubeflow.org/job-name=kept", "--format", "{{.Names}}")
    assert found.stdout.split() == ["kept-node-0"]
    assert "hello from the node" in world.client("logs", "kept-node-0").stdout
    assert world.client("network", "inspect", "kept-net").returncode == 0
