"""The runtimes that come with the program: what a TrainJob written for upstream's finds in them."""

import re
from pathlib import Path
from typing import Any

import pytest

from builders import build_job
from trainlet.admission.webhooks import validate_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.documents.parse import parse_documents
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.package_data import data_dir
from trainlet.planning.jobset import build_jobset, build_objects

POD = ("template", "spec", "template", "spec")
STEP = "trainer.kubeflow.org/trainjob-ancestor-step"


def read(directory: str) -> dict[str, JSON]:
    """Return the objects of the shipped manifests by their names."""
    files = sorted((data_dir("manifests") / directory).glob("*.yaml"))
    found = {file: [document.value for document in parse_documents(file.read_bytes())] for file in files}
    assert {len(objects) for objects in found.values()} == {1}
    assert [file.stem for file in files] == [objects[0]["metadata"]["name"] for objects in found.values()]
    return {file.stem: objects[0] for file, objects in found.items()}


RUNTIMES, EXAMPLES = read("runtimes"), read("examples")
DATASET, MODEL, NODE, LAUNCHER = "dataset-initializer", "model-initializer", "node", "launcher"
KUBEFLOW = "ghcr.io/kubeflow/trainer"
PYTORCH = "pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime"
MPI = {
    "numProcPerNode": 1,
    "mpiImplementation": "OpenMPI",
    "sshAuthMountPath": "/home/mpiuser/.ssh",
    "runLauncherAsNode": True,
}
FETCHED = [{"name": DATASET, "status": "Complete"}, {"name": MODEL, "status": "Complete"}]
TRAIN: list[tuple[str, str | None]] = [(NODE, "trainer")]
TUNE = [(DATASET, DATASET), (MODEL, MODEL), (NODE, "trainer")]
LAUNCH = [(NODE, None), (LAUNCHER, "trainer")]
FACTS: dict[str, tuple[str, JSON, list[tuple[str, str | None]], str, list[JSON] | None]] = {
    # name: (framework, mlPolicy, jobs and their steps, image of the last, what the last depends on)
    "torch-distributed": ("torch", {"torch": {}}, TRAIN, PYTORCH, None),
    "deepspeed-distributed": (
        "deepspeed",
        {"mpi": MPI},
        LAUNCH,
        f"{KUBEFLOW}/deepspeed-runtime:v2.3.0",
        [{"name": NODE, "status": "Ready"}],
    ),
    "mlx-distributed": (
        "mlx",
        {"mpi": MPI},
        LAUNCH,
        f"{KUBEFLOW}/mlx-runtime:v2.3.0",
        [{"name": NODE, "status": "Ready"}],
    ),
    "jax-distributed": ("jax", {"jax": {}}, TRAIN, "nvcr.io/nvidia/jax:25.10-py3", None),
    "xgboost-distributed": ("xgboost", {"xgboost": {}}, TRAIN, f"{KUBEFLOW}/xgboost-runtime:v2.3.0", None),
    **{
        name: ("torchtune", {"torch": {}}, TUNE, f"{KUBEFLOW}/torchtune-trainer:v2.3.0", FETCHED)
        for name in ("torchtune-llama3.2-1b", "torchtune-llama3.2-3b", "torchtune-qwen2.5-1.5b")
    },
    "torch-distributed-with-cache": ("torch", {"torch": {}}, [TUNE[0], TUNE[2]], PYTORCH, FETCHED[:1]),
}


def jobs_of(name: str) -> list[JSON]:
    jobs: list[JSON] = find(RUNTIMES[name], "spec", "template", "spec", "replicatedJobs")
    return jobs


def pods_of(name: str) -> dict[str, JSON]:
    return {job["name"]: find(job, *POD) for job in jobs_of(name)}


def test_they_are_upstream_s() -> None:
    assert set(RUNTIMES) == set(FACTS)


@pytest.mark.parametrize(("name", "facts"), FACTS.items(), ids=FACTS)
def test_what_jobs_rely_on(name: str, facts: Any) -> None:
    framework, policy, steps, image, depends_on = facts
    runtime = RUNTIMES[name]
    assert (runtime["kind"], runtime["metadata"]["labels"]) == (
        "ClusterTrainingRuntime",
        {"trainer.kubeflow.org/framework": framework},
    )
    assert runtime["spec"]["mlPolicy"] == {"numNodes": 1, **policy}
    jobs = jobs_of(name)
    assert [(job["name"], find(job, "template", "metadata", "labels", STEP)) for job in jobs] == steps
    assert find(jobs[-1], *POD, "containers", 0, "image") == image
    assert [job.get("dependsOn") for job in jobs] == [*[None] * (len(jobs) - 1), depends_on]
    assert not {"failurePolicy", "ttlSecondsAfterFinished"} & set(runtime["spec"]["template"]["spec"])


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_webhook_takes_them_and_images_are_pinned(name: str) -> None:
    assert validate_runtime(RUNTIMES[name], None) == ([], [])
    images = [container["image"] for pod in pods_of(name).values() for container in pod["containers"]]
    assert [image for image in images if not re.search(r":v?\d", image)] == []


@pytest.mark.parametrize("name", ["deepspeed-distributed", "mlx-distributed"])
def test_mpi_s_nodes_are_ssh_servers_and_success_is_the_launcher_s(name: str) -> None:
    spec = RUNTIMES[name]["spec"]["template"]["spec"]
    assert spec["network"] == {"publishNotReadyAddresses": True}
    assert spec["successPolicy"] == {"operator": "All", "targetReplicatedJobs": [LAUNCHER]}
    node, launcher = pods_of(name)[NODE], pods_of(name)[LAUNCHER]
    for pod in (node, launcher):
        assert pod["securityContext"] == {"fsGroup": 1000}
        assert [(c["name"], c["securityContext"]) for c in pod["containers"]] == [("node", {"runAsUser": 1000})]
    [server] = node["containers"]
    assert [*server["command"], *server["args"]] == ["/usr/sbin/sshd", "-De", "-f", "/home/mpiuser/.sshd_config"]
    assert server["readinessProbe"] == {"tcpSocket": {"port": 2222}, "initialDelaySeconds": 5}


LLAMA = ["tokenizer.path=/workspace/model/original/tokenizer.model"]
QWEN = ["tokenizer.path=/workspace/model/vocab.json", "tokenizer.merges_file=/workspace/model/merges.txt"]
TUNED = {
    "torchtune-llama3.2-1b": ("hf://meta-llama/Llama-3.2-1B-Instruct", "llama3_2/1B_full", LLAMA),
    "torchtune-llama3.2-3b": ("hf://meta-llama/Llama-3.2-3B-Instruct", "llama3_2/3B_full", LLAMA),
    "torchtune-qwen2.5-1.5b": ("hf://Qwen/Qwen2.5-1.5B-Instruct", "qwen2_5/1.5B_full", QWEN),
}


@pytest.mark.parametrize(("name", "facts"), TUNED.items(), ids=TUNED)
def test_torchtune_s_have_a_dataset_a_model_and_a_volume_for_both(name: str, facts: Any) -> None:
    model, config, tokenizer = facts
    [claims] = RUNTIMES[name]["spec"]["template"]["spec"]["volumeClaimPolicies"]
    [claim] = claims["templates"]
    assert claim == {
        "metadata": {"name": "initializer"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}},
    }
    containers = {step: pod["containers"][0] for step, pod in pods_of(name).items()}
    assert [c["volumeMounts"] for c in containers.values()] == [
        [{"name": "initializer", "mountPath": "/workspace"}]
    ] * 3
    assert [containers[step]["env"] for step in (DATASET, MODEL)] == [
        [{"name": "STORAGE_URI", "value": "hf://tatsu-lab/alpaca"}],
        [{"name": "STORAGE_URI", "value": model}],
    ]
    assert [containers[step]["image"] for step in (DATASET, MODEL)] == [
        f"{KUBEFLOW}/dataset-initializer:v2.3.0",
        f"{KUBEFLOW}/model-initializer:v2.3.0",
    ]
    node = containers[NODE]
    assert node["resources"] == {"limits": {"nvidia.com/gpu": 2}}
    assert node["command"] == [
        "tune",
        "run",
        "--rdzv_endpoint=localhost:29500",
        "full_finetune_distributed",
        "--config",
        config,
        "dataset=torchtune.datasets.instruct_dataset",
        "dataset.source=parquet",
        "dataset.data_dir=/workspace/dataset/data",
        "output_dir=/workspace/output",
        *tokenizer,
        "checkpointer.checkpoint_dir=/workspace/model",
    ]


def test_the_cache_s_step_knows_its_image_and_its_job() -> None:
    pods = pods_of("torch-distributed-with-cache")
    name = {
        "name": "TRAIN_JOB_NAME",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['jobset.sigs.k8s.io/jobset-name']"}},
    }
    assert pods[DATASET]["serviceAccountName"] == "kubeflow-trainer-cache-initializer"
    assert pods[DATASET]["containers"][0]["env"] == [
        {"name": "CACHE_IMAGE", "value": f"{KUBEFLOW}/data-cache:v2.3.0"},
        name,
    ]
    assert pods[NODE]["containers"][0]["env"] == [name]
    assert not any("volumes" in pod or "volumeMounts" in pod["containers"][0] for pod in pods.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_for_shipped_runtimes_and_can_be_built(name: str) -> None:
    given = EXAMPLES[name]
    job = TrainJob.of(build_job(name, **given["spec"]))
    runtime = RUNTIMES[job.spec.runtime_ref.name]
    rjobs = build_jobset(job, runtime)["spec"]["replicatedJobs"]
    assert {c["name"] for rjob in rjobs for c in find(rjob, *POD, "containers")} <= {NODE, DATASET, MODEL}
    build_objects(job, runtime, bytes(32))


@pytest.mark.parametrize("policy", ["torch", "jax", "xgboost", "mpi"])
def test_every_policy_that_a_runtime_here_has_has_an_example(policy: str) -> None:
    used = {example["spec"]["runtimeRef"]["name"] for example in EXAMPLES.values()}
    assert any(policy in RUNTIMES[name]["spec"]["mlPolicy"] for name in used)


def test_torchtune_s_example_is_completed_to_a_recipe() -> None:
    job = TrainJob.of(build_job("torchtune", **EXAMPLES["torchtune"]["spec"]))
    jobset = build_jobset(job, RUNTIMES[job.spec.runtime_ref.name])
    node = find(jobset, "spec", "replicatedJobs", 2, *POD, "containers", 0)
    assert node["command"] == [
        "tune",
        "run",
        "lora_finetune_single_device",
        "--config",
        "qwen2_5/1.5B_lora_single_device",
        "output_dir=/workspace/output",
        *QWEN,
        "checkpointer.checkpoint_dir=/workspace/model",
    ]


def test_runtimes_begin_with_a_word_on_what_they_are_for() -> None:
    for file in sorted(Path(data_dir("manifests")).rglob("*.yaml")):
        assert file.read_text(encoding="utf-8").startswith("# "), file
