"""`trainlet get` and `trainlet events`: tables, forms for machines, selection, and what is said of nothing."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import yaml

from stored import FIVE_DAYS_AGO, Place, build_condition, build_node
from trainlet.cli.main import main
from trainlet.kube.meta import JSON
from waiting import running, wait_for

HEADER = ["NAME", "STATE", "NODES", "RESTARTS", "PROGRESS", "AGE"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def jobs(place: Place) -> Place:
    """Three jobs that show what a table can say."""
    place.write_job(labels={"team": "vision"}, engine={"name": "docker", "endpoint": "unix:///x"}, restarts=2)
    place.write_job(
        "bert",
        phase="Failed",
        labels={"team": "text"},
        conditions=[build_condition("Failed", reason="FailedJobs", message="jobset failed")],
        nodes=[build_node(0, "terminated"), build_node(1, "succeeded")],
        rootCause={"node": "node-0", "exitCode": 137, "reason": "OOMKilled", "message": "more than\n4Gi"},
    )
    place.write_job("mnist", "research", phase="Pending", nodes=[], spec={"trainer": {"numNodes": 3}})
    return place


def run(place: Place, *words: str) -> int:
    return main([*place.arguments, *words])


def test_the_table_of_jobs(jobs: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(jobs, "get", "tj") == 0
    assert capsys.readouterr().out == (
        "NAME    STATE     NODES   RESTARTS   PROGRESS   AGE\n"
        "bert    Failed    1/2     0          -          5d\n"
        "mnist   Running   2/2     2          -          5d\n"
    )


def test_the_table_of_all_namespaces(jobs: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(jobs, "get", "trainjobs", "-A") == 0
    assert capsys.readouterr().out == (
        "NAMESPACE   NAME    STATE     NODES   RESTARTS   PROGRESS   AGE\n"
        "default     bert    Failed    1/2     0          -          5d\n"
        "default     mnist   Running   2/2     2          -          5d\n"
        "research    mnist   Pending   0/3     0          -          5d\n"
    )


@pytest.mark.parametrize(
    ("told", "cell"),
    [
        ({"progressPercentage": 42, "estimatedRemainingSeconds": 123}, "42% (2m3s left)"),
        ({"progressPercentage": 0}, "0%"),
        ({"estimatedRemainingSeconds": 123}, "-"),
    ],
)
def test_the_table_shows_what_the_training_code_says_of_itself(
    place: Place, capsys: pytest.CaptureFixture[str], told: JSON, cell: str
) -> None:
    place.write_job(trainer_status=told)
    assert run(place, "get", "tj") == 0
    assert re.split(" {3,}", capsys.readouterr().out.splitlines()[1])[-2] == cell


def test_the_wide_table_says_why(jobs: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(jobs, "get", "tj/bert", "-o", "wide") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == [*HEADER, "RUNTIME", "ENGINE", "REASON", "MESSAGE"]
    assert row.endswith("OOMKilled   node-0 ended with exit code 137 (OOMKilled): more than 4Gi")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["tj"], ["bert", "mnist"]),
        (["tj", "-l", "team=vision"], ["mnist"]),
        (["tj", "-l", "team notin (vision)"], ["bert"]),
        (["tj", "-n", "research"], ["mnist"]),
        (["tj", "-A", "-l", "!team"], ["mnist"]),
        (["tj/mnist", "tj/bert"], ["bert", "mnist"]),
        (["trainjobs.trainer.kubeflow.org", "mnist"], ["mnist"]),
        (["TrainJob", "mnist"], ["mnist"]),
    ],
)
def test_what_is_selected(jobs: Place, capsys: pytest.CaptureFixture[str], words: list[str], names: list[str]) -> None:
    assert run(jobs, "get", *words, "-o", "name") == 0
    assert capsys.readouterr().out.split() == [f"trainjob.trainer.kubeflow.org/{name}" for name in names]


@pytest.mark.parametrize("reason", ["EngineUnavailable", "EngineRefused"])
def test_how_a_job_is_whose_engine_cannot_be_asked_is_unknown(
    place: Place, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    ended = [build_condition("Complete")]
    for name, conditions in (("mnist", None), ("bert", None), ("gpt", ended)):
        place.write_job(name, phase="Complete" if conditions else "Running", conditions=conditions)
        report = place.status.read_job("default", name)
        assert report is not None
        assert report.job is not None
        assert report.report is not None
        away = build_condition("Running", "False", reason, "docker cannot be reached (unix:///x): start it")
        status = {**report.report["status"], "conditions": [away]}
        place.status.write_job("default", name, [report.job, {**report.report, "status": status}])
    assert run(place, "get", "tj", "-o", "wide") == 0
    shown = capsys.readouterr()
    states = {row.split()[0]: row.split()[1] for row in shown.out.splitlines()[1:]}
    assert states == {"bert": "Unknown", "gpt": "Complete", "mnist": "Unknown"}
    assert shown.out.count(f"{reason}   docker cannot be reached") == 2
    assert shown.err == "warning: docker cannot be reached (unix:///x): start it\n", "it is said once"


def test_json_and_yaml_are_the_stored_object_or_a_list(jobs: Place, capsys: pytest.CaptureFixture[str]) -> None:
    stored = jobs.status.read_job("default", "mnist")
    assert stored is not None
    assert run(jobs, "get", "tj", "mnist", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == stored.job
    assert run(jobs, "get", "tj", "mnist", "-o", "yaml") == 0
    assert yaml.safe_load(capsys.readouterr().out)["metadata"]["name"] == "mnist"
    assert run(jobs, "get", "tj", "-o", "json") == 0
    whole = json.loads(capsys.readouterr().out)
    assert (whole["apiVersion"], whole["kind"]) == ("v1", "List")
    assert [item["metadata"]["name"] for item in whole["items"]] == ["bert", "mnist"]
    assert run(jobs, "get", "tj", "-n", "empty", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["items"] == []


def test_a_name_that_is_not_there(jobs: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(jobs, "get", "tj", "mnist", "x") == 1
    captured = capsys.readouterr()
    assert "mnist   Running" in captured.out
    assert captured.err == (
        f'error: trainjobs.trainer.kubeflow.org "x" not found (namespace default, as {jobs.root}/status says): '
        "trainlet get tj -A shows what there is\n"
    )


def test_nothing_there_is_no_error_and_a_wrong_directory_is_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "get", "tj") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"No resources found in default namespace. There is no {place.root}/status: "
        "give the directory of trainlet run with --dir.\n"
    )


def test_a_rejected_file_is_a_row_and_a_broken_one_a_warning(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    reject(place)
    error = {"path": "", "type": "Invalid value", "detail": "not valid YAML", "line": 3, "column": 7}
    place.status.write_errors([{"file": "/jobs/x.yaml", "errors": [error]}])
    assert run(place, "get", "tj", "-o", "wide") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].split()[:3] == ["mnist", "Rejected", "0/?"]
    assert captured.out.rstrip().endswith("Invalid   spec is bad")
    assert captured.err == "warning: /jobs/x.yaml:3:7: Invalid value: not valid YAML\n"
    assert run(place, "get", "tj", "-o", "json", "mnist") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "TrainJobReport"


def reject(place: Place) -> None:
    report: JSON = {
        "apiVersion": "trainlet.dev/v1alpha1",
        "kind": "TrainJobReport",
        "metadata": {"name": "mnist", "namespace": "default"},
        "status": {
            "phase": "Rejected",
            "conditions": [build_condition("Accepted", "False", "Invalid", "spec is bad")],
        },
    }
    place.status.write_job("default", "mnist", [report])


def test_pods(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff"}}
    pods = [
        build_pod("mnist-node-0-0-abcde", "Running", {"running": {}}, ready=True, restarts=2),
        build_pod("mnist-node-0-1-fghij", "Pending", waiting),
        build_pod("mnist-node-0-2-klmno", "Succeeded", {"terminated": {"reason": "Completed"}}),
    ]
    place.status.write_part("default", "mnist", "pods", pods)
    assert run(place, "get", "po", "-o", "wide") == 0
    assert capsys.readouterr().out == (
        "NAME                   READY   STATUS             RESTARTS   AGE   IP           TRAINJOB\n"
        "mnist-node-0-0-abcde   1/1     Running            2          5d    10.213.0.2   mnist\n"
        "mnist-node-0-1-fghij   0/1     ImagePullBackOff   0          5d    10.213.0.2   mnist\n"
        "mnist-node-0-2-klmno   0/1     Completed          0          5d    10.213.0.2   mnist\n"
    )


def build_pod(name: str, phase: str, state: JSON, *, ready: bool = False, restarts: int = 0) -> JSON:
    labels = {"jobset.sigs.k8s.io/jobset-name": "mnist"}
    status = {"name": "node", "ready": ready, "restartCount": restarts, "state": state}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels, "creationTimestamp": FIVE_DAYS_AGO},
        "spec": {},
        "status": {"phase": phase, "podIP": "10.213.0.2", "containerStatuses": [status]},
    }


def test_events_of_all_and_of_one_job(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_events("mnist", ("Normal", "Started", "node-0 runs"))
    place.write_events("bert", ("Warning", "BackOff", "pull failed:\nno such host"))
    table = (
        "LAST SEEN   TYPE      REASON    OBJECT           MESSAGE\n"
        "5d          Warning   BackOff   trainjob/bert    pull failed: no such host\n"
        "5d          Normal    Started   trainjob/mnist   node-0 runs\n"
    )
    assert run(place, "events") == 0
    assert capsys.readouterr().out == table
    assert run(place, "get", "ev") == 0
    assert capsys.readouterr().out == table
    assert run(place, "events", "--for", "tj/mnist", "-o", "name") == 0
    assert capsys.readouterr().out == "event/mnist.0\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["get", "nodes"], "there is no kind 'nodes'"),
        (["get", "tj", "x", "-A"], "a name is in one namespace (-A)"),
        (["get", "tj", "-l", "=a"], "is not a label selector"),
        (["get", "tj", "tj/x"], "KIND NAME and KIND/NAME are mixed"),
        (["get", "tj/x", "po/y"], "each word must be KIND/NAME of one kind"),
        (["get", "tj", "-o", "xml"], "invalid choice: 'xml'"),
        (["get", "tj", "--what"], "unrecognized arguments: --what (trainlet get): see trainlet get --help"),
        (["get"], "the following arguments are required: KIND [NAME] (trainlet get): see trainlet get --help"),
    ],
)
def test_wrong_usage(place: Place, capsys: pytest.CaptureFixture[str], words: list[str], what: str) -> None:
    assert run(place, *words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert what in captured.err
    assert captured.err.count("\n") == 1


PROGRAM = [sys.executable, "-c", "import sys; from trainlet.cli.main import main; sys.exit(main())"]


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": "operator", "PYTHONUNBUFFERED": "1"}


def test_watching_into_a_pipe_prints_a_line_a_change(place: Place, tmp_path: Path, environment: dict[str, str]) -> None:
    place.write_job(phase="Pending")
    output = tmp_path / "output.txt"
    with output.open("w") as file, start(place, environment, file.fileno()) as program:
        wait_for(lambda: "Pending" in output.read_text(), "the first row")
        place.write_job(phase="Running")
        wait_for(lambda: "Running" in output.read_text(), "the second row")
        place.write_job("second", phase="Suspended")
        wait_for(lambda: "second" in output.read_text(), "the new job")
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 130
    assert [line.split()[:2] for line in output.read_text().splitlines()] == [
        ["NAME", "STATE"],
        ["mnist", "Pending"],
        ["mnist", "Running"],
        ["second", "Suspended"],
    ]


def test_watching_on_a_terminal_redraws_the_table(place: Place, environment: dict[str, str]) -> None:
    place.write_job(phase="Pending")
    ours, theirs = pty.openpty()
    with start(place, environment, theirs) as program:
        os.close(theirs)
        screen = read_terminal(ours)
        assert "Pending" in next(text for text in screen if "Pending" in text)
        place.write_job(phase="Running")
        shown = next(text for text in screen if "Running" in text)
        assert "\x1b[2F\x1b[J" in shown
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 130
    os.close(ours)


def start(place: Place, environment: dict[str, str], output: int) -> "AbstractContextManager[subprocess.Popen[bytes]]":
    return running([*PROGRAM, *place.arguments, "get", "tj", "-w"], stdout=output, env=environment)


def read_terminal(handle: int) -> Iterator[str]:
    """Yield all that was written so far, whenever more is."""
    text = ""
    while True:
        text += os.read(handle, 65536).decode()
        yield text
