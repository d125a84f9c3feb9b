"""From a ContainerSpec to the command, environment and working directory of a plain process.

A process sees the machine as it is. What a container would get from its image and mounts is replaced so:

- A mount cannot be made, be it of a directory, a volume or a file. Instead its target path is replaced by its
  source wherever an argument or a value of `env` names it as a whole path, so `--out=/workspace/model` or
  `sh -c "ls > /workspace/files"` work. A program that has such a path written in its own code does not find it;
  TRAINLET_WORKSPACE tells it where.
- The working directory is `working_dir` seen through the mounts, else the source of the mount at /workspace,
  else an empty directory of the node's own.
- The environment begins with the few variables of the caller that make a machine usable (PATH, HOME, locale,
  CUDA, certificates), then `env` on top. The interpreter that runs trainlet is found last in PATH.
- Of its limits it is told which GPUs are its own, where that is known.
- Image, user, other limits, hostname, addresses and hosts mean nothing to a process and are ignored.

It reads neither the machine nor the clock.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainlet.engine.process_table import MARKER
from trainlet.planning.specs import ContainerSpec, Limits, Mount

WORKSPACE = "/workspace"
WORKSPACE_VARIABLE = "TRAINLET_WORKSPACE"

_KEPT = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    }
)
_KEPT_PREFIXES = ("LC_", "CUDA_", "ROCR_", "HIP_")
#: What hides the GPUs that are not named. HIP_VISIBLE_DEVICES would count among those that ROCR_VISIBLE_DEVICES leaves.
_VISIBLE_GPUS = {"nvidia.com/gpu": "CUDA_VISIBLE_DEVICES", "amd.com/gpu": "ROCR_VISIBLE_DEVICES"}
#: What may stand right before and after a path in a command line, so that only whole paths are replaced.
_BEFORE, _AFTER = r"(?:^|(?<=[\s=:,;'\"<>(\[{|&]))", r"(?=$|[/\s:,;'\")\]}|&>])"


@dataclass(frozen=True)
class Launch:
    """How one node is started. `argv` is empty when the spec leaves the command to an image."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    #: Where what stands at a path of the container really is.
    paths: Mapping[str, str]


def build_launch(spec: ContainerSpec, *, node: str, environ: Mapping[str, str], own_directory: Path) -> Launch:
    """Build the launch of the node with the id `node`; `own_directory` is where it works if nothing else is said.

    The spec's mounts are all it has: what stands for its volumes and files is among them by now.
    """
    paths = _list_paths(spec.mounts)
    workspace = paths.get(WORKSPACE)
    working_dir = spec.working_dir and see_through(spec.working_dir, paths)
    working_dir = working_dir or workspace or str(own_directory)
    env = {
        **build_base_env(environ),
        **_build_interface_env(),
        WORKSPACE_VARIABLE: workspace or working_dir,
        **{name: see_through(value, paths) for name, value in spec.env.items()},
        **_build_gpu_env(spec.limits),
        MARKER: node,
    }
    argv = (*(spec.command or ()), *(spec.args or ()))
    return Launch(tuple(see_through(argument, paths) for argument in argv), env, working_dir, paths)


def build_base_env(environ: Mapping[str, str]) -> dict[str, str]:
    """Keep what makes a machine usable, and nothing else of the caller's environment."""
    env = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    own_interpreter = str(Path(sys.executable).parent)
    return {**env, "PATH": ":".join(filter(None, (env.get("PATH"), own_interpreter)))}


def _build_interface_env() -> dict[str, str]:
    """Name the interface that the nodes share: gloo would take the one of the hostname, which is not 127.0.0.1."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {"GLOO_SOCKET_IFNAME": loopback, "TP_SOCKET_IFNAME": loopback}


def _build_gpu_env(limits: Limits) -> dict[str, str]:
    """Show the GPUs that were given and hide all others; nothing where the machine's are not known."""
    if limits.devices is None:
        return {}
    names = ",".join(limits.devices)
    return {variable: names if kind == limits.gpu_resource else "" for kind, variable in _VISIBLE_GPUS.items()}


def see_through(text: str, paths: Mapping[str, str]) -> str:
    """Replace the paths of the container, the longest first, wherever one stands as a whole path."""
    if not paths:
        return text
    targets = "|".join(re.escape(target) for target in sorted(paths, key=len, reverse=True))
    return re.sub(f"{_BEFORE}({targets}){_AFTER}", lambda match: paths[match[1]], text)


def _list_paths(mounts: Iterable[Mount]) -> dict[str, str]:
    return {_trim(mount.target): mount.source for mount in mounts if _trim(mount.target)}


def _trim(target: str) -> str:
    return str(PurePosixPath(target)).rstrip("/")
