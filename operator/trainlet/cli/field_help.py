"""`trainlet explain KIND.FIELD...`: what a field is, from the same definitions that admission judges by."""

import argparse
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.json_schema import describe
from trainlet.cli.options import add_operator_options, read_settings
from trainlet.cli.resources import KINDS
from trainlet.kube.errors import ApiError, UsageError
from trainlet.package_data import read_crds

Schema = dict[str, Any]

_WIDTH = 80
_INDENT = " " * 4
#: Paths may be copied from an error, where they say which item is meant.
_ITEM = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class Field:
    """A field with its schema; `path` leads to it from the kind, as the user calls that."""

    path: str
    schema: Schema
    is_required: bool = False

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.rpartition(".")[2]

    @property
    def fields(self) -> list["Field"]:
        """The fields of its value, or of each item if there are many."""
        inner = _get_innermost(self.schema)
        required = inner.get("required", ())
        properties = inner.get("properties", {})
        return [Field(f"{self.path}.{name}", properties[name], name in required) for name in sorted(properties)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("path", metavar="KIND[.FIELD...]", help="such as tj.spec.trainer")
    parser.add_argument("--recursive", action="store_true", help="name all fields below it, without descriptions")
    add_operator_options(parser, ("crds",))


def run(args: argparse.Namespace) -> int:
    """Print what the definitions say of one field."""
    crds = [parse_crd(document) for document in read_crds(read_settings(args).crds)]
    crd, word, names = parse_path(_ITEM.sub("", args.path), crds)
    field = find_field(Field(word, crd.schema), names)
    print("\n".join(render_field(crd, field, is_root=not names, recursive=args.recursive)))
    return 0


def parse_path(text: str, crds: Sequence[Crd]) -> tuple[Crd, str, list[str]]:
    """Return the kind, the word that the path calls it, and the names of fields. Raises UsageError."""
    words = {word: crd for crd in crds for word in _list_words(crd)}
    for word in sorted(words, key=len, reverse=True):  # a full name holds dots, too
        if f"{text.lower()}.".startswith(f"{word}."):
            return words[word], text[: len(word)], [name for name in text[len(word) :].split(".") if name]
    kind = text.partition(".")[0]
    raise UsageError(f"there is no definition of {kind!r}", remedy=f"use one of {_list_kinds(crds)}")


def find_field(field: Field, names: Sequence[str]) -> Field:
    """Return the field that the names lead to. Raises ApiError."""
    for name in names:
        inner = next((each for each in field.fields if each.name == name), None)
        if inner is None:
            remedy = _suggest(name, field)
            raise ApiError(
                f'field "{name}" does not exist', code=404, reason="NotFound", where=field.path, remedy=remedy
            )
        field = inner
    return field


def render_field(crd: Crd, field: Field, *, is_root: bool, recursive: bool) -> list[str]:
    """Return the lines about a field, in the form of `kubectl explain`."""
    fields = _render_tree(field.fields, 1) if recursive else _render_list(field.fields)
    return [
        f"GROUP:      {crd.group}",
        f"KIND:       {crd.kind}",
        f"VERSION:    {crd.version}",
        "",
        *([] if is_root else _render_heading(field)),
        "DESCRIPTION:",
        *(_wrap(describe(field.schema)) or [f"{_INDENT}<empty>"]),
        "",
        *(["FIELDS:", *fields] if field.fields else []),
    ]


def name_type(schema: Schema) -> str:
    """Return a type as kubectl writes it: `string`, `Object`, `[]Object`, `map[string]string`."""
    if schema.get("x-kubernetes-int-or-string"):
        return "IntOrString"
    if "items" in schema:
        return f"[]{name_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map[string]{name_type(schema['additionalProperties'])}"
    kind = str(schema.get("type", "object"))
    return "Object" if kind == "object" else kind


def _list_words(crd: Crd) -> frozenset[str]:
    own = {crd.plural, crd.singular, *crd.short_names}
    known = (kind.words for kind in KINDS if (kind.group, kind.kind) == (crd.group, crd.kind))
    return frozenset({*own, *(f"{word}.{crd.group}" for word in own)}).union(*known)


def _list_kinds(crds: Sequence[Crd]) -> str:
    return ", ".join(f"{crd.plural} ({min(_list_words(crd), key=len)})" for crd in crds)


def _get_innermost(schema: Schema) -> Schema:
    inner = schema.get("items") or schema.get("additionalProperties")
    return _get_innermost(inner) if isinstance(inner, dict) else schema


def _suggest(name: str, field: Field) -> str:
    known = {each.name.lower(): each.name for each in field.fields}
    if not known:
        return f"<{name_type(field.schema)}> has no fields"
    for close in get_close_matches(name.lower(), known, n=1):
        return f'did you mean "{known[close]}"?'
    return f"trainlet explain {field.path} lists its fields"


def _render_heading(field: Field) -> Iterator[str]:
    yield f"FIELD: {_render_name(field, ' ')}"
    if "enum" in field.schema:
        yield from ("ENUM:", *(f"{_INDENT}{_render_value(value)}" for value in field.schema["enum"]))
    if "default" in field.schema:
        yield from ("DEFAULT:", f"{_INDENT}{_render_value(field.schema['default'])}")
    yield ""


def _render_list(fields: Sequence[Field]) -> Iterator[str]:
    for field in fields:
        yield f"  {_render_name(field, chr(9))}"
        if "enum" in field.schema:
            yield f"  enum: {', '.join(map(_render_value, field.schema['enum']))}"
        if "default" in field.schema:
            yield f"  default: {_render_value(field.schema['default'])}"
        yield from _wrap(describe(field.schema)) or [f"{_INDENT}<no description>"]
        yield ""


def _render_tree(fields: Sequence[Field], depth: int) -> Iterator[str]:
    for field in fields:
        yield f"{'  ' * depth}{_render_name(field, chr(9))}"
        yield from _render_tree(field.fields, depth + 1)


def _render_name(field: Field, gap: str) -> str:
    return f"{field.name}{gap}<{name_type(field.schema)}>{' -required-' if field.is_required else ''}"


def _render_value(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _wrap(text: str) -> list[str]:
    lines = (
        textwrap.wrap(line, _WIDTH - len(_INDENT), break_long_words=False, break_on_hyphens=False) or [""]
        for line in text.splitlines()
    )
    return [f"{_INDENT}{line}".rstrip() for wrapped in lines for line in wrapped]
