"""A pod that somebody deletes: its containers go at once, and the next pass makes them anew as if they were lost."""

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.engine.base import Engine
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning import labels
from trainlet.store import Store


def remove_pod(store: Store, engine: Engine, pod: JSON) -> None:
    """Remove the containers of a stored pod, and what these share last. Raises EngineError."""
    name, namespace = str(find(pod, "metadata", "labels", labels.JOBSET_NAME)), str(find(pod, "metadata", "namespace"))
    uid = find(store.get(ObjectKey(TRAIN_JOB, namespace, name)), "metadata", "uid")
    hostname = find(pod, "spec", "hostname")
    if not uid or not hostname:
        return
    containers = [each for each in engine.observe(str(uid)).containers if each.pod == hostname]
    for container in sorted(containers, key=lambda each: each.is_sandbox):
        engine.remove_container(container.id)
