"""`trainlet get` starts quickly because it loads little; what it must not load is listed here."""

import subprocess
import sys
from pathlib import Path

import pytest

from stored import Place

HEAVY = (
    "asyncio",
    "docker",
    "hashlib",
    "http",
    "jsonschema",
    "pip",
    "podman",
    "pydantic",
    "requests",
    "rich",
    "shutil",
    "threading",
    "trainlet.apis",
    "trainlet.manager",
    "watchfiles",
)
PROGRAM = """
import sys
from trainlet.cli.main import main
status = main()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize(
    "words", [["get", "tj"], ["get", "po", "-o", "yaml"], ["events"], ["wait", "mnist", "--timeout", "0"], ["--help"]]
)
def test_what_is_read_from_disk_loads_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    place = Place(tmp_path)
    place.write_job()
    command = [sys.executable, "-S", "-c", PROGRAM, *place.arguments, *words]
    environment = {"PYTHONPATH": ":".join(["operator", *sys.path])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    loaded = set(done.stderr.split())
    assert "trainlet.cli.options" in loaded, done.stderr
    assert sorted(name for name in HEAVY if name in loaded) == []


def test_help_lists_all_verbs_and_loads_none() -> None:
    command = [sys.executable, "-S", "-c", PROGRAM, "--help"]
    environment = {"PYTHONPATH": ":".join(["operator", *sys.path])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    verbs = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")}
    assert {"run", "get", "logs", "suspend", "resume", "demo", "completion"} <= verbs
    assert not {name for name in done.stderr.split() if name in ("trainlet.cli.get", "trainlet.cli.run", "yaml")}
