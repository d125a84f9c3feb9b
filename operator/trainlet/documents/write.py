"""Wire objects -> YAML text, and text -> file in one step that a reader can never see half done."""

import contextlib
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from trainlet.documents.parse import resolve_scalar

T = TypeVar("T")

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_RESOLVER: Any = yaml.resolver.Resolver
_TEXT, _LIST, _MAP = (f"tag:yaml.org,2002:{each}" for each in ("str", "seq", "map"))
#: How many texts are remembered, and how long they may be: keys and words come again and again.
_REMEMBERED, _LONGEST = 4096, 100


class _KubernetesDumper(_Dumper):  # type: ignore[misc]
    """Quotes what kubectl would read as something else than text, and writes long text as blocks.

    What PyYAML asks of each value is answered here in one step: a status is written before every step of a plan.
    """

    def represent(self, data: Any) -> None:
        self.serialize(self._build(data))

    def _build(self, data: Any) -> yaml.Node:
        kind, build = type(data), self._build
        if kind is str:
            return yaml.ScalarNode(_TEXT, data, style=_choose_style(data))
        if kind is dict:
            return yaml.MappingNode(_MAP, [(build(k), build(v)) for k, v in data.items()], flow_style=False)
        if kind is list:
            return yaml.SequenceNode(_LIST, [build(each) for each in data], flow_style=False)
        node: yaml.Node = self.represent_data(data)
        return node

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: tuple[bool, bool]) -> str:
        """Return what a value is to who reads it without a tag, quoted or, if `implicit` begins so, plain."""
        if kind is yaml.ScalarNode:
            return _resolve_plain(value) if implicit[0] else _TEXT
        return _LIST if kind is yaml.SequenceNode else _MAP

    def descend_resolver(self, *_: Any) -> None:
        """Do nothing: no tag depends on where a value is."""

    ascend_resolver = descend_resolver


def _for_short_texts(ask: Callable[[str], T]) -> Callable[[str], T]:
    remembered = lru_cache(_REMEMBERED)(ask)
    return lambda text: remembered(text) if len(text) <= _LONGEST else ask(text)


@_for_short_texts
def _choose_style(text: str) -> str | None:
    if "\n" in text:
        return "|"
    return None if isinstance(resolve_scalar(text), str) else "'"


@_for_short_texts
def _resolve_plain(text: str) -> str:
    tag: str = _RESOLVER().resolve(yaml.ScalarNode, text, (True, False))
    return tag


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
    import tempfile  # loads what packs archives, and those who only print need none

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
