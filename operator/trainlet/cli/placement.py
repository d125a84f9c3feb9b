"""Which file of the watched directory a manifest goes to, so that nothing else in the directory is lost.

Reads the directory once; writes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainlet.cli.inputs import Input
from trainlet.cli.reading import Verdict
from trainlet.documents.parse import ParseError, parse_documents
from trainlet.documents.placement import name_manifest
from trainlet.documents.scan import is_manifest_name, scan_directory
from trainlet.kube.errors import ApiError, UsageError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.registry import Registry
from trainlet.settings import Settings


@dataclass(frozen=True)
class Placement:
    """One input and the file it goes to. `changes` says for each of its objects what it is there."""

    input: Input
    target: Path
    changes: tuple[tuple[ObjectKey, str], ...]


class Directory:
    """What the files of the watched directory define; a file that cannot be read defines None."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.root = settings.dir
        excluded = frozenset({settings.status_path, settings.workspace_path})
        files = scan_directory(self.root, excluded).files
        self.files = {path: _read_objects(path, registry) for path in files}

    def find_file(self, key: ObjectKey) -> Path | None:
        """Return the file that defines an object, or None."""
        return next((path for path, objects in self.files.items() if objects and key in objects), None)

    def place(self, source: Input, verdicts: Sequence[Verdict]) -> Placement:
        """Choose the file for an input, and from now on count it as written. Raises UsageError."""
        objects = {verdict.key: verdict.value for verdict in verdicts if verdict.key}
        target = self._find_target(source, objects)
        changes = tuple((key, self._compare(key, value)) for key, value in objects.items())
        self.files[target] = objects
        return Placement(source, target, changes)

    def _find_target(self, source: Input, objects: dict[ObjectKey, JSON]) -> Path:
        holders = {path for key in objects if (path := self.find_file(key)) is not None}
        if not holders:
            return self._find_free(source, objects)
        holder = min(holders)
        if len(holders) > 1 or set(self.files[holder] or ()) - set(objects):
            defined = next(key for key in objects if self.find_file(key) == holder)
            what = f"{defined} is already defined in {holder}, together with others"
            remedy = f"edit {holder.name}, or put the same objects into one file"
            raise UsageError(what, where=source.name, remedy=remedy)
        return holder

    def _find_free(self, source: Input, objects: dict[ObjectKey, JSON]) -> Path:
        """Return a file of the input's name, else of its first object's, that is not there or is broken."""
        first = next(iter(objects))
        names = [source.path.name] if source.path and is_manifest_name(source.path.name) else []
        for name in (*names, name_manifest(first)):
            path = self.root / name
            if self.files.get(path, {} if path.exists() else None) is None:
                return path
        what = f"{name} is already there and holds other objects"
        raise UsageError(what, where=str(self.root), remedy=f"give {source.name} another name")

    def _compare(self, key: ObjectKey, value: JSON) -> str:
        file = self.find_file(key)
        if file is None:
            return "created"
        return "unchanged" if (self.files[file] or {})[key] == value else "configured"


def split(verdicts: Sequence[Verdict]) -> list[tuple[Input, list[Verdict]]]:
    """Return what goes into a file each: every input as it is, but every document of standard input by itself."""
    groups: list[tuple[Input, list[Verdict]]] = []
    for verdict in verdicts:
        if verdict.input.path is None:
            groups.append((_cut_out(verdict), [verdict]))
        elif groups and groups[-1][0] == verdict.input:
            groups[-1][1].append(verdict)
        else:
            groups.append((verdict.input, [verdict]))
    return groups


def _cut_out(verdict: Verdict) -> Input:
    from trainlet.documents.syntax import read_sections

    assert verdict.document is not None
    text = verdict.input.data.decode("utf-8-sig")
    section = read_sections(text)[verdict.document.index]
    return replace(verdict.input, data=text[section.start : section.end].encode())


def _read_objects(path: Path, registry: Registry) -> dict[ObjectKey, JSON] | None:
    try:
        documents = parse_documents(path.read_bytes())
    except (OSError, ParseError):
        return None
    return dict(_identify((d.value for d in documents if isinstance(d.value, dict)), registry))


def _identify(values: Iterable[JSON], registry: Registry) -> Iterable[tuple[ObjectKey, JSON]]:
    for value in values:
        try:
            yield registry.identify(value), value
        except ApiError:
            continue
