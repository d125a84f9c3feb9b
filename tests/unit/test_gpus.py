"""What GPUs a machine has: made up here by a program called nvidia-smi and by files below a root."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from scripted_engine import ScriptedEngine
from trainlet.controller.gpus import NVIDIA, Gpu, ask_nvidia, choose, read_cdi, read_inventory
from trainlet.engine.base import EngineFacts
from trainlet.engine.detect import Surroundings

LISTED = "0, GPU-aa, NVIDIA A100-SXM4-40GB, 40960 MiB\n1, GPU-bb, NVIDIA A100-SXM4-40GB, 40960 MiB\n"
CARDS = [Gpu(f"GPU-{uuid}", str(index), "NVIDIA A100-SXM4-40GB, 40960 MiB") for index, uuid in enumerate(("aa", "bb"))]


class Engine(ScriptedEngine):
    """An engine that is of some kind, somewhere."""

    def __init__(self, name: str, endpoint: str = "unix:///run/engine.sock", *, is_in_vm: bool = False) -> None:
        super().__init__(lambda: pytest.fail("nobody asks for the time"))
        self.name, self.endpoint = name, endpoint
        self.facts = EngineFacts(name, is_in_vm=is_in_vm)

    def find_facts(self) -> EngineFacts:
        return self.facts


@pytest.fixture
def machine(tmp_path: Path) -> Surroundings:
    """A machine without GPUs."""
    (tmp_path / "bin").mkdir()
    environ = {"PATH": str(tmp_path / "bin")}
    return Surroundings(environ, tmp_path, 0, "Linux", tmp_path, tmp_path / "root")


def put_tool(machine: Surroundings, script: str) -> None:
    """Put a program called nvidia-smi into the machine's path."""
    program = Path(machine.environ["PATH"]) / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def put_list(machine: Surroundings) -> None:
    put_tool(machine, f'test "$1" = --query-gpu=index,uuid,name,memory.total && printf "{LISTED}"'.replace("\n", "\\n"))


def put_cdi(machine: Surroundings, kind: str, *names: str, file: str = "etc/cdi/gpus.json") -> None:
    """Write a CDI specification."""
    path = machine.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    devices = [{"name": name, "containerEdits": {}} for name in names]
    path.write_text(json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": devices}))


def test_nvidia_s_are_listed_by_their_tool(machine: Surroundings) -> None:
    assert ask_nvidia(machine.environ) == []
    put_list(machine)
    assert ask_nvidia(machine.environ) == CARDS


@pytest.mark.parametrize("script", ["echo 'No devices were found'; exit 6", "echo oops", "exec /nowhere"])
def test_a_tool_that_fails_lists_none(machine: Surroundings, script: str, caplog: pytest.LogCaptureFixture) -> None:
    put_tool(machine, script)
    with caplog.at_level(logging.WARNING):
        assert ask_nvidia(machine.environ) == []
    assert len(caplog.records) == (script != "echo oops")


CDI: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "numbers": (("0", "1", "all"), ["0", "1"]),
    "numbers and uuids": (("0", "GPU-aa", "1", "GPU-bb", "all"), ["0", "1"]),
    "uuids": (("GPU-aa", "GPU-bb", "all"), ["GPU-aa", "GPU-bb"]),
    "parts": (("0:0", "0:1", "all"), ["0:0", "0:1"]),
    "all alone": (("all",), ["all"]),
    "none": ((), []),
}


@pytest.mark.parametrize(("listed", "expected"), CDI.values(), ids=CDI)
def test_a_specification_names_a_gpu_once(machine: Surroundings, listed: tuple[str, ...], expected: list[str]) -> None:
    put_cdi(machine, "amd.com/gpu", *listed)
    assert read_cdi(machine.root) == {"amd.com/gpu": [Gpu(name) for name in expected]}


def test_specifications_add_up_and_may_be_yaml(machine: Surroundings) -> None:
    put_cdi(machine, NVIDIA, "0")
    put_cdi(machine, NVIDIA, "0", "1", file="var/run/cdi/nvidia.json")
    put_cdi(machine, "intel.com/gpu", "card0", file="etc/cdi/intel.yaml")
    put_cdi(machine, "vendor.com/net", "0", file="etc/cdi/net.json")
    put_cdi(machine, "other.com/gpu", "0", file="etc/cdi/notes.txt")
    assert read_cdi(machine.root) == {"intel.com/gpu": [Gpu("card0")], NVIDIA: [Gpu("0"), Gpu("1")]}


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": 1}', '{"kind": "a.com/gpu", "devices": {}}', "\udcff"])
def test_a_broken_specification_stops_nothing(machine: Surroundings, text: str) -> None:
    put_cdi(machine, NVIDIA, "0")
    for name in ("a.json", "b.yaml"):
        (machine.root / "etc/cdi" / name).write_bytes(text.encode(errors="surrogateescape"))
    assert read_cdi(machine.root) == {NVIDIA: [Gpu("0")]}


CHOICES = {
    "all": ["GPU-aa", "GPU-bb"],
    "1": ["GPU-aa"],
    "9": ["GPU-aa", "GPU-bb"],
    "0": [],
    "1,7": ["GPU-bb"],
    "GPU-bb": ["GPU-bb"],
    "nvidia.com/gpu=1": ["GPU-bb"],
    "nvidia.com/gpu=GPU-aa": ["GPU-aa"],
    "amd.com/gpu=1": [],
    "0,GPU-bb": ["GPU-aa", "GPU-bb"],
}


@pytest.mark.parametrize(("choice", "expected"), CHOICES.items(), ids=CHOICES)
def test_what_jobs_may_have_is_the_user_s_choice(choice: str, expected: list[str]) -> None:
    assert [gpu.name for gpu in choose(NVIDIA, CARDS, choice)] == expected


INVENTORIES = {
    "docker": {NVIDIA: ("GPU-aa", "GPU-bb"), "amd.com/gpu": ("0",)},
    "process": {NVIDIA: ("GPU-aa", "GPU-bb"), "amd.com/gpu": ("0",)},
    "podman": {NVIDIA: ("0", "1"), "amd.com/gpu": ("0",)},
}


@pytest.mark.parametrize(("engine", "expected"), INVENTORIES.items(), ids=INVENTORIES)
def test_each_engine_has_its_own_names(machine: Surroundings, engine: str, expected: Any) -> None:
    assert read_inventory(Engine(engine), machine, "all") == {}
    put_cdi(machine, "amd.com/gpu", "0", file="etc/cdi/amd.json")
    put_cdi(machine, NVIDIA, "0", "1", "all")
    put_list(machine)
    assert read_inventory(Engine(engine), machine, "all") == expected
    assert read_inventory(Engine(engine), machine, "none") == {}


def test_without_its_tool_nvidia_s_are_those_of_the_specification(machine: Surroundings) -> None:
    put_cdi(machine, NVIDIA, "0", "1", "all")
    assert read_inventory(Engine("docker"), machine, "1") == {NVIDIA: ("0",)}


ELSEWHERE = {
    "another machine": Engine("docker", "ssh://user@host"),
    "a port": Engine("podman", "tcp://10.0.0.1:2375"),
    "a virtual machine": Engine("docker", is_in_vm=True),
}


@pytest.mark.parametrize("engine", ELSEWHERE.values(), ids=ELSEWHERE)
def test_the_gpus_of_another_machine_are_not_known(machine: Surroundings, engine: Engine) -> None:
    put_list(machine)
    assert read_inventory(engine, machine, "all") is None
    assert read_inventory(engine, machine, "none") == {}


def test_a_mac_s_engine_runs_in_a_virtual_machine(machine: Surroundings) -> None:
    mac = Surroundings(machine.environ, machine.home, 0, "Darwin", machine.state_dir, machine.root)
    assert read_inventory(Engine("podman"), mac, "all") is None
