"""Make a virtual environment with a pip in it, on any machine that has a plain python3.

Debian and Ubuntu take ensurepip out of python3 (it is in python3-venv, which needs root to install). Without it one
known pip is fetched from PyPI, so that nothing outside the environment changes. It must run without any package.
"""

import hashlib
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

OLDEST_PYTHON = (3, 11)
PIP_WHEEL = "pip-25.3-py3-none-any.whl"
PIP_URL = (
    "https://files.pythonhosted.org/packages/44/3c/"
    f"d717024885424591d5376220b5e836c2d5293ce2011523c9de23ff7bf068/{PIP_WHEEL}"
)
PIP_SHA256 = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"
FETCH_TIMEOUT_SECONDS = 60


def main() -> None:
    """Make the environment that the first argument names, or bring the one there up to this python."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"error: python {found} is too old ({sys.executable}): name a 3.11 or newer with make PYTHON=...")
    directory = Path(sys.argv[1])
    has_ensurepip = find_spec("ensurepip") is not None
    venv.create(directory, symlinks=True, with_pip=has_ensurepip)
    if not has_ensurepip:
        install_pip(directory)


def install_pip(directory: Path) -> None:
    """Fetch the known pip and let it install itself: a wheel of pip can be run as it is."""
    wheel = directory / PIP_WHEEL
    wheel.write_bytes(fetch_pip())
    python = directory / "bin" / "python"
    subprocess.run([python, wheel / "pip", "install", "--quiet", "--no-index", wheel], check=True)
    wheel.unlink()


def fetch_pip() -> bytes:
    """Download the wheel and compare its digest."""
    try:
        with urlopen(PIP_URL, timeout=FETCH_TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read()
    except OSError as error:
        sys.exit(f"error: cannot fetch pip ({PIP_URL}): {error}: install it by hand: apt-get install python3-venv")
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        sys.exit(f"error: not the pip that was expected ({PIP_URL}): install it by hand: apt-get install python3-venv")
    return content


if __name__ == "__main__":
    main()
