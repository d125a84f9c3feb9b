"""What upstream's torch plugin makes and refuses of a job that runs torchtune, row by row: the webhook refuses."""

from typing import Any

import pytest

from builders import build_job, build_pod_patch, build_replicated_job, build_runtime
from trainlet.admission.webhooks import validate_train_job
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset

INVALID = "Invalid value"
Row = tuple[str, str, str, Any]


def judge(job: JSON, runtime: JSON, old: JSON | None = None) -> list[Row]:
    errors, warnings = validate_train_job(job, old, lambda _: runtime)
    assert {error.stage for error in errors} <= {"webhook"}
    assert warnings == []
    return [(error.path, error.type, error.detail, error.value) for error in errors]


def refer(name: str) -> JSON:
    return {"name": name, "apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime"}


TUNE = ["tune", "run"]
QLORA, LORA = "model.quantize_base=True", "model.lora_attn_modules=[q_proj]"
GPU = {"limits": {"nvidia.com/gpu": 1}}
GPUS = {"limits": {"nvidia.com/gpu": 2}}
MULTI_NODE = "LoRA fine-tuning is not supported for multi-node training in TorchTune"
SMALL, MIDDLE, LARGE, QWEN = (
    "torchtune-llama3.2-1b",
    "torchtune-llama3.2-3b",
    "torchtune-llama3.3-70b",
    "torchtune-qwen2.5-1.5b",
)


def refuse_model(runtime: str, model: str) -> Row:
    detail = f"must have a supported pretrained model, invalid model configured: {model}"
    return ("spec.runtimeRef.name", INVALID, detail, runtime)


def refuse_nodes(count: int, model: str) -> Row:
    return ("spec.trainer.numNodes", INVALID, f"must be 1 for {model} model", count)


def refuse_devices(model: str, processes: int | str, resources: JSON | None) -> list[Row]:
    ending = f"for {model} model when using QLoRA"
    return [
        ("spec.trainer.numProcPerNode", INVALID, f"must be auto or 1 {ending}", processes),
        ("spec.trainer.resourcesPerNode", INVALID, f"must have gpu resource with value 1 {ending}", resources),
    ]


def refuse_argument(place: int, arg: str) -> Row:
    key = arg.partition("=")[0]
    detail = f'must not set immutable config "{key}" in trainer args; it is managed by the runtime'
    return (f"spec.trainer.args[{place}]", INVALID, detail, arg)


RESERVED = (
    "spec.trainer.env",
    INVALID,
    "must not have reserved envs, invalid envs configured: [PET_NNODES]",
    [{"name": "PET_NNODES"}],
)
QWEN_QLORA = ("spec.runtimeRef.name", INVALID, "QLoRA is not supported for qwen2_5/1.5B model", QWEN)
MANAGED = ("output_dir=/x", "tokenizer.path=/x", "tokenizer.merges_file=/x", "checkpointer.checkpoint_dir=/x")

TUNINGS: dict[str, tuple[str, JSON, list[Row]]] = {
    # name: (runtime, trainer beside its command, errors)
    "a supported model": (SMALL, {}, []),
    "every supported model": (MIDDLE, {"numNodes": 1}, []),
    "qwen": (QWEN, {}, []),
    "no model in the name": ("torchtune", {}, [refuse_model("torchtune", "")]),
    "too many parts": ("torchtune-llama3.2-1b-x", {}, [refuse_model("torchtune-llama3.2-1b-x", "")]),
    "another model": ("torchtune-llama4-1b", {}, [refuse_model("torchtune-llama4-1b", "llama4/1B")]),
    "several nodes, large": (LARGE, {"numNodes": 2}, []),
    "several nodes, small": (SMALL, {"numNodes": 2}, [refuse_nodes(2, "llama3_2/1B")]),
    "several nodes, no model": ("x", {"numNodes": 3}, [refuse_model("x", ""), refuse_nodes(3, "")]),
    "no nodes": (SMALL, {"numNodes": 0, "args": [QLORA]}, []),
    "QLoRA of qwen, distributed": (QWEN, {"args": [QLORA]}, [QWEN_QLORA]),
    "QLoRA of qwen, one device": (QWEN, {"args": [QLORA], "numProcPerNode": 1}, [QWEN_QLORA]),
    "QLoRA small, auto": (SMALL, {"args": [QLORA]}, refuse_devices("llama3_2/1B", "auto", None)),
    "QLoRA small, two processes": (
        MIDDLE,
        {"args": [QLORA], "numProcPerNode": 2, "resourcesPerNode": GPUS},
        refuse_devices("llama3_2/3B", 2, GPUS),
    ),
    "QLoRA small, one process": (SMALL, {"args": [QLORA], "numProcPerNode": 1}, []),
    "QLoRA small, one GPU": (SMALL, {"args": [QLORA], "resourcesPerNode": GPU}, []),
    "QLoRA large, distributed": (LARGE, {"args": [QLORA]}, []),
    "QLoRA with DoRA is none": (SMALL, {"args": [QLORA, "model.use_dora=true"]}, []),
    "QLoRA without DoRA": (
        SMALL,
        {"args": ["model.use_dora=False", QLORA]},
        refuse_devices("llama3_2/1B", "auto", None),
    ),
    "QLoRA said to be false": (SMALL, {"args": ["model.quantize_base=false"]}, []),
    "QLoRA without a value": (SMALL, {"args": ["model.quantize_base"]}, []),
    "LoRA small, distributed": (SMALL, {"args": [LORA]}, []),
    "LoRA on several nodes": (
        LARGE,
        {"numNodes": 2, "args": [LORA]},
        [("spec.trainer.numNodes", INVALID, MULTI_NODE, 2)],
    ),
    "QLoRA on several nodes": (
        SMALL,
        {"numNodes": 2, "args": [QLORA]},
        [refuse_nodes(2, "llama3_2/1B"), ("spec.trainer.numNodes", INVALID, MULTI_NODE, 2)],
    ),
    "the runtime's settings": (
        SMALL,
        {"args": ["dataset=x", *MANAGED]},
        [refuse_argument(place, arg) for place, arg in enumerate(MANAGED, start=1)],
    ),
    "a setting without a value": (SMALL, {"args": ["output_dir"]}, [refuse_argument(0, "output_dir")]),
    "settings of like names": (SMALL, {"args": ["x.output_dir=/x", "output_directory=/x"]}, []),
    "reserved environment first": (
        "x",
        {"env": [{"name": "PET_NNODES"}], "args": ["output_dir=/x"]},
        [RESERVED, refuse_model("x", ""), refuse_argument(0, "output_dir=/x")],
    ),
}


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(("name", "trainer", "expected"), TUNINGS.values(), ids=TUNINGS)
def test_the_rules_of_torchtune(name: str, trainer: JSON, expected: list[Row], updates: bool) -> None:
    job = build_job(runtimeRef=refer(name), trainer={"command": TUNE, **trainer})
    assert judge(job, build_runtime(name), job if updates else None) == expected


def test_torchtune_counts_the_runtime_s_devices_when_the_job_gives_none() -> None:
    runtime = build_runtime(SMALL, container={"resources": GPU})
    job = build_job(runtimeRef=refer(SMALL), trainer={"command": TUNE, "args": [QLORA]})
    assert judge(job, runtime) == []
    job["spec"]["trainer"]["resourcesPerNode"] = GPUS
    assert judge(job, runtime) == refuse_devices("llama3_2/1B", "auto", GPUS)


NO_TUNING: dict[str, tuple[JSON, JSON]] = {
    "no command": ({"torch": {}}, {}),
    "another command": ({"torch": {}}, {"command": ["tune", "run", "x"]}),
    "in one word": ({"torch": {}}, {"command": ["tune run"]}),
    "no torch policy": ({"numNodes": 1}, {"command": TUNE}),
}


@pytest.mark.parametrize(("ml_policy", "trainer"), NO_TUNING.values(), ids=NO_TUNING)
def test_torchtune_is_asked_only_for_its_own_command(ml_policy: JSON, trainer: JSON) -> None:
    job = build_job(trainer={**trainer, "args": ["output_dir=/x"], "numNodes": 2})
    assert judge(job, build_runtime(ml_policy=ml_policy)) == []


SETTINGS = [
    "output_dir=/workspace/output",
    "tokenizer.path=/workspace/model/original/tokenizer.model",
    "checkpointer.checkpoint_dir=/workspace/model",
]
RUNTIME_COMMAND = [
    *("tune", "run", "--rdzv_endpoint=localhost:29500", "full_finetune_distributed", "--config", "llama3_2/1B_full"),
    *("dataset=torchtune.datasets.instruct_dataset", "dataset.source=parquet"),
    "dataset.data_dir=/workspace/dataset/data",
    *SETTINGS,
]
MEETING = "--rdzv_endpoint=mnist-node-0-0.mnist:29500"
INDEX = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}


def build_node(runtime: JSON, name: str = SMALL, place: int = 0, **spec: Any) -> JSON:
    """Return the node container that a job gets from a runtime of this name."""
    jobset = build_jobset(TrainJob.of(build_job(runtimeRef=refer(name), **spec)), runtime)
    node: JSON = find(jobset, "spec", "replicatedJobs", place, *("template", "spec") * 2, "containers", 0)
    return node


def build_tuned(runtime: JSON | None = None, name: str = SMALL, place: int = 0, **trainer: Any) -> JSON:
    """Return the node container of a job that runs torchtune."""
    given = build_runtime(name, container={"command": RUNTIME_COMMAND}) if runtime is None else runtime
    return build_node(given, name, place, trainer={"command": TUNE, **trainer})


def request(**amounts: Any) -> JSON:
    return {"resourcesPerNode": {"requests": {key.replace("gpu", "nvidia.com/gpu"): n for key, n in amounts.items()}}}


ONE, FULL = "full_finetune_single_device", "full_finetune_distributed"
ONE_LORA, FULL_LORA = "lora_finetune_single_device", "lora_finetune_distributed"

RECIPES: dict[str, tuple[str, JSON, list[str]]] = {
    # name: (runtime, trainer beside its command, the command between `tune run` and the runtime's settings)
    "nothing asked is one process": (SMALL, {}, [ONE, "--config", "llama3_2/1B_full_single_device"]),
    "one process": (SMALL, {"numProcPerNode": 1}, [ONE, "--config", "llama3_2/1B_full_single_device"]),
    "one processor": (SMALL, request(cpu="500m"), [ONE, "--config", "llama3_2/1B_full_single_device"]),
    "one GPU": (SMALL, request(gpu=1), [ONE, "--config", "llama3_2/1B_full_single_device"]),
    "two processes on one GPU": (
        SMALL,
        {"numProcPerNode": 2, **request(gpu=1)},
        [MEETING, ONE, "--config", "llama3_2/1B_full_single_device"],
    ),
    "one device, QLoRA": (SMALL, {"args": [QLORA]}, [ONE_LORA, "--config", "llama3_2/1B_qlora_single_device"]),
    "one device, LoRA": (SMALL, {"args": [LORA]}, [ONE_LORA, "--config", "llama3_2/1B_lora_single_device"]),
    "one device, both": (SMALL, {"args": [LORA, QLORA]}, [ONE_LORA, "--config", "llama3_2/1B_qlora_single_device"]),
    "one device, QLoRA in any case": (
        SMALL,
        {"args": ["model.quantize_base=TRUE"]},
        [ONE_LORA, "--config", "llama3_2/1B_qlora_single_device"],
    ),
    "one device, DoRA": (
        SMALL,
        {"args": [LORA, QLORA, "model.use_dora=True"]},
        [ONE_LORA, "--config", "llama3_2/1B_lora_single_device"],
    ),
    "two GPUs": (SMALL, request(gpu=2), [MEETING, FULL, "--config", "llama3_2/1B_full"]),
    "two processors": (SMALL, request(cpu=2), [MEETING, FULL, "--config", "llama3_2/1B_full"]),
    "two processes": (SMALL, {"numProcPerNode": 2}, [MEETING, FULL, "--config", "llama3_2/1B_full"]),
    "one process of two GPUs": (
        SMALL,
        {"numProcPerNode": 1, **request(gpu=2)},
        [ONE, "--config", "llama3_2/1B_full_single_device"],
    ),
    "several devices, QLoRA": (
        SMALL,
        {"args": [QLORA], **request(gpu=4)},
        [MEETING, FULL_LORA, "--config", "llama3_2/1B_qlora"],
    ),
    "several devices, LoRA": (
        SMALL,
        {"args": [LORA], **request(gpu=4)},
        [MEETING, FULL_LORA, "--config", "llama3_2/1B_lora"],
    ),
    "several nodes": (LARGE, {"numNodes": 2}, [MEETING, FULL, "--config", "llama3_3/70B_full_multinode"]),
    "several nodes with GPUs": (
        LARGE,
        {"numNodes": 2, **request(gpu=8)},
        [MEETING, FULL, "--config", "llama3_3/70B_full_multinode"],
    ),
    "several nodes, LoRA": (
        LARGE,
        {"numNodes": 2, "args": [LORA, QLORA]},
        [MEETING, FULL, "--config", "llama3_3/70B_full_multinode"],
    ),
    "no nodes": (SMALL, {"numNodes": 0, "args": [QLORA]}, [FULL, "--config", "llama3_2/1B_full"]),
    "qwen": (QWEN, request(gpu=2), [MEETING, FULL, "--config", "qwen2_5/1.5B_full"]),
    "no model in the name": ("tuning", {}, [ONE, "--config", "_full_single_device"]),
}


@pytest.mark.parametrize(("name", "trainer", "words"), RECIPES.values(), ids=RECIPES)
def test_the_command_has_recipe_and_configuration(name: str, trainer: JSON, words: list[str]) -> None:
    node = build_tuned(name=name, **trainer)
    assert node["command"] == ["tune", "run", *words, *SETTINGS]
    assert node.get("args") == trainer.get("args")


def test_the_runtime_s_nodes_and_devices_count_too() -> None:
    runtime = build_runtime(
        LARGE, container={"resources": GPUS, "command": ["x"]}, ml_policy={"numNodes": 3, "torch": {}}
    )
    assert build_tuned(runtime, LARGE)["command"] == [*TUNE, MEETING, FULL, "--config", "llama3_3/70B_full_multinode"]
    runtime["spec"]["mlPolicy"]["numNodes"] = 1
    assert build_tuned(runtime, LARGE)["command"] == [*TUNE, MEETING, FULL, "--config", "llama3_3/70B_full"]


KEPT = [
    # the runtime's command, what stays of it
    (None, []),
    (["tune", "run"], []),
    (list(MANAGED), list(MANAGED)),
    (list(reversed(MANAGED)), list(reversed(MANAGED))),
    (["output_dir", "output_dir=a=b"], ["output_dir", "output_dir=a=b"]),
    (["x.output_dir=/x", "tokenizer=/x", "--output_dir=/x", "dataset=x"], []),
]


@pytest.mark.parametrize(("given", "kept"), KEPT, ids=range(len(KEPT)))
def test_of_the_runtime_s_command_only_its_settings_stay(given: list[str] | None, kept: list[str]) -> None:
    runtime = build_runtime(SMALL, container={} if given is None else {"command": given})
    assert build_tuned(runtime)["command"][5:] == kept


def test_settings_are_those_of_the_trainers_nodes_and_every_trainer_gets_the_command() -> None:
    more = [
        build_replicated_job("second", {"name": "node", "command": ["tokenizer.path=/2"]}, ancestor="trainer"),
        build_replicated_job("other", {"name": "node", "command": ["output_dir=/other"]}),
    ]
    runtime = build_runtime(SMALL, container={"command": ["output_dir=/1"]}, more_jobs=more)
    runtime["spec"]["template"]["spec"]["replicatedJobs"][-1]["template"]["spec"]["template"]["spec"][
        "containers"
    ].append({"name": "sidecar", "command": ["output_dir=/sidecar"]})
    tuned = [*TUNE, ONE, "--config", "llama3_2/1B_full_single_device", "tokenizer.path=/2", "output_dir=/1"]
    commands = [build_tuned(runtime, place=place)["command"] for place in range(3)]
    assert commands == [tuned, ["output_dir=/other"], tuned]


def test_settings_of_a_patched_command_stay() -> None:
    runtime = build_runtime(SMALL, container={"command": ["output_dir=/1"]})
    patch = build_pod_patch("node", containers=[{"name": "node", "command": ["output_dir=/2"]}])
    node = build_node(runtime, trainer={"command": TUNE}, runtimePatches=[patch])
    assert node["command"][5:] == ["output_dir=/2"]


def test_the_environment_is_torchrun_s_without_the_master_and_the_port_is_there() -> None:
    node = build_tuned(env=[{"name": "A", "value": "1"}], **request(gpu=2))
    assert node["env"] == [
        {"name": "A", "value": "1"},
        {"name": "PET_NNODES", "value": "1"},
        {"name": "PET_NPROC_PER_NODE", "value": "auto"},
        {"name": "PET_NODE_RANK", "valueFrom": INDEX},
    ]
    assert node["ports"] == [{"containerPort": 29500}]


@pytest.mark.parametrize(("ml_policy", "trainer"), NO_TUNING.values(), ids=NO_TUNING)
def test_other_commands_are_left_alone(ml_policy: JSON, trainer: JSON) -> None:
    runtime = build_runtime(SMALL, container={"command": RUNTIME_COMMAND}, ml_policy=ml_policy)
    assert build_node(runtime, trainer=trainer)["command"] == trainer.get("command", RUNTIME_COMMAND)


def test_only_the_runtime_s_own_command_runs_without_a_trainer() -> None:
    runtime = build_runtime(SMALL, container={"command": RUNTIME_COMMAND})
    node = build_node(runtime)
    assert node == {"name": "node", "image": "image:1", "command": RUNTIME_COMMAND}
