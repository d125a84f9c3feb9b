"""trainer.kubeflow.org/v1alpha1: TrainJobs and their runtimes."""

from typing import Any

from trainlet.apis.model import Model, ObjectMeta
from trainlet.kube.meta import JSON, ObjectKey

GROUP = "trainer.kubeflow.org"
API_VERSION = f"{GROUP}/v1alpha1"
REPORT_API_VERSION = "trainlet.dev/v1alpha1"
JOBSET_API_VERSION = "jobset.x-k8s.io/v1alpha2"

TRAIN_JOB = "TrainJob"
TRAINING_RUNTIME = "TrainingRuntime"
CLUSTER_TRAINING_RUNTIME = "ClusterTrainingRuntime"
RUNTIME_KINDS = (TRAINING_RUNTIME, CLUSTER_TRAINING_RUNTIME)
REPORT = "TrainJobReport"


class RuntimeRef(Model):
    """Which runtime a job uses. Defaults are the CRD's."""

    name: str
    api_group: str = GROUP
    kind: str = CLUSTER_TRAINING_RUNTIME

    def key(self, namespace: str) -> ObjectKey:
        """Return the key of the runtime for a job of this namespace."""
        return ObjectKey(self.kind, namespace if self.kind == TRAINING_RUNTIME else "", self.name)

    def to_wire(self) -> JSON:
        """Return the reference as it is shown in errors, with its defaults."""
        return {"name": self.name, "apiGroup": self.api_group, "kind": self.kind}


class Initializer(Model):
    """What is fetched before training. None means not given; `{}` is given."""

    dataset: JSON | None = None
    model: JSON | None = None


class Trainer(Model):
    """What the job overrides of its runtime's trainer. None means not given; `env` is only merged, so it stays wire."""

    image: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[JSON] = []
    num_nodes: int | None = None
    num_proc_per_node: int | None = None
    resources_per_node: dict[str, Any] | None = None


class TrainJobSpec(Model):
    """A TrainJob's spec. `runtime_patches` stay wire dicts: they are merged and compared, not read."""

    runtime_ref: RuntimeRef
    initializer: Initializer | None = None
    trainer: Trainer | None = None
    runtime_patches: list[JSON] = []
    suspend: bool = False
    active_deadline_seconds: int | None = None
    managed_by: str = f"{GROUP}/trainjob-controller"


class TrainJob(Model):
    """A stored TrainJob. `status` stays a wire dict: conditions are copied, never rebuilt."""

    metadata: ObjectMeta
    spec: TrainJobSpec
    status: JSON = {}

    @property
    def key(self) -> ObjectKey:
        """The job's key."""
        return ObjectKey(TRAIN_JOB, self.metadata.namespace, self.metadata.name)


class EnvInjectionTarget(Model):
    """Containers beside the trainer's that are to have torchrun's settings too."""

    job_name: str
    container_names: list[str] = []


class EnvInjection(Model):
    """`mlPolicy.torch.envInjection`."""

    targets: list[EnvInjectionTarget] = []


class TorchPolicy(Model):
    """`mlPolicy.torch` of a runtime."""

    env_injection: EnvInjection = EnvInjection()


class MpiPolicy(Model):
    """`mlPolicy.mpi` of a runtime. Defaults are the CRD's."""

    num_proc_per_node: int = 1
    mpi_implementation: str = "OpenMPI"
    ssh_auth_mount_path: str = "/root/.ssh"
    run_launcher_as_node: bool = False


class FluxPolicy(Model):
    """`mlPolicy.flux` of a runtime. Defaults are the CRD's."""

    num_proc_per_node: int = 1


class Coscheduling(Model):
    """`podGroupPolicy.coscheduling` of a runtime. Defaults are the CRD's."""

    schedule_timeout_seconds: int = 60


class NetworkTopology(Model):
    """`podGroupPolicy.volcano.networkTopology` of a runtime. Defaults are the CRD's."""

    mode: str = "hard"
    highest_tier_allowed: int = 1


class Volcano(Model):
    """`podGroupPolicy.volcano` of a runtime."""

    network_topology: NetworkTopology | None = None
