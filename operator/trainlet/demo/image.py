"""The demo's image, made of the Python that runs this very program: no registry is needed, and nothing is downloaded.

It holds the interpreter, its standard library and the shared libraries they need, each at the path it has here, and
the training program under /demo. Knows no engine: what it gives is a name and a tar stream.
"""

import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from trainlet.kube.errors import TrainletError

REPOSITORY = "localhost/trainlet-demo"
PROGRAM = Path(__file__).with_name("train_digits.py")
DATA = Path(__file__).with_name("digits.csv.gz")

_DIRECTORY = "/demo"
_CHUNK_BYTES = 1 << 20
_KEPT_SUFFIXES = frozenset({".py", ".so"})
#: Parts of the standard library that nobody trains with, and what is no part of it although it lies there.
_SKIPPED = frozenset(
    {
        *("site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"),
        *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "tkinter", "turtledemo"),
    }
)
#: Tk would bring the whole of X11 along.
_SKIPPED_MODULES = ("_tkinter.", "_test", "_xx", "xx", "_ctypes_test.")
#: Where the loader finds libraries that lie in no usual directory.
_LOADER_CACHE = Path("/etc/ld.so.cache")
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_TEXTS = {
    "/etc/passwd": "root:x:0:0:root:/:/sbin/nologin\n",
    "/etc/group": "root:x:0:\n",
}
_DIRECTORIES = {"/tmp": 0o1777, "/workspace": 0o777}


def find_python() -> Path:
    """Return the interpreter itself, behind all links and virtual environments."""
    return Path(sys.executable).resolve()


def build_command() -> tuple[str, ...]:
    """Return what starts the training in the image."""
    return (str(find_python()), f"{_DIRECTORY}/{PROGRAM.name}")


def build_environment() -> dict[str, str]:
    """Return what the interpreter must be told there: a copy of it in a virtual environment would not find home."""
    return {"PYTHONHOME": sys.base_prefix}


def build_name() -> str:
    """Return the image's name, which changes with all that goes into it."""
    digest = hashlib.sha256("\0".join((sys.version, platform.machine(), *build_command())).encode())
    for file in (PROGRAM, DATA, Path(__file__)):
        digest.update(file.read_bytes())
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def stream_image() -> Iterator[bytes]:
    """Yield the image as a tar stream. Raises TrainletError when the shared libraries cannot be found."""
    return _stream_tar(list_files())


def list_files() -> dict[str, Path]:
    """Return the absolute path in the image of every file, and where it is here. Raises TrainletError."""
    python = find_python()
    library = list(_find_library(Path(sysconfig.get_path("stdlib"))))
    binaries = [python, *(file for file in library if file.suffix == ".so")]
    caches = [_LOADER_CACHE] if _LOADER_CACHE.exists() else []
    files = {str(file): file for file in (*binaries, *library, *_find_shared(binaries), *caches)}
    return files | {f"{_DIRECTORY}/{file.name}": file for file in (PROGRAM, DATA)}


def _find_library(directory: Path) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if entry.is_dir():
            if entry.name not in _SKIPPED and not entry.name.startswith("config-"):
                yield from _find_library(entry)
        elif entry.suffix in _KEPT_SUFFIXES and not entry.name.startswith(_SKIPPED_MODULES) and entry.exists():
            yield entry


def _find_shared(binaries: Iterable[Path]) -> Iterator[Path]:
    """Yield the libraries and the loader that these binaries of our own ask for."""
    try:
        # Its exit status tells only that one of them is no dynamic program.
        found = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise TrainletError(f"cannot tell which libraries Python needs: {error.strerror}", where="ldd") from None
    return (Path(path) for path in sorted(set(_LIBRARY.findall(found.stdout))))


def _stream_tar(files: Mapping[str, Path]) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for info in _build_directories(files):
            tar.addfile(info)
        for path, text in _TEXTS.items():
            tar.addfile(_build_entry(path, len(text)), io.BytesIO(text.encode()))
        for path, source in sorted(files.items()):
            # What is a link here is a file there: the image holds no link's target by another name.
            data = source.read_bytes()
            tar.addfile(_build_entry(path, len(data), 0o755 if os.access(source, os.X_OK) else 0o644), io.BytesIO(data))
            if buffer.tell() >= _CHUNK_BYTES:
                yield _take(buffer)
    yield _take(buffer)


def _take(buffer: io.BytesIO) -> bytes:
    data = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return data


def _build_directories(files: Iterable[str]) -> Iterator[tarfile.TarInfo]:
    """Yield every directory, parents first: an engine that makes them by itself shuts other users out."""
    parents = {str(parent): 0o755 for path in (*files, *_TEXTS) for parent in PurePosixPath(path).parents}
    for path, mode in sorted((parents | _DIRECTORIES).items()):
        if path != "/":
            info = _build_entry(path, 0, mode)
            info.type = tarfile.DIRTYPE
            yield info


def _build_entry(path: str, size: int, mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size, info.mode = size, mode
    return info
