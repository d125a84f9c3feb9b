"""Whose files are believed, and that no other file is ever read in the place of one."""

import grp
import os
import pwd
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from trainlet.documents.parse import MAX_BYTES
from trainlet.documents.safe_read import UnsafeFile, check_mode, find_readers, is_private, read_manifest

NOBODY_KNOWN = 2**31 - 7


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A watched directory beside a file that is none of its."""
    (tmp_path / "secret.yaml").write_text("secret")
    root = tmp_path / "jobs"
    root.mkdir(mode=0o755)
    return root


def write(path: Path, text: str = "good", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def build_stat(mode: int, uid: int = 0, gid: int = 0) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def find_user_private_group() -> tuple[int, int]:
    """Return a user of this machine who has a group of the same name alone."""
    users = pwd.getpwall()
    return next(
        (user.pw_uid, user.pw_gid)
        for user in users
        if (group := grp.getgrgid(user.pw_gid)).gr_name == user.pw_name
        and not group.gr_mem
        and [other.pw_name for other in users if other.pw_gid == user.pw_gid] == [user.pw_name]
    )


# Modes

PRIVATE_GROUPS = {
    "the usual one": ("alice", "alice", [], ["alice"], True),
    "listed as a member too": ("alice", "alice", ["alice"], ["alice"], True),
    "a member only": ("alice", "alice", ["alice"], [], True),
    "nobody is in it": ("alice", "alice", [], [], False),
    "another name": ("alice", "users", [], ["alice"], False),
    "a further member": ("alice", "alice", ["bob"], ["alice"], False),
    "a further member beside her": ("alice", "alice", ["alice", "bob"], ["alice"], False),
    "the login group of another": ("alice", "alice", [], ["alice", "bob"], False),
    "the group of another": ("bob", "alice", [], ["alice"], False),
}


@pytest.mark.parametrize(
    ("owner", "group", "members", "primary", "expected"), PRIVATE_GROUPS.values(), ids=PRIVATE_GROUPS
)
def test_which_groups_are_private(
    owner: str, group: str, members: list[str], primary: list[str], expected: bool
) -> None:
    assert is_private(owner, group, members, primary) is expected


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o755, 0o444])
def test_what_only_its_owner_may_write_is_believed(mode: int) -> None:
    check_mode(Path("a.yaml"), build_stat(mode, NOBODY_KNOWN, NOBODY_KNOWN))


READERS = {
    0o600: "",
    0o660: "its group",
    0o622: "",
    0o640: "its group",
    0o644: "every user of this machine",
    0o604: "every user of this machine",
}


@pytest.mark.parametrize(("mode", "readers"), READERS.items(), ids=map(oct, READERS))
def test_who_may_read_a_file(mode: int, readers: str) -> None:
    assert find_readers(build_stat(mode, NOBODY_KNOWN, NOBODY_KNOWN)) == readers


def test_a_private_group_is_nobody_else() -> None:
    assert find_readers(build_stat(0o640, *find_user_private_group())) == ""


def test_a_private_group_may_write() -> None:
    uid, gid = find_user_private_group()
    check_mode(Path("a.yaml"), build_stat(0o664, uid, gid))
    with pytest.raises(UnsafeFile, match="its group may write it"):
        check_mode(Path("a.yaml"), build_stat(0o664, NOBODY_KNOWN, gid))


@pytest.mark.parametrize(
    ("mode", "who"),
    [(0o646, "every user of this machine"), (0o666, "every user of this machine"), (0o664, "its group")],
)
def test_what_others_may_write_is_refused_with_what_to_do(mode: int, who: str) -> None:
    with pytest.raises(UnsafeFile) as raised:
        check_mode(Path("/jobs/a b.yaml"), build_stat(mode, NOBODY_KNOWN, NOBODY_KNOWN))
    error = raised.value
    assert error.detail == f"{who} may write it: chmod go-w '/jobs/a b.yaml', or run with --allow-unsafe-files"
    assert error.where == "/jobs/a b.yaml"


# Reading


def test_a_file_is_read(root: Path) -> None:
    assert read_manifest(write(root / "deep" / "a.yaml"), root, trusting=False) == b"good"


def test_a_file_is_read_up_to_its_limit_and_one_byte(root: Path) -> None:
    path = write(root / "a.yaml", "x" * (MAX_BYTES + 1000))
    assert len(read_manifest(path, root, trusting=False)) == MAX_BYTES + 1


def test_a_root_that_is_a_link_is_a_root(root: Path) -> None:
    write(root / "a.yaml")
    link = root.with_name("link")
    link.symlink_to(root)
    assert read_manifest(link / "a.yaml", link, trusting=False) == b"good"


def break_mode(root: Path) -> Path:
    return write(root / "a.yaml", mode=0o666)


def break_directory(root: Path) -> Path:
    path = write(root / "deep" / "a.yaml")
    path.parent.chmod(0o777)
    return path


def break_directory_far_above(root: Path) -> Path:
    path = write(root / "one" / "two" / "a.yaml")
    (root / "one").chmod(0o777)
    return path


def break_root(root: Path) -> Path:
    path = write(root / "a.yaml")
    root.chmod(0o1777)
    return path


def link_outside(root: Path) -> Path:
    (root / "a.yaml").symlink_to("../secret.yaml")
    return root / "a.yaml"


def link_directory_outside(root: Path) -> Path:
    (root / "deep").symlink_to("..")
    return root / "deep" / "secret.yaml"


def link_to_link_outside(root: Path) -> Path:
    link_outside(root)
    (root / "b.yaml").symlink_to("a.yaml")
    return root / "b.yaml"


def link_to_a_name_that_begins_alike(root: Path) -> Path:
    write(root.with_name("jobs-of-others") / "a.yaml")
    (root / "a.yaml").symlink_to("../jobs-of-others/a.yaml")
    return root / "a.yaml"


def link_through_a_hidden_open_directory(root: Path) -> Path:
    write(root / ".hidden" / "a.yaml").parent.chmod(0o777)
    (root / "a.yaml").symlink_to(".hidden/a.yaml")
    return root / "a.yaml"


UNSAFE = [
    break_mode,
    break_directory,
    break_directory_far_above,
    break_root,
    link_outside,
    link_directory_outside,
    link_to_link_outside,
    link_to_a_name_that_begins_alike,
    link_through_a_hidden_open_directory,
]


@pytest.mark.parametrize("make", UNSAFE, ids=lambda make: make.__name__)
def test_what_is_not_to_be_believed_is_read_only_on_demand(root: Path, make: Callable[[Path], Path]) -> None:
    path = make(root)
    with pytest.raises(UnsafeFile, match="--allow-unsafe-files"):
        read_manifest(path, root, trusting=False)
    assert read_manifest(path, root, trusting=True) in (b"good", b"secret")


def test_a_link_inside_is_followed(root: Path) -> None:
    write(root / "..v1" / "a.yaml")
    (root / "..data").symlink_to("..v1")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    assert read_manifest(root / "a.yaml", root, trusting=False) == b"good"


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def make_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize("make", [make_pipe, make_device, make_terminal, make_directory], ids=lambda m: m.__name__)
@pytest.mark.timeout(20)
def test_what_is_no_file_neither_hangs_nor_is_read(root: Path, make: Callable[[Path], None], trusting: bool) -> None:
    make(root / "a.yaml")
    with pytest.raises(OSError, match="not a regular file"):
        read_manifest(root / "a.yaml", root, trusting=trusting)


def test_no_descriptor_is_left_open(root: Path) -> None:
    os.mkfifo(root / "pipe.yaml")
    paths = [write(root / "good.yaml"), link_to_link_outside(root), root / "pipe.yaml", root]
    before = list_descriptors()
    for path in paths * 5:
        with suppress(OSError, UnsafeFile):
            read_manifest(path, root, trusting=False)
    assert list_descriptors() == before


def list_descriptors() -> list[str]:
    return sorted(each.name for each in Path("/dev/fd").iterdir())


# Races


@contextmanager
def swapping(path: Path, *others: Path) -> Iterator[None]:
    """Let a thread put each of the others in the place of the path, again and again."""
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            for number, other in enumerate(others):
                new = path.with_name(f".{number}")
                if other.is_symlink():
                    new.symlink_to(other.readlink())
                else:
                    os.link(other, new)
                new.replace(path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def read_often(path: Path, root: Path, times: int = 4000) -> set[bytes]:
    """Read as often and return what was read, and the names of the errors that were raised."""
    seen = set()
    for _ in range(times):
        try:
            seen.add(read_manifest(path, root, trusting=False))
        except (OSError, UnsafeFile) as error:
            seen.add(type(error).__name__.encode())
    return seen


def test_a_file_that_becomes_a_link_in_between_is_not_followed(root: Path) -> None:
    good = write(root / ".good")
    (root / ".out").symlink_to("../secret.yaml")
    path = write(root / "a.yaml")
    with swapping(path, good, root / ".out"):
        seen = read_often(path, root)
    assert seen - {b"FileNotFoundError"} == {b"good", b"UnsafeFile"}


def test_a_directory_that_becomes_a_link_in_between_is_not_followed(root: Path) -> None:
    write(root.with_name("elsewhere") / "a.yaml", "secret")
    write(root / ".inside" / "a.yaml")
    (root / ".one").symlink_to(".inside")
    (root / ".two").symlink_to("../elsewhere")
    (root / "deep").symlink_to(".inside")
    with swapping(root / "deep", root / ".one", root / ".two"):
        seen = read_often(root / "deep" / "a.yaml", root)
    assert seen == {b"good", b"UnsafeFile"}


def test_a_file_that_becomes_a_pipe_in_between_is_not_waited_for(root: Path) -> None:
    good, path = write(root / ".good"), write(root / "a.yaml")
    os.mkfifo(root / ".pipe")
    with swapping(path, good, root / ".pipe"):
        seen = read_often(path, root)
    assert seen == {b"good", b"OSError"}
