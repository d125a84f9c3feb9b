"""Wire objects -> YAML text, and text -> file in one step that a reader can never see half done."""

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from trainlet.documents.parse import resolve_scalar

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _KubernetesDumper(_Dumper):  # type: ignore[misc]
    """Quotes what kubectl would read as something else than text, and writes long text as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text:
        style = "|"
    elif not isinstance(resolve_scalar(text), str):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_KubernetesDumper.add_representer(str, _represent_text)


def dump_documents(objects: Iterable[Any]) -> str:
    """Return a YAML stream of the objects, keys in their own order."""
    return str(
        yaml.dump_all(
            objects,
            Dumper=_KubernetesDumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=False,
            explicit_start=True,
            width=120,
        )
    )


def write_atomic(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file's content in one step that survives a crash: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
