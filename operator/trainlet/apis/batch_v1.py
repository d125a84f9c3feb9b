"""batch/v1: Jobs as JobSet makes them."""

from trainlet.apis.core_v1 import PodTemplate
from trainlet.apis.model import Model, TemplateMeta


class ExitCodes(Model):
    """Exit codes `In` or `NotIn` the values; of one container, or of any."""

    operator: str
    values: list[int]
    container_name: str | None = None


class PodCondition(Model):
    """A condition of a failed pod."""

    type: str
    status: str = "True"


class PodFailureRule(Model):
    """What a failure that fits means: `FailJob`, `FailIndex`, `Ignore` or `Count`."""

    action: str
    on_exit_codes: ExitCodes | None = None
    on_pod_conditions: list[PodCondition] = []


class PodFailurePolicy(Model):
    """Rules for failed pods; the first that fits decides."""

    rules: list[PodFailureRule] = []


class SuccessRule(Model):
    """Indexes (`0,2-3`), or how many of them or of all, whose success is the Job's."""

    succeeded_indexes: str | None = None
    succeeded_count: int | None = None


class JobSuccessPolicy(Model):
    """Rules, any of which makes the Job complete."""

    rules: list[SuccessRule] = []


class JobSpec(Model):
    """A Job's spec, with the API server's defaults."""

    parallelism: int = 1
    completions: int | None = None
    backoff_limit: int = 6
    backoff_limit_per_index: int | None = None
    max_failed_indexes: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    success_policy: JobSuccessPolicy | None = None
    active_deadline_seconds: int | None = None
    template: PodTemplate = PodTemplate()


class JobTemplate(Model):
    """A Job template."""

    metadata: TemplateMeta = TemplateMeta()
    spec: JobSpec = JobSpec()
