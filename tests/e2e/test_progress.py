"""Training code reports its progress from a container, over TLS, with the token that its job was given."""

import re
import shutil
import socket
from pathlib import Path

import pytest

from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

PROGRAM = Path(__file__).parent / "programs" / "report_progress.py"


def test_what_training_code_reports_is_in_the_job_s_status(world: World) -> None:
    check(world)


def test_processes_report_too(process_world: World) -> None:
    check(process_world)


def check(world: World) -> None:
    """Let a job report, and look at its status and its log."""
    world.start("--status-port", str(find_free_port()))
    shutil.copy(PROGRAM, world.workspace("told") / "report.py")
    world.drop(build_train_job("told", 1, ["python3", "/workspace/report.py"]))
    world.wait_phase("told", "Complete", "Failed")
    log = world.log_of("told", "node-0")
    assert re.findall(r"answer (\d+)", log) == ["200", "422"]
    told = world.job("told")["status"]["trainerStatus"]
    assert told.pop("lastUpdatedTime").endswith("Z")
    assert told == {
        "progressPercentage": 42,
        "estimatedRemainingSeconds": 120,
        "metrics": [{"name": "loss", "value": "0.123"}, {"name": "accuracy", "value": "0.95"}],
    }


def find_free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])
