"""No machine-learning policy, or only a number of nodes (kubeflow/trainer plugins/plainml)."""

from dataclasses import replace

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.planning.runtime import Info


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy
    """Refuse nothing."""
    return []


def apply(job: TrainJob, info: Info) -> Info:
    """Take the number of nodes from the job; 0 is taken as is and gives no pods."""
    trainer = job.spec.trainer
    if trainer is None or trainer.num_nodes is None:
        return info
    count = trainer.num_nodes
    return info.with_trainer(lambda pod_set: replace(pod_set, count=count))
