"""`trainlet logs`: from the engine, from kept files, over restarts, each line once; with real processes as nodes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from builders import UID
from stored import Place, build_condition, build_node
from trainlet.cli.main import main
from trainlet.controller.logs import LogKeeper
from trainlet.engine.process import ProcessEngine
from trainlet.kube.meta import ObjectKey
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState
from trainlet.planning.specs import ContainerSpec
from waiting import running, wait_for

JOB = ObjectKey("TrainJob", "default", "mnist")
PROCESS = {"name": "process", "endpoint": "process:"}
NO_ENGINE = {"name": "docker", "endpoint": "unix:///nonexistent/docker.sock"}
COMPLETE = [build_condition("Complete")]

KEPT_0 = "2026-01-02T03:04:05.000001Z first\n2026-01-02T03:04:07.000000Z third\n"
KEPT_1 = "2026-01-02T03:04:06.000000Z second\n- without a time\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "jobs").mkdir()
    return Place(tmp_path / "jobs")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessEngine]:
    """The engine that the program finds, too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    engine = ProcessEngine(tmp_path / "trainlet" / "processes", os.environ)
    yield engine
    for container in engine.observe(UID).containers:
        engine.remove_container(container.id)


def start_node(engine: ProcessEngine, script: str, rank: int = 0, attempt: int = 0) -> str:
    """Run a script as a node and return its container's name."""
    name = f"mnist-node-{rank}"
    notes = {labels.OWNER_UID: UID, labels.STEP: f"node-{rank}", labels.ATTEMPT: str(attempt), labels.STORE: "s"}
    engine.create_container(replace(ContainerSpec(name, "none", ("sh", "-c", script)), labels=notes).with_hash())
    engine.start_container(name)
    return name


def wait_for_end(engine: ProcessEngine) -> None:
    def is_ended() -> bool:
        return all(c.state is ContainerState.EXITED for c in engine.observe(UID).containers)

    wait_for(is_ended, "the nodes to end")


def run(place: Place, *words: str) -> int:
    return main([*place.arguments, "logs", "mnist", *words])


def keep_and_remove(engine: ProcessEngine, place: Place, rank: int = 0) -> None:
    wait_for_end(engine)
    LogKeeper(engine, place.status).keep(JOB, f"mnist-node-{rank}", f"node-{rank}")
    engine.remove_container(f"mnist-node-{rank}")


@pytest.fixture
def kept(place: Place) -> Place:
    """A job that ended and whose containers are gone."""
    place.write_job(phase="Complete", conditions=COMPLETE, engine=PROCESS)
    place.write_log("node-0", KEPT_0)
    place.write_log("node-1", KEPT_1)
    return place


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("words", "output"),
    [
        ([], "[node-0] first\n[node-1] without a time\n[node-1] second\n[node-0] third\n"),
        (["--node", "0"], "first\nthird\n"),
        (["--step", "node-1", "--tail", "1"], "without a time\n"),
        (["--node", "0", "--tail", "0"], ""),
        (["--node", "0", "--tail=-1"], "first\nthird\n"),
        (["--node", "0", "--timestamps", "--tail", "1"], "2026-01-02T03:04:07.000000Z third\n"),
        (["--node", "0", "--since", "1h"], ""),
        (["--node", "0", "-f"], "first\nthird\n"),
        (["--node", "0", "-f", "--tail", "1"], "third\n"),
        (["--node", "0", "-f", "--tail", "0"], ""),
    ],
)
def test_kept_logs(kept: Place, capsys: pytest.CaptureFixture[str], words: list[str], output: str) -> None:
    assert run(kept, *words) == 0
    out = capsys.readouterr().out
    assert sorted(out.splitlines()) == sorted(output.splitlines())
    timed = [line for line in out.splitlines() if "without" not in line]
    assert timed == [line for line in output.splitlines() if "without" not in line]


@pytest.mark.usefixtures("engine")
def test_the_attempt_before(kept: Place, capsys: pytest.CaptureFixture[str]) -> None:
    kept.write_log("node-0", "2026-01-02T03:04:00.000000Z earlier\n", previous=True)
    assert run(kept, "--previous") == 0
    assert capsys.readouterr().out == "[node-0] earlier\n"
    assert run(kept, "--previous", "--node", "1") == 0
    assert "trainjob mnist has no log of an earlier attempt" in capsys.readouterr().err


def test_a_live_node_is_read_from_the_engine_and_its_kept_log_is_the_attempt_before(
    place: Place, engine: ProcessEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write_job(engine=PROCESS)
    start_node(engine, "echo old")
    keep_and_remove(engine, place)
    start_node(engine, "echo new; echo newer", attempt=1)
    wait_for_end(engine)
    assert run(place, "--node", "0") == 0
    assert capsys.readouterr().out == "new\nnewer\n"
    assert run(place, "--node", "0", "--previous") == 0
    assert capsys.readouterr().out == "old\n"
    LogKeeper(engine, place.status).keep(JOB, "mnist-node-0", "node-0")
    assert run(place, "--node", "0", "--previous") == 0
    assert capsys.readouterr().out == "old\n", "kept and not yet removed, it is still the last attempt"


@pytest.mark.usefixtures("engine")
def test_a_job_without_a_log_says_why(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_job(phase="Pending", nodes=[build_node(0, "waiting", reason="ErrImagePull", message="no such image")])
    assert run(place, "--container-runtime", "process") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "trainjob mnist has no log: it is Pending; ErrImagePull: node-0: no such image\n"


def test_an_engine_that_is_down(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_job(engine=NO_ENGINE)
    assert run(place) == 3
    assert "unix:///nonexistent/docker.sock" in capsys.readouterr().err
    place.write_log("node-0", KEPT_0)
    assert run(place, "--node", "0") == 0
    captured = capsys.readouterr()
    assert captured.out == "first\nthird\n"
    assert captured.err.startswith("warning: only kept logs are shown: ")


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["--node", "7"], 1, "trainjob mnist has no step node-7 (namespace default): it has node-0, node-1"),
        (["--step", "what"], 1, "trainjob mnist has no step what"),
        (["-n", "elsewhere"], 1, '"mnist" not found (namespace elsewhere'),
        (["--since", "soon"], 2, "'soon' is not a duration"),
        (["--tail", "few"], 2, "'few' is not a number of lines"),
        (["--node", "1", "--step", "node-1"], 2, "not allowed with argument"),
    ],
)
def test_what_cannot_be_shown(
    kept: Place, capsys: pytest.CaptureFixture[str], words: list[str], status: int, what: str
) -> None:
    assert run(kept, *words) == status
    assert what in capsys.readouterr().err


PARTS = [
    {"name": "prepare", "step": "node-0.prepare", "state": "succeeded"},
    {"name": "trainer", "step": "node-0", "state": "running"},
]


@pytest.mark.parametrize(
    ("words", "status", "shown"),
    [
        (["-c", "prepare"], 0, "[node-0.prepare] prepared\n"),
        (["-c", "trainer"], 0, "[node-0] trained\n"),
        ([], 0, "[node-0] trained\n"),
        (["--node", "0", "-c", "prepare"], 0, "prepared\n"),
        (["-c", "what"], 1, "trainjob mnist has no container what (namespace default): it has prepare, trainer"),
    ],
)
@pytest.mark.usefixtures("engine")
def test_one_container_of_several(
    place: Place, capsys: pytest.CaptureFixture[str], words: list[str], status: int, shown: str
) -> None:
    place.write_job(nodes=[build_node(0, "running", containers=PARTS)], engine=PROCESS)
    place.write_log("node-0", "2026-01-02T03:04:05.000000Z trained\n")
    place.write_log("node-0.prepare", "2026-01-02T03:04:05.000000Z prepared\n")
    assert run(place, *words) == status
    captured = capsys.readouterr()
    assert shown in (captured.out if status == 0 else captured.err)


def test_a_pod_of_one_container_has_no_other(kept: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(kept, "-c", "what") == 1
    assert "its pods have one container each: leave -c out" in capsys.readouterr().err


def test_following_goes_over_restarts_and_kept_files_and_says_each_line_once(
    place: Place, engine: ProcessEngine, tmp_path: Path
) -> None:
    # The same text and, from one write, the same time: told apart by their number only.
    place.write_job(engine=PROCESS)
    go = tmp_path / "go"
    start_node(engine, f"printf 'x\\nx\\n\\nx\\n'; while [ ! -e {go} ]; do sleep 0.02; done; echo end of 0")
    with follow(place, tmp_path) as program:
        wait_for(lambda: len(read_output(tmp_path)) == 4, "the first lines")
        go.touch()
        keep_and_remove(engine, place)
        start_node(engine, "echo attempt 1", attempt=1)
        keep_and_remove(engine, place)
        wait_for(
            lambda: "[node-0] attempt 1" in read_output(tmp_path), "the next attempt, of which only a file is left"
        )
        start_node(engine, "echo attempt 2; echo end", attempt=2)
        wait_for_end(engine)
        keep_and_remove(engine, place)
        place.write_job(phase="Complete", conditions=COMPLETE, engine=PROCESS)
        assert program.wait(20) == 0
    assert read_output(tmp_path) == [
        f"[node-0] {text}" for text in ("x", "x", "", "x", "end of 0", "attempt 1", "attempt 2", "end")
    ]


def test_following_begins_before_there_is_a_node_and_ends_with_the_job_deleted(
    place: Place, engine: ProcessEngine, tmp_path: Path
) -> None:
    place.write_job(engine=PROCESS, nodes=[])
    with follow(place, tmp_path) as program:
        place.write_job(engine=PROCESS)
        start_node(engine, "echo zero; sleep 60", rank=0)
        start_node(engine, "echo one", rank=1)
        wait_for(lambda: len(read_output(tmp_path)) == 2, "both nodes' lines")
        place.status.forget("default", "mnist")
        engine.kill_container("mnist-node-0")
        assert program.wait(20) == 0
    assert sorted(read_output(tmp_path)) == ["[node-0] zero", "[node-1] one"]


@contextmanager
def follow(place: Place, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    code = "import sys; from trainlet.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *place.arguments, "logs", "mnist", "-f"]
    environment = {**os.environ, "PYTHONPATH": "operator"}
    with (
        (tmp_path / "output").open("wb") as output,
        running(command, stdout=output, env=environment) as program,
    ):
        yield program


def read_output(tmp_path: Path) -> list[str]:
    return (tmp_path / "output").read_text().splitlines()
