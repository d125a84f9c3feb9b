"""The demo's image holds all that Python needs to run in it, and little else."""

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainlet.demo import image

SOURCE = Path(__file__).parents[2] / "operator"
MEGABYTE = 1_000_000
WRITE = """
import json, sys
from trainlet.demo import image
with open(sys.argv[1], "wb") as file:
    file.writelines(image.stream_image())
print(json.dumps([image.build_command(), image.build_environment()]))
"""
MODULES = "argparse, array, csv, ctypes, gzip, hashlib, json, pathlib, random, socket, ssl, sqlite3"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the image is made on Linux only")


@dataclass(frozen=True)
class Built:
    """An image that was written to a file, and how a program is started in it."""

    tar: Path
    python: str
    program: str
    environment: dict[str, str]

    @property
    def members(self) -> dict[str, tarfile.TarInfo]:
        """What is in the image, by absolute path."""
        with tarfile.open(self.tar) as tar:
            return {f"/{member.name}": member for member in tar}


def find_pythons() -> list[str]:
    """Return the Python of the tests, and the system's if it is another one that may run trainlet."""
    system = Path("/usr/bin/python3")
    if not system.exists() or system.resolve() == Path(sys.executable).resolve():
        return [sys.executable]
    is_old = subprocess.run([system, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode
    return [sys.executable] if is_old else [sys.executable, str(system)]


@pytest.fixture(params=find_pythons())
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Built:
    """The image that this Python makes of itself."""
    tar = tmp_path / "image.tar"
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [request.param, "-c", WRITE, str(tar)]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    (python, program), environment = json.loads(done.stdout)
    return Built(tar, python, program, environment)


def test_it_holds_interpreter_library_loader_and_program(built: Built) -> None:
    members = built.members
    assert members[built.python].mode & 0o111
    assert members[built.program].size == image.PROGRAM.stat().st_size
    assert members[built.program.replace(image.PROGRAM.name, image.DATA.name)].size == image.DATA.stat().st_size
    names = {Path(path).name for path in members}
    assert {"socket.py", "passwd"} <= names
    assert any(name.startswith(("ld-linux", "ld-musl", "ld64")) for name in names)


def test_it_holds_nothing_that_nobody_needs_and_is_small(built: Built) -> None:
    parts = {part for path in built.members for part in Path(path).parts}
    assert parts.isdisjoint({"site-packages", "dist-packages", "__pycache__", "tkinter", "idlelib", "ensurepip"})
    assert built.tar.stat().st_size < 80 * MEGABYTE


def test_directories_come_before_what_is_in_them_and_may_be_entered(built: Built) -> None:
    members = built.members
    seen = {"/"}
    for path, member in members.items():
        assert str(Path(path).parent) in seen, path
        if member.isdir():
            assert member.mode & 0o555 == 0o555, path
            seen.add(path)
    assert members["/tmp"].mode == 0o1777


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change the root directory; end-to-end tests run it too")
def test_python_runs_with_nothing_but_the_image(built: Built, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with tarfile.open(built.tar) as tar:
        tar.extractall(root, filter="tar")
    enter = f"import os, sys; os.chroot({str(root)!r}); os.chdir('/'); os.execv(sys.argv[1], sys.argv[1:])"
    run = f"import {MODULES}; socket.create_server(('127.0.0.1', 0)); print(ssl.OPENSSL_VERSION)"
    # -I: PYTHONHOME is meant for the interpreter inside alone.
    command = [sys.executable, "-I", "-S", "-c", enter, built.python, "-c", run]
    done = subprocess.run(command, env=built.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("OpenSSL", "LibreSSL"))


def test_the_name_stays_while_nothing_changes_and_follows_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = image.build_name()
    assert name == image.build_name()
    assert name.startswith("localhost/trainlet-demo:")
    changed = tmp_path / image.PROGRAM.name
    changed.write_bytes(image.PROGRAM.read_bytes() + b"\n")
    monkeypatch.setattr(image, "PROGRAM", changed)
    assert image.build_name() != name
