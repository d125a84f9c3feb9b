"""Every command that README shows works as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)

pytestmark = pytest.mark.e2e


def run_shell(script: str, directory: Path, timeout_seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a script with trainlet on the path and processes as its engine."""
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TRAINLET_CONTAINER_RUNTIME": "process",
        "XDG_STATE_HOME": str(directory / "state"),
    }
    environ.pop("TRAINLET_DIR", None)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def test_the_walk_through_works_and_the_status_document_has_the_shape_that_is_shown(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    _, walk, verbs = BLOCKS
    ended = run_shell(f"trap 'kill %1 && wait' EXIT\n{walk}\ncp jobs/status/default/hello.yaml .\n{verbs}", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "trainjob.trainer.kubeflow.org/hello condition met" in ended.stdout
    assert "[node-0] heard from rank 1" in ended.stdout

    text = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert text is not None
    shown = list(yaml.safe_load_all(text.group(1)))
    real = list(yaml.safe_load_all((tmp_path / "hello.yaml").read_text(encoding="utf-8")))
    assert [set(document) for document in shown] == [set(document) for document in real]
    assert [set(document["metadata"]) for document in shown] == [set(document["metadata"]) for document in real]
    assert [set(document["status"]) for document in shown] == [set(document["status"]) for document in real]
    assert shown[1]["status"]["nodes"][0].keys() == real[1]["status"]["nodes"][0].keys()


def test_the_two_commands_are_there() -> None:
    demo, test = (line.split("#")[0].strip() for line in BLOCKS[0].strip().splitlines())
    assert (demo, test) == ("make demo", "make test")
    assert test in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "-m pytest" in make("--dry-run", "test"), "run for good it would clear away what tests have on engines"
    assert "test accuracy" in make("demo", "ARGS=--container-runtime process")


def make(*arguments: str) -> str:
    """Run make in the project's root and return what it prints."""
    ended = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
