"""The check of what containers need for GPUs: the driver, the toolkit, and that the engine knows of it."""

from collections.abc import Iterator

from trainlet.doctor.machine import Finding, Machine, ok, warn

_NVIDIA_VENDOR = "0x10de"
_CDI_SPECS = ("/etc/cdi/*", "/run/cdi/*", "/var/run/cdi/*")
_TOOLKIT = ("nvidia-container-runtime-hook", "nvidia-container-runtime", "nvidia-ctk")
_INSTALL = "install nvidia-container-toolkit"
_REGISTER = "`sudo nvidia-ctk runtime configure --runtime=docker`, then `sudo systemctl restart docker`"
_GENERATE = "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"


def check_gpu(machine: Machine) -> Iterator[Finding]:
    """Say whether containers can have the machine's GPUs."""
    if machine.is_remote:
        return
    if not _has_driver(machine):
        yield _judge_without_driver(machine)
        return
    if machine.find_program("nvidia-smi") is None:
        yield warn("the NVIDIA driver is loaded and there is no nvidia-smi", "install the driver's tools")
    yield _check_podman(machine) if machine.runtime == "podman" else _check_docker(machine)


def _has_driver(machine: Machine) -> bool:
    return machine.path("/proc/driver/nvidia/version").exists() or machine.path("/dev/nvidiactl").exists()


def _judge_without_driver(machine: Machine) -> Finding:
    if any(_is_gpu(machine, path.parent.name) for path in machine.find("/sys/bus/pci/devices/*/vendor")):
        return warn("there is an NVIDIA GPU and no driver for it", "install the NVIDIA driver, then try `nvidia-smi`")
    return ok("no NVIDIA GPU on this machine; jobs that ask for one cannot start")


def _is_gpu(machine: Machine, device: str) -> bool:
    directory = f"/sys/bus/pci/devices/{device}"
    # PCI classes 03xxxx are displays and 3D controllers; NVIDIA also makes audio and network devices.
    return machine.read(f"{directory}/vendor") == _NVIDIA_VENDOR and machine.read(f"{directory}/class")[:4] == "0x03"


def _check_podman(machine: Machine) -> Finding:
    if _has_specification(machine):
        return ok("podman can give GPUs to containers (CDI)")
    message = "podman cannot give GPUs to containers: no CDI specification of them in /etc/cdi or /var/run/cdi"
    return warn(message, _GENERATE if machine.find_program("nvidia-ctk") else f"{_INSTALL}, then {_GENERATE}")


def _has_specification(machine: Machine) -> bool:
    return any("nvidia" in path.name for pattern in _CDI_SPECS for path in machine.find(pattern))


def _check_docker(machine: Machine) -> Finding:
    if "nvidia" in (machine.info.get("Runtimes") or {}):
        return ok("docker can give GPUs to containers (the nvidia runtime is registered)")
    if machine.info.get("CDISpecDirs") and _has_specification(machine):
        return ok("docker can give GPUs to containers (CDI)")
    if not machine.find_program(*_TOOLKIT):
        message = "containers cannot have GPUs: the NVIDIA container toolkit is not installed"
        return warn(message, f"{_INSTALL}, then {_REGISTER}")
    if machine.info:
        return warn("the NVIDIA container toolkit is installed and docker does not list its runtime", _REGISTER)
    return ok("the NVIDIA container toolkit is installed")
