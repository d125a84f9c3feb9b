"""An edited file is an update: what a cluster forbids leaves the old job running, and a replacement is one step."""

import pytest
import yaml

from waiting import wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

REPLACE = "trainlet.dev/replace"
#: Runs until /workspace/go is there.
WAIT_FOR_GO = "import os, time\nwhile not os.path.exists('/workspace/go'): time.sleep(0.05)"


def drop_running(world: World) -> str:
    """Drop a job of two nodes and return its uid once both run."""
    world.workspace("job")
    world.drop(build_train_job("job", 2, ["python3", "-c", WAIT_FOR_GO]))
    world.wait_phase("job", "Running")
    return get_uid(world)


def get_uid(world: World) -> str:
    return str(world.job("job").get("metadata", {}).get("uid", ""))


def wait_replaced(world: World, uid: str) -> None:
    """Wait until another job of the name is there, and nothing is left of the old one."""
    wait_for(lambda: get_uid(world) not in ("", uid), "the new job", 60)
    world.wait_gone(uid)


def test_a_forbidden_edit_leaves_the_job_running_and_its_replacement_is_told_and_works(world: World) -> None:
    world.start()
    uid = drop_running(world)
    before = {container.id for container in world.running("job")}
    changed = build_train_job("job", 1, ["python3", "-c", "print('new')"])
    world.drop(changed)
    errors = wait_for(lambda: world.report("job").get("errors"), "the edit to be refused", 30)
    assert ("spec.trainer", "cel") in {(error["path"], error["stage"]) for error in errors or []}
    accepted = next(c for c in world.report("job")["conditions"] if c["type"] == "Accepted")
    assert "field is immutable" in accepted["message"]
    assert REPLACE in accepted["message"], "it says how to replace the job"
    assert {container.id for container in world.running("job")} == before
    changed["metadata"]["annotations"] = {REPLACE: "1"}
    world.drop(changed)
    wait_replaced(world, uid)
    world.wait_phase("job", "Complete")
    assert [node["name"] for node in world.nodes("job")] == ["node-0"]


def test_a_replacement_that_is_refused_leaves_the_job_running(process_world: World) -> None:
    world = process_world
    world.start()
    uid = drop_running(world)
    wrong = build_train_job("job", 1, ["true"])
    wrong["metadata"]["annotations"] = {REPLACE: "1"}
    wrong["spec"]["runtimeRef"]["name"] = "nowhere"
    world.drop(wrong)
    wait_for(lambda: world.report("job").get("errors"), "the replacement to be refused", 30)
    assert get_uid(world) == uid
    assert len(world.running("job")) == 2


def test_apply_replaces_when_told_to(world: World) -> None:
    world.start()
    uid = drop_running(world)
    file = world.base / "job.yaml"
    text = "# kept\n" + yaml.safe_dump(build_train_job("job", 1, ["python3", "-c", "print('new')"]))
    file.write_text(text)
    refused = world.trainlet("apply", "-f", str(file))
    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    assert get_uid(world) == uid
    applied = world.trainlet("apply", "-f", str(file), "--replace")
    assert (applied.returncode, applied.stdout) == (0, "trainjob.trainer.kubeflow.org/job replaced\n"), applied.stderr
    wait_replaced(world, uid)
    world.wait_phase("job", "Complete")
    assert (world.jobs / "job.yaml").read_text().startswith("# kept\n")
    assert file.read_text() == text, "the file that was given is the user's"
    uid = get_uid(world)
    again = world.trainlet("apply", "-f", str(file))
    assert again.stdout == "trainjob.trainer.kubeflow.org/job configured\n", "without the annotation it is an update"
    world.wait_phase("job", "Complete")
    assert get_uid(world) == uid


def test_comments_and_order_change_nothing(process_world: World) -> None:
    world = process_world
    world.start()
    uid = drop_running(world)
    job = build_train_job("job", 2, ["python3", "-c", WAIT_FOR_GO])
    version = world.job("job")["metadata"]["resourceVersion"]
    (world.jobs / "job.yaml").write_text("# a comment\n" + yaml.safe_dump(dict(reversed(job.items())), sort_keys=False))
    world.drop(build_train_job("other", 1, ["true"]))
    world.wait_phase("other", "Complete")
    assert (get_uid(world), world.job("job")["metadata"]["resourceVersion"]) == (uid, version)
    assert "errors" not in world.report("job")
