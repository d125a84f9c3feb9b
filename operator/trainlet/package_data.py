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

    Sorted by file name. Raises UsageError for an unreadable file or when there is none.
    """
    directory = directory or data_dir("crds")
    documents = tuple(_read_json(path) for path in sorted(directory.glob("*.json")))
    if not documents:
        raise UsageError(
            "no custom resource definition found",
            where=str(directory),
            remedy="give a directory with CustomResourceDefinitions as .json files",
        )
    return documents


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(str(error), where=str(path), remedy="restore the file") from error
    if not isinstance(document, dict):
        raise UsageError("the file holds no JSON object", where=str(path), remedy="restore the file")
    return document
