"""Torchtune: a torch policy whose trainer's command is `tune run`; its rules, and the whole command.

kubeflow/trainer plugins/torch/torchtune.go. The model is said by the runtime's name, the recipe by nodes, devices
and arguments.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainlet.apis.trainer import Trainer, TrainJob
from trainlet.kube.errors import FieldError
from trainlet.planning.environment import MASTER_PORT
from trainlet.planning.policies.refusals import invalid
from trainlet.planning.runtime import (
    NODE_CONTAINER,
    TRAINER,
    Info,
    count_gpus,
    get_leader,
    get_node_resources,
)

COMMAND = ("tune", "run")

_LLAMA_1B, _LLAMA_3B, _LLAMA_70B = "llama3_2/1B", "llama3_2/3B", "llama3_3/70B"
_QWEN = "qwen2_5/1.5B"
_MODELS = frozenset({_LLAMA_1B, _LLAMA_3B, _LLAMA_70B, _QWEN})
_SINGLE_DEVICE_QLORA = frozenset({_LLAMA_1B, _LLAMA_3B})
#: By where it runs and how: the recipe, and the end of its configuration's name after the model.
_RECIPES = {
    ("device", "QLoRA"): ("lora_finetune_single_device", "_qlora_single_device"),
    ("device", "LoRA"): ("lora_finetune_single_device", "_lora_single_device"),
    ("device", "full"): ("full_finetune_single_device", "_full_single_device"),
    ("node", "QLoRA"): ("lora_finetune_distributed", "_qlora"),
    ("node", "LoRA"): ("lora_finetune_distributed", "_lora"),
    ("node", "full"): ("full_finetune_distributed", "_full"),
    ("nodes", "full"): ("full_finetune_distributed", "_full_multinode"),
}
#: What the runtime's own command says, and a job must not.
_RUNTIME_SETTINGS = frozenset({"output_dir", "tokenizer.path", "tokenizer.merges_file", "checkpointer.checkpoint_dir"})


@dataclass(frozen=True)
class _Tuning:
    """What decides on the recipe. `processes` is a number or `auto`."""

    runtime: str
    model: str
    nodes: int
    processes: int | str
    gpus: int
    args: Sequence[str]

    @property
    def is_single_device(self) -> bool:
        return self.nodes == 1 and (self.processes == 1 or self.gpus == 1)

    @property
    def needs_endpoint(self) -> bool:
        """Whether processes have to meet; several may do so on what counts as a single device."""
        processes = self.processes if isinstance(self.processes, int) else self.gpus
        return self.nodes > 1 or processes > 1

    @property
    def is_lora(self) -> bool:
        return any("model.lora_attn_modules" in arg for arg in self.args)

    @property
    def is_qlora(self) -> bool:
        return _is_true(self.args, "model.quantize_base") and not _is_true(self.args, "model.use_dora")

    @property
    def recipe(self) -> tuple[str, str]:
        """The recipe and its configuration; several nodes, and none, know no LoRA."""
        place = "device" if self.is_single_device else "nodes" if self.nodes > 1 else "node"
        method = "full"
        if self.nodes == 1 and (self.is_qlora or self.is_lora):
            method = "QLoRA" if self.is_qlora else "LoRA"
        recipe, suffix = _RECIPES[place, method]
        return recipe, f"{self.model}{suffix}"


def find_trainer(job: TrainJob) -> Trainer | None:
    """Return the job's trainer where it is to be run by torchtune."""
    trainer = job.spec.trainer
    return trainer if trainer is not None and tuple(trainer.command or ()) == COMMAND else None


def validate(job: TrainJob, trainer: Trainer, info: Info) -> list[FieldError]:
    """Refuse what torchtune has no recipe for, and arguments that are the runtime's."""
    # Neither number is the one that the command is built with: upstream asks only the job here.
    nodes = 1 if trainer.num_nodes is None else trainer.num_nodes
    processes = "auto" if trainer.num_proc_per_node is None else trainer.num_proc_per_node
    tuning = _read_tuning(job, trainer, info, nodes, processes)
    return [
        *_judge_model(tuning),
        *_judge_qlora(tuning, trainer),
        *_judge_lora(tuning),
        *_judge_args(tuning),
    ]


def rewrite_command(job: TrainJob, trainer: Trainer, info: Info, processes: int | str) -> Info:
    """Complete the command of every trainer's node container; the job's arguments stay its arguments."""
    tuning = _read_tuning(job, trainer, info, info.nodes, processes)
    endpoint = [f"--rdzv_endpoint={get_leader(job)}:{MASTER_PORT}"] if tuning.needs_endpoint else []
    recipe, config = tuning.recipe
    command = [*COMMAND, *endpoint, recipe, "--config", config, *_list_runtime_settings(info)]
    return info.with_nodes(lambda container: {**container, "command": command})


def _list_runtime_settings(info: Info) -> list[str]:
    """Return what the runtime's own command sets; in the pod sets the job's has taken its place."""
    containers = [
        c for p in info.originals if p.ancestor == TRAINER for c in p.containers if c.get("name") == NODE_CONTAINER
    ]
    words = [word for container in containers for word in container.get("command") or []]
    return [word for word in words if word.partition("=")[0] in _RUNTIME_SETTINGS]


def _read_tuning(job: TrainJob, trainer: Trainer, info: Info, nodes: int, processes: int | str) -> _Tuning:
    name = job.spec.runtime_ref.name
    gpus = count_gpus(get_node_resources(job, info))
    return _Tuning(name, _find_model(name), nodes, processes, gpus, trainer.args or ())


def _judge_model(tuning: _Tuning) -> Iterator[FieldError]:
    if tuning.model not in _MODELS:
        detail = f"must have a supported pretrained model, invalid model configured: {tuning.model}"
        yield invalid("spec.runtimeRef.name", tuning.runtime, detail)
    if tuning.nodes > 1 and tuning.model != _LLAMA_70B:
        yield invalid("spec.trainer.numNodes", tuning.nodes, f"must be 1 for {tuning.model} model")


def _judge_qlora(tuning: _Tuning, trainer: Trainer) -> Iterator[FieldError]:
    if tuning.nodes != 1 or not tuning.is_qlora:
        return
    if tuning.model == _QWEN:
        yield invalid("spec.runtimeRef.name", tuning.runtime, f"QLoRA is not supported for {_QWEN} model")
    if tuning.model in _SINGLE_DEVICE_QLORA and not tuning.is_single_device:
        ending = f"for {tuning.model} model when using QLoRA"
        yield invalid("spec.trainer.numProcPerNode", tuning.processes, f"must be auto or 1 {ending}")
        detail = f"must have gpu resource with value 1 {ending}"
        yield invalid("spec.trainer.resourcesPerNode", trainer.resources_per_node, detail)


def _judge_lora(tuning: _Tuning) -> Iterator[FieldError]:
    if tuning.nodes > 1 and (tuning.is_lora or tuning.is_qlora):
        detail = "LoRA fine-tuning is not supported for multi-node training in TorchTune"
        yield invalid("spec.trainer.numNodes", tuning.nodes, detail)


def _judge_args(tuning: _Tuning) -> Iterator[FieldError]:
    for index, arg in enumerate(tuning.args):
        key = arg.partition("=")[0]
        if key in _RUNTIME_SETTINGS:
            detail = f'must not set immutable config "{key}" in trainer args; it is managed by the runtime'
            yield invalid(f"spec.trainer.args[{index}]", arg, detail)


def _find_model(runtime: str) -> str:
    """Return the model of a runtime's name, as `torchtune-llama3.2-1b` -> `llama3_2/1B`; empty for other forms."""
    parts = runtime.split("-")
    return f"{parts[1].replace('.', '_')}/{parts[2].upper()}" if len(parts) == 3 else ""


def _is_true(args: Sequence[str], setting: str) -> bool:
    pairs = (arg.partition("=") for arg in args)
    return any(setting in key and value.lower() == "true" for key, _, value in pairs)
