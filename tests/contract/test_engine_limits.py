"""Limits as a process in the container sees them: in its cgroup, in /proc, in /dev, in its environment."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import KINDS, open_engine
from trainlet.engine.base import StartFailed
from trainlet.engine.process import ProcessEngine
from trainlet.planning.specs import Limits, Ulimit
from workbench import Bench

MEBIBYTE = 1 << 20
#: Of this process alone: two specifications of one device are none.
CDI_KIND = f"trainlet-{os.getpid()}.test/gpu"

#: Prints what one of these files says; they are named for cgroups v1 and v2.
READ = """
import os
def read(*names):
    root = "/sys/fs/cgroup/"
    return next((open(root + name).read().split()[0] for name in names if os.path.exists(root + name)), "nowhere")
"""
FILES = {
    "weight": ("cpu_shares", 512, "cpu/cpu.shares", "cpu.weight", ("512", "20", "59")),
    "reservation": (
        "memory_reservation_bytes",
        64 * MEBIBYTE,
        "memory/memory.soft_limit_in_bytes",
        "memory.low",
        (str(64 * MEBIBYTE),),
    ),
    "processes": ("pids", 777, "pids/pids.max", "pids.max", ("777",)),
    "memory": ("memory_bytes", 96 * MEBIBYTE, "memory/memory.limit_in_bytes", "memory.max", (str(96 * MEBIBYTE),)),
    "cores": ("cpus", 0.5, "cpu/cpu.cfs_quota_us", "cpu.max", ("50000",)),
}


@pytest.mark.needs("limits")
@pytest.mark.parametrize(("field", "value", "first", "second", "expected"), FILES.values(), ids=FILES)
def test_a_limit_is_that_of_the_container_s_cgroup(
    bench: Bench, field: str, value: float, first: str, second: str, expected: tuple[str, ...]
) -> None:
    [seen] = bench.output(f"{READ}\nprint(read({first!r}, {second!r}))", limits=Limits(**{field: value}))  # type: ignore[arg-type]
    assert seen in expected


@pytest.mark.needs("limits")
def test_no_more_processes_than_allowed(bench: Bench) -> None:
    code = (
        "import os, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 100:\n"
        "        if os.fork() == 0: time.sleep(60)\n"
        "        made += 1\n"
        "except BlockingIOError as error: print(error.errno, made < 20)\n"
    )
    spec = bench.spec(code, limits=Limits(pids=20))
    id = bench.run(spec)
    assert bench.wait_exit(spec).exit_code == 0
    assert bench.read(id) == ["11 True"]


@pytest.mark.needs("images")
def test_all_limits_at_once_start_on_every_engine(bench: Bench) -> None:
    limits = Limits(
        cpus=0.5,
        cpu_shares=512,
        memory_bytes=256 * MEBIBYTE,
        memory_reservation_bytes=64 * MEBIBYTE,
        shm_bytes=128 * MEBIBYTE,
        pids=500,
    )
    code = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize)"
    assert bench.output(code, limits=limits) == [str(128 * MEBIBYTE)]


@pytest.mark.needs("images")
def test_every_process_has_the_limits_that_were_asked_for(bench: Bench) -> None:
    # nofile and nproc too: with any limit in a request, Podman leaves out those that its configuration has.
    ulimits = (Ulimit("nofile", 1024, 2048), Ulimit("nproc", 1000, 2000), Ulimit("core", 0, 0))
    code = (
        "import resource as r, subprocess\n"
        "print([r.getrlimit(n) for n in (r.RLIMIT_NOFILE, r.RLIMIT_NPROC, r.RLIMIT_CORE)])\n"
        "print(subprocess.run(['sh', '-c', 'ulimit -Sn; ulimit -Hn'], capture_output=True, text=True).stdout.split())"
    )
    expected = ["[(1024, 2048), (1000, 2000), (0, 0)]", "['1024', '2048']"]
    assert bench.output(code, limits=Limits(ulimits=ulimits)) == expected


@pytest.fixture(params=["podman", "podman-rootless"])
def cdi_bench(request: pytest.FixtureRequest, cdi: None, tmp_path: Path, shared: Path) -> Iterator[Bench]:  # noqa: ARG001
    """An engine that takes devices by their CDI names, however old it is."""
    kind = KINDS[request.param]
    bench = Bench(open_engine(kind, tmp_path), kind, tmp_path, shared)
    yield bench
    bench.sweep()
    bench.engine.close()


@pytest.fixture
def cdi() -> Iterator[None]:
    """Two devices that a CDI specification of this machine names; each is a variable and no hardware."""
    devices = [{"name": name, "containerEdits": {"env": [f"GPU_{name}=here"]}} for name in ("0", "1")]
    path = Path(f"/etc/cdi/trainlet-{os.getpid()}.json")
    had_directory = path.parent.exists()
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cdiVersion": "0.3.0", "kind": CDI_KIND, "devices": devices}))
    path.chmod(0o644)
    yield
    path.unlink()
    if not had_directory:
        path.parent.rmdir()


SEE_GPUS = "import os; print(sorted(name for name in os.environ if name.startswith('GPU_')))"
DEVICES = {
    "one": (Limits(gpus=1, gpu_resource=CDI_KIND, devices=("1",)), "['GPU_1']"),
    "both": (Limits(gpus=2, gpu_resource=CDI_KIND, devices=("0", "1")), "['GPU_0', 'GPU_1']"),
    "none": (Limits(devices=()), "[]"),
    "one, whichever": (Limits(gpus=1, gpu_resource=CDI_KIND), "['GPU_0']"),
}


@pytest.mark.parametrize(("limits", "seen"), DEVICES.values(), ids=DEVICES)
def test_only_the_devices_that_were_given_are_there(cdi_bench: Bench, limits: Limits, seen: str) -> None:
    assert cdi_bench.output(SEE_GPUS, limits=limits) == [seen]


def test_a_device_that_is_gone_never_starts(cdi_bench: Bench) -> None:
    with pytest.raises(StartFailed):
        cdi_bench.run(cdi_bench.spec("", limits=Limits(gpus=1, gpu_resource=CDI_KIND, devices=("7",))))


PROCESSES = {
    "nothing is known": (Limits(gpus=1, gpu_resource="nvidia.com/gpu"), "5", "5 None"),
    "none": (Limits(devices=()), "5", " "),
    "some of NVIDIA's": (Limits(gpus=2, gpu_resource="nvidia.com/gpu", devices=("GPU-a", "1")), "5", "GPU-a,1 "),
    "one of AMD's": (Limits(gpus=1, gpu_resource="amd.com/gpu", devices=("2",)), "5", " 2"),
}


@pytest.mark.parametrize(("limits", "inherited", "seen"), PROCESSES.values(), ids=PROCESSES)
def test_a_process_is_told_which_gpus_are_its_own(tmp_path: Path, limits: Limits, inherited: str, seen: str) -> None:
    kind = KINDS["process"]
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": inherited}
    bench = Bench(ProcessEngine(tmp_path / "engine", environ), kind, tmp_path, tmp_path)
    code = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ.get('ROCR_VISIBLE_DEVICES'))"
    try:
        assert bench.output(code, limits=limits, env={"CUDA_VISIBLE_DEVICES": "0"} if limits.devices else {}) == [seen]
    finally:
        bench.sweep()
        bench.engine.close()
