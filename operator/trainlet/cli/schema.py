"""`trainlet schema --out DIR`: JSON Schemas of all kinds, laid out as editors and offline checkers look for them."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainlet.admission.crd import Crd, parse_crd
from trainlet.admission.json_schema import build_json_schema, build_union
from trainlet.cli.options import add_operator_options, read_settings
from trainlet.documents.scan import SUFFIXES
from trainlet.documents.write import write_atomic
from trainlet.kube.errors import UsageError
from trainlet.package_data import read_crds

UNION_FILE, CATALOG_FILE = "all.json", "catalog.json"

_CATALOG_SCHEMA = "https://json.schemastore.org/schema-catalog.json"
#: Where a directory of manifests is taken for one of ours by its name alone.
_DIRECTORY = "trainjobs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="where to write; made if it is not there"
    )
    parser.add_argument(
        "--base-url", default="", metavar="URL", help=f"where DIR will be served, for the addresses in {CATALOG_FILE}"
    )
    add_operator_options(parser, ("crds",))


def run(args: argparse.Namespace) -> int:
    """Write all files and print the path of each."""
    crds = [parse_crd(document) for document in read_crds(read_settings(args).crds)]
    for name, document in build_files(crds, args.base_url).items():
        path = args.out / name
        _write(path, document)
        print(path)
    return 0


def build_files(crds: Sequence[Crd], base_url: str = "") -> dict[str, Any]:
    """Return the documents by path: one a kind, one for any kind, and the catalog of them."""
    references = {get_schema_name(crd): crd for crd in crds}
    schemas = {name: build_json_schema(crd) for name, crd in references.items()}
    catalog = _build_catalog(references, f"{base_url.rstrip('/')}/" if base_url else "")
    return {**schemas, UNION_FILE: build_union(references), CATALOG_FILE: catalog}


def get_schema_name(crd: Crd) -> str:
    """Return the path of a kind's schema, as kubeconform's `{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}`."""
    return f"{crd.group}/{crd.kind.lower()}_{crd.version}.json"


def _build_catalog(references: Mapping[str, Crd], base_url: str) -> dict[str, Any]:
    kinds = [
        _build_entry(crd.kind, crd.schema.get("description", ""), _list_globs(f"*.{crd.singular}"), base_url + name)
        for name, crd in references.items()
    ]
    directory = _list_globs(f"**/{_DIRECTORY}/**/*")
    union = _build_entry("trainlet", "Any kind that trainlet knows.", directory, base_url + UNION_FILE)
    return {"$schema": _CATALOG_SCHEMA, "version": 1, "schemas": [*kinds, union]}


def _build_entry(name: str, description: str, globs: Sequence[str], url: str) -> dict[str, Any]:
    return {"name": name, "description": description, "fileMatch": list(globs), "url": url}


def _list_globs(stem: str) -> list[str]:
    return [f"{stem}{suffix}" for suffix in SUFFIXES]


def _write(path: Path, document: Any) -> None:
    try:
        write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        what = f"cannot write the schema: {error.strerror}"
        raise UsageError(what, where=str(path), remedy="give a directory that you may write to") from None
