"""Finds and reads the data the program ships: definitions in crds/, runtimes and examples in manifests/.

Knows where data lies in a source tree and in an installed package; what the documents mean is not known here.
"""

import json
from pathlib import Path
from typing import Any

from trainlet.kube.errors import UsageError

PACKAGE_DIRECTORY = Path(__file__).parent
INSTALLED_ROOT = PACKAGE_DIRECTORY / "_data"
SOURCE_ROOT = PACKAGE_DIRECTORY.parent.parent


def data_dir(name: str) -> Path:
    """Find a data directory such as `crds`. Raises UsageError when the installation lacks it."""
    for root in (INSTALLED_ROOT, SOURCE_ROOT):
        if (root / name).is_dir():
            return root / name
    raise UsageError(
        f"the {name} that belong to the program are missing",
        where=str(INSTALLED_ROOT / name),
        remedy="install trainlet again",
    )


def read_crds(directory: Path | None = None) -> tuple[dict[str, Any], ...]:
    """Read every CustomResourceDefinition of a directory, by default those the program ships.

    Files are taken in the order of their names, other documents in YAML files are passed over. Raises UsageError
    for a file that cannot be read or when there is no definition.
    """
    # Ours are JSON; the YAML beside them in a source tree is what they are generated from.
    readers = _READERS if directory else {".json": _read_json}
    directory = directory or data_dir("crds")
    paths = sorted(path for path in directory.glob("*") if path.suffix in readers)
    documents = tuple(document for path in paths for document in readers[path.suffix](path))
    if not documents:
        raise UsageError(
            "no custom resource definition found",
            where=str(directory),
            remedy="give a directory with CustomResourceDefinitions as .json, .yaml or .yml files",
        )
    return documents


def _read_json(path: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(str(error), where=str(path), remedy="restore the file") from error
    if not isinstance(document, dict):
        raise UsageError("the file holds no JSON object", where=str(path), remedy="restore the file")
    return [document]


def _read_yaml(path: Path) -> list[dict[str, Any]]:
    import yaml  # most starts read only what the program ships, which is JSON

    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise UsageError(f"the file cannot be read as YAML: {problem}", where=str(path), remedy="mend it") from error
    return [each for each in documents if isinstance(each, dict) and each.get("kind") == "CustomResourceDefinition"]


_READERS = {".json": _read_json, ".yaml": _read_yaml, ".yml": _read_yaml}
