"""The Volcano pod group policy: its rules, and the group (kubeflow/trainer plugins/volcano)."""

from collections.abc import Iterator

from trainlet.apis.trainer import NetworkTopology, TrainJob, Volcano
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.policies.owned import build_owned
from trainlet.planning.policies.refusals import invalid
from trainlet.planning.policies.requests import sum_requests
from trainlet.planning.runtime import Info

QUEUE = "scheduling.volcano.sh/queue-name"
GROUP_ANNOTATION = "scheduling.k8s.io/group-name"
#: The two classes that every cluster has. There are no PriorityClass objects here, so no other exists.
_SYSTEM_CLASSES = frozenset({"system-cluster-critical", "system-node-critical"})


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy's rules
    """Refuse a queue without a name, and priority classes that do not exist."""
    return [*_judge_queue(info), *_judge_priorities(info)]


def apply(job: TrainJob, info: Info) -> Info:
    """Put every pod into the job's group."""
    name = job.metadata.name
    return info.with_pod_sets(lambda pod_set: pod_set.with_pod_metadata("annotations", GROUP_ANNOTATION, name))


def build_objects(job: TrainJob, info: Info, secret: bytes) -> list[JSON]:  # noqa: ARG001 - as every policy's
    """Return the PodGroup. Upstream leaves one that is there alone unless the job is suspended."""
    classes = list(_list_classes(info))
    topology = Volcano.of(info.pod_group_policy["volcano"]).network_topology
    given = {
        "queue": find(info.template, "metadata", "annotations", QUEUE),
        "priorityClassName": classes[-1] if classes else None,
        "networkTopology": _write_topology(topology) if topology else None,
    }
    spec = {
        "minMember": sum(pod_set.count for pod_set in info.pod_sets),
        "minResources": sum_requests(info),
        **{key: value for key, value in given.items() if value is not None},
    }
    return [build_owned(job, "scheduling.volcano.sh/v1beta1", "PodGroup", "", spec=spec)]


def _write_topology(topology: NetworkTopology) -> JSON:
    return {"mode": topology.mode, "highestTierAllowed": topology.highest_tier_allowed}


def _list_classes(info: Info) -> Iterator[str]:
    """Yield the priority class of every replicated job that has one."""
    found = (find(p.wire, "template", "spec", "template", "spec", "priorityClassName") for p in info.pod_sets)
    return (str(name) for name in found if name)


def _judge_queue(info: Info) -> Iterator[FieldError]:
    if find(info.template, "metadata", "annotations", QUEUE) == "":
        yield invalid(f"spec.annotations[{QUEUE}]", "", "Volcano queue name must not be empty")


def _judge_priorities(info: Info) -> Iterator[FieldError]:
    for name in _list_classes(info):
        if name in _SYSTEM_CLASSES:
            return  # upstream's: the classes of later jobs are not looked at any more
        missing = f'priorityclass.scheduling.k8s.io "{name}" not found'
        detail = f'PriorityClass "{name}" doesn\'t exist: {missing}'
        yield invalid("spec.templateSpec.priorityClassName", name, detail)
