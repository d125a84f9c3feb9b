"""The torch policy: what torchrun needs (kubeflow/trainer plugins/torch)."""

from collections.abc import Iterator
from dataclasses import replace

from trainlet.apis.trainer import TorchPolicy, TrainJob
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.merge import upsert
from trainlet.kube.meta import JSON
from trainlet.kube.quantity import round_up
from trainlet.planning.environment import COMPLETION_INDEX, MASTER_PORT
from trainlet.planning.policies import plain, torchtune
from trainlet.planning.policies.refusals import invalid, refuse_reserved
from trainlet.planning.runtime import Info, add_settings, count_gpus, get_leader, get_node_resources

RESERVED = frozenset({"PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_NNODES", "PET_NODE_RANK", "PET_NPROC_PER_NODE"})
#: What torchtune is told by its command instead.
_MASTER = frozenset({"PET_MASTER_ADDR", "PET_MASTER_PORT"})


def validate(job: TrainJob, info: Info) -> list[FieldError]:
    """Refuse environment that is torchrun's, injection into containers that are not there, and torchtune's rules."""
    trainer = torchtune.find_trainer(job)
    tuning = [] if trainer is None else torchtune.validate(job, trainer, info)
    reference = job.spec.runtime_ref.to_wire()
    missing = [invalid("spec.runtimeRef", reference, text) for text in _list_missing(info)]
    return [*refuse_reserved(job, RESERVED), *missing, *tuning]


def apply(job: TrainJob, info: Info) -> Info:
    """Add PET_* and the rendezvous port, torchtune's command, and PET_* to the containers that the policy names.

    Raises ApiError when such a container is not there.
    """
    info = plain.apply(job, info)
    processes = _count_processes(job, info)
    environment = _build_environment(job, info, processes)
    trainer = torchtune.find_trainer(job)
    if trainer is None:
        info = add_settings(job, info, environment)
    else:
        info = add_settings(job, info, [entry for entry in environment if entry["name"] not in _MASTER])
        info = torchtune.rewrite_command(job, trainer, info, processes)
    return _inject(info, environment)


def _inject(info: Info, environment: list[JSON]) -> Info:
    """Add the environment to every target; a job without `spec.trainer` is no exception here."""
    missing = next(_list_missing(info), None)
    if missing is not None:
        raise ApiError(missing)

    def edit(container: JSON) -> JSON:
        return {**container, "env": upsert(container.get("env") or [], environment)}

    for rjob, name in _list_targets(info):
        sets = (p.with_any_container(name, edit) if p.name == rjob else p for p in info.pod_sets)
        info = replace(info, pod_sets=tuple(sets))
    return info


def _list_missing(info: Info) -> Iterator[str]:
    """Say of each target that is not in the template that it is not."""
    for rjob, name in _list_targets(info):
        pod_set = info.find_pod_set(rjob)
        there = [*pod_set.containers, *pod_set.init_containers] if pod_set else []
        if all(container.get("name") != name for container in there):
            yield f'envInjection target podSet "{rjob}" container "{name}" not found in runtime template'


def _list_targets(info: Info) -> list[tuple[str, str]]:
    targets = TorchPolicy.of(info.ml_policy["torch"]).env_injection.targets
    return [(target.job_name, name) for target in targets for name in target.container_names]


def _build_environment(job: TrainJob, info: Info, processes: int | str) -> list[JSON]:
    return [
        {"name": "PET_NNODES", "value": str(info.nodes)},
        {"name": "PET_NPROC_PER_NODE", "value": str(processes)},
        {"name": "PET_NODE_RANK", "valueFrom": COMPLETION_INDEX},
        {"name": "PET_MASTER_ADDR", "value": get_leader(job)},
        {"name": "PET_MASTER_PORT", "value": str(MASTER_PORT)},
    ]


def _count_processes(job: TrainJob, info: Info) -> int | str:
    """Return the processes of a node, or `auto`: torchrun then counts the devices that it sees."""
    trainer = job.spec.trainer
    if trainer is not None and trainer.num_proc_per_node is not None:
        return trainer.num_proc_per_node
    resources = get_node_resources(job, info)
    if count_gpus(resources) > 0:
        return "auto"
    cpu = resources.requests.get("cpu", resources.limits.get("cpu", 1))
    return max(1, round_up(cpu))
