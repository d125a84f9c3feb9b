"""What an engine needs to make a container or a network, and nothing that only one engine knows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

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
    """A volume of the engine (its name) seen at `target` in the container."""

    volume: str
    target: str
    read_only: bool = False


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

    `groups` are its processes' beside the user's own. `address` is fixed before anything runs; `hosts` are further
    (address, names) lines for /etc/hosts; `network` is a network's name, empty for the engine's default one.
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
    groups: tuple[int, ...] = ()
    working_dir: str | None = None
    hostname: str = ""
    network: str = ""
    address: str | None = None
    aliases: tuple[str, ...] = ()
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stop_timeout_seconds: int = 30

    def with_hash(self) -> "ContainerSpec":
        """Add the label that says what this spec holds, so that drift is one comparison."""
        text = json.dumps(self.to_json(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return replace(self, labels={**self.labels, labels.SPEC_HASH: digest})

    def to_json(self) -> JSON:
        """Return the spec as plain values, with a digest in the place of every file's content."""
        files = [{**asdict(file), "content": f"sha256:{file.digest}"} for file in self.files]
        return {**asdict(self), "files": files}


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
    """One named volume of the engine."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
