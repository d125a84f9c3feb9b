"""The MPI policy: a launcher that reaches its nodes by SSH, and a list of them (kubeflow/trainer plugins/mpi)."""

from dataclasses import replace

from trainlet.apis.trainer import MpiPolicy, TrainJob
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.meta import JSON
from trainlet.planning import secrets
from trainlet.planning.policies.owned import build_config_map, build_secret
from trainlet.planning.policies.refusals import invalid, refuse_reserved
from trainlet.planning.runtime import (
    NODE_CONTAINER,
    TRAINER,
    WORKERS,
    Info,
    PodSet,
    add_environment,
    add_mounts,
    count_gpus,
    get_node_resources,
    get_trainer_names,
    list_endpoints,
)

LAUNCHER = "launcher"
OPEN_MPI = "OpenMPI"
KEYS_SUFFIX, HOSTS_SUFFIX = "-mpi-ssh-auth", "-mpi-hostfile"
PRIVATE_KEY, PUBLIC_KEY, HOSTS_KEY = "ssh-privatekey", "ssh-publickey", "hostfile"
HOSTS_DIR = "/etc/mpi"

_HOSTS_FILE = "OMPI_MCA_orte_default_hostfile"
_KEEP_NAMES = "OMPI_MCA_orte_keep_fqdn_hostnames"
_SLOTS = "OMPI_MCA_orte_set_default_slots"
_SSH_ARGS = "OMPI_MCA_plm_rsh_args"
RESERVED = frozenset({_HOSTS_FILE, _SSH_ARGS, _KEEP_NAMES, _SLOTS})

_KEYS_VOLUME, _HOSTS_VOLUME = "mpi-ssh-auth", "mpi-hostfile"
#: Key of the Secret, file, mode. ssh takes no key that others may read; the group is the pod's fsGroup.
_KEY_FILES = (
    (PRIVATE_KEY, "id_rsa", 0o640),
    (PUBLIC_KEY, "id_rsa.pub", 0o644),
    (PUBLIC_KEY, "authorized_keys", 0o644),
)


def validate(job: TrainJob, info: Info) -> list[FieldError]:
    """Refuse more nodes than the template has places for, and environment that is mpirun's."""
    return [*_judge_nodes(job, info), *refuse_reserved(job, RESERVED)]


def apply(job: TrainJob, info: Info) -> Info:
    """Set the number of workers; give workers and launcher the keys, and the launcher the hosts and its settings.

    What a job without `spec.trainer` gets is the same. Raises ApiError for an MPI whose hosts nobody can write.
    """
    policy = _read_policy(info)
    if policy.mpi_implementation != OPEN_MPI:
        raise _refuse_implementation(job, policy.mpi_implementation)
    environment = _build_environment(count_slots(job, info))
    edits = {
        WORKERS: lambda pod_set: _add_keys(job, policy, _count_workers(job, info, pod_set)),
        LAUNCHER: lambda pod_set: _add_hosts(job, environment, _add_keys(job, policy, pod_set)),
    }
    return info.with_pod_sets(lambda pod_set: edits.get(pod_set.name, _keep)(pod_set))


def build_objects(job: TrainJob, info: Info, secret: bytes) -> list[JSON]:
    """Return the Secret with the job's keys and the ConfigMap with its hosts, nodes in the template's order."""
    keys = secrets.derive_ssh_keys(secret, job.metadata.uid)
    data = {PRIVATE_KEY: keys.private, PUBLIC_KEY: keys.public}
    slots = count_slots(job, info)
    hosts = [
        f"{endpoint} slots={slots}\n"
        for pod_set in info.pod_sets
        if pod_set.name == WORKERS or (pod_set.name == LAUNCHER and info.launcher_is_node)
        for endpoint in list_endpoints(job, info, pod_set)
    ]
    return [
        build_secret(job, KEYS_SUFFIX, data, type="kubernetes.io/ssh-auth", immutable=True),
        build_config_map(job, HOSTS_SUFFIX, {HOSTS_KEY: "".join(hosts)}),
    ]


def count_slots(job: TrainJob, info: Info) -> int:
    """Return the processes of a node: the job's number, else the policy's, whose 1 gives way to several GPUs."""
    trainer = job.spec.trainer
    if trainer is not None and trainer.num_proc_per_node is not None:
        return trainer.num_proc_per_node
    number = _read_policy(info).num_proc_per_node
    return max(1, count_gpus(get_node_resources(job, info))) if number == 1 else number


def _read_policy(info: Info) -> MpiPolicy:
    return MpiPolicy.of(info.ml_policy["mpi"])


def _judge_nodes(job: TrainJob, info: Info) -> list[FieldError]:
    nodes = job.spec.trainer.num_nodes if job.spec.trainer else None
    if nodes is None or nodes < 2 or not info.launcher_is_node:
        return []
    if info.find_pod_set(LAUNCHER) and info.find_pod_set(WORKERS):
        return []
    detail = (
        "must have 1 when MPI trainingRuntime with enabled runLauncherAsNode does not have either launcher and node"
    )
    return [invalid("spec.trainer.numNodes", nodes, detail)]


def _refuse_implementation(job: TrainJob, name: str) -> ApiError:
    what = f'MPI implementation for "{name}" doesn\'t supported'  # upstream's words
    where = "spec.mlPolicy.mpi.mpiImplementation of the runtime"
    cause = invalid("spec.runtimeRef", job.spec.runtime_ref.to_wire(), f"{what} ({where})")
    return ApiError(what, where=where, remedy=f"set it to {OPEN_MPI}", causes=[cause])


def _keep(pod_set: PodSet) -> PodSet:
    return pod_set


def _count_workers(job: TrainJob, info: Info, pod_set: PodSet) -> PodSet:
    """Take the number of nodes from the job; a launcher that is one of them leaves one worker at the least."""
    nodes = job.spec.trainer.num_nodes if job.spec.trainer else None
    if nodes is None:
        return pod_set
    return replace(pod_set, count=max(nodes - 1, 1) if info.launcher_is_node else nodes)


def _add_keys(job: TrainJob, policy: MpiPolicy, pod_set: PodSet) -> PodSet:
    items = [{"key": key, "path": path, "mode": mode} for key, path, mode in _KEY_FILES]
    source = {"secretName": f"{job.metadata.name}{KEYS_SUFFIX}", "defaultMode": 0o400, "items": items}
    mount: JSON = {"name": _KEYS_VOLUME, "mountPath": policy.ssh_auth_mount_path}
    return pod_set.with_volumes([{"name": _KEYS_VOLUME, "secret": source}]).with_container(
        NODE_CONTAINER, lambda container: add_mounts(container, [mount])
    )


def _add_hosts(job: TrainJob, environment: list[JSON], pod_set: PodSet) -> PodSet:
    items = [{"key": HOSTS_KEY, "path": HOSTS_KEY, "mode": 0o444}]
    source = {"name": f"{job.metadata.name}{HOSTS_SUFFIX}", "items": items}
    mount: JSON = {"name": _HOSTS_VOLUME, "mountPath": HOSTS_DIR}
    kept = get_trainer_names(job) if pod_set.ancestor == TRAINER else frozenset()

    def edit(container: JSON) -> JSON:
        return add_environment(add_mounts(container, [mount]), environment, kept)

    return pod_set.with_volumes([{"name": _HOSTS_VOLUME, "configMap": source}]).with_container(NODE_CONTAINER, edit)


def _build_environment(slots: int) -> list[JSON]:
    return [
        {"name": _HOSTS_FILE, "value": f"{HOSTS_DIR}/{HOSTS_KEY}"},
        {"name": _KEEP_NAMES, "value": "true"},
        {"name": _SLOTS, "value": str(slots)},
        {"name": _SSH_ARGS, "value": "-o ConnectionAttempts=10"},
    ]
