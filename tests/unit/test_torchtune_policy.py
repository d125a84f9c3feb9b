"""What upstream's torch plugin refuses of a job that runs torchtune, row by row, as the webhook judges it."""

from typing import Any

import pytest

from builders import build_job, build_runtime
from trainlet.admission.webhooks import validate_train_job
from trainlet.kube.meta import JSON

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
