"""One file of the watched directory as last read: which objects its documents name, and what is wrong with it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainlet.admission.core_kinds import SECRET
from trainlet.documents.locate import locate
from trainlet.documents.parse import Document, ParseError, parse_documents
from trainlet.documents.safe_read import UnsafeFile, build_exposed, read_manifest
from trainlet.documents.scan import Fingerprint
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.kube.names import is_label, is_subdomain
from trainlet.registry import Registry, Source

_NOBODY = (ObjectKey("", "", ""), Source("", 0))


@dataclass(frozen=True, slots=True)
class Entry:
    """One document that names an object of ours; `problem` is why it is not taken from its file."""

    key: ObjectKey
    source: Source
    problem: FieldError | None = None


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file as last read; one that `is_unclear` may still hold what it held, and `foreign` are kinds not ours."""

    fingerprint: Fingerprint | None
    entries: tuple[Entry, ...] = ()
    errors: tuple[FieldError, ...] = ()
    is_unclear: bool = False
    foreign: tuple[str, ...] = ()


#: What was read: the file, and the documents of its entries, except of one that is known to say what is stored.
Reading = tuple[ManifestFile, Mapping[Source, Document]]


@dataclass(frozen=True)
class Reader:
    """Reads the files of one directory.

    `settled` are objects at rest, by the text of their only file's path: while that is as it was, it is not parsed.
    """

    root: Path
    registry: Registry
    trusting: bool
    settled: dict[str, tuple[ObjectKey, Source]] = field(default_factory=dict)

    def read(self, path: Path, fingerprint: Fingerprint) -> Reading:
        """Return what a file holds, or why that is not known."""
        try:
            data = read_manifest(path, self.root, trusting=self.trusting)
            digest = self.registry.build_digest(data)
            key, source = self.settled.get(str(path), _NOBODY)
            if source.digest == digest:
                return ManifestFile(fingerprint, (Entry(key, source),)), {}
            return self._take(path, fingerprint, parse_documents(data), digest)
        except ParseError as error:
            return ManifestFile(fingerprint, errors=(error.to_field_error(),), is_unclear=True), {}
        except UnsafeFile as error:
            return build_unread(error.detail), {}
        except OSError as error:
            return build_unread(error.strerror or str(error)), {}

    def _take(self, path: Path, fingerprint: Fingerprint, documents: list[Document], digest: str) -> Reading:
        entries: dict[Source, Entry] = {}
        errors: list[FieldError] = []
        foreign: list[str] = []
        said: dict[Source, Document] = {}
        for document in documents:
            try:
                key = identify_document(document, self.registry)
            except ApiError as error:
                errors.extend(locate(error.list_causes(), document))
                continue
            if key is None:
                foreign.append(f"{document.value['kind']} ({document.value['apiVersion']})")
                continue
            source = Source(str(path), document.index, digest if len(documents) == 1 else "")
            problem = None if self.trusting else find_exposure(key, path, fingerprint)
            entries[source], said[source] = Entry(key, source, problem), document
        # A document that names nothing may be any of those that the file held.
        return ManifestFile(fingerprint, tuple(entries.values()), tuple(errors), bool(errors), tuple(foreign)), said


def build_unread(problem: str) -> ManifestFile:
    """Return a file that is tried again at every scan, because what is wrong may change without its fingerprint."""
    return ManifestFile(None, errors=(FieldError("", "Invalid value", problem, stage="parse"),), is_unclear=True)


def build_hash(value: JSON) -> bytes:
    """Return what is the same for the same document, in whatever order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


def identify_document(document: Document, registry: Registry) -> ObjectKey | None:
    """Return the key of the object that a document names; None for one of a kind that is nothing to us.

    Raises ApiError.
    """
    if not isinstance(document.value, dict):
        raise ApiError("", causes=[FieldError("", "Invalid value", "this document is not a mapping")])
    if registry.is_foreign(document.value):
        return None
    key = registry.identify(document.value)
    _check_names(key)
    return key


def find_exposure(key: ObjectKey, path: Path, fingerprint: Fingerprint) -> FieldError | None:
    """Find why an object may not come from this file: a Secret that others than its owner may read is none."""
    if key.kind != SECRET or not fingerprint.readers:
        return None
    return FieldError("", "Forbidden", build_exposed(path, fingerprint.readers).detail, stage="parse")


def _check_names(key: ObjectKey) -> None:
    """Refuse what could not be told safely, because names become paths. Raises ApiError."""
    if not is_subdomain(key.name):
        detail = "must be a lowercase RFC 1123 subdomain (like my-job-1)"
        raise ApiError("", causes=[FieldError("metadata.name", "Invalid value", detail, key.name)])
    if key.namespace and not is_label(key.namespace):
        detail = "must be a lowercase RFC 1123 label (like my-team)"
        raise ApiError("", causes=[FieldError("metadata.namespace", "Invalid value", detail, key.namespace)])
