"""batch/v1: Jobs as JobSet makes them."""

from trainlet.apis.core_v1 import PodTemplate
from trainlet.apis.model import Model, TemplateMeta


class JobSpec(Model):
    """A Job's spec, with the API server's defaults."""

    parallelism: int = 1
    completions: int | None = None
    backoff_limit: int = 6
    active_deadline_seconds: int | None = None
    template: PodTemplate = PodTemplate()


class JobTemplate(Model):
    """A Job template."""

    metadata: TemplateMeta = TemplateMeta()
    spec: JobSpec = JobSpec()
