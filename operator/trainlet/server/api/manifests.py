"""Objects into and out of the files of the watched directory, as a person would write them. Knows nothing of requests.

Every change of a file is one step and can be undone. Whoever calls sees to it that nobody else does meanwhile.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from trainlet.admission.core_kinds import SECRET
from trainlet.documents.edit import remove_document, rewrite_file
from trainlet.documents.parse import parse_documents
from trainlet.documents.placement import list_names
from trainlet.documents.revise import edit_document
from trainlet.documents.write import dump_documents, write_atomic
from trainlet.kube.errors import ApiError, TrainletError
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.registry import Registry, Source

_FIRST = ("apiVersion", "kind", "metadata")
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Files(Protocol):
    """Who follows the directory."""

    def find_source(self, key: ObjectKey) -> Source | None:
        """Return which document an object is made of, or is to be made of once it is not refused any more."""

    def catch_up(self, file: Path) -> None:
        """Bring all objects of a file up to it, as it is now."""

    def take_in(self, file: Path, key: ObjectKey) -> str:
        """Bring an object up to a file that is written just now; return why that cannot be, or nothing."""


class Edited:
    """A file that was changed, and how to change it back."""

    def __init__(self, path: Path, before: bytes | None, mode: int = 0o644) -> None:
        self.path, self._before, self._mode = path, before, mode

    def undo(self) -> None:
        """Put back what was there."""
        if self._before is None:
            self.path.unlink(missing_ok=True)
        else:
            write_atomic(self.path, self._before.decode("utf-8"), mode=self._mode)


class Manifests:
    """The manifests of one directory; objects of `namespace` are written without it."""

    def __init__(self, root: Path, registry: Registry, namespace: str) -> None:
        self.root, self._registry, self._namespace = root, registry, namespace

    def create(self, key: ObjectKey, document: JSON) -> Edited:
        """Write an object into a file of its own. Raises ApiError."""
        with _explaining(self.root, "make the directory writable for trainlet"):
            path = next((p for name in list_names(key) if not (p := self.root / name).exists()), None)
        if path is None:
            raise _fail("every name for its manifest is taken", self.root, "remove files that are not needed", 409)
        with _explaining(path, "make the directory writable for trainlet"):
            text = dump_documents([self._arrange(key, document)]).removeprefix("---\n")
            write_atomic(path, text, mode=0o600 if key.kind == SECRET else 0o644)
        return Edited(path, None)

    def edit(self, source: Source, key: ObjectKey, change: Callable[[JSON], JSON]) -> Edited:
        """Change an object's document to what is made of it, and nothing else in its file. Raises ApiError."""
        path = self._find(source)

        def revise(text: str) -> str:
            written = self._read(text, source, key)
            return edit_document(text, source.document, change(written))

        return self._rewrite(path, revise)

    def remove(self, source: Source, key: ObjectKey) -> Edited:
        """Take an object's document out of its file, or the file away if there is no other in it. Raises ApiError."""
        path = self._find(source)
        with _explaining(path, "make the directory writable for trainlet"):
            data = path.read_bytes()
            self._read(data.decode("utf-8-sig"), source, key)
            if len(parse_documents(data)) > 1:
                return self._rewrite(path, lambda text: remove_document(text, source.document))
            edited = Edited(path, data, path.stat().st_mode & 0o7777)
            path.unlink()
        return edited

    def _rewrite(self, path: Path, revise: Callable[[str], str]) -> Edited:
        with _explaining(path, "make the directory writable for trainlet"):
            edited = Edited(path, path.read_bytes(), path.stat().st_mode & 0o7777)
            rewrite_file(path, revise)
        return edited

    def _find(self, source: Source) -> Path:
        """Return a file that may be edited. Raises ApiError."""
        path = Path(source.file)
        with _explaining(path, "make it readable for trainlet"):
            if not path.exists():
                raise _fail("its manifest is missing", path, "put the file back", 409)
            real, root = path.resolve(), self.root.resolve()
        if not path.is_relative_to(self.root) or real != root / path.relative_to(self.root):
            raise _fail(f"its manifest is a link to {real}", path, "edit what it leads to", 409)
        return path

    def _read(self, text: str, source: Source, key: ObjectKey) -> JSON:
        """Return the document of an object. Raises ApiError if something else is there now."""
        documents = {each.index: each.value for each in parse_documents(text.encode())}
        found = documents.get(source.document)
        if isinstance(found, dict) and self._registry.identify(found) == key:
            return found
        raise _fail("its manifest is just being changed", Path(source.file), "try again", 409)

    def _arrange(self, key: ObjectKey, document: JSON) -> JSON:
        """Return an object in the usual order, without a namespace that goes without saying."""
        metadata = get_metadata(document)
        if key.namespace == self._namespace:
            metadata = {name: value for name, value in metadata.items() if name != "namespace"}
        places = {"name": key.name, **({"namespace": key.namespace} if "namespace" in metadata else {})}
        ordered = {name: document[name] for name in _FIRST if name in document}
        return {**ordered, "metadata": {**places, **metadata}, **{k: v for k, v in document.items() if k not in _FIRST}}


@contextmanager
def _explaining(path: Path, remedy: str) -> Iterator[None]:
    """Raise ApiError for what the system or the text refuses."""
    try:
        yield
    except OSError as error:
        code = 403 if error.errno in _DENIED else 500
        raise _fail(f"cannot change the manifest: {error.strerror or error}", path, remedy, code) from None
    except ApiError:
        raise
    except TrainletError as error:
        raise _fail(error.what, path, error.remedy or "edit the file by hand", 409) from None
    except UnicodeDecodeError:
        raise _fail("the file is not UTF-8", path, "save it as UTF-8", 409) from None


def _fail(what: str, path: Path, remedy: str, code: int) -> ApiError:
    reason = {403: "Forbidden", 409: "Conflict"}.get(code, "InternalError")
    return ApiError(what, code=code, reason=reason, where=str(path), remedy=remedy)
