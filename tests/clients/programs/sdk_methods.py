"""Every method of the Kubeflow SDK's client, on a cluster with the runtimes `plain` and `prepared`.

The argument is a directory for what an initializer fetches.
"""

import sys
import time
from pathlib import Path

import pytest
from kubeflow.trainer import (
    CustomTrainer,
    CustomTrainerContainer,
    HuggingFaceDatasetInitializer,
    Initializer,
    KubernetesBackendConfig,
    TrainerClient,
)
from kubeflow.trainer.options import (
    Annotations,
    JobSetSpecPatch,
    JobSetTemplatePatch,
    JobSpecPatch,
    JobTemplatePatch,
    Labels,
    Name,
    PodTemplatePatch,
    ReplicatedJobPatch,
    RuntimePatch,
    TrainerCommand,
    TrainingRuntimeSpecPatch,
)
from kubernetes.client import CoreV1Api

IMAGE = "localhost/trainlet-python:test"


def train(words, rounds):
    """Say something; a function is sent as its source, so all that it needs is in it."""
    import os
    import time

    for number in range(rounds):
        print(f"{words} {number} of node {os.environ['JOB_COMPLETION_INDEX']}", flush=True)
        time.sleep(0.1)


def read_data():
    """Print what an initializer has fetched."""
    with open("/workspace/dataset/numbers.txt") as file:  # noqa: PTH123 - its source goes without imports
        print(file.read().strip())


client = TrainerClient(backend_config=KubernetesBackendConfig(namespace="default"))

# All jobs begin; what they come to is looked at below.
name = client.train(
    runtime="plain", trainer=CustomTrainer(func=train, func_args={"words": "round", "rounds": 40}, num_nodes=2)
)
pod = PodTemplatePatch(metadata={"labels": {"colour": "green"}})
step = ReplicatedJobPatch(name="node", template=JobTemplatePatch(spec=JobSpecPatch(template=pod)))
jobset = JobSetTemplatePatch(spec=JobSetSpecPatch(replicated_jobs=[step]))
patch = RuntimePatch(training_runtime_spec=TrainingRuntimeSpecPatch(template=jobset))
given = client.train(
    runtime="plain",
    trainer=CustomTrainerContainer(image=IMAGE, env={"SHAPE": "round"}),
    options=[
        Name("given-name"),
        Labels({"team": "blue"}),
        Annotations({"note": "by hand"}),
        TrainerCommand(["sh", "-c", "echo $SHAPE"]),
        patch,
    ],
)
assert given == "given-name", given
client.train(
    runtime="plain",
    trainer=CustomTrainerContainer(image=IMAGE),
    options=[Name("it-fails"), TrainerCommand(["sh", "-c", "exit 3"])],
)
source = Path(sys.argv[1]) / "numbers.txt"
source.write_text("1 2 3\n")
prepared = client.train(
    runtime="prepared",
    initializer=Initializer(dataset=HuggingFaceDatasetInitializer(storage_uri=source.as_uri())),
    trainer=CustomTrainer(func=read_data),
)

# A function, on two nodes
running = client.wait_for_job_status(name, status={"Running"}, polling_interval=1)
assert (running.status, running.num_nodes) == ("Running", 2), running
followed = list(client.get_job_logs(name, follow=True))
assert followed == [f"round {number} of node 0" for number in range(40)], followed
seen = []
done = client.wait_for_job_status(name, timeout=60, polling_interval=1, callbacks=[lambda job: seen.append(job.status)])
assert done.status == seen[-1] == "Complete", (done, seen)
assert [step.name for step in done.steps] == ["node-0", "node-1"], done.steps
other = "\n".join(client.get_job_logs(name, step="node-1")).splitlines()
assert other == [f"round {number} of node 1" for number in range(40)], other
assert client.get_job(name).runtime.name == "plain"
reasons = {event.reason for event in client.get_job_events(name)}
assert "Started" in reasons or "Created" in reasons, reasons

# A container as it is, with options
client.wait_for_job_status(given, timeout=60, polling_interval=1)
assert list(client.get_job_logs(given)) == ["round"], list(client.get_job_logs(given))
[patched] = CoreV1Api().list_namespaced_pod("default", label_selector="colour=green").items
assert patched.metadata.labels["jobset.sigs.k8s.io/jobset-name"] == given

# One that fails
with pytest.raises(RuntimeError, match="Failed"):
    client.wait_for_job_status("it-fails", timeout=60, polling_interval=1)
assert client.wait_for_job_status("it-fails", status={"Failed"}, polling_interval=1).status == "Failed"

# Data first
steps = client.wait_for_job_status(prepared, timeout=60, polling_interval=1).steps
assert {step.name for step in steps} == {"dataset-initializer", "node-0"}, steps
assert list(client.get_job_logs(prepared)) == ["1 2 3"], list(client.get_job_logs(prepared))
assert list(client.get_job_logs(prepared, step="dataset-initializer"))

# Runtimes
names = {each.name for each in client.list_runtimes()}
assert {"plain", "prepared", "torch-distributed", "deepspeed-distributed"} <= names, names
plain = client.get_runtime("plain")
assert (plain.name, plain.trainer.framework) == ("plain", "torch"), plain
assert "\npython " in plain.trainer.command[-1], plain.trainer.command
assert "\ntorchrun " in client.get_runtime("torch-distributed").trainer.command[-1]
client.get_runtime_packages(plain)  # prints them
with pytest.raises(RuntimeError):
    client.get_runtime("no-such-runtime")

# All of them, and their end
listed = {job.name: job.status for job in client.list_jobs()}
assert listed[name] == listed[given] == listed[prepared] == "Complete", listed
assert {job.name for job in client.list_jobs(runtime=plain)} >= {name, given}
mine = {name, given, "it-fails", prepared}
for each in mine:
    client.delete_job(each)
while mine & {job.name for job in client.list_jobs()}:  # a deleted job is there until nothing of it is left
    time.sleep(0.1)
with pytest.raises(RuntimeError):
    client.get_job(name)
