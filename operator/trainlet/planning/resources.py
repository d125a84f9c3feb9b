"""A container's resources -> its limits on an engine: what a kubelet does with requests and limits, in its numbers."""

from dataclasses import replace

from trainlet.apis.core_v1 import Container, PodSpec, Quantity
from trainlet.kube.quantity import parse_quantity, round_up
from trainlet.planning.devices import Wish
from trainlet.planning.runtime import count_gpus, find_gpu_resource
from trainlet.planning.specs import Limits

#: A kubelet's weights: of one core, and the kernel's bounds (kubernetes pkg/kubelet/cm/helpers_linux.go).
_SHARES_OF_A_CORE, _LEAST_SHARES, _MOST_SHARES = 1024, 2, 262_144
#: Docker refuses to reserve less.
_LEAST_RESERVATION_BYTES = 6 << 20


def build_limits(container: Container, defaults: Limits, devices: tuple[str, ...] | None = None) -> Limits:
    """Return the limits of a container; `defaults` are those of one that asks for nothing, `devices` its GPUs."""
    limits, requests = container.resources.limits, container.resources.requests
    cpu, memory_bytes = limits.get("cpu"), _read_bytes(limits.get("memory"))
    gpu_resource, gpus = find_gpus(container)
    return replace(
        defaults,
        cpus=float(parse_quantity(cpu or 0)) or None,
        cpu_shares=_build_shares(requests.get("cpu")) or _build_shares(cpu),
        memory_bytes=memory_bytes,
        memory_reservation_bytes=_build_reservation(_read_bytes(requests.get("memory")), memory_bytes),
        # The engines' 64 MB are too few for PyTorch's data loaders. A tmpfs takes only what is written.
        shm_bytes=memory_bytes or defaults.shm_bytes,
        gpus=gpus,
        gpu_resource=gpu_resource,
        devices=devices,
    )


def find_gpus(container: Container) -> tuple[str, int]:
    """Return the resource and the number of GPUs that a container asks for; an empty text and 0 for none."""
    resources = container.resources
    count = count_gpus(resources)
    return (find_gpu_resource({**resources.requests, **resources.limits}) or "", count) if count else ("", 0)


def build_wishes(pod: PodSpec) -> tuple[Wish, ...]:
    """Return the GPUs that a pod's containers ask for; of init containers only sidecars run beside the others."""
    inits = [(container, container.restart_policy != "Always") for container in pod.init_containers]
    containers = [*inits, *((container, False) for container in pod.containers)]
    asked = ((container.name, *find_gpus(container), borrows) for container, borrows in containers)
    return tuple(Wish(*wish) for wish in asked if wish[2])


def _read_bytes(amount: Quantity | None) -> int | None:
    """Return a size; nothing and zero are no limit."""
    return round_up(amount or 0) or None


def _build_shares(cpu: Quantity | None) -> int | None:
    """Return the weight of so many cores; without request and limit it is the engine's, not a kubelet's least one."""
    milli = -(-parse_quantity(cpu or 0) * 1000 // 1)
    return max(_LEAST_SHARES, min(milli * _SHARES_OF_A_CORE // 1000, _MOST_SHARES)) if milli else None


def _build_reservation(request: int | None, limit: int | None) -> int | None:
    """Return what is reserved below the limit; the whole limit need not be, and engines refuse more."""
    if request is None or request < _LEAST_RESERVATION_BYTES or (limit is not None and request >= limit):
        return None
    return request
