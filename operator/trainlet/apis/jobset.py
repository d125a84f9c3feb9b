"""jobset.x-k8s.io/v1alpha2: what TrainJobs become."""

from trainlet.apis.batch_v1 import JobTemplate
from trainlet.apis.core_v1 import ClaimTemplate
from trainlet.apis.model import Model, ObjectMeta


class DependsOn(Model):
    """Wait until the Jobs of `name` are `Ready` or `Complete`."""

    name: str
    status: str


class ReplicatedJob(Model):
    """One group of equal Jobs."""

    name: str
    replicas: int = 1
    group_name: str = "default"
    template: JobTemplate = JobTemplate()
    depends_on: list[DependsOn] = []


class Network(Model):
    """DNS names of the pods."""

    subdomain: str | None = None


class SuccessPolicy(Model):
    """When the JobSet is complete: `All` or `Any` Jobs of the targets; no targets are all."""

    operator: str = "All"
    target_replicated_jobs: list[str] = []


class FailurePolicyRule(Model):
    """What to do about a failed Job of a target with one of the reasons and a message that fits; empty fits any."""

    name: str = ""
    action: str
    on_job_failure_reasons: list[str] = []
    on_job_failure_message_patterns: list[str] = []
    target_replicated_jobs: list[str] = []


class FailurePolicy(Model):
    """What to do about failed Jobs."""

    max_restarts: int = 0
    restart_strategy: str = "Recreate"
    rules: list[FailurePolicyRule] = []


class StartupPolicy(Model):
    """`InOrder`: the Jobs of a replicated job are made when those before it are ready."""

    startup_policy_order: str = "AnyOrder"


class RetentionPolicy(Model):
    """`Delete` or `Retain`."""

    when_deleted: str = "Delete"


class VolumeClaimPolicy(Model):
    """Claims that all Jobs of the JobSet share."""

    templates: list[ClaimTemplate] = []
    retention_policy: RetentionPolicy = RetentionPolicy()


class JobSetSpec(Model):
    """A JobSet's spec."""

    replicated_jobs: list[ReplicatedJob] = []
    network: Network = Network()
    success_policy: SuccessPolicy = SuccessPolicy()
    failure_policy: FailurePolicy | None = None
    startup_policy: StartupPolicy = StartupPolicy()
    volume_claim_policies: list[VolumeClaimPolicy] = []
    suspend: bool = False
    ttl_seconds_after_finished: int | None = None


class JobSet(Model):
    """A JobSet."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSetSpec = JobSetSpec()
