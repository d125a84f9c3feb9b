"""A pod that is deleted through the API: its containers end as they wish, another comes in its place, nobody failed."""

from collections.abc import Iterator
from typing import Any

import pytest

from builders import build_runtime
from harness import Machine, open_machine, read_records, write_job
from trainlet.controller.pod_removal import remove_pod
from trainlet.engine.base import LogLine
from trainlet.kube.errors import ApiError
from trainlet.kube.meta import JSON, ObjectKey

RUNTIME = build_runtime(job={"backoffLimit": 0}, pod={"terminationGracePeriodSeconds": 5})
BOTH = ["mnist-node-0", "mnist-node-1"]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with open_machine(RUNTIME) as machine:
        write_job(machine, "a.yaml", "mnist", runtimeRef={"name": "torch-distributed"}, trainer={"numNodes": 2})
        machine.run()
        yield machine


def get_pods(machine: Machine) -> dict[str, JSON]:
    """Return the pods by host name."""
    assert machine.operator is not None
    return {pod["spec"]["hostname"]: pod for pod in machine.operator.registry.store.list("Pod")}


def delete(machine: Machine, hostname: str = "mnist-node-0-0") -> JSON:
    """Do what the API does; return the pod as it was before."""
    assert machine.operator is not None
    pod = get_pods(machine)[hostname]
    key = ObjectKey("Pod", "default", pod["metadata"]["name"])
    shown = machine.operator.registry.delete_pod(key)
    assert shown["metadata"]["deletionTimestamp"]
    machine.operator.queue.add(ObjectKey("TrainJob", "default", "mnist"))
    return pod


def check_replaced(machine: Machine, before: JSON) -> None:
    """Check that another pod runs in its place, and nothing was counted."""
    after = get_pods(machine)["mnist-node-0-0"]
    for field in ("name", "uid"):
        assert after["metadata"][field] != before["metadata"][field]
    assert "deletionTimestamp" not in after["metadata"]
    assert after["status"]["phase"] == "Running"
    assert [each["restartCount"] for each in after["status"]["containerStatuses"]] == [0]
    assert [record.failures for record in read_records(machine, "default", "mnist").values()] == [0, 0]
    assert machine.engine.running == BOTH


@pytest.mark.parametrize("code", [0, 143])
def test_a_deleted_pod_ends_by_itself_and_another_comes_in_its_place(machine: Machine, code: int) -> None:
    machine.engine.stubborn.add("mnist-node-0")
    ids = {each.name: each.id for each in machine.engine.containers}
    before = delete(machine)
    machine.run()
    assert machine.engine.running == BOTH, "it was only asked to end"
    assert get_pods(machine)["mnist-node-0-0"]["metadata"]["uid"] == before["metadata"]["uid"]
    machine.engine.exit("mnist-node-0", code)
    machine.run()
    check_replaced(machine, before)
    after = {each.name: each.id for each in machine.engine.containers}
    assert [after[name] == ids[name] for name in BOTH] == [False, True]


def test_a_deleted_pod_that_goes_on_is_killed_after_its_grace_period(machine: Machine) -> None:
    machine.engine.stubborn.add("mnist-node-0")
    before = delete(machine)
    machine.run()
    machine.advance(4)
    assert get_pods(machine)["mnist-node-0-0"]["metadata"]["uid"] == before["metadata"]["uid"]
    for _ in range(4):
        machine.advance(1)
    check_replaced(machine, before)


def test_a_deletion_outlives_the_operator(machine: Machine) -> None:
    before = delete(machine)
    machine.kill()
    for _ in range(8):
        machine.advance(1)
    check_replaced(machine, before)
    second = delete(machine)
    for _ in range(8):
        machine.advance(1)
    check_replaced(machine, second)
    machine.kill()
    machine.run()
    check_replaced(machine, second)


def test_a_pass_under_way_does_not_forget_a_deletion(machine: Machine) -> None:
    assert machine.operator is not None
    registry, key = machine.operator.registry, ObjectKey("TrainJob", "default", "mnist")
    case = registry.get_case(key)
    before = delete(machine)
    assert case is not None
    registry._parts.replace(key, "Pod", case.pods)  # as a pass does that began earlier
    for _ in range(8):
        machine.advance(1)
    check_replaced(machine, before)


def test_a_pod_without_grace_loses_its_containers_at_once(machine: Machine) -> None:
    assert machine.operator is not None
    before = delete(machine)
    remove_pod(machine.operator.registry.store, machine.engine, before)
    assert machine.engine.running == BOTH[1:]
    machine.run()
    machine.advance(1)
    check_replaced(machine, before)


def test_a_pod_of_a_suspended_job_is_deleted_once(machine: Machine) -> None:
    before = delete(machine)
    machine.run()
    write_job(
        machine, "a.yaml", "mnist", runtimeRef={"name": "torch-distributed"}, trainer={"numNodes": 2}, suspend=True
    )
    for _ in range(8):
        machine.advance(1)
    assert machine.engine.containers == []
    write_job(machine, "a.yaml", "mnist", runtimeRef={"name": "torch-distributed"}, trainer={"numNodes": 2})
    machine.advance(60)
    assert get_pods(machine)["mnist-node-0-0"]["metadata"]["uid"] != before["metadata"]["uid"]
    assert machine.engine.running == BOTH


def test_a_pod_that_is_not_there_cannot_be_deleted(machine: Machine) -> None:
    assert machine.operator is not None
    with pytest.raises(ApiError, match="is gone"):
        machine.operator.registry.delete_pod(ObjectKey("Pod", "default", "mnist-node-0-0-zzzzz"))


def test_a_pod_whose_job_is_gone_has_nothing_to_remove(machine: Machine) -> None:
    assert machine.operator is not None
    first = get_pods(machine)["mnist-node-0-0"]
    labels = {**first["metadata"]["labels"], "jobset.sigs.k8s.io/jobset-name": "another"}
    stranger = {**first, "metadata": {**first["metadata"], "labels": labels}}
    remove_pod(machine.operator.registry.store, machine.engine, stranger)
    assert machine.engine.running == BOTH


def test_last_words_are_asked_of_those_alone_who_end_on_their_own(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, read_logs = list[str](), machine.engine.read_logs

    def note(id: str, **options: Any) -> Iterator[LogLine]:
        if options.get("tail"):
            asked.append(next(c.name for c in machine.engine.containers if c.id == id))
        return read_logs(id, **options)

    monkeypatch.setattr(machine.engine, "read_logs", note)
    delete(machine)
    machine.run()
    assert asked == []
    machine.engine.exit(BOTH[1], 143)
    machine.run()
    assert asked == [BOTH[1]]
