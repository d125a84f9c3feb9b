"""The coscheduling pod group policy: all pods of a job or none (kubeflow/trainer plugins/coscheduling)."""

from trainlet.apis.trainer import Coscheduling, TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning.policies.owned import build_owned
from trainlet.planning.policies.requests import sum_requests
from trainlet.planning.runtime import Info

GROUP_LABEL = "scheduling.x-k8s.io/pod-group"


def apply(job: TrainJob, info: Info) -> Info:
    """Put every pod into the job's group."""
    return info.with_pod_sets(lambda pod_set: pod_set.with_pod_metadata("labels", GROUP_LABEL, job.metadata.name))


def build_objects(job: TrainJob, info: Info, secret: bytes) -> list[JSON]:  # noqa: ARG001 - as every policy's
    """Return the PodGroup. Upstream leaves one that is there alone unless the job is suspended."""
    spec = {
        "minMember": sum(pod_set.count for pod_set in info.pod_sets),
        "minResources": sum_requests(info),
        "scheduleTimeoutSeconds": Coscheduling.of(info.pod_group_policy["coscheduling"]).schedule_timeout_seconds,
    }
    return [build_owned(job, "scheduling.x-k8s.io/v1alpha1", "PodGroup", "", spec=spec)]
