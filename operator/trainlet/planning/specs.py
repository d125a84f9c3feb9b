"""What an engine needs to make a container or a network, and nothing that only one engine knows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trainlet.kube.meta import JSON
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
class VolumeMount:
    """A volume of the engine (its name) seen at `target` in the container.

    It is to belong to `group`, which may write to it, as may whatever is made in it; None leaves it as it is.
    """

    volume: str
    target: str
    read_only: bool = False
    group: int | None = None


@dataclass(frozen=True)
class Tmpfs:
    """Memory as a file system at `target`; `size_bytes` None means the engine's default."""

    target: str
    size_bytes: int | None = None


@dataclass(frozen=True)
class File:
    """One file that is put into the container before it starts; its content is nobody else's to see.

    `path` is absolute in the container, `mode` the permission bits; ids are those inside of the container.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    uid: int = 0
    gid: int = 0

    @property
    def digest(self) -> str:
        """What stands for the content wherever a spec is written down."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Ulimit:
    """A limit of the kernel's for every process of a container (setrlimit); -1 is unlimited."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True)
class Limits:
    """Engine limits of one container; None means the engine's default.

    `cpus` is a number of cores, `cpu_shares` a weight beside other containers (1024 a core), sizes are bytes, `pids`
    counts processes and threads. `memory_reservation_bytes` is what is left to it when memory gets scarce. `gpus` is a
    count of the resource named `gpu_resource`, `devices` which of them by name; None where only the engine knows them.
    """

    cpus: float | None = None
    cpu_shares: int | None = None
    memory_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    shm_bytes: int | None = None
    pids: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    gpus: int = 0
    gpu_resource: str = ""
    devices: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Privileges:
    """What processes may do other than by an engine's default; capabilities are named without `CAP_`.

    `unconfined`: no system call is filtered.
    """

    privileged: bool = False
    no_new_privileges: bool = False
    read_only_root: bool = False
    unconfined: bool = False
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dns:
    """Name servers, search domains and resolver options (`ndots:2`) beside the engine's own."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerSpec:
    """One container. `command` and `args` mean what they mean in a pod: ENTRYPOINT and CMD; None keeps the image's.

    `groups` are its processes' beside the user's own. `address` is fixed before anything runs; `hosts` are further
    (address, names) lines for /etc/hosts; `network` is a network's name, empty for the engine's default one; `runtime`
    the engine's name of what runs it, empty for its usual one.

    `joins` is the name of a container, one that `is_joined`, whose network, names and shared memory it uses, in the
    place of what `network` and all that belongs to it say; with `joins_processes` it sees its processes too.

    `owner_ids` are the user and group inside that a rootless engine is to make its own user's outside: what they write
    into directories of the host belongs to that user then.
    """

    name: str
    image: str
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    volumes: tuple[VolumeMount, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    files: tuple[File, ...] = ()
    limits: Limits = Limits()
    privileges: Privileges = Privileges()
    user: str | None = None
    owner_ids: tuple[int, int] | None = None
    groups: tuple[int, ...] = ()
    working_dir: str | None = None
    hostname: str = ""
    network: str = ""
    address: str | None = None
    aliases: tuple[str, ...] = ()
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dns: Dns = Dns()
    runtime: str = ""
    is_joined: bool = False
    joins: str = ""
    joins_processes: bool = False
    stop_timeout_seconds: int = 30

    def with_hash(self, told: "ContainerSpec | None" = None) -> "ContainerSpec":
        """Add the label that says what this spec holds, so that drift is one comparison.

        `told` is the same spec without what is secret, of which not even a digest may be seen.
        """
        text = json.dumps(vars(told or self), default=_write_plainly, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return replace(self, labels={**self.labels, labels.SPEC_HASH: digest})

    def to_json(self) -> JSON:
        """Return the spec as plain values, with a digest in the place of every file's content."""
        return dict(json.loads(json.dumps(vars(self), default=_write_plainly)))


def _write_plainly(part: Any) -> JSON:
    """Return a part of a spec as JSON has it, with a digest in the place of a file's content."""
    plain = vars(part)
    return {**plain, "content": f"sha256:{part.digest}"} if isinstance(part, File) else plain


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


@dataclass(frozen=True)
class VolumeSpec:
    """One named volume of the engine; with `in_memory` a file system in memory, of this size at most and this group."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    in_memory: bool = False
    size_bytes: int | None = None
    group: int | None = None
