"""The rules of the XGBoost policy (kubeflow/trainer plugins/xgboost)."""

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.planning.policies.refusals import forbid
from trainlet.planning.runtime import Info

RESERVED = frozenset({"DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_TASK_ID", "DMLC_NUM_WORKER"})


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy's rules
    """Refuse environment that is the tracker's, each entry by its place."""
    given = job.spec.trainer.env if job.spec.trainer else []
    return [
        forbid(f"spec.trainer.env[{index}]", f"{env['name']} is reserved for the XGBoost runtime")
        for index, env in enumerate(given)
        if env["name"] in RESERVED
    ]
