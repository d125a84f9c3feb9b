"""Who the pods of a job are on a cluster, and what their containers are called here."""

from typing import Any

import pytest

from builders import build_job, build_runtime
from trainlet.apis.jobset import JobSet
from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.jobset import build_jobset
from trainlet.planning.slots import Slot, build_slots


def build(job: JSON, runtime: JSON) -> tuple[Slot, ...]:
    view = TrainJob.of(job)
    return build_slots(view.key, JobSet.of(build_jobset(view, runtime)))


def build_step(name: str, ancestor: str | None = None, replicas: int = 1, pods: int = 1) -> JSON:
    """Return a replicatedJob with one container of another name than the trainer's."""
    template: JSON = {
        "spec": {"parallelism": pods, "template": {"spec": {"containers": [{"name": "main", "image": "other:1"}]}}}
    }
    if ancestor:
        template["metadata"] = {"labels": {labels.ANCESTOR_STEP: ancestor}}
    return {"name": name, "replicas": replicas, "template": template}


NAMES = [
    # namespace, replicatedJob, index -> job, hostname, step, container, network
    ("default", None, ["mnist-node-0", "mnist-node-0-0", "node-0", "mnist-node-0", "mnist-net"]),
    ("team", None, ["mnist-node-0", "mnist-node-0-0", "node-0", "team.mnist-node-0", "team.mnist-net"]),
    (
        "default",
        build_step("dataset-initializer", "dataset-initializer"),
        [
            "mnist-dataset-initializer-0",
            "mnist-dataset-initializer-0-0",
            "dataset-initializer",
            "mnist-dataset-initializer-0",
            "mnist-net",
        ],
    ),
    ("default", build_step("web"), ["mnist-web-0", "mnist-web-0-0", "web-0", "mnist-web-0", "mnist-net"]),
    (
        "default",
        build_step("web", replicas=2),
        ["mnist-web-0", "mnist-web-0-0", "web-0-0", "mnist-web-0-0", "mnist-net"],
    ),
]


@pytest.mark.parametrize(("namespace", "first", "names"), NAMES)
def test_names_are_the_cluster_s_and_ours(namespace: str, first: JSON | None, names: list[str]) -> None:
    job = build_job(namespace=namespace)
    slot = build(job, build_runtime(more_jobs=[first] if first else None))[0]
    network = labels.network_name(slot.owner)
    assert [slot.job_name, slot.hostname, slot.step, slot.container_name, network] == names


def test_slots_are_numbered_through_all_jobs_in_the_order_of_the_template() -> None:
    runtime = build_runtime(more_jobs=[build_step("a", replicas=2, pods=2), build_step("b")])
    slots = build(build_job(trainer={"numNodes": 2}), runtime)
    assert [(slot.number, slot.hostname) for slot in slots] == [
        (0, "mnist-a-0-0"),
        (1, "mnist-a-0-1"),
        (2, "mnist-a-1-0"),
        (3, "mnist-a-1-1"),
        (4, "mnist-b-0-0"),
        (5, "mnist-node-0-0"),
        (6, "mnist-node-0-1"),
    ]


@pytest.mark.parametrize(
    "steps",
    [
        [build_step("dataset-initializer", "dataset-initializer", pods=2)],
        [build_step("web", replicas=2, pods=2)],
        [build_step("web", pods=12)],
    ],
)
def test_no_two_slots_have_one_name(steps: list[JSON]) -> None:
    slots = build(build_job(trainer={"numNodes": 3}), build_runtime(more_jobs=steps))
    for names in (
        {s.hostname for s in slots},
        {s.step for s in slots},
        {s.container_name for s in slots},
        {s.number for s in slots},
    ):
        assert len(names) == len(slots)


def test_zero_nodes_are_no_slots() -> None:
    assert build(build_job(trainer={"numNodes": 0}), build_runtime()) == ()


def test_the_container_called_node_does_the_work_else_the_first() -> None:
    side = {"name": "side", "image": "side:1"}
    node = {"name": "node", "image": "image:1"}
    runtime: Any = build_runtime(more_jobs=[build_step("web")])
    runtime["spec"]["template"]["spec"]["replicatedJobs"][1]["template"]["spec"]["template"]["spec"]["containers"] = [
        side,
        node,
    ]
    assert [slot.container.image for slot in build(build_job(), runtime)] == ["other:1", "image:1"]
