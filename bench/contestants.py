"""Who is measured: the engine's own calls, trainlet, and the Kubeflow SDK's container backend, on the same images.

Each does the same four things: start nodes, delete a running job, tell of a node's end, train. Times are in seconds.
"""

import inspect
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from engines import EngineKind, open_engine
from trainlet.engine.base import Engine
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, Observed
from trainlet.planning.specs import ContainerSpec, Mount, NetworkSpec
from waiting import wait_for
from world import PYTHON_IMAGE, TORCH_IMAGE, World, build_train_job

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "manifests" / "runtimes" / "torch-distributed.yaml"
SLEEP = ["python3", "-c", "import time; time.sleep(600)"]
#: A node that writes down, as its last act, when that was.
LAST_WORDS = "import pathlib, time; time.sleep(1); pathlib.Path('/workspace/end').write_text(repr(time.time()))"
END = ["python3", "-c", LAST_WORDS]
#: More than this is not quicker on any engine that was measured.
AT_ONCE = 4
OWNER = "bench"
SUBNET = "10.219.0"


def train_ddp() -> None:
    """Reduce one number over all nodes; self-contained, because the SDK ships its source text."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    total = torch.ones(1)
    dist.all_reduce(total)
    print(f"sum {total.item()}")
    dist.barrier()
    dist.destroy_process_group()


DDP = [
    "bash",
    "-c",
    f"cat >/tmp/train.py <<'EOM'\n{inspect.getsource(train_ddp)}\ntrain_ddp()\nEOM\ntorchrun /tmp/train.py",
]


class Contestant(Protocol):
    """What can be measured of each; a method that leaves something is followed by `clean`."""

    def start(self, nodes: int) -> float:
        """Return the time from asking for a job to all of its nodes running."""

    def delete(self) -> float:
        """Return the time from asking for the running job's end to nothing of it left."""

    def train(self, nodes: int) -> float:
        """Return the time from asking for a torch job to knowing that it is complete."""

    def clean(self) -> None:
        """Remove what is left."""


class Floor:
    """The engine's own calls, as many at once as help, and nothing else."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.version = engine.ping()
        self._pool = ThreadPoolExecutor(AT_ONCE)
        marks = {labels.STORE: OWNER, labels.NAMESPACE: "default", labels.JOB_NAME: "floor"}
        self._labels = {**marks, labels.OWNER_UID: OWNER}

    def start(self, nodes: int) -> float:
        """Make a network, and make and start the nodes."""
        return self._run(nodes, ContainerSpec("", PYTHON_IMAGE, tuple(SLEEP)))

    def delete(self) -> float:
        """Ask all nodes to end, remove each when it has, then the network."""
        began = time.monotonic()
        list(self._pool.map(self._end, [c.id for c in self._observe().containers]))
        for network in self._observe().networks:
            self._engine.remove_network(network.id)
        return time.monotonic() - began

    def train(self, nodes: int) -> float:
        """Run the torch job until all nodes have ended."""
        began = time.monotonic()
        self._run(nodes, ContainerSpec("", TORCH_IMAGE, tuple(DDP), env=_build_torch_env(nodes)))
        wait_for(lambda: self._has_ended(), "the floor's nodes to end", 300)
        took = time.monotonic() - began
        assert {c.exit_code for c in self._observe().containers} == {0}, "the torch job failed"
        return took

    def tell_end(self, directory: Path) -> float:
        """Return the time from a process's last act to the engine's event of its container's end."""
        told: list[float] = []
        threading.Thread(target=lambda: told.extend(time.time() for _ in self._engine.watch()), daemon=True).start()
        self._run(1, ContainerSpec("", PYTHON_IMAGE, tuple(END), mounts=(Mount(str(directory), "/workspace"),)))
        ended = read_end(directory)
        return wait_for(lambda: min((when for when in told if when > ended), default=0.0), "the event", 60) - ended

    def clean(self) -> None:
        """Remove what is left."""
        seen = self._observe()
        list(self._pool.map(self._engine.remove_container, [c.id for c in seen.containers]))
        for network in seen.networks:
            self._engine.remove_network(network.id)

    def _run(self, nodes: int, node: ContainerSpec) -> float:
        specs = [
            replace(
                node,
                name=f"bench-floor-{rank}",
                labels=self._labels,
                network="bench-floor-net",
                address=f"{SUBNET}.{rank + 2}",
                env={**node.env, "PET_NODE_RANK": str(rank)} if node.env else {},
            )
            for rank in range(nodes)
        ]
        began = time.monotonic()
        self._engine.create_network(NetworkSpec("bench-floor-net", nodes, self._labels, f"{SUBNET}.0/26"))
        list(self._pool.map(self._start, specs))
        return time.monotonic() - began

    def _start(self, spec: ContainerSpec) -> None:
        self._engine.create_container(spec)
        self._engine.start_container(spec.name)

    def _end(self, id: str) -> None:
        self._engine.stop_container(id)
        wait_for(lambda: self._has_ended(id), "a node to end", 30)
        self._engine.remove_container(id)

    def _has_ended(self, id: str = "") -> bool:
        """Tell whether a container, or all there are, have ended."""
        return all(c.state is ContainerState.EXITED for c in self._observe().containers if id in ("", c.id))

    def _observe(self) -> Observed:
        return self._engine.observe(OWNER)


class Trainlet:
    """A world's operator, which runs all the time, as users have it; it is told by files and tells by files.

    `remove` takes away the manifest of the job that it is given the name of, None for the file's removal.
    """

    def __init__(self, world: World, prefix: str, remove: Callable[[str], object] | None = None) -> None:
        self._world, self._prefix, self._count = world, prefix, 0
        self._remove = remove or (lambda name: (world.jobs / f"{name}.yaml").unlink())
        wait_for(lambda: "watching" in world.log.read_text(), "the operator to watch", 30)

    def start(self, nodes: int) -> float:
        """Drop a file, and wait for the report that all nodes run."""
        return self._drop(nodes, SLEEP, PYTHON_IMAGE, "Running")

    def delete(self) -> float:
        """Remove the manifest, and wait until the engine has nothing of the job."""
        uid = str(self._world.job(self._name)["metadata"]["uid"])
        began = time.monotonic()
        self._remove(self._name)
        wait_for(lambda: self._world.observe(uid) == Observed(), "nothing to be left", 60)
        return time.monotonic() - began

    def train(self, nodes: int) -> float:
        """Drop a torch job, and wait for the report that it is complete."""
        return self._drop(nodes, DDP, TORCH_IMAGE, "Complete")

    def tell_end(self) -> float:
        """Return the time from the last process's last act to the terminal condition on disk."""
        directory = self._prepare()
        self._world.drop(build_train_job(self._name, 2, END))
        self._world.wait_phase(self._name, "Complete")
        status = self._world.status.job_path("default", self._name)
        return status.stat().st_mtime - read_end(directory)

    def clean(self) -> None:
        """Remove what is left."""
        path = self._world.jobs / f"{self._name}.yaml"
        if path.exists():
            self.delete()
        wait_for(lambda: not self._world.job(self._name), "the job to be forgotten", 60)

    @property
    def _name(self) -> str:
        return f"{self._prefix}-{self._count}"

    def _prepare(self) -> Path:
        self._count += 1
        return self._world.workspace(self._name)

    def _drop(self, nodes: int, command: Sequence[str], image: str, phase: str) -> float:
        self._prepare()
        job = build_train_job(self._name, nodes, command, trainer={"image": image})
        document, before = self._world.status.job_path("default", self._name), 0

        def has_come() -> bool:
            """Tell whether the document says it; who reads it time and again takes what the job needs."""
            nonlocal before
            seen = document.stat().st_mtime_ns if document.exists() else 0
            if seen == before:
                return False
            before = seen
            return self._world.report(self._name).get("phase") in (phase, "Failed")

        began = time.monotonic()
        self._world.drop(job)
        wait_for(has_come, f"{self._name} to be {phase}", 300, poll_seconds=0.005)
        took = time.monotonic() - began
        assert self._world.report(self._name)["phase"] == phase, self._world.describe(self._name)
        return took


class Sdk:
    """The Kubeflow SDK's container backend, called as its users do."""

    def __init__(self, kind: EngineKind, url: str) -> None:
        warnings.simplefilter("ignore")
        from kubeflow.trainer import ContainerBackendConfig, TrainerClient, TrainingRuntimeSource

        self._engine = open_engine(kind, Path(tempfile.gettempdir()))
        self._client = TrainerClient(
            backend_config=ContainerBackendConfig(
                container_runtime=kind.runtime,
                container_host=url,
                pull_policy="Never",
                runtime_source=TrainingRuntimeSource(sources=[f"file://{RUNTIME}"]),
            )
        )
        self._name, self._nodes = "", 0

    def start(self, nodes: int) -> float:
        """Call `train()`; it returns when all nodes run."""
        began = time.monotonic()
        self._train(nodes, _sleep, PYTHON_IMAGE)
        return time.monotonic() - began

    def delete(self) -> float:
        """Call `delete_job()`."""
        began = time.monotonic()
        self._client.delete_job(self._name)
        return time.monotonic() - began

    def train(self, nodes: int) -> float:
        """Call `train()`, and wait for the job as its users do, asking as often as it lets them."""
        began = time.monotonic()
        self._train(nodes, train_ddp, TORCH_IMAGE)
        job = self._client.wait_for_job_status(self._name, timeout=300, polling_interval=1)
        assert job.status == "Complete", job
        return time.monotonic() - began

    def clean(self) -> None:
        """Remove what is left by hand: the SDK needs ten seconds a node."""
        for rank in range(self._nodes):
            self._engine.remove_container(f"{self._name}-node-{rank}")
        self._engine.remove_network(f"{self._name}-net")
        shutil.rmtree(Path.home() / ".kubeflow" / "trainer" / "containers" / self._name, ignore_errors=True)

    def _train(self, nodes: int, program: Callable[[], None], image: str) -> None:
        from kubeflow.trainer import CustomTrainer

        trainer = CustomTrainer(func=program, num_nodes=nodes, image=image)
        self._name, self._nodes = self._client.train(runtime="torch-distributed", trainer=trainer), nodes


def read_end(directory: Path) -> float:
    """Return when a node's last act was, as it wrote it down."""
    return wait_for(
        lambda: float((directory / "end").read_text() or 0) if (directory / "end").exists() else 0, "an end"
    )


def _sleep() -> None:
    import time

    time.sleep(600)


def _build_torch_env(nodes: int) -> dict[str, str]:
    return {
        "PET_NNODES": str(nodes),
        "PET_NPROC_PER_NODE": "1",
        "PET_MASTER_ADDR": f"{SUBNET}.2",
        "PET_MASTER_PORT": "29500",
    }
