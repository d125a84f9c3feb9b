"""One file of the watched directory as last read, and the key of the object that a document of it names."""

from dataclasses import dataclass
from pathlib import Path

from trainlet.documents.parse import Document, ParseError, parse_documents
from trainlet.documents.safe_read import UnsafeFile, read_manifest
from trainlet.documents.scan import Fingerprint
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.meta import ObjectKey
from trainlet.kube.names import is_label, is_subdomain
from trainlet.registry import Registry


@dataclass(frozen=True)
class ManifestFile:
    """A file as last read. `documents` is None for one that could not be read or parsed."""

    fingerprint: Fingerprint | None
    documents: tuple[Document, ...] | None
    problem: FieldError | None = None


def read_file(path: Path, root: Path, fingerprint: Fingerprint, *, trusting: bool) -> ManifestFile:
    """Return what the file holds, or why that is not known."""
    try:
        return ManifestFile(fingerprint, tuple(parse_documents(read_manifest(path, root, trusting=trusting))))
    except ParseError as error:
        return ManifestFile(fingerprint, None, error.to_field_error())
    except UnsafeFile as error:
        return build_unread(error.detail)
    except OSError as error:
        return build_unread(error.strerror or str(error))


def build_unread(problem: str) -> ManifestFile:
    """Return a file that is tried again at every scan, because what is wrong may change without its fingerprint."""
    return ManifestFile(None, None, FieldError("", "Invalid value", problem, stage="parse"))


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


def _check_names(key: ObjectKey) -> None:
    """Refuse what could not be told safely, because names become paths. Raises ApiError."""
    if not is_subdomain(key.name):
        detail = "must be a lowercase RFC 1123 subdomain (like my-job-1)"
        raise ApiError("", causes=[FieldError("metadata.name", "Invalid value", detail, key.name)])
    if key.namespace and not is_label(key.namespace):
        detail = "must be a lowercase RFC 1123 label (like my-team)"
        raise ApiError("", causes=[FieldError("metadata.namespace", "Invalid value", detail, key.namespace)])
