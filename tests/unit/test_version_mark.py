"""Versions never go back over a restart, whatever became of the mark; and the disk is seldom asked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.documents.version_mark import BLOCK, FILE, FIRST, VersionMark
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.store import Store, get_version


def open_store(root: Path) -> Store:
    mark = VersionMark(root)
    return Store(mark.read(), mark.reserve)


def put(store: Store, number: int) -> int:
    document: JSON = {"metadata": {"name": "a"}, "number": number}
    return get_version(store.put(ObjectKey("Job", "", "a"), document))


def test_versions_go_on_after_a_restart(tmp_path: Path) -> None:
    last = 0
    for number in range(5):
        version = put(open_store(tmp_path), number)
        assert version > last
        last = version


def test_deletions_count_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(BLOCK):
        put(store, number)
        store.delete(ObjectKey("Job", "", "a"))
    assert put(open_store(tmp_path), 0) > store.version


def test_the_disk_is_asked_once_for_many_versions() -> None:
    asked: list[int] = []

    def reserve(version: int) -> int:
        asked.append(version)
        return version + BLOCK

    store = Store(0, reserve)
    for number in range(3 * BLOCK):
        put(store, number)
    assert len(asked) == 3


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(0, 10**6))
def test_no_version_is_given_out_that_was_not_reserved(runs: list[int], start: int) -> None:
    reserved = start

    def reserve(version: int) -> int:
        nonlocal reserved
        reserved = version + 10
        return reserved

    last = start
    for count in runs:
        store = Store(reserved, reserve)
        for number in range(count):
            version = put(store, number)
            assert last < version <= reserved
            last = version


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"\xff", b"9" * 40, b"1.5"])
def test_a_damaged_mark_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert VersionMark(tmp_path).read() == FIRST
    assert put(open_store(tmp_path), 0) == FIRST + 1
    assert VersionMark(tmp_path).read() == FIRST + 1 + BLOCK


def test_a_disk_that_takes_nothing_stops_no_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    store = open_store(tmp_path / "file")
    assert put(store, 0) == FIRST + 1
    assert "cannot keep the resource version" in caplog.text


def test_what_is_deleted_is_told_as_it_was_with_a_version_of_its_own() -> None:
    store, told = Store(), list[tuple[JSON, JSON | None]]()
    old = store.put(ObjectKey("Job", "", "a"), {"metadata": {"name": "a"}})
    assert store.subscribe(lambda change: told.append((change.object, change.old))) == get_version(old)
    store.delete(ObjectKey("Job", "", "a"))
    [(gone, before)] = told
    assert before == old
    assert gone == {"metadata": {**get_metadata(old), "resourceVersion": "2"}}


def test_a_snapshot_has_the_version_of_its_last_change() -> None:
    store = Store(7)
    store.put(ObjectKey("Job", "x", "a"), {"metadata": {"name": "a"}})
    store.put(ObjectKey("Pod", "y", "b"), {"metadata": {"name": "b"}})
    taken = store.take_snapshot("Job")
    assert ([get_metadata(each)["name"] for each in taken.objects], taken.version) == (["a"], 9)
    assert store.list_namespaces() == {"x", "y"}
