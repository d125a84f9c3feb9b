"""`trainlet demo` from nothing to a trained model, on every engine, and how it ends when it does not go well."""

import signal
import subprocess
import sys

import pytest
import yaml

from trainlet.kube.meta import JSON
from trainlet.settings import build_settings
from waiting import running
from world import TRAINLET, World

pytestmark = pytest.mark.e2e

TIMEOUT_SECONDS = 180
#: A demo whose training program is another: it says something and fails.
FAILING = """
import pathlib, sys
from trainlet.cli.main import main
from trainlet.demo import image
image.PROGRAM = pathlib.Path(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""


def run_demo(world: World, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a demo in the world's directory, to its end."""
    return subprocess.run(
        [str(TRAINLET), "demo", *world.engine_flags(), "--dir", str(world.jobs), *flags],
        env=world.environ,
        # A rootless engine's containers are another user to the directory.
        umask=0,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def read_document(output: str) -> tuple[JSON, JSON]:
    """Return the TrainJob and the report that a demo has printed."""
    text = output[output.index("\n---\n") :].split("\n\n")[0]
    job, report = yaml.safe_load_all(text)
    return job, report


def assert_trained(world: World, nodes: int, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    accuracy = done.stdout.split("test accuracy ")[1].split(" %")[0]
    assert float(accuracy) > 90
    assert "epoch 1/12 " in done.stdout
    job, report = read_document(done.stdout)
    assert [condition["type"] for condition in job["status"]["conditions"]] == ["Complete"]
    assert (report["kind"], report["status"]["phase"], len(report["status"]["nodes"])) == (
        "TrainJobReport",
        "Complete",
        nodes,
    )
    name = job["metadata"]["name"]
    weights = {world.log_of(name, f"node-{rank}").split("weights ")[1].split()[0] for rank in range(nodes)}
    assert len(weights) == 1
    assert (world.jobs / "workspaces" / "default" / name / "model.json").stat().st_size > 0
    assert world.owned() == 0


@pytest.mark.engine
def test_it_trains_in_containers_and_leaves_none(world: World) -> None:
    assert_trained(world, 2, run_demo(world))


def test_it_trains_in_processes_and_the_verbs_work_on_what_it_leaves(process_world: World) -> None:
    done = run_demo(process_world, "--nodes", "3")
    assert_trained(process_world, 3, done)
    verbs = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("  trainlet ")]
    assert [verb[0] for verb in verbs] == ["get", "describe", "logs"]
    for verb in verbs:
        shown = process_world.trainlet(*verb)
        assert shown.returncode == 0, shown.stderr
        assert "digits" in shown.stdout or "test accuracy" in shown.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_told_to_end_takes_all_of_it_away(process_world: World, number: int) -> None:
    environ = {**process_world.environ, "TMPDIR": str(process_world.base)}
    command = [str(TRAINLET), "demo", "--container-runtime", "process"]
    with running(command, env=environ, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any(line.startswith("epoch 1/") for line in demo.stdout)
        [directory] = process_world.base.glob("trainlet-demo-*")
        store = build_settings({"dir": directory}, {}).store_id
        [owner] = process_world.engine.find_owners(store)
        demo.send_signal(number)
        demo.stdout.read()
        assert demo.wait(30) == 130
    assert process_world.engine.find_owners(store) == frozenset()
    assert process_world.engine.observe(owner.uid).containers == ()
    assert not directory.exists()


def test_a_training_that_fails_is_told_with_its_last_words(process_world: World) -> None:
    program = process_world.base / "train.py"
    program.write_text("print('no data today')\nraise SystemExit(3)\n", encoding="utf-8")
    environ = {**process_world.environ, "TMPDIR": str(process_world.base), "TRAINLET_RESTART_BACKOFF": "10ms"}
    command = [sys.executable, "-c", FAILING, str(program), "demo", "--container-runtime", "process", "--nodes", "1"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the job failed (node-0 ended with exit code 3" in done.stderr
    assert "  no data today" in done.stderr
    job, _ = read_document(done.stdout)
    assert [condition["type"] for condition in job["status"]["conditions"]] == ["Failed"]
    [directory] = process_world.base.glob("trainlet-demo-*")
    assert (directory / "operator.log").exists(), "what failed is kept"
