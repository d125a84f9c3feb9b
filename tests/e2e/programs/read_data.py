"""Adds up what an initializer has fetched; runs inside the Python test image.

Every line of every file below DATASET is a number. Prints the sum and the names of the files.
"""

import os
from pathlib import Path

DATASET = Path(os.environ.get("DATASET", "/workspace/dataset"))


def main() -> None:
    """Read it all, and compare the sum with EXPECTED."""
    files = sorted(path for path in DATASET.rglob("*") if path.is_file() and not path.name.startswith("."))
    total = sum(int(line) for path in files for line in path.read_text().splitlines())
    names = " ".join(str(path.relative_to(DATASET)) for path in files)
    print(f"rank {os.environ['JOB_COMPLETION_INDEX']} sum {total} of {names}", flush=True)
    assert total == int(os.environ["EXPECTED"]), f"{os.environ['EXPECTED']} was expected"


if __name__ == "__main__":
    main()
