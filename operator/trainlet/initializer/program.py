"""Packs this package into one file that `python3 -I` runs; the only module of it that is the operator's."""

import io
import zipfile
from pathlib import Path

_DIRECTORY = Path(__file__).parent
_START = """\
import sys

if sys.version_info < (3, 8):
    sys.exit("error: the initializer's Python is older than 3.8: use another image for it")
from initializer.fetch import main

sys.exit(main())
"""


def build_program() -> bytes:
    """Return the program; the same bytes for the same modules, so that no container differs from its spec."""
    modules = sorted(path for path in _DIRECTORY.glob("*.py") if path != Path(__file__))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), _START)
        for path in modules:
            archive.writestr(zipfile.ZipInfo(f"initializer/{path.name}"), path.read_bytes())
    return packed.getvalue()
