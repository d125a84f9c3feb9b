"""Remove what a run of the tests that was killed left on the engines, so that the next one finds the names free.

usage: sweep.py, with the variables that tests/engines/setup prints. Not while tests run.

What tests made is known by the images that only they use, by the stores that containers of those name, and by the
address pools that only they take networks from. Nothing else is touched.
"""

import os
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError

sys.path.insert(0, str(Path(__file__).parents[1]))
from engines import KINDS, engine_urls
from trainlet.planning import labels


def sweep(url: str) -> None:
    """Remove everything of tests from one engine; Podman answers Docker's client too."""
    client: Any = docker.DockerClient(base_url=url, timeout=60)
    containers = client.containers.list(all=True, ignore_removed=True)
    networks = [each for each in client.networks.list() if is_of_pools(each)]
    named = [*(each.labels for each in containers if is_of_tests(each)), *(each.attrs["Labels"] for each in networks)]
    stores = {each[labels.STORE] for each in named if labels.STORE in (each or {})}

    def is_ours(found: dict[str, str] | None) -> bool:
        return (found or {}).get(labels.STORE) in stores

    containers = [each for each in containers if is_of_tests(each) or is_ours(each.labels)]
    # A sandbox is joined by the others of its pod, so it goes last.
    containers.sort(key=lambda each: each.labels.get(labels.CONTAINER) == labels.SANDBOX)
    for container in containers:
        remove(f"container {container.name}", container.remove, v=True, force=True)
    for network in networks:
        remove(f"network {network.name}", network.remove)
    for volume in client.volumes.list():
        if is_ours(volume.attrs["Labels"]):
            remove(f"volume {volume.name}", volume.remove)
    client.close()


def is_of_tests(container: Any) -> bool:
    """Tell whether a container was made from an image that only tests have."""
    image = container.attrs["Config"]["Image"]
    return image.startswith("localhost/trainlet-") and image.endswith(":test")


def is_of_pools(network: Any) -> bool:
    """Tell whether a network has its addresses from a pool that only tests take from."""
    pools = [ip_network(kind.pool) for kind in KINDS.values() if kind.variable]
    subnets = [ip_network(each["Subnet"]) for each in network.attrs["IPAM"]["Config"] or []]
    return any(each.version == 4 and each.subnet_of(pool) for each in subnets for pool in pools)


def remove(what: str, do: Any, **arguments: bool) -> None:
    """Remove one thing, and say so."""
    try:
        do(**arguments)
        print(f"sweep: removed {what} of an earlier run", file=sys.stderr)
    except APIError as error:
        print(f"sweep: cannot remove {what}: {error.explanation}", file=sys.stderr)


if __name__ == "__main__":
    for url in engine_urls(os.environ).values():
        sweep(url)
