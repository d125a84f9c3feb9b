"""The torch policy: what torchrun needs (kubeflow/trainer plugins/torch)."""

from collections.abc import Iterator

from trainlet.apis.trainer import TorchPolicy, TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import upsert
from trainlet.kube.meta import JSON
from trainlet.kube.quantity import round_up
from trainlet.planning.policies import plain, torchtune
from trainlet.planning.policies.refusals import invalid, refuse_reserved
from trainlet.planning.runtime import NODE_CONTAINER, Info, count_gpus, get_node_resources

MASTER_PORT = 29500
INDEX_FIELD = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
RESERVED = frozenset({"PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_NNODES", "PET_NODE_RANK", "PET_NPROC_PER_NODE"})


def validate(job: TrainJob, info: Info) -> list[FieldError]:
    """Refuse environment that is torchrun's, injection into containers that are not there, and torchtune's rules."""
    trainer = job.spec.trainer
    errors = [*refuse_reserved(job, RESERVED), *_judge_injection(job, info)]
    if trainer is not None and tuple(trainer.command or ()) == torchtune.COMMAND:
        errors += torchtune.validate(job, trainer, info)
    return errors


def apply(job: TrainJob, info: Info) -> Info:
    """Add PET_* and the rendezvous port; a job without `spec.trainer` gets neither, as upstream."""
    info = plain.apply(job, info)
    if job.spec.trainer is None or info.trainer is None:
        return info
    environment = _build_environment(job, info, info.trainer.count)

    def edit(container: JSON) -> JSON:
        given = container.get("env") or []
        names = {env.get("name") for env in given}
        ports = container.get("ports") or []
        return {
            **container,
            "env": [*given, *(env for env in environment if env["name"] not in names)],
            "ports": upsert(ports, [{"containerPort": MASTER_PORT}], "containerPort"),
        }

    return info.with_trainer(lambda pod_set: pod_set.with_container(NODE_CONTAINER, edit))


def _judge_injection(job: TrainJob, info: Info) -> Iterator[FieldError]:
    for target in TorchPolicy.of(info.ml_policy["torch"]).env_injection.targets:
        pod_set = info.find_pod_set(target.job_name)
        there = [*pod_set.containers, *pod_set.init_containers] if pod_set else []
        names = {container.get("name") for container in there}
        for name in target.container_names:
            if name not in names:
                what = f'envInjection target podSet "{target.job_name}" container "{name}"'
                yield invalid(
                    "spec.runtimeRef", job.spec.runtime_ref.to_wire(), f"{what} not found in runtime template"
                )


def _build_environment(job: TrainJob, info: Info, nodes: int) -> list[JSON]:
    name = job.metadata.name
    return [
        {"name": "PET_NNODES", "value": str(nodes)},
        {"name": "PET_NPROC_PER_NODE", "value": _processes_per_node(job, info)},
        {"name": "PET_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": INDEX_FIELD}}},
        {"name": "PET_MASTER_ADDR", "value": f"{name}-node-0-0.{name}"},
        {"name": "PET_MASTER_PORT", "value": str(MASTER_PORT)},
    ]


def _processes_per_node(job: TrainJob, info: Info) -> str:
    trainer = job.spec.trainer
    if trainer is not None and trainer.num_proc_per_node is not None:
        return str(trainer.num_proc_per_node)
    resources = get_node_resources(job, info)
    if count_gpus(resources) > 0:
        return "auto"
    cpu = resources.requests.get("cpu", resources.limits.get("cpu", 1))
    return str(max(1, round_up(cpu)))
