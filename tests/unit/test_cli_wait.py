"""`trainlet wait`: met, failed at once, timed out, gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import build_job
from stored import Place, build_condition, write_yaml
from trainlet.cli.main import main
from waiting import running, wait_for

MET = "trainjob.trainer.kubeflow.org/mnist condition met\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def run(place: Place, *words: str) -> int:
    return main([*place.arguments, "wait", *words])


@pytest.mark.parametrize(
    "goal",
    [
        [],
        ["--for=condition=Complete"],
        ["--for", "condition=complete=true"],
        ["--for=condition=Suspended=False"],
        ["--for=condition=Running=False"],
    ],
)
def test_what_is_so_already(place: Place, capsys: pytest.CaptureFixture[str], goal: list[str]) -> None:
    place.write_job(
        conditions=[build_condition("Suspended", "False"), build_condition("Complete")],
        phase="Complete",
    )
    stored = place.status.read_job("default", "mnist")
    assert stored is not None
    assert stored.report is not None
    stored.report["status"]["conditions"] = [build_condition("Running", "False")]
    place.status.write_job("default", "mnist", [stored.job, stored.report])  # type: ignore[list-item]
    assert run(place, "tj/mnist", "--timeout", "0", *goal) == 0
    assert capsys.readouterr().out == MET


def test_a_failure_ends_the_wait_for_complete_with_its_root_cause(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    cause = {"node": "node-1", "exitCode": 3, "reason": "Error", "message": "no data"}
    place.write_job(phase="Failed", conditions=[build_condition("Failed")], rootCause=cause)
    assert run(place, "mnist", "--timeout", "1h") == 1
    assert capsys.readouterr().err == (
        "error: trainjob default/mnist failed: node-1 ended with exit code 3 (Error): no data: "
        "see trainlet describe tj mnist\n"
    )
    assert run(place, "mnist", "--for=condition=Failed") == 0


def test_what_a_complete_job_never_becomes(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_job(phase="Complete", conditions=[build_condition("Complete")])
    assert run(place, "mnist", "--for=condition=Suspended", "--timeout", "1h") == 1
    assert "default/mnist is complete and will never be Suspended" in capsys.readouterr().err


def test_a_rejected_file_ends_the_wait(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"path": "spec.runtimeRef", "type": "Required value", "detail": "", "line": 4, "column": 1}
    report = {
        "kind": "TrainJobReport",
        "metadata": {"name": "mnist", "namespace": "default"},
        "status": {
            "phase": "Rejected",
            "conditions": [build_condition("Accepted", "False", "Invalid", "refused")],
            "source": {"file": "/jobs/mnist.yaml", "document": 0},
            "errors": [error],
        },
    }
    place.status.write_job("default", "mnist", [report])
    assert run(place, "mnist", "--timeout", "1h") == 1
    assert "was rejected: /jobs/mnist.yaml:4:1: spec.runtimeRef: Required value: see" in capsys.readouterr().err


def test_a_timeout_says_how_things_stand(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_job()
    assert run(place, "mnist", "--timeout", "0") == 1
    assert capsys.readouterr().err == (
        "error: timed out after 0s waiting for Complete of trainjob default/mnist (it is Running): "
        "give a longer --timeout\n"
    )


def test_a_job_that_nobody_asked_for_is_not_waited_for_and_a_new_file_is(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "mnist", "--timeout", "1h") == 1
    assert '"mnist" not found' in capsys.readouterr().err
    place.write_manifest(write_yaml(build_job()))
    assert run(place, "mnist", "--timeout", "0") == 1
    assert "(the operator has not taken it up)" in capsys.readouterr().err


def test_waiting_for_a_job_to_be_gone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_job()
    assert run(place, "mnist", "--for=delete", "--timeout", "0") == 1
    place.status.forget("default", "mnist")
    assert run(place, "mnist", "--for=delete", "--timeout", "0") == 0
    assert capsys.readouterr().out == MET


def test_a_change_is_seen_while_waiting(place: Place) -> None:
    place.write_job()
    code = "import sys; from trainlet.cli.main import main; print('up', flush=True); sys.exit(main())"
    command = [sys.executable, "-c", code, *place.arguments, "wait", "mnist", "--timeout", "30s"]
    environment = {**os.environ, "PYTHONPATH": "operator"}
    with running(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        assert program.poll() is None
        place.write_job(phase="Complete", conditions=[build_condition("Complete")])
        assert wait_for(lambda: program.poll() is not None, "the wait to end")
        assert (program.returncode, program.stdout.read()) == (0, MET)


@pytest.mark.parametrize("goal", ["jsonpath={.x}", "condition", "condition=", "complete"])
def test_other_goals_are_wrong_usage(place: Place, capsys: pytest.CaptureFixture[str], goal: str) -> None:
    assert run(place, "mnist", "--for", goal) == 2
    assert "is neither condition=TYPE[=STATUS] nor delete" in capsys.readouterr().err
