"""Checks of the engines: where they answer, whether trainlet can use one, and what they need for networks and GPUs."""

from collections.abc import Iterator
from itertools import islice

from trainlet.controller.subnets import read_host_routes
from trainlet.doctor.machine import Finding, Machine, fail, ok, warn
from trainlet.engine.explain import NO_SOCKET, find_remedy
from trainlet.planning.addresses import find_free_subnets

_FEW_BLOCKS, _ENOUGH_BLOCKS = 10, 1000
_SMALLEST_JOB = 2
_LIBRARIES = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/lib/podman", "/usr/local/libexec/podman")
_INITS = (
    *(f"{directory}/catatonit" for directory in (*_LIBRARIES, "/usr/bin")),
    "/usr/bin/tini-static",
    "/usr/bin/tini",
    "/usr/libexec/docker/docker-init",
    "/usr/bin/docker-init",
)
_NVIDIA_VENDOR = "0x10de"
_CDI_SPECS = ("/etc/cdi/*", "/run/cdi/*", "/var/run/cdi/*")
_WITHOUT_CONTAINERS = "or do without containers: --container-runtime process"


def check_sockets(machine: Machine) -> Iterator[Finding]:
    """Say of every place where an engine may be whether one answers there."""
    for attempt in machine.attempts:
        if attempt.ok:
            yield ok(f"{attempt.runtime} {attempt.version} answers at {attempt.url}")
        elif attempt.error != NO_SOCKET:
            yield warn(f"{attempt.runtime} at {attempt.url}: {attempt.error}", attempt.remedy)
    for runtime in dict.fromkeys(attempt.runtime for attempt in machine.attempts):
        absent = [a for a in machine.attempts if a.runtime == runtime and a.error == NO_SOCKET]
        if not absent:
            continue
        message = f"no {runtime} socket at {', '.join(attempt.url for attempt in absent)}"
        yield ok(message) if machine.engine else warn(message, absent[0].remedy)


def check_engine(machine: Machine) -> Iterator[Finding]:
    """Say which engine trainlet uses."""
    if machine.engine is None:
        remedies = dict.fromkeys(attempt.remedy for attempt in machine.attempts if attempt.remedy)
        first_line = machine.complaint.partition("\n")[0]
        yield fail(first_line.partition(";")[0], "; ".join([*remedies, _WITHOUT_CONTAINERS]))
    elif machine.runtime == "process":
        yield warn("nodes run as processes, which isolates nothing", "start Docker or Podman for containers")
    else:
        yield ok(f"{machine.runtime} {machine.engine.ping()} at {machine.engine.endpoint} is used")


def check_podman_service(machine: Machine) -> Iterator[Finding]:
    """Say whether Podman can be reached, and why its service does not come up."""
    program = machine.find_program("podman")
    if program is None or machine.settings.container_runtime not in (None, "podman"):
        return
    if any(attempt.ok and attempt.runtime == "podman" for attempt in machine.attempts):
        yield ok("a podman service answers")
    elif machine.runtime == "podman":
        yield ok(f"no podman service was there; trainlet can start one with {program}")
    elif machine.engine is not None:
        yield ok(f"no podman service is there; {machine.runtime} is used")
    else:
        complaint = next((line.strip() for line in machine.complaint.splitlines() if "its service" in line), "")
        usual = next(
            (a.remedy for a in machine.attempts if a.runtime == "podman" and a.remedy), "look at `podman info`"
        )
        yield fail(complaint or "podman is installed and its service does not answer", find_remedy(complaint) or usual)


def check_gpu(machine: Machine) -> Iterator[Finding]:
    """Say whether containers can have the machine's GPUs."""
    if machine.is_remote:
        return
    if not _has_driver(machine):
        if any(_is_gpu(machine, str(path.parent.name)) for path in machine.find("/sys/bus/pci/devices/*/vendor")):
            yield warn(
                "there is an NVIDIA GPU and no driver for it", "install the NVIDIA driver, then try `nvidia-smi`"
            )
        else:
            yield ok("no NVIDIA GPU on this machine; jobs that ask for one cannot start")
        return
    if machine.find_program("nvidia-smi") is None:
        yield warn("the NVIDIA driver is loaded and there is no nvidia-smi", "install the driver's tools")
    yield _check_toolkit(machine)


def _has_driver(machine: Machine) -> bool:
    return machine.path("/proc/driver/nvidia/version").exists() or machine.path("/dev/nvidiactl").exists()


def _is_gpu(machine: Machine, device: str) -> bool:
    directory = f"/sys/bus/pci/devices/{device}"
    # PCI classes 03xxxx are displays and 3D controllers; NVIDIA also makes audio and network devices.
    return machine.read(f"{directory}/vendor") == _NVIDIA_VENDOR and machine.read(f"{directory}/class")[:4] == "0x03"


def _check_toolkit(machine: Machine) -> Finding:
    install = "install nvidia-container-toolkit"
    if machine.runtime == "podman":
        if any("nvidia" in path.name for pattern in _CDI_SPECS for path in machine.find(pattern)):
            return ok("podman can give GPUs to containers (CDI)")
        remedy = f"{install}, then `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
        return warn("podman cannot give GPUs to containers: no CDI specification of them", remedy)
    if machine.find_program("nvidia-container-runtime-hook", "nvidia-container-runtime", "nvidia-ctk"):
        return ok("the NVIDIA container toolkit is installed")
    remedy = f"{install}, then `sudo nvidia-ctk runtime configure --runtime=docker` and restart Docker"
    return warn("containers cannot have GPUs: the NVIDIA container toolkit is not installed", remedy)


def check_names(machine: Machine) -> Iterator[Finding]:
    """Say whether Podman can make networks whose containers find each other by name."""
    if machine.runtime != "podman" or not machine.runs_containers_here:
        return
    for program, use, remedy in (
        ("netavark", "make networks", "install netavark; on Podman before 4.0 containernetworking-plugins"),
        ("aardvark-dns", "resolve names other than those trainlet writes to /etc/hosts", "install aardvark-dns"),
    ):
        if any(machine.path(f"{directory}/{program}").exists() for directory in _LIBRARIES):
            yield ok(f"{program} is installed")
        else:
            yield warn(f"podman has no {program} to {use}", remedy)


def check_init(machine: Machine) -> Iterator[Finding]:
    """Say whether Podman has an init that passes signals on to the training."""
    if machine.runtime != "podman" or not machine.runs_containers_here:
        return
    found = next((path for path in _INITS if machine.path(path).exists()), None)
    if found:
        yield ok(f"containers get {found} as their init")
    else:
        yield warn("podman has no init for containers, so they may ignore SIGTERM", "install catatonit or tini")


def check_pool(machine: Machine) -> Iterator[Finding]:
    """Count the subnets that are left for jobs."""
    if machine.engine is None or machine.runtime == "process":
        return
    pool = machine.settings.network_pool
    taken = machine.engine.find_subnets() | read_host_routes(machine.path("/proc/net/route"))
    free = sum(1 for _ in islice(find_free_subnets(pool, _SMALLEST_JOB, taken), _ENOUGH_BLOCKS))
    remedy = "give a larger or another pool with --network-pool, or remove networks"
    if free == 0:
        yield fail(f"no free subnet in {pool}", remedy)
    elif free < _FEW_BLOCKS:
        yield warn(f"only {free} free subnets in {pool}", remedy)
    else:
        more = " or more" if free == _ENOUGH_BLOCKS else ""
        yield ok(f"{free}{more} free subnets in {pool}")
