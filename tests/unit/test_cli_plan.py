"""`trainlet plan` and the preview behind it: what a job becomes, without an engine."""

import json
from pathlib import Path

import pytest
import yaml

from builders import NOW, UID, build_job, build_runtime
from manifests import Desk, build_manifest
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import UsageError
from trainlet.kube.meta import JSON
from trainlet.planning.options import Options
from trainlet.planning.plan import render_plan
from trainlet.planning.preview import Preview, build_preview

POOL = "10.213.0.0/16"


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


def preview(runtime: JSON | None = None, options: Options | None = None, **spec: object) -> Preview:
    return build_preview(build_job(**spec), runtime or build_runtime(), POOL, NOW, options or Options())


def plan(desk: Desk, *words: str) -> list[JSON]:
    assert desk.run("plan", "-o", "json", *words) == 0, desk.stderr
    entries: list[JSON] = json.loads(desk.stdout)
    return entries


def test_a_fresh_machine_gets_network_image_workspace_and_nodes() -> None:
    assert render_plan(preview(trainer={"numNodes": 2}).plan).splitlines() == [
        "CreateNetwork mnist-net: for 2 nodes",
        "PullImage image:1: node-0 needs it, pull policy IfNotPresent",
        "CreateWorkspace /workspaces/default/mnist: nodes mount it",
        "CreateContainer mnist-node-0: the job wants it running",
        "StartContainer mnist-node-0: the job wants it running",
        "CreateContainer mnist-node-1: the job wants it running",
        "StartContainer mnist-node-1: the job wants it running",
    ]


@pytest.mark.parametrize(("policy", "pulls"), [("Always", 1), ("IfNotPresent", 1), ("Never", 0)])
def test_images_are_pulled_as_the_policy_says(policy: str, pulls: int) -> None:
    text = render_plan(preview(options=Options(pull_policy=policy)).plan)
    assert text.count("PullImage") == pulls
    assert "StartContainer mnist-node-0" in text


def test_a_suspended_job_is_shown_and_nothing_is_done() -> None:
    shown = preview(suspend=True)
    assert shown.plan == ()
    assert [container.name for container in shown.containers] == ["mnist-node-0"]


def test_addresses_are_those_of_the_first_subnet() -> None:
    shown = preview(trainer={"numNodes": 2})
    assert shown.network.subnet == "10.213.0.0/29"
    assert [container.address for container in shown.containers] == ["10.213.0.2", "10.213.0.3"]
    assert shown.containers[1].env["MASTER_ADDR"] == "10.213.0.2"


def test_pods_have_the_templates_env_resolved_and_nothing_that_only_a_server_adds() -> None:
    env = [
        {"name": "A", "value": "$(PET_NNODES) $(B)"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "C", "value": "$(B):1"},
        {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    pod = preview(build_runtime(container={"env": env}), trainer={"numNodes": 2}).pods[1]
    assert pod["spec"]["containers"][0]["env"] == [
        {"name": "A", "value": "$(PET_NNODES) $(B)"},
        {"name": "B", "value": "10.213.0.3"},
        {"name": "C", "value": "10.213.0.3:1"},
        {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "PET_NNODES", "value": "2"},
        {"name": "PET_NPROC_PER_NODE", "value": "1"},
        {"name": "PET_NODE_RANK", "value": "1"},
        {"name": "PET_MASTER_ADDR", "value": "mnist-node-0-0.mnist"},
        {"name": "PET_MASTER_PORT", "value": "29500"},
    ]
    assert "status" not in pod
    assert not {"uid", "creationTimestamp"} & set(pod["metadata"])


def test_a_pool_that_is_too_small_is_named() -> None:
    with pytest.raises(UsageError, match="too small for 9 nodes"):
        build_preview(build_job(trainer={"numNodes": 9}), build_runtime(), "10.0.0.0/29", NOW, Options())


def test_json_has_what_scripts_rely_on(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(numNodes=2))
    [entry] = plan(desk, "a.yaml")
    assert list(entry) == ["trainJob", "jobSet", "objects", "pods", "containers", "networks"]
    assert (entry["trainJob"], entry["jobSet"]["kind"], entry["objects"]) == ("default/mnist", "JobSet", [])
    assert [pod["spec"]["hostname"] for pod in entry["pods"]] == ["mnist-node-0-0", "mnist-node-0-1"]
    for field in ("name", "image", "command", "args", "env", "labels", "mounts", "limits", "user", "network"):
        assert field in entry["containers"][0]
    assert {"address", "aliases", "hosts"} <= set(entry["containers"][0])
    assert entry["containers"][0]["labels"]["trainlet.dev/owner-uid"] == "00000000-0000-0000-0000-000000000000"
    assert entry["networks"][0]["name"] == "mnist-net"


def test_yaml_says_the_same_as_json(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest())
    entries = plan(desk, "a.yaml")
    desk.run("plan", "-o", "yaml", "a.yaml")
    assert yaml.safe_load(desk.stdout) == entries


def test_a_stored_job_keeps_its_uid(desk: Desk) -> None:
    StatusDir(desk.jobs / "status").write_job("default", "mnist", [build_job()])
    desk.write(desk.out, "a.yaml", build_manifest())
    [entry] = plan(desk, "a.yaml")
    assert entry["jobSet"]["metadata"]["ownerReferences"][0]["uid"] == UID


def test_a_runtime_of_the_same_call_is_used(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(), build_runtime("own", container={"image": "other:2"}))
    [entry] = plan(desk, "a.yaml")
    assert entry["containers"][0]["image"] == "other:2"


def test_what_is_refused_is_told_and_the_rest_is_planned(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest("good"), build_manifest("bad", runtime="absent"))
    assert desk.run("plan", "-o", "json", "a.yaml") == 1
    assert [entry["trainJob"] for entry in json.loads(desk.stdout)] == ["default/good"]
    assert desk.stderr.startswith("a.yaml:14:3: spec.RuntimeRef: Invalid value"), desk.stderr


def test_people_see_what_differs_between_nodes(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(numNodes=2, command=["torchrun", "a b.py"]))
    assert desk.run("plan", "a.yaml") == 0
    lines = desk.stdout.splitlines()
    assert lines[:4] == [
        "TrainJob default/mnist: 2 containers",
        "  network mnist-net 10.213.0.0/29",
        "  mnist-node-0 10.213.0.2",
        "    image     image:1",
    ]
    assert "    command   torchrun 'a b.py'" in lines
    second = lines.index("  mnist-node-1 10.213.0.3")
    assert lines[second + 1 : second + 4] == [
        "    env       PET_NODE_RANK=1",
        "    env       JOB_COMPLETION_INDEX=1",
        "    env       RANK=1",
    ]


def test_a_file_without_a_job_has_no_plan(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_runtime("new"))
    assert desk.run("plan", "a.yaml") == 0
    assert (desk.stdout, desk.stderr) == ("", "no TrainJob in a.yaml\n")
