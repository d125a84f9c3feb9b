"""One keeper for all jobs: it asks the machine when a job wants GPUs, wakes who waits, knows all after a restart."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from builders import StillClock
from scripted_engine import ScriptedEngine
from trainlet.controller.devices import REREAD_SECONDS, DeviceKeeper
from trainlet.engine.base import EngineUnavailable
from trainlet.kube.meta import ObjectKey
from trainlet.planning import labels
from trainlet.planning.device_ledger import Request
from trainlet.planning.devices import UNMANAGED, Allotment, Inventory, Wish
from trainlet.planning.specs import ContainerSpec, NetworkSpec

NVIDIA = "nvidia.com/gpu"
TWO = {NVIDIA: ("GPU-a", "GPU-b")}


class Stage:
    """A keeper and the world around it."""

    def __init__(self, inventory: Inventory | None = TWO, engine: str = "docker") -> None:
        self.clock = StillClock()
        self.engine = ScriptedEngine(self.clock)
        self.engine.name = engine
        self.engine.images.add("image:1")
        self.inventory = inventory
        self.looks = 0
        self.requests: list[Request] = []
        self.woken: list[str] = []
        self.keeper = self.build()

    def build(self) -> DeviceKeeper:
        """Return a keeper that knows nothing yet, as after a restart."""
        return DeviceKeeper(
            self.engine, "s", self._look, lambda: self.requests, lambda key: self.woken.append(key.name), self._seconds
        )

    def run(self, request: Request, allotment: Allotment) -> None:
        """Start the containers of a job on the engine."""
        for pod in allotment.pods:
            own = {
                labels.STORE: "s",
                labels.OWNER_UID: request.uid,
                labels.JOB_NAME: request.job.name,
                labels.POD: pod,
                labels.DEVICES: allotment.describe(pod),
            }
            if not self.engine.find_subnets():
                self.engine.create_network(NetworkSpec("net", 9, own, "10.213.0.0/24"))
            self.engine.create_container(ContainerSpec(pod, "image:1", labels=own, network="net"))
            self.engine.start_container(pod)

    def _look(self) -> Inventory | None:
        self.looks += 1
        return self.inventory

    def _seconds(self) -> float:
        return self.clock().timestamp()


def ask(name: str, count: int) -> Request:
    wishes = {f"{name}-node-0-0": (Wish("node", NVIDIA, count),)} if count else {}
    return Request(ObjectKey("TrainJob", "default", name), f"uid-{name}", name, wishes)


def devices(allotment: Allotment) -> list[str]:
    return [name for pod in allotment.pods.values() for given in pod.values() for name in given.devices]


def test_the_machine_is_asked_when_the_first_job_wants_a_gpu() -> None:
    stage = Stage()
    assert stage.keeper.ask(ask("x", 0), ()) == Allotment()
    stage.keeper.forget("uid-x")
    assert (stage.looks, stage.engine.calls) == (0, 0)
    assert devices(stage.keeper.ask(ask("y", 1), ())) == ["GPU-a"]
    assert stage.keeper.ask(ask("x", 0), ()) == Allotment()
    assert stage.looks == 1


def test_processes_are_told_what_is_theirs_even_if_it_is_nothing() -> None:
    assert Stage(engine="process").keeper.ask(ask("x", 0), ()) == Allotment(hides_others=True)
    assert Stage({}, engine="process").keeper.ask(ask("x", 0), ()) == Allotment()


def test_where_the_gpus_cannot_be_known_the_engine_gives_them() -> None:
    stage = Stage(None)
    assert [stage.keeper.ask(ask("x", 8), ()), stage.keeper.ask(ask("y", 0), ())] == [UNMANAGED, UNMANAGED]
    assert stage.looks == 1


def test_those_who_wait_are_woken_when_something_gets_free_or_the_first_is_served() -> None:
    stage = Stage()
    stage.keeper.ask(ask("a", 2), ())
    for name in ("b", "c"):
        assert stage.keeper.ask(ask(name, 1), ()).shortage is not None
    assert stage.woken == []
    stage.keeper.ask(ask("a", 0), ())
    assert stage.woken == ["b", "c"]
    assert devices(stage.keeper.ask(ask("b", 1), ())) == ["GPU-a"]
    assert stage.woken == ["b", "c", "c"]
    assert devices(stage.keeper.ask(ask("c", 1), ())) == ["GPU-b"]
    assert stage.keeper.ask(ask("d", 1), ()).shortage is not None
    stage.keeper.forget("uid-c")
    assert stage.woken == ["b", "c", "c", "d"]


def test_after_a_restart_nothing_that_runs_is_given_away_and_the_queue_is_the_same() -> None:
    stage = Stage()
    running = ask("running", 1)
    stage.run(running, stage.keeper.ask(running, ()))
    stage.requests = [ask("b", 2), running, ask("a", 2)]
    stage.keeper = stage.build()
    late = stage.keeper.ask(ask("b", 2), ())
    assert late.shortage is not None
    assert (late.shortage.holders, late.shortage.ahead) == (("default/running",), ("default/a",))
    containers = stage.engine.observe("uid-running").containers
    assert devices(stage.keeper.ask(running, containers)) == ["GPU-a"]


def test_a_container_whose_job_nobody_knows_keeps_its_gpu_until_it_is_gone() -> None:
    stage = Stage()
    unknown = ask("unknown", 2)
    stage.run(unknown, stage.keeper.ask(unknown, ()))
    stage.keeper = stage.build()
    assert stage.keeper.ask(ask("x", 1), ()).shortage is not None
    stage.keeper.forget("uid-unknown")
    assert stage.woken == ["x"]
    assert devices(stage.keeper.ask(ask("x", 1), ())) == ["GPU-a"]


def test_an_engine_that_is_down_is_asked_again() -> None:
    stage = Stage()
    stage.engine.is_down = True
    with pytest.raises(EngineUnavailable):
        stage.keeper.ask(ask("x", 1), ())
    stage.engine.is_down = False
    assert devices(stage.keeper.ask(ask("x", 1), ())) == ["GPU-a"]


def test_a_machine_that_has_too_few_is_looked_at_again_now_and_then() -> None:
    stage = Stage({})
    assert stage.keeper.ask(ask("x", 1), ()).shortage is not None
    stage.inventory = TWO
    stage.clock.advance(REREAD_SECONDS - 1)
    assert stage.keeper.ask(ask("x", 1), ()).shortage is not None
    stage.clock.advance(1)
    assert devices(stage.keeper.ask(ask("x", 1), ())) == ["GPU-a"]
    assert stage.looks == 2
    assert stage.keeper.ask(ask("y", 9), ()).shortage is not None
    assert stage.looks == 2


@pytest.mark.parametrize("count", [1, 2])
def test_many_at_once_never_get_the_same(count: int) -> None:
    stage = Stage({NVIDIA: tuple(map(str, range(64)))})
    jobs = [ask(f"job{number:03}", count) for number in range(100)]
    with ThreadPoolExecutor(16) as pool:
        first = [devices(each) for each in pool.map(lambda request: stage.keeper.ask(request, ()), jobs)]
        given = [name for each in first for name in each]
        assert sorted(given, key=int) == [str(number) for number in range(64)]
        list(pool.map(lambda job: stage.keeper.ask(replace(job, wishes={}), ()), jobs[::2]))
    rest = [name for job in jobs[1::2] for name in devices(stage.keeper.ask(job, ()))]
    assert len(rest) == len(set(rest)) == min(64, 50 * count)
