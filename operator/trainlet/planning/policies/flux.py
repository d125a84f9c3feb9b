"""The rules of the Flux policy (kubeflow/trainer plugins/flux)."""

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.planning.policies.refusals import invalid
from trainlet.planning.runtime import NODE_CONTAINER, Info

#: The init container that the policy itself adds.
INSTALLER = "flux-installer"


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy's rules
    """Refuse a runtime, or a patch, that has the installer's name; upstream's path is of no field there is."""
    node = info.find_pod_set(NODE_CONTAINER)
    names = [container.get("name") for container in node.init_containers] if node else []
    detail = "InitContainer 'flux-installer' is reserved"
    return [invalid("spec.trainer.initContainers", name, detail) for name in names if name == INSTALLER]
