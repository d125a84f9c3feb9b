"""What a container's resources become: a kubelet's numbers, as an engine takes them."""

from typing import Any

import pytest

from trainlet.apis.core_v1 import Container, PodSpec
from trainlet.planning.devices import Wish
from trainlet.planning.resources import build_limits, build_wishes
from trainlet.planning.specs import Limits, Ulimit

GIBIBYTE, MEBIBYTE = 1 << 30, 1 << 20
DEFAULTS = Limits(shm_bytes=MEBIBYTE, pids=100, ulimits=(Ulimit("core", 0, 0),))
LARGEST = 262144

LIMITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "a limit is also a weight": ({"limits": {"cpu": "1500m"}}, {"cpus": 1.5, "cpu_shares": 1536}),
    "a number": ({"limits": {"cpu": 2}}, {"cpus": 2.0, "cpu_shares": 2048}),
    "no limit": ({"limits": {"cpu": 0, "memory": "0"}}, {}),
    "a weight alone": ({"requests": {"cpu": "250m"}}, {"cpu_shares": 256}),
    "the request is the weight": ({"requests": {"cpu": 1}, "limits": {"cpu": 4}}, {"cpus": 4.0, "cpu_shares": 1024}),
    "a request of nothing": ({"requests": {"cpu": 0}, "limits": {"cpu": 1}}, {"cpus": 1.0, "cpu_shares": 1024}),
    "the least weight": ({"requests": {"cpu": "1m"}}, {"cpu_shares": 2}),
    "parts of a milli count as one": ({"requests": {"cpu": "2100u"}}, {"cpu_shares": 3}),
    "the largest weight": ({"requests": {"cpu": "1k"}}, {"cpu_shares": LARGEST}),
    "shared memory is as large as memory": (
        {"limits": {"memory": "1Gi"}},
        {"memory_bytes": GIBIBYTE, "shm_bytes": GIBIBYTE},
    ),
    "bytes are rounded up": ({"limits": {"memory": "1500m"}}, {"memory_bytes": 2, "shm_bytes": 2}),
    "memory that is left": ({"requests": {"memory": "64Mi"}}, {"memory_reservation_bytes": 64 * MEBIBYTE}),
    "less than the limit": (
        {"requests": {"memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        {"memory_bytes": GIBIBYTE, "memory_reservation_bytes": 64 * MEBIBYTE, "shm_bytes": GIBIBYTE},
    ),
    "all of the limit": (
        {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        {"memory_bytes": GIBIBYTE, "shm_bytes": GIBIBYTE},
    ),
    "more than the limit": (
        {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
        {"memory_bytes": GIBIBYTE, "shm_bytes": GIBIBYTE},
    ),
    "too little to reserve": ({"requests": {"memory": "6291455"}}, {}),
    "GPUs": ({"limits": {"nvidia.com/gpu": 2}}, {"gpus": 2, "gpu_resource": "nvidia.com/gpu"}),
    "GPUs as a request": ({"requests": {"amd.com/gpu": "1"}}, {"gpus": 1, "gpu_resource": "amd.com/gpu"}),
    "no GPUs": ({"limits": {"nvidia.com/gpu": 0}}, {}),
    "what no engine limits": ({"limits": {"ephemeral-storage": "1Gi", "hugepages-2Mi": "1Gi"}}, {}),
}


@pytest.mark.parametrize(("resources", "expected"), LIMITS.values(), ids=LIMITS)
def test_limits(resources: dict[str, Any], expected: dict[str, Any]) -> None:
    wanted = {"shm_bytes": MEBIBYTE, "pids": 100, "ulimits": (Ulimit("core", 0, 0),), **expected}
    assert build_limits(Container(name="node", resources=resources), DEFAULTS) == Limits(**wanted)


@pytest.mark.parametrize("devices", [None, (), ("GPU-1", "GPU-2")])
def test_the_devices_are_those_that_were_given(devices: tuple[str, ...] | None) -> None:
    container = Container(name="node", resources={"limits": {"nvidia.com/gpu": 2}})
    assert build_limits(container, DEFAULTS, devices).devices == devices


def gpu(name: str, count: int, **fields: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"limits": {"nvidia.com/gpu": count}}, **fields}


def test_every_container_of_a_pod_asks_for_its_own_and_those_that_end_before_the_others_borrow() -> None:
    pod = PodSpec.of(
        {
            "initContainers": [gpu("warm", 1), gpu("watch", 1, restartPolicy="Always"), {"name": "fetch"}],
            "containers": [gpu("node", 2), {"name": "side"}],
        }
    )
    assert build_wishes(pod) == (
        Wish("warm", "nvidia.com/gpu", 1, borrows=True),
        Wish("watch", "nvidia.com/gpu", 1),
        Wish("node", "nvidia.com/gpu", 2),
    )
