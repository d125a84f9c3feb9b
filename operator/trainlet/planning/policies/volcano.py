"""The rules of the Volcano pod group policy (kubeflow/trainer plugins/volcano)."""

from collections.abc import Iterator

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.planning.policies.refusals import invalid
from trainlet.planning.runtime import Info

QUEUE = "scheduling.volcano.sh/queue-name"
#: The two classes that every cluster has. There are no PriorityClass objects here, so no other exists.
_SYSTEM_CLASSES = frozenset({"system-cluster-critical", "system-node-critical"})


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy's rules
    """Refuse a queue without a name, and priority classes that do not exist."""
    return [*_judge_queue(info), *_judge_priorities(info)]


def _judge_queue(info: Info) -> Iterator[FieldError]:
    if find(info.template, "metadata", "annotations", QUEUE) == "":
        yield invalid(f"spec.annotations[{QUEUE}]", "", "Volcano queue name must not be empty")


def _judge_priorities(info: Info) -> Iterator[FieldError]:
    for pod_set in info.pod_sets:
        name = find(pod_set.wire, "template", "spec", "template", "spec", "priorityClassName")
        if name in _SYSTEM_CLASSES:
            return  # upstream's: the classes of later jobs are not looked at any more
        if name:
            missing = f'priorityclass.scheduling.k8s.io "{name}" not found'
            detail = f'PriorityClass "{name}" doesn\'t exist: {missing}'
            yield invalid("spec.templateSpec.priorityClassName", name, detail)
