"""The rules of the JAX policy, which upstream has none of (kubeflow/trainer plugins/jax)."""

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.planning.runtime import Info


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy's rules
    """Refuse nothing: even JAX_* is the user's to override."""
    return []
