"""jobset.x-k8s.io/v1alpha2: what TrainJobs become."""

from trainlet.apis.batch_v1 import JobTemplate
from trainlet.apis.model import Model, ObjectMeta


class DependsOn(Model):
    """Wait until the Jobs of `name` are `Ready` or `Complete`."""

    name: str
    status: str


class ReplicatedJob(Model):
    """One group of equal Jobs."""

    name: str
    replicas: int = 1
    template: JobTemplate = JobTemplate()
    depends_on: list[DependsOn] = []


class Network(Model):
    """DNS names of the pods."""

    subdomain: str | None = None


class JobSetSpec(Model):
    """A JobSet's spec."""

    replicated_jobs: list[ReplicatedJob] = []
    network: Network = Network()
    suspend: bool = False


class JobSet(Model):
    """A JobSet."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSetSpec = JobSetSpec()
