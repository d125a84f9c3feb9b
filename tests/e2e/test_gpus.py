"""GPUs of a machine that has none: a program called nvidia-smi lists two, and so does a CDI specification."""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainlet.kube.meta import JSON
from waiting import wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

CDI_KIND = f"trainlet-{os.getpid()}.test/gpu"
TOOL = "#!/bin/sh\nprintf '0, GPU-aa, Model, 1 MiB\\n1, GPU-bb, Model, 1 MiB\\n'\n"


@pytest.fixture
def machine(process_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of processes on a machine with two GPUs."""
    tools = process_world.base / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(TOOL)
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return process_world


def drop(world: World, name: str, nodes: int, gpus: int, kind: str = "nvidia.com/gpu", **more: Any) -> Path:
    """Drop a job whose nodes say which GPUs they see, and run until there is a file."""
    gate = world.base / f"end-{name}"
    code = f"echo sees $CUDA_VISIBLE_DEVICES; until test -e {shlex.quote(str(gate))}; do sleep 0.05; done"
    resources = {"resourcesPerNode": {"limits": {kind: gpus}}} if gpus else {}
    world.drop(build_train_job(name, nodes, ["sh", "-c", code], trainer=resources, **more))
    return gate


def see(world: World, name: str) -> list[str]:
    """Return what the running nodes of a job have said."""
    containers = world.running(name)
    return sorted(line.text for c in containers for line in world.engine.read_logs(c.id))


def get_condition(world: World, name: str) -> JSON:
    """Return the condition that says whether the job waits."""
    conditions = world.report(name).get("conditions") or []
    return next((c for c in conditions if c["type"] == "Queued"), {})


def test_jobs_take_turns_and_each_sees_its_own_gpus(machine: World) -> None:
    machine.start()
    gates = {"a": drop(machine, "a", 2, 1)}
    machine.wait_running("a", 2)
    wait_for(lambda: see(machine, "a") == ["sees GPU-aa", "sees GPU-bb"], "both GPUs to be seen")
    gates["b"] = drop(machine, "b", 1, 2)
    machine.wait_phase("b", "Queued")
    gates["c"] = drop(machine, "c", 1, 1)
    machine.wait_phase("c", "Queued")
    gates["none"] = drop(machine, "none", 1, 0)
    machine.wait_running("none", 1)
    wait_for(lambda: see(machine, "none") == ["sees"], "no GPU to be seen")
    machine.kill()
    machine.start()
    wait_for(lambda: get_condition(machine, "c").get("reason") == "InsufficientResources", "the queue to be there")
    assert [machine.report(name)["phase"] for name in "abc"] == ["Running", "Queued", "Queued"]
    assert get_condition(machine, "b")["message"].endswith("0 of 2 free: default/a in possession")
    gates["a"].touch()
    machine.wait_running("b", 1)
    wait_for(lambda: see(machine, "b") == ["sees GPU-aa,GPU-bb"], "both GPUs to be seen")
    assert machine.report("c")["phase"] == "Queued"
    gates["b"].touch()
    machine.wait_running("c", 1)
    wait_for(lambda: get_condition(machine, "c")["reason"] == "Admitted", "the wait to be over")
    assert get_condition(machine, "c")["status"] == "False"
    for name, gate in gates.items():
        gate.touch()
        machine.wait_phase(name, "Complete")


def test_more_than_the_machine_has_is_held_and_told_once_and_holds_nobody_up(machine: World) -> None:
    machine.start()
    drop(machine, "large", 3, 1)
    wait_for(lambda: get_condition(machine, "large").get("reason") == "Unschedulable", "the job to be held")
    drop(machine, "small", 1, 2).touch()
    machine.wait_phase("small", "Complete")
    report = machine.report("large")
    assert report["phase"] == "Pending"
    assert [(n["reason"], n["message"]) for n in report["nodes"]] == [
        ("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    ] * 3
    [event] = [e for e in machine.status.read_part("default", "large", "events") if e["reason"] == "FailedScheduling"]
    assert (event["type"], event["count"]) == ("Warning", 1)
    assert event["message"].endswith(
        "3 nvidia.com/gpu asked for at once and 2 can be given here: ask for fewer, or allow more with --gpus"
    )


def test_a_node_that_starts_again_has_the_same_gpu_and_a_suspended_job_none(machine: World) -> None:
    machine.start("--restart-backoff", "0")
    path = machine.base / "seen"
    code = f"echo $CUDA_VISIBLE_DEVICES >> {path}; test $(wc -l < {path}) -ge 3 && exec sleep 60; exit 1"
    job = build_train_job(
        "again", 1, ["sh", "-c", code], trainer={"resourcesPerNode": {"limits": {"nvidia.com/gpu": 1}}}
    )
    machine.drop(job)
    wait_for(lambda: path.exists() and len(path.read_text().split()) == 3, "the third start", 30)
    assert path.read_text().split() == ["GPU-aa"] * 3
    gate = drop(machine, "both", 1, 2)
    machine.wait_phase("both", "Queued")
    machine.drop({**job, "spec": {**job["spec"], "suspend": True}})
    machine.wait_running("both", 1)
    gate.touch()
    machine.wait_phase("both", "Complete")


@pytest.fixture
def cdi() -> Iterator[None]:
    """Two devices that a CDI specification of this machine names; each is a variable and no hardware."""
    devices = [{"name": str(n), "containerEdits": {"env": [f"GIVEN_{n}=here"]}} for n in range(2)]
    path = Path(f"/etc/cdi/trainlet-e2e-{os.getpid()}.json")
    had_directory = path.parent.exists()
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cdiVersion": "0.3.0", "kind": CDI_KIND, "devices": devices}))
    path.chmod(0o644)
    yield
    path.unlink()
    if not had_directory:
        path.parent.rmdir()


@pytest.mark.usefixtures("cdi")
@pytest.mark.parametrize("world", ["podman", "podman-rootless"], indirect=True)
def test_podman_gives_each_container_its_device(world: World) -> None:
    world.start()
    code = "env | grep GIVEN; exec sleep 60"
    resources = {"resourcesPerNode": {"limits": {CDI_KIND: 1}}}
    world.drop(build_train_job("pair", 2, ["sh", "-c", code], trainer=resources))
    world.wait_running("pair", 2)
    wait_for(lambda: see(world, "pair") == ["GIVEN_0=here", "GIVEN_1=here"], "each node to see its device")
    world.drop(build_train_job("third", 1, ["sh", "-c", code], trainer=resources))
    world.wait_phase("third", "Queued")


def test_without_gpus_a_job_that_asks_for_one_is_held_with_what_to_do(docker_world: World) -> None:
    docker_world.start("--gpus", "none")
    drop(docker_world, "wants", 1, 1)
    wait_for(lambda: get_condition(docker_world, "wants").get("reason") == "Unschedulable", "the job to be held")
    assert "`trainlet doctor` tells what is missing" in get_condition(docker_world, "wants")["message"]
