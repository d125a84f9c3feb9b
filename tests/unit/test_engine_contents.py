"""Where files go: every file has one place, and the archive for it holds just what was asked for."""

import io
import posixpath
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.engine.contents import Access, Layout, build_archives, clean, is_within, lay_out
from trainlet.kube.errors import EngineError
from trainlet.planning.specs import ContainerSpec, File, Mount, Tmpfs, VolumeMount


def spec(*paths: str, **fields: Any) -> ContainerSpec:
    """Return a container with empty files of these paths."""
    return ContainerSpec("job-node-0", "image:1", files=tuple(File(path, b"") for path in paths), **fields)


def tell(layout: Layout) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """Return covers, and the files' paths by place."""
    return layout.covers, {place: [file.path for file in files] for place, files in layout.files.items()}


WORK = (Mount("/host/work", "/work/"),)
CASES: dict[str, tuple[ContainerSpec, bool, tuple[str, ...], dict[str, list[str]]]] = {
    "nothing": (spec(), True, (), {}),
    "into the image": (spec("/a", "/etc/b", "//x/../c/"), True, (), {"/": ["/a", "//x/../c/", "/etc/b"]}),
    "not into the image": (spec("/etc/b"), False, ("/etc",), {"/etc": ["/etc/b"]}),
    "one cover for what is below it": (
        spec("/etc/app/deep/a", "/etc/app/b", "/opt/c"),
        False,
        ("/opt", "/etc/app"),
        {"/opt": ["/opt/c"], "/etc/app": ["/etc/app/b", "/etc/app/deep/a"]},
    ),
    "a name that only begins alike": (
        spec("/work/a", "/workspace/b", mounts=WORK),
        True,
        (),
        {"/work": ["/work/a"], "/": ["/workspace/b"]},
    ),
    "right in a mount and deeper": (
        spec("/work/a", "/work/config/b", mounts=WORK),
        True,
        ("/work/config",),
        {"/work": ["/work/a"], "/work/config": ["/work/config/b"]},
    ),
    "right in a volume that is in a mount": (
        spec("/work/data/a", "/work/data/deep/b", mounts=WORK, volumes=(VolumeMount("v", "/work/data"),)),
        False,
        ("/work/data/deep",),
        {"/work/data": ["/work/data/a"], "/work/data/deep": ["/work/data/deep/b"]},
    ),
    "deeper in what is read-only": (
        spec("/data/config/a", volumes=(VolumeMount("v", "/data", read_only=True),)),
        True,
        ("/data/config",),
        {"/data/config": ["/data/config/a"]},
    ),
    "deeper in memory": (
        spec("/tmp/config/a", tmpfs=(Tmpfs("/tmp"),)),
        True,
        ("/tmp/config",),
        {"/tmp/config": ["/tmp/config/a"]},
    ),
}


@pytest.mark.parametrize(("wanted", "into_root", "covers", "files"), CASES.values(), ids=CASES)
def test_every_file_has_its_place(
    wanted: ContainerSpec, into_root: bool, covers: tuple[str, ...], files: dict[str, list[str]]
) -> None:
    assert tell(lay_out(wanted, into_root=into_root)) == (covers, files)


PLACELESS: dict[str, tuple[ContainerSpec, bool, str]] = {
    "mounted read-only": (spec("/data/a", mounts=(Mount("/h", "/data", read_only=True),)), True, "mounted read-only"),
    "in memory": (spec("/dev/shm/a", tmpfs=(Tmpfs("/dev/shm"),)), True, "in memory"),
    "the root": (spec("/a"), False, "root is read-only"),
}


@pytest.mark.parametrize(("wanted", "into_root", "reason"), PLACELESS.values(), ids=PLACELESS)
def test_a_file_without_a_place_is_refused(wanted: ContainerSpec, into_root: bool, reason: str) -> None:
    with pytest.raises(EngineError, match=reason) as caught:
        lay_out(wanted, into_root=into_root)
    assert wanted.files[0].path in str(caught.value)
    assert wanted.name in caught.value.where
    assert caught.value.remedy


NAMES = st.text("ab", min_size=1, max_size=2)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(PATHS, max_size=6), st.lists(PATHS, max_size=3, unique=True), st.booleans())
def test_each_file_has_one_place_and_only_covers_are_new(paths: list[str], targets: list[str], into_root: bool) -> None:
    wanted = spec(*(f"{path}/f" for path in paths), mounts=tuple(Mount("/h", target) for target in targets))
    layout = lay_out(wanted, into_root=into_root)
    placed = [(place, file) for place, files in layout.files.items() for file in files]
    assert sorted(file.path for _, file in placed) == sorted(file.path for file in wanted.files)
    assert set(layout.files) <= {*targets, *layout.covers, "/"}
    assert not set(layout.covers) & {*targets, "/"}
    assert into_root or "/" not in layout.files
    for place, file in placed:
        directory = posixpath.dirname(file.path)
        assert is_within(directory, place)
        between = [each for each in (*targets, *layout.covers) if is_within(directory, each) and each != place]
        assert all(is_within(place, each) for each in between), "what is mounted deeper would hide it"
        assert place not in targets or directory == place, "what others see holds only what was put right there"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", "/"), ("//a", "/a"), ("/a/", "/a"), ("/a/./b/../c", "/a/c"), ("a", "/a"), ("/..", "/")],
)
def test_paths_are_compared_in_their_shortest_form(path: str, expected: str) -> None:
    assert clean(path) == expected


def unpack(tar: bytes) -> list[tuple[str, int, int, int, bytes | None]]:
    """Return name, mode, ids and content of all entries; of a directory no content."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return [
            (
                each.name,
                each.mode,
                each.uid,
                each.gid,
                content.read() if (content := archive.extractfile(each)) else None,
            )
            for each in archive
        ]


def test_an_archive_holds_what_was_asked_for_and_opens_what_is_to_be_open() -> None:
    layout = Layout(("/c",), {"/": (File("/a/b", b"x", 0o4750, 1, 2),), "/c": (File("/c/d/e", b"", 0o400),)})
    archives = dict(build_archives(layout, {"/data": Access(0o777), "/c": Access(0o2777, 7)}))
    opened = ("", 0o777, 0, 0, None)  # as it is read again; it must be written as an absolute name
    assert archives["/data"].startswith(b"/\0")
    assert {path: unpack(tar) for path, tar in archives.items()} == {
        "/": [("a/b", 0o4750, 1, 2, b"x")],
        "/c": [("", 0o2777, 0, 7, None), ("d/e", 0o400, 0, 0, b"")],
        "/data": [opened],
    }
    assert list(build_archives(Layout(), {})) == []


@given(st.binary(max_size=2000))
def test_an_archive_ends_where_its_end_is_marked(content: bytes) -> None:
    ((_, tar),) = build_archives(Layout(files={"/": (File("/a", content),)}), {})
    blocks = -(-len(content) // 512)
    assert len(tar) == 512 * (1 + blocks + 2)
    assert unpack(tar)[0][4] == content


def test_a_path_of_any_length_fits() -> None:
    path = "/" + "/".join(["directory-" * 10] * 4)
    ((_, tar),) = build_archives(Layout(files={"/": (File(path, b"x"),)}), {})
    assert unpack(tar) == [(path[1:], 0o644, 0, 0, b"x")]
