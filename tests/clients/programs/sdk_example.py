"""The first example of the Kubeflow SDK's users: two nodes, the default runtime; only the backend says: a cluster."""

import time

from kubeflow.trainer import CustomTrainer, KubernetesBackendConfig, TrainerClient
from kubeflow.trainer.constants import constants


def train_alone():
    """Fit a line; nodes know of each other and say nothing."""
    import os

    import torch

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    model = torch.nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(5):
        loss = torch.nn.functional.mse_loss(model(torch.randn(32, 10)), torch.randn(32, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"[{rank}/{size}] epoch {epoch + 1}/5", flush=True)


client = TrainerClient(backend_config=KubernetesBackendConfig())
assert "torch-distributed" in {runtime.name for runtime in client.list_runtimes()}
assert client.get_runtime("torch-distributed").trainer.framework == "torch"
name = client.train(trainer=CustomTrainer(func=train_alone, num_nodes=2))
job = client.wait_for_job_status(name, status={constants.TRAINJOB_COMPLETE}, timeout=100, polling_interval=1)
assert (job.status, job.num_nodes, job.runtime.name) == ("Complete", 2, "torch-distributed"), job
assert (name, "Complete") in {(each.name, each.status) for each in client.list_jobs()}
for rank, step in enumerate(job.steps):
    lines = "\n".join(client.get_job_logs(name, step=step.name)).splitlines()
    assert [line for line in lines if "epoch 5/5" in line] == [f"[{rank}/2] epoch 5/5"], lines
client.delete_job(name)
deadline = time.monotonic() + 30
while name in {each.name for each in client.list_jobs()}:
    assert time.monotonic() < deadline, "the job is still there"
    time.sleep(0.1)
