"""The distributed example of the Kubeflow SDK's users, on four nodes: only the backend says that there is a cluster."""

from kubeflow.trainer import CustomTrainer, KubernetesBackendConfig, TrainerClient


def train_together():
    """Fit a line on every node; all must come to the same weights."""
    import os
    import socket

    import torch
    import torch.distributed as dist

    assert not socket.gethostbyname(socket.gethostname()).startswith("127.")
    socket.getaddrinfo(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(backend="gloo", rank=rank, world_size=size)
    torch.manual_seed(rank)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(10, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(5):
        loss = torch.nn.functional.mse_loss(model(torch.randn(32, 10)), torch.randn(32, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"[{rank}/{size}] epoch {epoch + 1}/5", flush=True)
    weights = sum(parameter.double().sum().item() for parameter in model.parameters())
    print(f"weights {weights:.12f}", flush=True)
    dist.destroy_process_group()


NODES = 4
client = TrainerClient(backend_config=KubernetesBackendConfig())
name = client.train(trainer=CustomTrainer(func=train_together, num_nodes=NODES))
client.wait_for_job_status(name, status={"Running", "Complete"}, timeout=90, polling_interval=1)
lines = list(client.get_job_logs(name, follow=True))
assert [line for line in lines if "epoch 5/5" in line] == [f"[0/{NODES}] epoch 5/5"], lines
job = client.wait_for_job_status(name, timeout=90, polling_interval=1)
assert (job.status, job.num_nodes) == ("Complete", NODES), job
assert [step.status for step in job.steps] == ["Succeeded"] * NODES, job.steps
results = set()
for step in job.steps:
    text = "\n".join(client.get_job_logs(name, step=step.name)).splitlines()
    results |= {line for line in text if line.startswith("weights ")}
assert len(results) == 1, results
client.delete_job(name)
