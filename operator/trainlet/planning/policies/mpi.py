"""The rules of the MPI policy (kubeflow/trainer plugins/mpi)."""

from trainlet.apis.trainer import MpiPolicy, TrainJob
from trainlet.kube.errors import FieldError
from trainlet.planning.policies.refusals import invalid, refuse_reserved
from trainlet.planning.runtime import Info

LAUNCHER, WORKERS = "launcher", "node"
RESERVED = frozenset(
    {
        "OMPI_MCA_orte_default_hostfile",
        "OMPI_MCA_plm_rsh_args",
        "OMPI_MCA_orte_keep_fqdn_hostnames",
        "OMPI_MCA_orte_set_default_slots",
    }
)


def validate(job: TrainJob, info: Info) -> list[FieldError]:
    """Refuse more nodes than the template has places for, and environment that is mpirun's."""
    return [*_judge_nodes(job, info), *refuse_reserved(job, RESERVED)]


def _judge_nodes(job: TrainJob, info: Info) -> list[FieldError]:
    nodes = job.spec.trainer.num_nodes if job.spec.trainer else None
    if nodes is None or nodes < 2 or not MpiPolicy.of(info.ml_policy["mpi"]).run_launcher_as_node:
        return []
    if info.find_pod_set(LAUNCHER) and info.find_pod_set(WORKERS):
        return []
    detail = (
        "must have 1 when MPI trainingRuntime with enabled runLauncherAsNode does not have either launcher and node"
    )
    return [invalid("spec.trainer.numNodes", nodes, detail)]
