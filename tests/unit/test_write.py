"""What is written is read back as it was, and a reader never sees it half done."""

import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainlet.documents.parse import parse_documents
from trainlet.documents.write import dump_documents, write_atomic

TEXTS = [
    "yes",
    "n",
    "0777",
    "1e3",
    "",
    "~",
    "0x_",
    "12:30",
    "2026-01-02",
    "=",
    "<<",
    "- a",
    "a: b",
    "#",
    " x ",
    "\t",
    "*x",
]
LONG_TEXTS = [
    "one\ntwo\n",
    "\n",
    "trailing \nspace",
    "  indented\n",
    "a\n\n\n",
    "tab\there\n",
    "\x07\n",
    "\x85\n",
    "🚂\nü",
]


@pytest.mark.parametrize("text", TEXTS + LONG_TEXTS)
def test_text_stays_text(text: str) -> None:
    [document] = parse_documents(dump_documents([{"key": text, text: [text]}]).encode())
    assert document.value == {"key": text, text: [text]}


@pytest.mark.parametrize("text", ["yes", "0777", "12:30", "1e3"])
def test_other_readers_of_yaml_take_text_for_text_too(text: str) -> None:
    # Sexagesimals are text to kubectl and numbers to others: both must be told.
    assert yaml.safe_load(dump_documents([{"key": text}])) == {"key": text}


def test_documents_look_as_people_write_them() -> None:
    shared: list[Any] = [1]
    text = dump_documents([{"kind": "B", "apiVersion": "a", "script": "x\ny\n", "one": shared, "two": shared}, {}])
    assert text == "---\nkind: B\napiVersion: a\nscript: |\n  x\n  y\none:\n- 1\ntwo:\n- 1\n--- {}\n"


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_directories_are_made_and_the_file_is_for_everyone_to_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.yaml"
    write_atomic(path, "grün\n")
    assert path.read_bytes() == "grün\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list_names(path.parent) == ["file.yaml"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    write_atomic(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \ud800\n")
    assert path.read_text() == "old\n"
    assert list_names(tmp_path) == ["file.yaml"]


def test_a_directory_in_the_way_is_an_error_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "file.yaml", "text")
    assert list_names(tmp_path) == ["file.yaml"]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    versions = [letter * size for letter, size in (("a", 10), ("b", 400_000), ("c", 1))]
    write_atomic(path, versions[0])
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text(encoding="utf-8"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        for version in versions:
            write_atomic(path, version)
    done.set()
    reader.join()
    assert seen <= set(versions)
    assert len(seen) > 1, "the reader has seen no change at all"
