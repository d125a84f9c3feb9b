"""What counts as a manifest, and what makes a file another one."""

import os
from pathlib import Path
from typing import Any

import pytest

from trainlet.documents.scan import find_manifests, is_manifest_name, scan_directory

NAMES = {
    "job.yaml": True,
    "job.yml": True,
    "job.json": True,
    "a b.yaml": True,
    "job.yaml~": False,
    ".job.yaml": False,
    ".job.yaml.swp": False,
    ".#job.yaml": False,
    "#job.yaml#": False,
    "job.yaml.tmp": False,
    "job.yaml.bak": False,
    "4913": False,
    "README.md": False,
    "yaml": False,
}


def scan(root: Path, *excluded: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in scan_directory(root, frozenset(excluded)).files)


def write(path: Path, text: str = "a: 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=NAMES)
def test_which_names_are_manifests(name: str, expected: bool) -> None:
    assert is_manifest_name(name) is expected


def test_all_levels_are_found_and_the_excluded_and_hidden_are_not(tmp_path: Path) -> None:
    for name in (
        "a.yaml",
        "team/b.yaml",
        "team/deep/c.yml",
        "status/default/a.yaml",
        ".git/x.yaml",
        "team/status/d.yaml",
    ):
        write(tmp_path / name)
    listing = scan_directory(tmp_path, frozenset({tmp_path / "status"}))
    assert scan(tmp_path, tmp_path / "status") == ["a.yaml", "team/b.yaml", "team/deep/c.yml", "team/status/d.yaml"]
    assert sorted(str(p.relative_to(tmp_path)) for p in listing.directories) == [
        ".",
        "team",
        "team/deep",
        "team/status",
    ]
    assert listing.problems == {}


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_directory(tmp_path / "gone", frozenset())
    with pytest.raises(NotADirectoryError):
        scan_directory(write(tmp_path / "file"), frozenset())


def test_what_changes_a_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml")

    def look() -> object:
        return scan_directory(tmp_path, frozenset()).files[path]

    first = look()
    assert look() == first
    os.utime(path, ns=(1, 1))
    touched = look()
    assert touched != first
    write(path, "a: 12\n")
    os.utime(path, ns=(1, 1))
    longer = look()
    assert longer != touched
    write(tmp_path / "new", "a: 13\n").rename(path)
    os.utime(path, ns=(1, 1))
    assert look() != longer, "a replaced file of the same size and time is another one"


def test_symbolic_links_are_followed_and_their_targets_count(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    for version in ("v1", "v2"):
        os.utime(write(outside / version / "a.yaml"), ns=(1, 1))
    root.mkdir()
    (root / "link.yaml").symlink_to(outside / "v1" / "a.yaml")
    (root / "directory").symlink_to(outside / "v1")
    first = scan_directory(root, frozenset())
    assert sorted(p.name for p in first.files) == ["a.yaml", "link.yaml"]
    (root / "link.yaml").unlink()
    (root / "link.yaml").symlink_to(outside / "v2" / "a.yaml")
    assert scan_directory(root, frozenset()).files[root / "link.yaml"] != first.files[root / "link.yaml"]


def test_a_configmap_style_swap_is_seen(tmp_path: Path) -> None:
    for version in ("..v1", "..v2"):
        os.utime(write(tmp_path / version / "a.yaml"), ns=(1, 1))
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    before = scan_directory(tmp_path, frozenset()).files
    (tmp_path / "..new").symlink_to("..v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    after = scan_directory(tmp_path, frozenset()).files
    assert list(before) == list(after) == [tmp_path / "a.yaml"]
    assert before != after


def test_a_broken_link_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere")
    assert scan(tmp_path) == []


def test_links_in_a_circle_end_the_search_and_not_the_program(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    listing = scan_directory(tmp_path, frozenset())
    assert list(listing.files) == [tmp_path / "a.yaml"]
    assert listing.problems == {tmp_path / "self.yaml": "Too many levels of symbolic links"}


def test_what_is_no_regular_file_is_told_and_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    listing = scan_directory(tmp_path, frozenset())
    assert (listing.files, listing.problems) == ({}, {tmp_path / "pipe.yaml": "not a regular file"})


def test_paths_of_a_command_line(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml")
    for name in ("deep/b.yaml", "status/default/a.yaml", "workspaces/default/a/c.yaml"):
        write(tmp_path / name)
    assert find_manifests(file) == [file]
    assert find_manifests(tmp_path) == [file, tmp_path / "deep" / "b.yaml"]
    assert find_manifests(tmp_path / "gone.yaml") == [tmp_path / "gone.yaml"]


# What is not to be believed


def make_file_writable(root: Path) -> None:
    write(root / "a.yaml").chmod(0o646)


def make_directory_writable(root: Path) -> None:
    write(root / "a.yaml" / "b.yaml").parent.chmod(0o777)


def make_directory_sticky(root: Path) -> None:
    write(root / "a.yaml" / "b.yaml").parent.chmod(0o1777)


def link_file_outside(root: Path) -> None:
    (root / "a.yaml").symlink_to(write(root.with_name("outside") / "b.yaml"))


def link_directory_outside(root: Path) -> None:
    (root / "a.yaml").symlink_to(write(root.with_name("outside") / "b.yaml").parent)


def link_above(root: Path) -> None:
    write(root.with_name("outside.yaml"))
    (root / "a.yaml").symlink_to("..")


UNSAFE = [
    make_file_writable,
    make_directory_writable,
    make_directory_sticky,
    link_file_outside,
    link_directory_outside,
    link_above,
]


@pytest.mark.parametrize("make", UNSAFE, ids=lambda make: make.__name__)
def test_what_is_not_to_be_believed_is_a_problem_and_nothing_else_is(tmp_path: Path, make: Any) -> None:
    root = tmp_path / "root"
    good = write(root / "good.yaml")
    make(root)
    listing = scan_directory(root, frozenset(), trusting=False)
    assert list(listing.files) == [good]
    assert list(listing.directories) == [root]
    [(path, problem)] = listing.problems.items()
    assert path == root / "a.yaml"
    assert problem.endswith("or run with --allow-unsafe-files")
    trusted = scan_directory(root, frozenset())
    assert len(trusted.files) >= 2
    assert trusted.problems == {}


def test_of_a_root_that_is_not_to_be_believed_nothing_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml")
    tmp_path.chmod(0o777)
    listing = scan_directory(tmp_path, frozenset(), trusting=False)
    assert (list(listing.files), list(listing.directories)) == ([], [tmp_path])
    remedy = f"chmod go-w {tmp_path}, or run with --allow-unsafe-files"
    assert listing.problems == {tmp_path: f"every user of this machine may write it: {remedy}"}
    assert scan(tmp_path) == ["a.yaml"]


def test_links_inside_of_the_root_are_believed(tmp_path: Path) -> None:
    root = tmp_path / "link"
    root.symlink_to(tmp_path / "root")
    write(tmp_path / "root" / "..v1" / "a.yaml")
    (root / "..data").symlink_to("..v1")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    (root / "again").symlink_to("..v1")
    listing = scan_directory(root, frozenset(), trusting=False)
    assert (list(listing.files), listing.problems) == ([root / "a.yaml", root / "again" / "a.yaml"], {})


@pytest.mark.parametrize("name", ["status", ".hidden", "README.md", "#a.yaml#", "a.yaml~"])
def test_what_is_no_manifest_may_be_writable_for_all(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir() if name in ("status", ".hidden") else path.touch()
    path.chmod(0o777)
    assert scan_directory(tmp_path, frozenset({tmp_path / "status"}), trusting=False).problems == {}


def test_another_directory_of_the_name_is_another(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    first = scan_directory(root, frozenset()).identity
    assert scan_directory(root, frozenset()).identity == first
    root.rename(tmp_path / "old")
    root.mkdir()
    assert scan_directory(root, frozenset()).identity != first


def test_who_may_read_a_file_makes_it_another_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml")
    path.chmod(0o600)
    private = scan_directory(tmp_path, frozenset()).files[path]
    path.chmod(0o644)
    public = scan_directory(tmp_path, frozenset()).files[path]
    assert (private.readers, public.readers) == ("", "every user of this machine")
    assert private != public
    path.chmod(0o744)
    assert scan_directory(tmp_path, frozenset()).files[path] == public, "whatever else changes of the mode"
