"""What README claims about the speed of `trainlet validate`, measured here as whole processes, their start included.

make bench                      this first, then the engines
.venv/bin/python bench/validate.py --repeats 5
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TRAINLET = Path(sys.executable).with_name("trainlet")
FILES = 1000
SMALLEST, LARGEST = 1_000, 5_000

HEAD = """\
# A job of the benchmark, written as people write them.
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata:
  name: {name}
  labels: {{team: vision, run: "{number}"}}
spec:
  runtimeRef:
    name: torch-distributed
  trainer:
    image: registry.example.com/team/train:v{number}
    command: [torchrun, /workspace/train.py]
    args: ["--epochs=10", "--lr=1e-3", "--name={name}"]
    numNodes: 4
    numProcPerNode: 2
    resourcesPerNode:
      limits: {{cpu: "4", memory: 16Gi}}
    env:
"""

#: What a hostile or broken file looks like; each must be refused, and soon.
HOSTILE: dict[str, Callable[[], bytes]] = {
    "60 KB of brackets": lambda: b"[" * 60_000,
    "an alias bomb of 1 KB": lambda: _build_bomb(),
    "20 MB": lambda: b"a: b\n" * 4_000_000,
}


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory(prefix="trainlet-bench-") as directory:
        root = Path(directory)
        jobs = root / "jobs"
        jobs.mkdir()
        (root / "empty").mkdir()
        (jobs / "empty").mkdir()
        total = sum(_write_job(jobs, number) for number in range(FILES))
        print(f"## trainlet validate (s, median of {repeats}, the program's start included)\n")
        print("| what | seconds | exit |")
        print("| --- | ---: | ---: |")
        print(_measure(f"{FILES:,} files, {total / FILES / 1000:.1f} KB each", jobs, repeats))
        print(_measure("one file of these", jobs / "job-0.yaml", repeats))
        for what, build in HOSTILE.items():
            file = root / "hostile.yaml"
            file.write_bytes(build())
            print(_measure(what, file, repeats))


def _write_job(directory: Path, number: int) -> int:
    size = random.Random(number).randint(SMALLEST, LARGEST)
    text = HEAD.format(name=f"job-{number}", number=number)
    entry = 0
    while len(text) < size:
        text += f"    - name: SETTING_{entry}\n      value: 'the value of setting {entry}'\n"
        entry += 1
    (directory / f"job-{number}.yaml").write_text(text, encoding="utf-8")
    return len(text)


def _build_bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 16)]
    return "\n".join(lines).encode()


def _measure(what: str, path: Path, repeats: int) -> str:
    figures, status = [], 0
    for _ in range(repeats):
        started = time.monotonic()
        # Where it is called from is the directory that runtimes are looked for in: nothing else shall be there.
        command = [TRAINLET, "validate", "--dir", path.parent / "empty", path]
        status = subprocess.run(command, capture_output=True, check=False).returncode
        figures.append(time.monotonic() - started)
    return f"| {what} | {statistics.median(figures):.2f} | {status} |"


if __name__ == "__main__":
    main()
