"""A hostPath reaches only what lies below an allowed directory, by no link, and never an engine's socket."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from trainlet.controller.host_paths import secure_mounts
from trainlet.kube.errors import TrainletError
from trainlet.planning.specs import ContainerSpec, Mount


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "data"
    (root / "sets" / "mnist").mkdir(parents=True)
    (root / "file").write_text("inside")
    (root / "sets" / "link").symlink_to(root / "sets" / "mnist")
    (root / "out").symlink_to(tmp_path.resolve())
    (root / "..data").mkdir()
    return root


def secure(source: Path | str, root: Path, kind: str = "", sockets: tuple[str, ...] = ()) -> str:
    mounts = (Mount(str(source), "/x", host_path_type=kind), Mount("/ours/./workspace", "/workspace"))
    secured = secure_mounts(ContainerSpec("c", "image", mounts=mounts), [str(root)], sockets)
    return secured.mounts[0].source


TAKEN = {
    "the allowed directory itself": ("", ""),
    "a directory": ("sets/mnist", ""),
    "a directory of this type": ("sets/mnist", "Directory"),
    "a file": ("file", "File"),
    "a name that only looks like a way up": ("..data", "Directory"),
    "one that is there": ("sets", "DirectoryOrCreate"),
    "a file that is there": ("file", "FileOrCreate"),
}


@pytest.mark.parametrize(("path", "kind"), TAKEN.values(), ids=TAKEN)
def test_what_is_mounted(root: Path, path: str, kind: str) -> None:
    assert secure(root / path, root, kind) == str(root / path)


def test_what_is_made(root: Path) -> None:
    secure(root / "new" / "deep", root, "DirectoryOrCreate")
    secure(root / "new" / "file", root, "FileOrCreate")
    assert (root / "new" / "deep").is_dir()
    assert (root / "new" / "file").read_bytes() == b""


REFUSED = {
    "outside": ("../elsewhere", "", "is below no allowed directory"),
    "far outside": ("/etc", "Directory", "is below no allowed directory"),
    "a sibling with the same beginning": ("../data2", "", "is below no allowed directory"),
    "out by ..": ("sets/../../elsewhere", "", "is below no allowed directory"),
    "a link that leads out": ("out", "", "cannot be opened without following a link: out is a symbolic link"),
    "through a link that leads out": ("out/elsewhere", "", "cannot be opened without following a link"),
    "a link that stays inside": ("sets/link", "Directory", "cannot be opened without following a link"),
    "nothing": ("nothing", "", "cannot be opened without following a link: No such file or directory"),
    "another type": ("file", "Directory", "is no Directory"),
    "no file": ("sets", "File", "is no File"),
    "a socket by its type": ("file", "Socket", "has type Socket"),
    "a type nobody knows": ("file", "Door", "has type Door"),
    "made through a link": ("out/new", "DirectoryOrCreate", "cannot be opened without following a link"),
}


@pytest.mark.parametrize(("path", "kind", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(root: Path, path: str, kind: str, problem: str) -> None:
    with pytest.raises(TrainletError) as refusal:
        secure(root / path, root, kind)
    assert problem in str(refusal.value)
    assert refusal.value.where == str(root / path)
    assert not (root.parent / "new").exists()


def test_without_an_allowed_directory_nothing_is_mounted() -> None:
    spec = ContainerSpec("c", "image", mounts=(Mount("/tmp", "/x", host_path_type=""),))
    with pytest.raises(TrainletError, match="allow one with --allow-host-path"):
        secure_mounts(spec, [])


@contextmanager
def listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        yield


def test_a_socket_is_never_mounted(root: Path) -> None:
    with listening(root / "s"), pytest.raises(TrainletError, match="is no directory, file or device"):
        secure(root / "s", root)


@pytest.mark.parametrize("above", ["sets/mnist", "sets", ""])
def test_no_directory_that_holds_an_engines_socket_is_mounted(root: Path, above: str) -> None:
    place = root / "sets" / "mnist" / "engine.sock"
    with listening(place), pytest.raises(TrainletError, match="leads to the socket of a container engine"):
        secure(root / above, root, sockets=(str(place),))


def test_a_socket_is_known_by_where_it_is_not_by_what_it_is_called(root: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(root / "sets")
    with listening(root / "sets" / "engine.sock"), pytest.raises(TrainletError, match="leads to the socket"):
        secure(root / "sets", root, sockets=(str(alias / "engine.sock"),))


@pytest.mark.parametrize("path", ["/", "/run", "/var/run"])
def test_what_holds_the_usual_sockets_is_not_mounted_though_everything_is_allowed(path: str) -> None:
    with pytest.raises(TrainletError, match=r"leads to the socket|following a link"):
        secure(path, Path("/"))


def test_a_link_that_is_swapped_in_while_we_look_is_not_followed(root: Path) -> None:
    place, outside = root / "sets" / "swapped", root.parent / "made"
    stopping = threading.Event()

    def swap() -> None:
        while not stopping.is_set():
            with suppress(OSError):
                place.symlink_to(root.parent)
                place.unlink()
                place.mkdir()
            shutil.rmtree(place, ignore_errors=True)

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes: set[bool] = set()
    try:
        for attempt in range(50_000):
            if attempt > 2000 and len(outcomes) == 2:
                break
            try:
                outcomes.add(bool(secure(place / "made", root, "DirectoryOrCreate")))
            except TrainletError:
                outcomes.add(False)
            assert not outside.exists()
    finally:
        stopping.set()
        swapper.join()
    assert outcomes == {True, False}, "both a directory and a link were met"
