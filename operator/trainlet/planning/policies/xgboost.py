"""The XGBoost policy: what its tracker and workers need (kubeflow/trainer plugins/xgboost)."""

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON
from trainlet.planning.environment import COMPLETION_INDEX, MASTER_PORT
from trainlet.planning.policies import plain
from trainlet.planning.policies.refusals import forbid
from trainlet.planning.runtime import Info, add_settings, count_gpus, get_leader, get_node_resources

RESERVED = frozenset({"DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_TASK_ID", "DMLC_NUM_WORKER"})


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy's rules
    """Refuse environment that is the tracker's, each entry by its place."""
    given = job.spec.trainer.env if job.spec.trainer else []
    return [
        forbid(f"spec.trainer.env[{index}]", f"{env['name']} is reserved for the XGBoost runtime")
        for index, env in enumerate(given)
        if env["name"] in RESERVED
    ]


def apply(job: TrainJob, info: Info) -> Info:
    """Add DMLC_* and the tracker's port: a worker for each GPU, or one a pod where there is none."""
    info = plain.apply(job, info)
    workers = info.nodes * max(1, count_gpus(get_node_resources(job, info)))
    environment: list[JSON] = [
        {"name": "DMLC_TRACKER_URI", "value": get_leader(job)},
        {"name": "DMLC_TRACKER_PORT", "value": str(MASTER_PORT)},
        {"name": "DMLC_TASK_ID", "valueFrom": COMPLETION_INDEX},
        {"name": "DMLC_NUM_WORKER", "value": str(workers)},
    ]
    return add_settings(job, info, environment)
