"""What stands for a container's volumes, memory and files where nothing can be mounted: directories of this machine.

A volume is its directory. Memory is a directory of the node's own (but /dev/shm is the machine's), and so is every
directory that gets files, unless the files go right into a mount or volume. process_launch.py makes the paths of a
command and of its environment lead there. A directory of files that this machine has too stays what it is: then only
the files' own paths lead to them. Sizes, ids and read-only mean nothing here.
"""

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainlet.engine.contents import Layout, clean, is_within, lay_out
from trainlet.kube.errors import EngineError
from trainlet.planning.specs import ContainerSpec, File, Mount

_MACHINES_OWN = "/dev"


@dataclass(frozen=True)
class Furniture:
    """What a node gets beside its command. `mounts` says which path leads where.

    `own` names the directories to make, relative to the node's own one, by the path they stand for.
    """

    mounts: tuple[Mount, ...]
    own: dict[str, str]
    layout: Layout

    def put(self, directory: Path) -> None:
        """Make the node's own directories and write all files; `directory` is where it now is. Raises EngineError."""
        sources = {clean(mount.target): Path(mount.source) for mount in self.mounts}
        sources |= {path: directory / name for path, name in self.own.items()}
        for name in self.own.values():
            (directory / name).mkdir(parents=True)
        for path, files in self.layout.files.items():
            for file in files:
                _write(sources[path] / os.path.relpath(clean(file.path), path), file)


def furnish(spec: ContainerSpec, directory: Path, get_volume: Callable[[str], Path]) -> Furniture:
    """Decide what stands for what; `directory` is where the node's own one will be. Raises EngineError."""
    layout = lay_out(spec, into_root=False)
    memory = [path for each in spec.tmpfs if not is_within(path := clean(each.target), _MACHINES_OWN)]
    own = {path: f"mounts/{number}" for number, path in enumerate((*memory, *layout.covers))}
    volumes = [Mount(str(get_volume(each.volume)), each.target, each.read_only) for each in spec.volumes]
    shown = [Mount(str(directory / own[path]), path) for path in own if path in memory or not Path(path).exists()]
    return Furniture((*spec.mounts, *volumes, *shown, *_show_files(layout, directory, own)), own, layout)


def _show_files(layout: Layout, directory: Path, own: dict[str, str]) -> list[Mount]:
    """Let the path of every file in a directory of the node's own lead to it."""
    files = [(path, clean(file.path)) for path in layout.covers for file in layout.files[path]]
    return [Mount(str(directory / own[path] / os.path.relpath(file, path)), file) for path, file in files]


def _write(path: Path, file: File) -> None:
    """Write a file that is seen whole or not at all, and is nobody else's meanwhile."""
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(file.content)
        temporary.chmod(file.mode & 0o777)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        what = f"cannot write the file {file.path}: {error.strerror}"
        raise EngineError(what, where=str(path), remedy="make its directory writable") from None
