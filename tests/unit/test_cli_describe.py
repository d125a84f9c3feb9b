"""`trainlet describe`, `version` and `completion`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stored import FIVE_DAYS_AGO, Place, build_condition, build_node
from trainlet.cli.completion import read_verb, render_bash, render_fish, render_zsh
from trainlet.cli.main import VERBS, main


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def run(place: Place, *words: str) -> int:
    return main([*place.arguments, *words])


def test_a_failed_job_begins_with_its_root_cause(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    killed = {"exitCode": 137, "reason": "OOMKilled", "message": "out of memory", "finishedAt": FIVE_DAYS_AGO}
    place.write_job(
        phase="Failed",
        conditions=[build_condition("Failed", reason="FailedJobs", message="jobset failed")],
        nodes=[
            build_node(0, "running", restarts=1, last={"exitCode": 1, "reason": "Error"}),
            build_node(1, "terminated", **killed),
        ],
        rootCause={"node": "node-1", **killed},
        restarts=1,
        source={"file": "/jobs/mnist.yaml", "document": 1},
        engine={"name": "docker", "endpoint": "unix:///run/docker.sock"},
    )
    place.write_events("mnist", ("Warning", "Failed", "node-1 ended"))
    assert run(place, "describe", "tj", "mnist") == 0
    assert (
        capsys.readouterr().out
        == f"""\
Root cause: node-1 ended with exit code 137 (OOMKilled): out of memory
            see: trainlet logs mnist -n default --step node-1

Name:        mnist
Namespace:   default
Phase:       Failed
Created:     {FIVE_DAYS_AGO} (5d ago)
Manifest:    /jobs/mnist.yaml, document 2
Engine:      docker at unix:///run/docker.sock
Restarts:    1

Spec:
  runtimeRef:
    name: torch-distributed

Conditions:
  TYPE     STATUS   REASON       SINCE   MESSAGE
  Failed   True     FailedJobs   5d      jobset failed

Nodes:
  NAME     STATE        RESTARTS   FAILURES   ADDRESS      EXIT CODE   REASON          MESSAGE
  node-0   running      1          0 of 3     10.213.0.2   1           before: Error
  node-1   terminated   0          0 of 3     10.213.0.3   137         OOMKilled       out of memory

Events:
  LAST SEEN   TYPE      REASON   OBJECT           MESSAGE
  5d          Warning   Failed   trainjob/mnist   node-1 ended

Files:
  Status:             {place.root}/status/default/mnist.yaml
  Details and logs:   {place.root}/status/default/mnist
  Workspace:          {place.root}/workspaces/default/mnist
"""
    )


def test_containers_of_a_pod_have_a_line_each(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    failed = {"exitCode": 3, "reason": "Error"}
    parts = [
        {"name": "prepare", "step": "node-0.prepare", "state": "terminated", "restarts": 2, **failed},
        {"name": "node", "step": "node-0", "state": "waiting"},
    ]
    cause = {"node": "node-0", "container": "prepare", **failed, "log": ["no data"]}
    place.write_job(phase="Failed", nodes=[build_node(0, "waiting", containers=parts)], rootCause=cause)
    assert run(place, "describe", "tj", "mnist") == 0
    out = capsys.readouterr().out
    assert "Root cause: node-0.prepare ended with exit code 3 (Error)\n            | no data\n" in out
    assert "see: trainlet logs mnist -n default --step node-0 -c prepare\n" in out
    rows = [line.split()[:3] for line in out.splitlines() if line.strip().startswith("node-0")]
    assert rows == [["node-0", "waiting", "0"], ["node-0.prepare", "terminated", "2"]]


def test_what_is_not_as_on_a_cluster_is_told_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_job(
        warnings=["spec.a.nodeSelector has no effect: there is one machine", "spec.trainer is not given"],
        portability={
            "honoured": ["spec.x", "spec.y"],
            "emulated": [{"path": "spec.a.volumes[0].emptyDir", "message": "it is on disk"}],
            "noEffect": [{"path": "spec.a.nodeSelector", "message": "there is one machine"}],
        },
    )
    assert run(place, "describe", "tj", "mnist") == 0
    text = capsys.readouterr().out
    assert "Warning:     spec.trainer is not given\n" in text
    assert text.count("nodeSelector") == 1
    assert (
        """
Portability:
  Honoured:    2 fields
  Emulated:    spec.a.volumes[0].emptyDir: it is on disk
  No effect:   spec.a.nodeSelector: there is one machine

Events:
""".removesuffix("\nEvents:\n")
        in text
    )


def test_a_rejected_file_begins_with_its_errors(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    errors = [
        {"path": "spec.runtimeRef", "type": "Required value", "detail": "", "line": 4, "column": 1},
        {"path": "spec.what", "type": "Unknown field", "detail": "did you mean that?", "line": 9, "column": 3},
    ]
    body = {
        "phase": "Rejected",
        "conditions": [build_condition("Accepted", "False", "Invalid", "refused")],
        "source": {"file": "/jobs/mnist.yaml", "document": 0},
        "errors": errors,
    }
    report = {"kind": "TrainJobReport", "metadata": {"name": "mnist", "namespace": "default"}, "status": body}
    place.status.write_job("default", "mnist", [report])
    assert run(place, "describe", "tj/mnist") == 0
    assert capsys.readouterr().out.splitlines()[:7] == [
        "The file is refused:",
        "  /jobs/mnist.yaml:4:1: spec.runtimeRef: Required value",
        "  /jobs/mnist.yaml:9:3: spec.what: Unknown field: did you mean that?",
        "",
        "Name:        mnist",
        "Namespace:   default",
        "Phase:       Rejected",
    ]


def test_a_pod(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"name": "node", "ready": True, "restartCount": 1, "state": {"running": {"startedAt": FIVE_DAYS_AGO}}}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "mnist-node-0-0-x", "namespace": "default", "creationTimestamp": FIVE_DAYS_AGO},
        "spec": {"hostname": "mnist-node-0-0"},
        "status": {"phase": "Running", "containerStatuses": [state]},
    }
    place.status.write_part("default", "mnist", "pods", [pod])
    assert run(place, "describe", "po", "mnist-node-0-0-x") == 0
    text = capsys.readouterr().out
    assert "Status:      Running\n" in text
    assert "Containers:\n  - name: node\n" in text
    assert "Spec:\n  hostname: mnist-node-0-0\n" in text


def test_what_is_not_there_and_what_has_nothing_to_tell(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_job()
    assert run(place, "describe", "tj", "x") == 1
    assert '"x" not found' in capsys.readouterr().err
    assert run(place, "describe", "ev", "x") == 2
    assert "events have nothing more to tell" in capsys.readouterr().err


def test_runtimes_are_listed_and_described_with_their_source(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "get", "ctr", "torch-distributed") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "FRAMEWORK", "NODES", "SOURCE"]
    assert row.split()[:2] == ["torch-distributed", "torch"]
    assert run(place, "describe", "ctr", "torch-distributed") == 0
    assert "Spec:\n  mlPolicy:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("trainlet 0.")
    assert main(["version", "-o", "json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["clientVersion"]) == {"version", "python", "platform"}


def complete(place: Place, script: str, *words: str) -> list[str]:
    """Return what bash offers for the last word."""
    program = place.root / "bin" / "trainlet"
    program.parent.mkdir(exist_ok=True)
    code = "import sys; from trainlet.cli.main import main; sys.exit(main())"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    ask = f'COMP_WORDS=({" ".join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _trainlet; echo "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PYTHONPATH": "operator", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


MINE = ("get", "describe", "logs", "wait", "delete", "suspend", "resume", "events", "version", "completion")


def test_bash_completes_verbs_kinds_flags_choices_and_names(place: Place) -> None:
    script = render_bash([read_verb(name) for name in MINE])
    place.write_job("mnist-a")
    place.write_job("mnist-b", "research")
    where = ["trainlet", "--dir", str(place.root)]
    assert complete(place, script, "trainlet", "de") == ["describe", "delete"]
    assert complete(place, script, "trainlet", "get", "tr") == ["trainjobs", "trainingruntimes"]
    assert complete(place, script, "trainlet", "get", "-o", "") == ["wide", "yaml", "json", "name"]
    assert complete(place, script, "trainlet", "logs", "--ti") == ["--timestamps"]
    assert complete(place, script, *where, "get", "trainjobs", "") == ["mnist-a"]
    assert complete(place, script, *where, "-n", "research", "wait", "m") == ["mnist-b"]
    assert complete(place, script, "trainlet", "completion", "") == ["bash", "zsh", "fish"]


def test_zsh_and_fish_scripts_name_every_flag_and_quote_help() -> None:
    verbs = [read_verb(name) for name in MINE]
    assert render_zsh(verbs).startswith("#compdef trainlet\n")
    fish = render_fish(verbs)
    assert "complete -c trainlet -n __fish_use_subcommand -a get -d 'list jobs, runtimes, pods or events'" in fish
    assert "-s o -l output -x -a 'wide yaml json name'" in fish
    assert "only each node\\'s last lines" in fish


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_knows_all_verbs(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [verb for verb in VERBS if verb not in script] == []
