"""TrainJob + runtime -> JobSet: which value wins, in what order, and under whose name."""

from typing import Any

import pytest

from builders import UID, build_job, build_pod_patch, build_replicated_job, build_runtime, build_steps_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset

TRAINER_LABEL = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}


def build(runtime: JSON | None = None, **spec: Any) -> JSON:
    return build_jobset(TrainJob.of(build_job(**spec)), runtime or build_runtime())


def containers_of(jobset: JSON, number: int = -1) -> list[JSON]:
    found: list[JSON] = jobset["spec"]["replicatedJobs"][number]["template"]["spec"]["template"]["spec"]["containers"]
    return found


def counts_of(jobset: JSON) -> list[tuple[int, int, int]]:
    specs = [(rjob.get("replicas"), rjob["template"]["spec"]) for rjob in jobset["spec"]["replicatedJobs"]]
    return [(replicas, spec["parallelism"], spec["completions"]) for replicas, spec in specs]


def test_the_jobset_is_the_job_s() -> None:
    assert build()["metadata"] == {
        "name": "mnist",
        "namespace": "default",
        "ownerReferences": [
            {
                "apiVersion": "trainer.kubeflow.org/v1alpha1",
                "kind": "TrainJob",
                "name": "mnist",
                "uid": UID,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def test_labels_and_annotations_are_those_of_the_runtime_s_template() -> None:
    metadata = {"labels": {"a": "1"}, "annotations": {"b": "2"}, "name": "ignored"}
    jobset = build(put(build_runtime(), ("spec", "template", "metadata"), metadata))
    assert (jobset["metadata"]["labels"], jobset["metadata"]["annotations"]) == ({"a": "1"}, {"b": "2"})
    assert jobset["metadata"]["name"] == "mnist"


@pytest.mark.parametrize("suspend", [True, False])
def test_suspension_is_the_job_s(suspend: bool) -> None:
    assert build(suspend=suspend)["spec"]["suspend"] is suspend


def test_other_fields_of_the_template_survive() -> None:
    runtime = put(build_runtime(), ("spec", "template", "spec", "network"), {"subdomain": "sub"})
    assert build(runtime)["spec"]["network"] == {"subdomain": "sub"}


PRECEDENCE = [
    # what the runtime's container says, what the job's trainer says -> what wins
    ("image", {"image": "runtime:1"}, {}, "runtime:1"),
    ("image", {"image": "runtime:1"}, {"image": "job:1"}, "job:1"),
    ("command", {"command": ["run"]}, {}, ["run"]),
    ("command", {"command": ["run"]}, {"command": ["mine"]}, ["mine"]),
    ("command", {"command": ["run"]}, {"command": []}, []),
    ("args", {"args": ["a"]}, {}, ["a"]),
    ("args", {"args": ["a"]}, {"args": ["b"]}, ["b"]),
    ("args", {"command": ["run"], "args": ["a"]}, {"command": ["mine"]}, ["a"]),
    ("workingDir", {"workingDir": "/w"}, {"image": "job:1"}, "/w"),
]


@pytest.mark.parametrize(("field", "container", "trainer", "value"), PRECEDENCE)
def test_the_job_s_value_wins_where_it_gives_one(field: str, container: JSON, trainer: JSON, value: Any) -> None:
    [built] = containers_of(build(build_runtime(container=container), trainer=trainer))
    assert built[field] == value


def test_environment_is_replaced_in_place_and_new_names_follow() -> None:
    runtime = build_runtime(ml_policy={}, container={"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})
    env = [{"name": "C", "value": "3"}, {"name": "A", "value": "4"}]
    [built] = containers_of(build(runtime, trainer={"env": env}))
    assert built["env"] == [{"name": "A", "value": "4"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]


def test_sources_of_environment_survive_as_they_were_written() -> None:
    entry = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}
    [built] = containers_of(build(build_runtime(ml_policy={}), trainer={"env": [entry]}))
    assert built["env"] == [entry]


def test_only_the_container_called_node_is_overridden() -> None:
    runtime = build_runtime(pod={}, container={"name": "main"})
    assert containers_of(build(runtime, trainer={"image": "job:1"})) == [{"name": "main", "image": "image:1"}]


def test_a_step_without_the_trainer_s_label_is_left_alone() -> None:
    other = {"name": "web", "template": {"spec": {"template": {"spec": {"containers": [{"name": "node"}]}}}}}
    jobset = build(build_runtime(more_jobs=[other]), trainer={"image": "job:1"})
    assert containers_of(jobset, 0) == [{"name": "node"}]


def test_of_two_trainers_both_get_the_job_s_image_and_only_the_first_its_count() -> None:
    second = {
        "name": "second",
        "template": {
            "metadata": {"labels": TRAINER_LABEL},
            "spec": {"template": {"spec": {"containers": [{"name": "node"}]}}},
        },
    }
    runtime = build_runtime(more_jobs=[second], ml_policy={"numNodes": 2, "torch": {}})
    jobset = build(runtime, trainer={"image": "job:1", "numNodes": 3})
    assert counts_of(jobset) == [(1, 3, 3), (1, 2, 2)]
    assert [containers_of(jobset, n)[0]["image"] for n in (0, 1)] == ["job:1", "job:1"]
    assert ["env" in containers_of(jobset, n)[0] for n in (0, 1)] == [True, False]


COUNTS = [
    # mlPolicy, trainer -> pods
    ({}, None, 1),
    ({"numNodes": 2}, None, 2),
    ({"numNodes": 2}, {}, 2),
    ({"numNodes": 2}, {"numNodes": 3}, 3),
    ({"numNodes": 2}, {"numNodes": 0}, 0),
    ({}, {"numNodes": 3}, 3),
]


@pytest.mark.parametrize(("ml_policy", "trainer", "count"), COUNTS)
def test_parallelism_and_completions_are_the_number_of_nodes(ml_policy: JSON, trainer: JSON | None, count: int) -> None:
    runtime = build_runtime(ml_policy=ml_policy, job={"completions": 9})
    assert counts_of(build(runtime, **({} if trainer is None else {"trainer": trainer}))) == [(1, count, count)]


def test_replicas_are_one_for_steps_of_the_job_and_kept_for_others() -> None:
    label = "trainer.kubeflow.org/trainjob-ancestor-step"
    steps = [
        {"name": "init", "replicas": 4, "template": {"metadata": {"labels": {label: "dataset-initializer"}}}},
        {"name": "other", "replicas": 4, "template": {"spec": {"parallelism": 2}}},
    ]
    assert counts_of(build(build_runtime(more_jobs=steps))) == [(1, 1, 1), (4, 2, 2), (1, 1, 1)]


POD = ("template", "spec", "template", "spec")
INDEX = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
LEADER = "alpha-node-0-0.alpha"
OWN = {"name": "TRAIN_JOB", "value": "value"}
VECTORS: dict[str, tuple[JSON, JSON, int, list[JSON]]] = {
    # name: (mlPolicy, the job's trainer, pods, environment of the node)
    "plain": ({"numNodes": 100}, {"env": [OWN]}, 100, [OWN]),
    "torch": (
        {"numNodes": 100, "torch": {}},
        {"env": [OWN], "resourcesPerNode": {"requests": {"cpu": "1"}}},
        100,
        [
            OWN,
            {"name": "PET_NNODES", "value": "100"},
            {"name": "PET_NPROC_PER_NODE", "value": "1"},
            {"name": "PET_NODE_RANK", "valueFrom": INDEX},
            {"name": "PET_MASTER_ADDR", "value": LEADER},
            {"name": "PET_MASTER_PORT", "value": "29500"},
        ],
    ),
    "jax": (
        {"numNodes": 1, "jax": {}},
        {"numNodes": 2},
        2,
        [
            {"name": "JAX_NUM_PROCESSES", "value": "2"},
            {"name": "JAX_PROCESS_ID", "valueFrom": INDEX},
            {"name": "JAX_COORDINATOR_ADDRESS", "value": f"{LEADER}:29500"},
        ],
    ),
    "xgboost": (
        {"numNodes": 1, "xgboost": {}},
        {"numNodes": 2},
        2,
        [
            {"name": "DMLC_TRACKER_URI", "value": LEADER},
            {"name": "DMLC_TRACKER_PORT", "value": "29500"},
            {"name": "DMLC_TASK_ID", "valueFrom": INDEX},
            {"name": "DMLC_NUM_WORKER", "value": "2"},
        ],
    ),
}


@pytest.mark.parametrize(("ml_policy", "trainer", "pods", "env"), VECTORS.values(), ids=VECTORS)
def test_upstream_s_vectors_field_for_field(ml_policy: JSON, trainer: JSON, pods: int, env: list[JSON]) -> None:
    runtime = build_steps_runtime(ml_policy=ml_policy)
    job = TrainJob.of(build_job("alpha", trainer={"image": "i:2", "command": ["c"], "args": ["a"], **trainer}))
    jobset = build_jobset(job, runtime)
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert set(jobset["spec"]) == {"replicatedJobs", "suspend"}
    assert counts_of(jobset) == [(1, 1, 1), (1, 1, 1), (1, pods, pods)]
    rjobs = jobset["spec"]["replicatedJobs"]
    given = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert [find(rjob, *POD) for rjob in rjobs[:2]] == [find(rjob, *POD) for rjob in given[:2]]
    has_port = len(set(ml_policy)) > 1
    assert containers_of(jobset) == [
        {
            **find(given[2], *POD, "containers", 0),
            "image": "i:2",
            "command": ["c"],
            "args": ["a"],
            "env": env,
            **({"ports": [{"containerPort": 29500}]} if has_port else {}),
        }
    ]


def test_two_jobs_without_a_label_keep_their_replicas_and_their_containers() -> None:
    web = {**build_replicated_job("web", {"name": "node", "image": "web:1"}), "replicas": 3}
    jobset = build(build_steps_runtime(ml_policy={"torch": {}}, more_jobs=[web]), trainer={"numNodes": 2, "image": "i"})
    assert counts_of(jobset) == [(1, 1, 1), (1, 1, 1), (1, 2, 2), (3, 1, 1)]
    assert containers_of(jobset) == [{"name": "node", "image": "web:1"}]


def test_where_no_job_trains_the_trainer_is_silently_nobody() -> None:
    web = build_replicated_job("node", {"name": "node", "image": "web:1"})
    runtime = put(build_steps_runtime(ml_policy={"torch": {}}), ("spec", "template", "spec", "replicatedJobs"), [web])
    jobset = build(runtime, trainer={"numNodes": 5, "image": "i", "env": [OWN], "command": ["c"]})
    assert containers_of(jobset) == [{"name": "node", "image": "web:1"}]
    assert counts_of(jobset) == [(None, 1, 1)]


def test_a_patch_for_a_job_that_is_not_there_adds_one_without_containers() -> None:
    jobset = build(runtimePatches=[build_pod_patch("ghost", nodeSelector={"a": "b"})])
    assert [rjob["name"] for rjob in jobset["spec"]["replicatedJobs"]] == ["node", "ghost"]
    assert find(jobset["spec"]["replicatedJobs"][1], *POD) == {"nodeSelector": {"a": "b"}}


def test_a_patch_for_a_container_that_is_not_there_adds_one_without_an_image() -> None:
    jobset = build(runtimePatches=[build_pod_patch("node", containers=[{"name": "ghost"}])])
    assert containers_of(jobset) == [{"name": "ghost"}, {"name": "node", "image": "image:1"}]


def test_nothing_given_is_changed() -> None:
    job, runtime = build_job(trainer={"env": [{"name": "A", "value": "1"}]}), build_runtime()
    before = repr((job, runtime))
    build_jobset(TrainJob.of(job), runtime)
    assert repr((job, runtime)) == before
