"""Trains a small network on scikit-learn's digits with DistributedDataParallel over gloo; runs inside the test image.

Works under torchrun and under plain python: both set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
Prints one line an epoch, and at the end the test accuracy and a hash of the weights.
"""

import hashlib
import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel

EPOCHS = int(os.environ.get("EPOCHS", "12"))


def load() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return training inputs and labels, test inputs and labels; the split is the same on every rank."""
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1437], order[1437:]
    return inputs[train], labels[train], inputs[test], labels[test]


def main() -> None:
    """Train this rank's share."""
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(rank)  # DDP must make the weights equal
    inputs, labels, test_inputs, test_labels = load()
    mine = slice(rank, None, world)
    inputs, labels = inputs[mine], labels[mine]
    model = DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batch = 32
    steps = len(labels) // batch
    for epoch in range(EPOCHS):
        for step in range(steps):
            part = slice(step * batch, (step + 1) * batch)
            loss = torch.nn.functional.cross_entropy(model(inputs[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}/{EPOCHS} loss {loss.item():.4f}", flush=True)
    with torch.no_grad():
        accuracy = (model(test_inputs).argmax(1) == test_labels).float().mean().item()
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    digest = hashlib.sha256(flat.numpy().tobytes()).hexdigest()[:16]
    print(f"rank {rank} of {world} accuracy {accuracy:.4f} weights {digest}", flush=True)
    dist.barrier()  # leaving while a peer still talks aborts it
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
