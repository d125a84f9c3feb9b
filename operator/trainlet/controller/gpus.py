"""The GPUs of this machine: what nvidia-smi and the CDI specifications name, less what the operator may not give.

An engine gets a device by the name it knows: Podman by that of the CDI specification, Docker and plain processes an
NVIDIA GPU by its uuid, which stays the same whatever else is plugged in.
"""

import json
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainlet.engine.base import Engine
from trainlet.engine.detect import Surroundings
from trainlet.planning.devices import Inventory
from trainlet.planning.runtime import find_gpu_resource

log = logging.getLogger(__name__)

NVIDIA = "nvidia.com/gpu"
CDI_DIRECTORIES = ("etc/cdi", "var/run/cdi")
_NVIDIA_SMI = ("--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader")
#: Without its persistence daemon the driver takes seconds to wake up.
_NVIDIA_TIMEOUT_SECONDS = 20.0
_WSL_TOOLS = "/usr/lib/wsl/lib"
_MOST_BYTES = 4 << 20
_NUMBERED = re.compile(r"\d+(:\d+)?")


@dataclass(frozen=True)
class Gpu:
    """One GPU: what the engine calls it, what people may, and what it is."""

    name: str
    alias: str = ""
    model: str = ""


def read_inventory(engine: Engine, around: Surroundings, choice: str) -> Inventory | None:
    """Return the GPUs that jobs may have, by resource; None where the engine's machine is not this one.

    `choice` is `all`, `none`, how many of each resource, or a list of indexes, uuids or CDI names.
    """
    if choice == "none":
        return {}
    if around.system != "Linux" or not engine.endpoint.startswith(("unix:", "file:")) or engine.find_facts().is_in_vm:
        return None
    gpus = read_cdi(around.root)
    if engine.name != "podman" and (nvidia := ask_nvidia(around.environ)):
        gpus[NVIDIA] = nvidia
    chosen = {resource: choose(resource, each, choice) for resource, each in gpus.items()}
    for resource, each in chosen.items():
        log.info("jobs may have %s", ", ".join(f"{resource}={gpu.name} {gpu.model}".rstrip() for gpu in each) or "none")
    return {resource: tuple(gpu.name for gpu in each) for resource, each in chosen.items() if each}


def choose(resource: str, gpus: Sequence[Gpu], choice: str) -> list[Gpu]:
    """Return the GPUs that may be given."""
    if choice == "all":
        return list(gpus)
    if choice.isdigit():
        return list(gpus[: int(choice)])
    wanted = set(choice.split(","))
    return [gpu for gpu in gpus if wanted & {gpu.name, gpu.alias, f"{resource}={gpu.name}", f"{resource}={gpu.alias}"}]


def ask_nvidia(environ: Mapping[str, str]) -> list[Gpu]:
    """Return what nvidia-smi lists; nothing where there is none, or no driver."""
    program = shutil.which("nvidia-smi", path=f"{environ.get('PATH', '')}:{_WSL_TOOLS}")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, *_NVIDIA_SMI],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_NVIDIA_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("cannot ask for the NVIDIA GPUs: %s: look at `nvidia-smi`", error)
        return []
    rows = (re.split(r"\s*,\s*", line.strip(), maxsplit=2) for line in done.stdout.splitlines())
    return [Gpu(name=row[1], alias=row[0], model=row[2]) for row in rows if len(row) == 3]


def read_cdi(root: Path) -> dict[str, list[Gpu]]:
    """Return the GPUs of all CDI specifications, by resource."""
    names: dict[str, dict[str, None]] = {}
    for specification in _read_specifications(root):
        kind, devices = specification.get("kind"), specification.get("devices")
        if isinstance(kind, str) and isinstance(devices, list) and find_gpu_resource({kind: 1}):
            known = names.setdefault(kind, {})
            known |= {str(each["name"]): None for each in devices if isinstance(each, dict) and "name" in each}
    return {kind: [Gpu(name) for name in _list_single(list(known))] for kind, known in names.items()}


def _list_single(names: Sequence[str]) -> list[str]:
    """Return each GPU once: a specification may name one by its number and by its uuid, and all of them as `all`."""
    numbered = [name for name in names if _NUMBERED.fullmatch(name)]
    return numbered or [name for name in names if name != "all"] or list(names)


def _read_specifications(root: Path) -> Iterator[dict[str, Any]]:
    paths = (path for directory in CDI_DIRECTORIES for path in sorted((root / directory).glob("*")))
    for path in paths:
        if path.suffix in (".json", ".yaml", ".yml"):
            try:
                specification = _parse(path)
            except (OSError, ValueError) as error:
                log.warning("cannot read a CDI specification (%s): %s", path, error)
                continue
            if isinstance(specification, dict):
                yield specification


def _parse(path: Path) -> Any:
    """Return what a file holds. Raises OSError, ValueError."""
    import yaml  # most machines have no such file

    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("it is too large")
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
