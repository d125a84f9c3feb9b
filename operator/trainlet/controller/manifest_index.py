"""What every file of the watched directory says, and which of them name an object. Knows nothing of what is stored.

Kept file by file, so that a change costs what its file costs, however many others there are.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from trainlet.controller.manifest_file import Entry, ManifestFile
from trainlet.documents.parse import Document
from trainlet.kube.meta import ObjectKey
from trainlet.registry import Source

T = TypeVar("T")


class ManifestIndex:
    """Files by path, entries by key, and the documents that are still needed, by their source."""

    def __init__(self) -> None:
        self.files: dict[Path, ManifestFile] = {}
        self.documents: dict[Source, Document] = {}
        self.unclear: set[Path] = set()
        self.troubled: set[Path] = set()
        self.contested: set[ObjectKey] = set()
        self._entries: dict[ObjectKey, tuple[Entry, ...]] = {}

    def put(self, path: Path, file: ManifestFile, documents: Mapping[Source, Document]) -> set[ObjectKey]:
        """Take up a file in place of what it was; return all keys that it named or names."""
        touched = self.remove(path)
        self.files[path] = file
        self.documents.update(documents)
        _mark(self.unclear, path, file.is_unclear)
        _mark(self.troubled, path, bool(file.errors))
        mine: defaultdict[ObjectKey, list[Entry]] = defaultdict(list)
        for entry in file.entries:
            mine[entry.key].append(entry)
        for key, entries in mine.items():
            self._set(key, [*self.find(key), *entries])
        return touched | mine.keys()

    def remove(self, path: Path) -> set[ObjectKey]:
        """Forget a file; return all keys that it named."""
        file = self.files.pop(path, None)
        self.unclear.discard(path)
        self.troubled.discard(path)
        keys = {entry.key for entry in file.entries} if file is not None else set()
        for entry in file.entries if file is not None else ():
            self.documents.pop(entry.source, None)
        for key in keys:
            self._set(key, [entry for entry in self.find(key) if entry.source.file != str(path)])
        return keys

    def find(self, key: ObjectKey) -> tuple[Entry, ...]:
        """Return all that name an object, in the order of their files."""
        return self._entries.get(key, ())

    def list_keys(self) -> Collection[ObjectKey]:
        """Return all keys that any file names."""
        return self._entries.keys()

    def _set(self, key: ObjectKey, entries: list[Entry]) -> None:
        _mark(self.contested, key, len(entries) > 1)
        if not entries:
            self._entries.pop(key, None)
        elif len(entries) == 1:
            self._entries[key] = (entries[0],)
        else:
            self._entries[key] = tuple(sorted(entries, key=lambda e: (Path(e.source.file), e.source.document)))


def _mark(marked: set[T], each: T, is_marked: bool) -> None:
    if is_marked:
        marked.add(each)
    else:
        marked.discard(each)
