"""What `trainlet demo` chooses, writes and shows."""

from contextlib import closing
from pathlib import Path

import pytest

from trainlet.cli.demo_view import draw_curve, open_view, render_screen
from trainlet.cli.main import main
from trainlet.demo.progress import Epoch, Node, Progress, build_progress
from trainlet.demo.run import Stage, build_demo_settings, build_manifest, open_stage
from trainlet.engine.base import EngineUnavailable
from trainlet.engine.detect import Surroundings
from trainlet.engine.process import ISOLATION_NOTICE, ProcessEngine
from trainlet.settings import Settings

NODES = [
    {"name": "node-1", "rank": 1, "state": "waiting", "restarts": 2, "message": "back-off 4 s"},
    {"name": "node-0", "rank": 0, "state": "running", "restarts": 0},
]
LINES = {
    "node-0": ["rank 0 of 2: 719 pictures", "epoch 1/2 loss 1.8433 accuracy 78.8%", "epoch 2/2 loss 0.6 accuracy 90.0%"]
}
EPOCHS = (Epoch(1, 2, 1.8433, 78.8), Epoch(2, 2, 0.6, 90.0))


@pytest.fixture
def nowhere(tmp_path: Path) -> Surroundings:
    """A machine without any engine."""
    return Surroundings({"PATH": ""}, tmp_path, 1000, "Linux", tmp_path / "state", tmp_path)


def test_progress_is_read_from_report_and_lines() -> None:
    progress = build_progress(NODES, LINES)
    assert progress.nodes == (
        Node("node-0", "running", 0, 0, "epoch 2/2 loss 0.6 accuracy 90.0%"),
        Node("node-1", "waiting", 1, 2, "back-off 4 s"),
    )
    assert progress.epochs == EPOCHS
    assert progress.accuracy is None


def test_the_accuracy_is_the_first_node_s_last_word() -> None:
    ends = {"node-0": [*LINES["node-0"], "weights 01", "test accuracy 96.4%"], "node-1": ["test accuracy 1.0%"]}
    assert build_progress(NODES, ends).accuracy == 96.4


def test_nothing_is_there_yet() -> None:
    assert build_progress([], {}) == Progress()


def test_a_pipe_gets_a_line_for_each_news_and_no_line_twice(capsys: pytest.CaptureFixture[str]) -> None:
    view = open_view()
    first = Progress(epochs=EPOCHS[:1], nodes=build_progress(NODES, {}).nodes)
    for progress in (Progress(), first, first, build_progress(NODES, LINES)):
        view.show(progress)
    assert capsys.readouterr().out.splitlines() == [
        "node-0 is running",
        "node-1 is waiting: back-off 4 s",
        "epoch 1/2  loss 1.8433  accuracy 78.8 %",
        "epoch 2/2  loss 0.6000  accuracy 90.0 %",
    ]


def test_a_restarted_training_is_told_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    view = open_view()
    again = Epoch(1, 2, 1.7, 79.0)
    for epochs in (EPOCHS, (), (again,)):
        view.show(Progress(epochs=epochs))
    assert capsys.readouterr().out.splitlines()[2:] == ["epoch 1/2  loss 1.7000  accuracy 79.0 %"]


def test_a_terminal_gets_the_nodes_and_the_curves() -> None:
    assert render_screen(build_progress(NODES, LINES)) == [
        "NODE     STATE     RANK   RESTARTS   LAST LINE",
        "node-0   running   0      0          epoch 2/2 loss 0.6 accuracy 90.0%",
        "node-1   waiting   1      2          back-off 4 s",
        "",
        "epoch 2 of 2",
        "loss       1.8433   █▁   0.6000",
        "accuracy   78.8 %   ▁█   90.0 %",
    ]
    assert len(render_screen(Progress())) == 1


@pytest.mark.parametrize(("values", "bars"), [([1.0], "▁"), ([2.0, 2.0], "▁▁"), ([0.0, 3.5, 7.0], "▁▅█")])
def test_a_curve_goes_from_its_least_to_its_greatest_value(values: list[float], bars: str) -> None:
    assert draw_curve(values) == bars


def test_without_an_engine_processes_are_used_and_it_says_so(nowhere: Surroundings) -> None:
    said: list[str] = []
    stage = open_stage(Settings(), nowhere, said.append)
    with closing(stage.engine) as engine:
        assert engine.name == "process"
    assert not stage.image
    assert said[0].startswith("no container engine answers")
    assert said[1] == ISOLATION_NOTICE


@pytest.mark.parametrize("forced", [{"container_runtime": "docker"}, {"container_host": "unix:///no/such.sock"}])
def test_an_engine_that_was_asked_for_is_not_replaced(nowhere: Surroundings, forced: dict[str, str]) -> None:
    with pytest.raises(EngineUnavailable):
        open_stage(Settings(**forced), nowhere, print)


def test_only_what_the_user_said_of_engines_counts(tmp_path: Path) -> None:
    given = Settings(
        dir=Path("/jobs"),
        status_dir=Path("/s"),
        auto_remove=False,
        container_runtime="podman",
        network_pool="10.9.0.0/16",
    )
    settings = build_demo_settings(given, tmp_path)
    assert (settings.dir, settings.status_path, settings.auto_remove) == (tmp_path, tmp_path / "status", True)
    assert (settings.container_runtime, settings.network_pool) == ("podman", "10.9.0.0/16")


def test_the_manifest_says_where_the_nodes_run(tmp_path: Path) -> None:
    engine = ProcessEngine(tmp_path, {})
    plain = build_manifest(Stage(engine, ("python", "train.py")), "digits", 3)["spec"]["trainer"]
    assert plain["numNodes"] == 3
    assert plain.keys().isdisjoint({"image", "env"})
    boxed = build_manifest(Stage(engine, ("python",), "image:1", {"PYTHONHOME": "/usr"}), "digits", 2)["spec"][
        "trainer"
    ]
    assert (boxed["image"], boxed["env"]) == ("image:1", [{"name": "PYTHONHOME", "value": "/usr"}])


def test_a_directory_that_holds_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.yaml").touch()
    assert main(["demo", "--dir", str(tmp_path), "--container-runtime", "process"]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


@pytest.mark.parametrize("nodes", ["0", "17", "two"])
def test_a_number_of_nodes_that_makes_no_sense_is_refused(nodes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--nodes", nodes]) == 2
    assert "from 1 to 16" in capsys.readouterr().err
