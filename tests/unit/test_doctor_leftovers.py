"""What `trainlet doctor` says of what jobs left on the engine, and of names they need that others have."""

from pathlib import Path

import pytest
import yaml

from builders import UID, build_job
from manifests import build_manifest
from trainlet.doctor.machine import Level
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Owner
from trainlet.kube.meta import JSON
from trees import FAIL, OK, WARN, StillEngine, Tree, levels, run


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def store(tree: Tree, *, finished: bool = False, jobset: JSON | None = None) -> None:
    """Write the status documents of the job mnist."""
    job = build_job()
    if finished:
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    status_dir = StatusDir(tree.settings.status_path)
    status_dir.write_job("default", "mnist", [job])
    if jobset:
        status_dir.write_part("default", "mnist", "jobset", [jobset])


OWNER = Owner(UID, "default", "mnist")


def test_what_belongs_to_nobody_is_left_over(tree: Tree) -> None:
    [finding] = run("leftovers", tree.look(StillEngine(owners=frozenset({OWNER}))))
    assert finding.level is WARN
    assert "default/mnist, which is not known here" in finding.message
    assert f"docker rm -f $(docker ps -aq --filter label=trainlet.dev/owner-uid={UID})" in finding.remedy


@pytest.mark.parametrize(
    ("finished", "auto_remove", "level"), [(False, True, OK), (True, True, WARN), (True, False, OK)]
)
def test_what_is_left_of_a_finished_job_is_told_unless_wanted(
    tree: Tree, finished: bool, auto_remove: bool, level: Level
) -> None:
    store(tree, finished=finished)
    machine = tree.look(StillEngine(owners=frozenset({OWNER})), settings={"auto_remove": auto_remove})
    assert levels("leftovers", machine) == [level]


JOBSET = {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": {"name": "mnist"},
    "spec": {
        "replicatedJobs": [
            {
                "name": "node",
                "template": {"spec": {"template": {"spec": {"containers": [{"name": "node", "image": "i"}]}}}},
            }
        ]
    },
}


REMOVE_STRANGER = "docker rm -f $(docker ps -aq --filter label=trainlet.dev/store=other)"


@pytest.mark.parametrize(
    ("workspace", "level", "words"),
    [
        ("gone/workspaces/default/mnist", WARN, "of jobs of /gone/workspaces, which is gone"),
        ("jobs/workspaces/default/mnist", OK, "nothing is left"),
        ("host_mnt/jobs/workspaces/default/mnist", OK, "nothing is left"),
        ("", WARN, "another directory (store other) have no workspace"),
    ],
)
def test_what_a_directory_that_is_gone_left_is_told(tree: Tree, workspace: str, level: Level, words: str) -> None:
    (tree.root / "jobs/workspaces").mkdir()
    mounts = [{"Destination": "/other", "Source": "/x/y/z"}, {"Destination": "/workspace", "Source": f"/{workspace}"}]
    tree.replies = {
        "/containers/json": [{"Id": "c1", "Labels": {"trainlet.dev/store": "other"}}],
        "/containers/c1/json": {"Mounts": mounts if workspace else []},
        "/networks": [],
    }
    [finding] = run("leftovers", tree.look(StillEngine()))
    assert finding.level is level
    assert words in finding.message
    assert (REMOVE_STRANGER in finding.remedy) == (level is WARN)


def test_directories_of_another_machine_are_not_looked_for(tree: Tree) -> None:
    tree.replies["/networks"] = [{"Labels": {"trainlet.dev/store": "other"}}]
    assert levels("leftovers", tree.look(StillEngine(endpoint="tcp://box:2375"))) == [OK]


def test_a_network_that_nobody_uses_may_be_left_over(tree: Tree) -> None:
    own = tree.settings.store_id
    tree.replies["/networks"] = [{"Labels": {"trainlet.dev/store": store}} for store in (own, "other", "other")]
    [finding] = run("leftovers", tree.look(StillEngine()))
    assert (finding.level, "store other" in finding.message) == (WARN, True)


def test_processes_have_nothing_to_remove_by_hand(tree: Tree) -> None:
    [finding] = run("leftovers", tree.look(StillEngine("process", "file:///state", owners=frozenset({OWNER}))))
    assert finding.remedy == "start the operator, which removes them"


@pytest.mark.parametrize(
    ("path", "body", "whose"),
    [
        ("/networks/mnist-net", {"Labels": {}}, "somebody else"),
        ("/networks/mnist-net", {"Labels": {"com.docker.compose.project": "shop"}}, "the Compose project shop"),
        (
            "/networks/mnist-net",
            {"Labels": {"trainlet.dev/store": "s", "trainlet.dev/owner-uid": "u", "kubeflow.org/job-name": "mnist"}},
            "the trainlet job default/mnist of another directory",
        ),
        (
            "/containers/mnist-node-0/json",
            {"Config": {"Labels": {"trainer.kubeflow.org/trainjob-name": "mnist"}}},
            "the Kubeflow SDK's job mnist",
        ),
        ("/containers/mnist-node-0/json", {"Config": {"Labels": None}}, "somebody else"),
    ],
)
def test_a_name_that_a_stranger_has_fails(tree: Tree, path: str, body: JSON, whose: str) -> None:
    tree.write("jobs/mnist.yaml", yaml.safe_dump(build_manifest()))
    store(tree, jobset=JOBSET)
    assert levels("name conflicts", tree.look(StillEngine())) == [OK]
    tree.replies[path] = body
    [finding] = run("name conflicts", tree.look(StillEngine()))
    assert finding.level is FAIL
    assert f"that TrainJob default/mnist needs exists and belongs to {whose}" in finding.message
    assert ("docker network rm mnist-net" in finding.remedy) == ("networks" in path)


def test_what_is_ours_or_of_a_finished_job_is_no_conflict(tree: Tree) -> None:
    machine = tree.look(StillEngine())
    tree.write("jobs/mnist.yaml", yaml.safe_dump(build_manifest()))
    tree.replies["/networks/mnist-net"] = {"Labels": {"trainlet.dev/store": machine.settings.store_id}}
    assert levels("name conflicts", machine) == [OK]
    tree.replies["/networks/mnist-net"] = {"Labels": {}}
    assert levels("name conflicts", machine) == [FAIL]
    store(tree, finished=True)
    assert levels("name conflicts", machine) == [OK]


def test_an_engine_behind_a_tunnel_is_not_asked_for_names(tree: Tree) -> None:
    assert run("name conflicts", tree.look(StillEngine(endpoint="ssh://ann@box"))) == []
