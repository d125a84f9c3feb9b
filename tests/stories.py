"""Three stories of jobs, each told of one machine: what happens, and how it is after the operator was let go on."""

from collections.abc import Callable
from dataclasses import dataclass

from builders import build_runtime
from harness import Machine, find_jobset, list_documents, read_records, write_job
from told_lives import build_crowded_runtime, build_gang_runtime
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON

GoOn = Callable[[], None]
#: A pod, its container, the JobSet's restart, the attempt.
Start = tuple[str, str, int, int]


def train(machine: Machine, go_on: GoOn) -> None:
    """Tell of a job that starts, fails once, is suspended, resumed, ends, and is deleted; `go_on` lets the operator."""
    write(machine)
    go_on()
    assert machine.engine.running == ["mnist-node-0", "mnist-node-1"]
    machine.engine.exit("mnist-node-0", 1)
    go_on()
    assert machine.engine.running == ["mnist-node-0", "mnist-node-1"]
    assert [c.attempt for c in machine.engine.containers] == [1, 0]
    assert read_failures(machine) == [1, 0]
    write(machine, suspend=True)
    go_on()
    assert machine.engine.containers == []
    write(machine)
    machine.clock.advance(30)
    go_on()
    assert [c.attempt for c in machine.engine.containers] == [2, 1]
    assert read_failures(machine) == [1, 0]
    for name in machine.engine.running:
        machine.engine.exit(name, 0)
    go_on()
    assert (machine.engine.containers, machine.engine.networks) == ([], [])
    assert get_phase(machine) == "Complete"
    assert read_logs(machine) == ["attempt 2", "attempt 1", "attempt 1", "attempt 0"]
    remove(machine, go_on)


def start_over(machine: Machine, go_on: GoOn) -> None:
    """Tell of a job whose nodes wait for a first step, all start over, end, and expire."""
    everybody = ["mnist-first-0", "mnist-node-0", "mnist-node-1"]
    write(machine)
    go_on()
    assert machine.engine.running == everybody[:1], "its port is not open"
    machine.engine.listen("mnist-first-0", 80)
    machine.clock.advance(30)
    go_on()
    assert machine.engine.running == everybody
    machine.engine.exit("mnist-node-0", 1)
    go_on()
    assert machine.engine.running == everybody[:1]
    assert read_restarts(machine) == (1, 1)
    machine.engine.listen("mnist-first-0", 80)
    machine.clock.advance(30)
    go_on()
    assert machine.engine.running == everybody
    assert {c.restart for c in machine.engine.containers} == {1}
    assert (machine.engine.volumes, read_restarts(machine)) == (["data-mnist"], (1, 1))
    for name in everybody:
        machine.engine.exit(name, 0)
    go_on()
    assert get_phase(machine) == "Complete"
    assert (machine.engine.containers, machine.engine.volumes) == ([], ["data-mnist"])
    machine.clock.advance(61)
    go_on()
    assert (machine.engine.volumes, find_jobset(machine, "default", "mnist")) == ([], None)
    remove(machine, go_on)


def work_together(machine: Machine, go_on: GoOn) -> None:
    """Tell of a pod whose init container fails once, that loses its sandbox, and then does its work."""
    write(machine, nodes=1)
    go_on()
    machine.engine.exit("mnist-node-0_first", 1)
    go_on()
    initialize(machine, go_on)
    assert machine.engine.volumes == [f"{read_pod(machine)}_{name}" for name in ("memory", "scratch")]
    machine.engine.exit("mnist-node-0_POD", 1)
    go_on()
    machine.clock.advance(30)
    go_on()
    initialize(machine, go_on)
    assert read_failures(machine) == [1]
    for name in ("mnist-node-0", "mnist-node-0_helper"):
        machine.engine.exit(name, 0)
    go_on()
    assert get_phase(machine) == "Complete"
    assert (machine.engine.containers, machine.engine.networks, machine.engine.volumes) == ([], [], [])
    remove(machine, go_on)


def initialize(machine: Machine, go_on: GoOn) -> None:
    """Tell of init containers that do their work one after the other."""
    assert machine.engine.running == [f"mnist-node-0_{name}" for name in ("POD", "first")]
    machine.engine.exit("mnist-node-0_first", 0)
    go_on()
    assert machine.engine.running == [f"mnist-node-0_{name}" for name in ("POD", "second", "sidecar")]
    machine.engine.exit("mnist-node-0_second", 0)
    go_on()
    assert machine.engine.running == [f"mnist-node-0{name}" for name in ("", "_POD", "_helper", "_sidecar")]


def read_pod(machine: Machine) -> str:
    """Return the name of the first pod."""
    return str(machine.status.read_part("default", "mnist", "pods")[0]["metadata"]["name"])


def write(machine: Machine, *, nodes: int = 2, suspend: bool = False) -> None:
    trainer, ref = {"numNodes": nodes}, {"name": "torch-distributed"}
    write_job(machine, "job.yaml", "mnist", runtimeRef=ref, trainer=trainer, suspend=suspend)


def remove(machine: Machine, go_on: GoOn) -> None:
    """Tell of the end of every story."""
    (machine.root / "job.yaml").unlink()
    go_on()
    assert list_documents(machine) == []
    assert not [*machine.root.rglob("*.tmp")]
    assert (machine.engine.containers, machine.engine.networks, machine.engine.volumes) == ([], [], [])


def read_failures(machine: Machine) -> list[int]:
    return [record.failures for record in read_records(machine, "default", "mnist").values()]


def read_restarts(machine: Machine) -> tuple[int, int]:
    """Return how often all nodes started over, and how often that counts."""
    status = find(find_jobset(machine, "default", "mnist"), "status")
    return status["restarts"], status["restartsCountTowardsMax"]


def get_phase(machine: Machine) -> str:
    stored = machine.status.read_job("default", "mnist")
    assert stored is not None
    return str(find(stored.report, "status", "phase"))


def read_logs(machine: Machine) -> list[str]:
    """Return which attempt each kept log is of: nodes 0 and 1, and of each the one before."""
    paths = [
        machine.status.log_path("default", "mnist", f"node-{n}", previous=previous)
        for n in (0, 1)
        for previous in (False, True)
    ]
    return [" ".join(path.read_text(encoding="utf-8").split()[-2:]) for path in paths]


@dataclass(frozen=True)
class Story:
    """What is told, of which runtime, and which starts there are in it."""

    tell: Callable[[Machine, GoOn], None]
    runtime: JSON
    starts: list[Start]


PROBE = {"readinessProbe": {"tcpSocket": {"port": 80}}}
STORIES = {
    "train": Story(
        train,
        build_runtime(job={"backoffLimit": 3}, pod={"terminationGracePeriodSeconds": 10}),
        [("mnist-node-0-0", "node", 0, n) for n in (0, 1, 2)] + [("mnist-node-0-1", "node", 0, n) for n in (0, 1)],
    ),
    "start over": Story(
        start_over,
        build_gang_runtime("torch-distributed", "Ready", strategy="BlockingRecreate", retain="Delete", **PROBE),
        [("mnist-first-0-0", "first", restart, 0) for restart in (0, 1)]
        + [(f"mnist-node-0-{index}", "node", restart, 0) for index in (0, 1) for restart in (0, 1)],
    ),
    "work together": Story(
        work_together,
        build_crowded_runtime("torch-distributed", backoffLimit=3),
        sorted(
            [("mnist-node-0-0", name, 0, n) for name in ("POD", "helper", "node", "second", "sidecar") for n in (0, 1)]
            + [("mnist-node-0-0", "first", 0, n) for n in (0, 1, 2)]
        ),
    ),
}


def list_starts(machine: Machine) -> list[Start]:
    return sorted((start.pod, start.container, start.restart, start.attempt) for start in machine.engine.started)
