"""The real kubectl reads what an operator serves; no engine is needed for that."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from api_desk import PATIENCE_SECONDS, ApiDesk
from cluster import require_kubectl
from trainlet.cli.main import main
from waiting import running, wait_for

JOBSET = "jobset.sigs.k8s.io/jobset-name"
CONDITION = {"status": "True", "reason": "r", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"}


@pytest.fixture
def desk(api: ApiDesk) -> ApiDesk:
    """Two jobs, one of them running, with a pod and an event."""
    require_kubectl()
    api.add_job("mnist", labels={"team": "red"})
    api.add_job("other", "team-a")
    api.add_pod()
    api.note()
    return api


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_version_is_known(desk: ApiDesk) -> None:
    assert "Server Version: v1.32.0-trainlet" in desk.kubectl("version")


def test_resources_are_known_by_all_their_names(desk: ApiDesk) -> None:
    found = {row[0] for row in rows(desk.kubectl("api-resources", "--no-headers"))}
    assert {"trainjobs", "clustertrainingruntimes", "pods", "events", "nodes", "jobsets"} <= found
    for name in ("tj", "trainjob", "trainjobs", "trainjobs.trainer.kubeflow.org", "TrainJob"):
        assert rows(desk.kubectl("get", name, "--no-headers"))[0][0] == "mnist"
    assert "v1alpha1" in desk.kubectl("api-versions")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("get", "tj"), r"^NAME +STATE +AGE\nmnist +[0-9]+s\n$"),
        (("get", "tj", "-A"), r"^NAMESPACE +NAME +STATE +AGE\ndefault +mnist .*\nteam-a +other .*\n$"),
        (("get", "tj", "--show-labels"), r"LABELS\nmnist .* team=red\n$"),
        (("get", "tj", "-L", "team"), r"TEAM\nmnist .* red\n$"),
        (("get", "tj,po"), r"trainjob.trainer.kubeflow.org/mnist[\s\S]*pod/mnist-node-0-0-abcde"),
        (("get", "all"), r"^NAME +READY .*\npod/mnist-node-0-0-abcde"),
        (("get", "po", "-o", "wide"), r"1/1 +Running +0 +[0-9]+s +10.0.0.2 +box +<none> +<none>"),
        (
            ("get", "po", "-l", f"{JOBSET} in (mnist, x)", "-o", "name"),
            r"^pod/mnist-node-0-0-abcde\n$",
        ),
        (("get", "tj", "-A", "--sort-by=.metadata.name", "--no-headers"), r"mnist[\s\S]*other"),
        (("get", "tj", "-n", "nowhere"), r"^No resources found in nowhere namespace.\n$"),
        (("get", "no"), r"box +Ready +<none> +[0-9]+s +v1.32.0"),
        (("get", "ns", "-o", "name"), r"namespace/team-a"),
        (("get", "cm", "-n", "kubeflow-system"), r"kubeflow-trainer-public +1 +[0-9]+s"),
        (("get", "crd", "-o", "name"), r"trainjobs.trainer.kubeflow.org"),
        (("get", "tj", "mnist", "-o", "jsonpath={.spec.runtimeRef.name}"), r"^torch-distributed$"),
        (("get", "tj", "--chunk-size=1", "-A", "-o", "name"), r"/mnist\n.*/other\n$"),
        (("get", "ev"), r"Normal +Started +trainjob/mnist +Started as it should"),
        (("events",), r"Normal +Started +TrainJob/mnist +Started as it should"),
        (("events", "--for", "trainjob/mnist"), r"Started as it should"),
        (("describe", "tj", "mnist"), r"Labels: +team=red[\s\S]*Events:[\s\S]*Started as it should"),
        (("describe", "po"), r"Node: +box/192.0.2.1[\s\S]*Ready +True"),
        (("describe", "no", "box"), r"Ready +True[\s\S]*docker://20.10[\s\S]*mnist-node-0-0-abcde"),
        (("explain", "tj.spec.trainer.numNodes"), r"FIELD: numNodes <integer>"),
        (("explain", "trainjob", "--recursive"), r"runtimeRef"),
        (("explain", "secret.stringData"), r"FIELD: stringData"),
        (("auth", "can-i", "delete", "tj"), r"^yes\n$"),
        (("get", "--raw", "/readyz"), r"^ok$"),
        (("wait", "pod", "-l", f"{JOBSET}=mnist", "--for=condition=Ready"), r"condition met"),
        (("wait", "tj/mnist", "--for=jsonpath={.spec.suspend}=false"), r"condition met"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_there_is_is_shown(desk: ApiDesk, words: tuple[str, ...], wanted: str) -> None:
    assert re.search(wanted, desk.kubectl(*words))


def test_an_absent_name_is_told(desk: ApiDesk) -> None:
    said = desk.kubectl("get", "tj", "ghost", code=1)
    assert said == 'Error from server (NotFound): trainjobs.trainer.kubeflow.org "ghost" not found\n'


def test_json_and_yaml_are_whole(desk: ApiDesk) -> None:
    assert json.loads(desk.kubectl("get", "tj", "mnist", "-o", "json"))["metadata"]["uid"]
    listed = yaml.safe_load(desk.kubectl("get", "tj,po", "-A", "-o", "yaml"))
    assert {each["kind"] for each in listed["items"]} == {"TrainJob", "Pod"}


def test_without_the_token_kubectl_is_told(desk: ApiDesk) -> None:
    said = desk.kubectl("--token", "wrong", "get", "tj", code=1)
    assert "You must be logged in to the server" in said


def test_a_condition_is_waited_for(desk: ApiDesk) -> None:
    words = ["wait", "tj/mnist", "--for=condition=Complete", "--timeout=30s"]
    with running([*_build(desk), *words], stdout=subprocess.PIPE, text=True) as waiting:
        desk.set_status(conditions=[{**CONDITION, "type": "Complete"}])
        said, _ = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert (waiting.returncode, said) == (0, "trainjob.trainer.kubeflow.org/mnist condition met\n")


def test_a_deletion_is_waited_for(desk: ApiDesk) -> None:
    words = ["wait", "tj/mnist", "--for=delete", "--timeout=30s"]
    with running([*_build(desk), *words], stdout=subprocess.PIPE, text=True) as waiting:
        desk.forget()
        said, _ = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert waiting.returncode == 0
    assert "condition met" in said or said == ""


@pytest.mark.parametrize("words", [["tj", "-A", "-w"], ["tj", "mnist", "-w"], ["tj", "-w", "-l", "team=red"]])
def test_changes_are_followed(desk: ApiDesk, words: list[str], tmp_path: Path) -> None:
    """Every state is shown once and in order."""
    out = tmp_path / "out"
    with out.open("w") as file, running([*_build(desk), "get", *words, "--no-headers"], stdout=file):
        wait_for(lambda: "mnist" in out.read_text(), "the list", PATIENCE_SECONDS)
        # kubectl swallows what its watch of one object begins with: until it shows a change, none that counts is made.
        wait_for(lambda: _set_state(desk, "Begun") in out.read_text(), "the watch", PATIENCE_SECONDS)
        for state in ("First", "Second", "Complete"):
            _set_state(desk, state)
            wait_for(lambda state=state: state in out.read_text(), state, PATIENCE_SECONDS)  # type: ignore[misc]
        shown = out.read_text()
    assert re.findall("First|Second|Complete", shown) == ["First", "Second", "Complete"]


def _set_state(desk: ApiDesk, state: str) -> str:
    """Write a state, every time as a change, and return it."""
    desk.set_status(conditions=[{**CONDITION, "type": state, "message": str(time.monotonic_ns())}])
    return state


def test_events_are_followed(desk: ApiDesk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("w") as file, running([*_build(desk), "events", "-w"], stdout=file):
        wait_for(lambda: "Started" in out.read_text(), "what there is", PATIENCE_SECONDS)
        desk.note("Completed")
        wait_for(lambda: "Completed" in out.read_text(), "what comes", PATIENCE_SECONDS)


def test_the_kubeconfig_that_an_operator_keeps_is_printed_for_use(
    desk: ApiDesk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = tmp_path / "status" / ".private"
    private.mkdir(parents=True, exist_ok=True)
    (private / "kubeconfig").write_text(desk.kubeconfig.read_text())
    assert main(["kubeconfig", "--dir", str(tmp_path), "-n", "team-a"]) == 0
    desk.kubeconfig.write_text(capsys.readouterr().out)
    assert rows(desk.kubectl("get", "tj", "--no-headers"))[0][0] == "other", "the namespace is the context's"


def _build(desk: ApiDesk) -> list[str]:
    return ["kubectl", "--kubeconfig", str(desk.kubeconfig), "--cache-dir", str(desk.root / "cache")]
