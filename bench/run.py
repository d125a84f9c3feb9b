"""What README claims about speed, measured here: trainlet against the engine's own floor and the Kubeflow SDK.

    make bench                      every engine that answers
    make bench ARGS="--repeats 5 --nodes 2,4"

Rows of one table are taken interleaved, on the same image, with nothing to pull; figures are medians in seconds.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from engines import KINDS, EngineKind, engine_urls, open_engine  # noqa: E402
from trainlet.engine.base import Engine  # noqa: E402
from trainlet.planning import labels  # noqa: E402
from trainlet.planning.specs import ContainerSpec, NetworkSpec  # noqa: E402
from waiting import wait_for  # noqa: E402
from world import PYTHON_IMAGE, World, build_train_job  # noqa: E402

T = TypeVar("T")

SLEEP = ["python3", "-c", "import time; time.sleep(600)"]
RUNTIME = ROOT / "manifests" / "runtimes" / "torch-distributed.yaml"


def main() -> None:
    """Print one table an engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nodes", default="1,2,4,8")
    args = parser.parse_args()
    # Not rootless: the SDK keeps its jobs' directories in the home of whoever measures, where no other user may look.
    for name in sorted(engine_urls().keys() & {"docker", "podman"}):
        bench_engine(KINDS[name], [int(n) for n in args.nodes.split(",")], args.repeats)


def bench_engine(kind: EngineKind, node_counts: list[int], repeats: int) -> None:
    """Measure one engine."""
    print(f"\n## {kind.name}: from asking for a job to all of its nodes running (s, median of {repeats})\n")
    print("| nodes | engine's floor, 4 at once | trainlet, file to running | Kubeflow SDK, train() |")
    print("| ---: | ---: | ---: | ---: |")
    deaths: list[float] = []
    for nodes in node_counts:
        rows: dict[str, list[float]] = {"floor": [], "trainlet": [], "sdk": []}
        for _ in range(repeats):
            rows["floor"].append(with_world(kind, lambda world, n=nodes: time_floor(world.engine, n)))  # type: ignore[misc]
            started, died = with_world(kind, lambda world, n=nodes: time_trainlet(world, n))  # type: ignore[misc]
            rows["trainlet"].append(started)
            deaths.append(died)
            rows["sdk"].append(time_sdk(kind, nodes))
        cells = " | ".join(f"{statistics.median(values):.2f}" for values in rows.values())
        print(f"| {nodes} | {cells} |", flush=True)
    print(f"\nFrom a node's end to the status that tells it: {statistics.median(deaths):.2f} s")


def with_world(kind: EngineKind, measure: Callable[[World], T]) -> T:
    """Run a measurement in a world of its own."""
    directory = Path(tempfile.mkdtemp(prefix="trainlet-bench-"))
    directory.chmod(0o755)
    world = World(kind, directory)
    try:
        return measure(world)
    finally:
        world.close()
        shutil.rmtree(directory, ignore_errors=True)


def time_floor(engine: Engine, nodes: int) -> float:
    """Return the time to make a network and to create and start the containers, and nothing else."""
    marks = {labels.OWNER_UID: "bench", labels.STORE: "bench", labels.NAMESPACE: "default", labels.JOB_NAME: "floor"}
    spec = ContainerSpec("", PYTHON_IMAGE, tuple(SLEEP), labels=marks, network="bench-floor-net")
    specs = [replace(spec, name=f"bench-floor-{n}", address=f"10.214.0.{n + 2}") for n in range(nodes)]

    def start(each: ContainerSpec) -> None:
        engine.create_container(each)
        engine.start_container(each.name)

    try:
        began = time.monotonic()
        engine.create_network(NetworkSpec("bench-floor-net", nodes, marks, "10.214.0.0/27"))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(start, specs))
        return time.monotonic() - began
    finally:
        seen = engine.observe("bench")
        for container in seen.containers:
            engine.remove_container(container.id)
        for network in seen.networks:
            engine.remove_network(network.id)


def time_trainlet(world: World, nodes: int) -> tuple[float, float]:
    """Return the times from the file's rename to the report that all nodes run, and from a node's end to its status."""
    world.workspace("bench")
    world.start("--restart-backoff", "1h")
    wait_for(lambda: "watching" in world.log.read_text(), "the operator to watch", 30)
    began = time.monotonic()
    world.drop(build_train_job("bench", nodes, SLEEP))
    world.wait_phase("bench", "Running")
    started = time.monotonic() - began
    victim = world.running("bench")[-1]
    world.engine.kill_container(victim.id)
    began = time.monotonic()
    wait_for(lambda: world.report("bench").get("rootCause") or world.report("bench")["restarts"], "the end's status")
    return started, time.monotonic() - began


def time_sdk(kind: EngineKind, nodes: int) -> float:
    """Return the time of the SDK's `train()` from call to return; its containers are removed by hand, being quicker."""
    warnings.simplefilter("ignore")
    from kubeflow.trainer import ContainerBackendConfig, CustomTrainer, TrainerClient, TrainingRuntimeSource

    config = ContainerBackendConfig(
        container_runtime=kind.runtime,
        container_host=engine_urls()[kind.name],
        pull_policy="Never",
        runtime_source=TrainingRuntimeSource(sources=[f"file://{RUNTIME}"]),
    )
    client = TrainerClient(backend_config=config)
    trainer = CustomTrainer(func=_sleep, num_nodes=nodes, image=PYTHON_IMAGE)
    began = time.monotonic()
    name = client.train(runtime="torch-distributed", trainer=trainer)
    took = time.monotonic() - began
    _remove_sdk_job(kind, name, nodes)
    return took


def _sleep() -> None:
    import time

    time.sleep(600)


def _remove_sdk_job(kind: EngineKind, name: str, nodes: int) -> None:
    engine = open_engine(kind, Path(tempfile.gettempdir()))
    for number in range(nodes):
        engine.remove_container(f"{name}-node-{number}")
    engine.remove_network(f"{name}-net")
    engine.close()
    shutil.rmtree(Path.home() / ".kubeflow" / "trainer" / "containers" / name, ignore_errors=True)


if __name__ == "__main__":
    main()
