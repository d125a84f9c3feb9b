"""What an engine needs to make a container or a network, and nothing that only one engine knows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from trainlet.planning import labels


@dataclass(frozen=True)
class Mount:
    """A directory or file of the host (`source`, absolute) seen at `target` in the container.

    `host_path_type` is None for what is ours; else the source is a manifest's word (with what must be there, as
    `hostPath.type` has it) and is followed before it is mounted.
    """

    source: str
    target: str
    read_only: bool = False
    host_path_type: str | None = None


@dataclass(frozen=True)
class Limits:
    """Engine limits of one container; None means the engine's default.

    `cpus` is a number of cores, sizes are bytes, `gpus` a count of the resource named `gpu_resource`.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    shm_bytes: int | None = None
    gpus: int = 0
    gpu_resource: str = ""


@dataclass(frozen=True)
class Privileges:
    """What processes may do other than by an engine's default; capabilities are named without `CAP_`."""

    privileged: bool = False
    no_new_privileges: bool = False
    read_only_root: bool = False
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerSpec:
    """One container. `command` and `args` mean what they mean in a pod: ENTRYPOINT and CMD; None keeps the image's.

    `address` is fixed before anything runs; `hosts` are further (address, names) lines for /etc/hosts;
    `network` is a network's name, empty for the engine's default one.
    """

    name: str
    image: str
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    limits: Limits = Limits()
    privileges: Privileges = Privileges()
    user: str | None = None
    working_dir: str | None = None
    hostname: str = ""
    network: str = ""
    address: str | None = None
    aliases: tuple[str, ...] = ()
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stop_timeout_seconds: int = 30

    def with_hash(self) -> "ContainerSpec":
        """Add the label that says what this spec holds, so that drift is one comparison."""
        text = json.dumps(asdict(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return replace(self, labels={**self.labels, labels.SPEC_HASH: digest})


@dataclass(frozen=True)
class NetworkSpec:
    """One bridge network with DNS. `hosts` is how many nodes must fit.

    `subnet` is None in a plan: the executor takes a free one from the pool when it makes the network,
    because what is free is the world's to say and many jobs ask at once.
    """

    name: str
    hosts: int
    labels: Mapping[str, str] = field(default_factory=dict)
    subnet: str | None = None
