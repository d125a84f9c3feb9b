"""The JAX policy: what jax.distributed needs (kubeflow/trainer plugins/jax). Upstream has no rules for it."""

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON
from trainlet.planning.environment import COMPLETION_INDEX, MASTER_PORT
from trainlet.planning.policies import plain
from trainlet.planning.runtime import Info, add_settings, get_leader


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy's rules
    """Refuse nothing: even JAX_* is the user's to override."""
    return []


def apply(job: TrainJob, info: Info) -> Info:
    """Add JAX_* and the coordinator's port: one process a pod, however many GPUs it has."""
    info = plain.apply(job, info)
    environment: list[JSON] = [
        {"name": "JAX_NUM_PROCESSES", "value": str(info.nodes)},
        {"name": "JAX_PROCESS_ID", "valueFrom": COMPLETION_INDEX},
        {"name": "JAX_COORDINATOR_ADDRESS", "value": f"{get_leader(job)}:{MASTER_PORT}"},
    ]
    return add_settings(job, info, environment)
