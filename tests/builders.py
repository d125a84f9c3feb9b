"""Objects for tests: each builder gives a valid one, keywords say what is special about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from trainlet.kube.meta import JSON

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "11111111-2222-4333-8444-555555555555"


def build_job(name: str = "mnist", namespace: str = "default", uid: str = UID, **spec: Any) -> JSON:
    """Return a stored TrainJob; keywords are fields of its spec."""
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "generation": 1,
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {"runtimeRef": {"name": "torch-distributed"}, **spec},
    }


def build_runtime(
    name: str = "torch-distributed",
    *,
    container: JSON | None = None,
    pod: JSON | None = None,
    job: JSON | None = None,
    ml_policy: JSON | None = None,
    more_jobs: list[JSON] | None = None,
    more_containers: list[JSON] | None = None,
    jobset: JSON | None = None,
) -> JSON:
    """Return a ClusterTrainingRuntime with one trainer job, the torch policy unless another is given."""
    node = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {
                **(job or {}),
                "template": {
                    "spec": {
                        **(pod or {}),
                        "containers": [
                            {"name": "node", "image": "image:1", **(container or {})},
                            *(more_containers or []),
                        ],
                    }
                },
            },
        },
    }
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": name},
        "spec": {
            "mlPolicy": {"numNodes": 1, "torch": {}} if ml_policy is None else ml_policy,
            "template": {"spec": {**(jobset or {}), "replicatedJobs": [*(more_jobs or []), node]}},
        },
    }


def build_replicated_job(name: str, *containers: JSON, ancestor: str | None = None, **pod: Any) -> JSON:
    """Return a replicated job of a runtime with these containers; keywords are further fields of its pod."""
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": ancestor} if ancestor else {}
    spec = {"template": {"spec": {**pod, "containers": list(containers)}}}
    return {"name": name, "template": {"metadata": {"labels": labels}, "spec": spec}}


def build_steps_runtime(
    *, ml_policy: JSON | None = None, pod_group_policy: JSON | None = None, more_jobs: list[JSON] | None = None
) -> JSON:
    """Return a runtime with both initializers and a trainer, all with one volume; more jobs come after them.

    None for a policy leaves the field out.
    """
    mounts = {"volumeMounts": [{"name": "initializer", "mountPath": "/workspace"}]}
    requests = {"resources": {"requests": {"cpu": "1", "memory": "4Gi"}}}
    steps = [("dataset-initializer",) * 3, ("model-initializer",) * 3, ("node", "node", "trainer")]
    jobs = [
        build_replicated_job(job, {"name": container, "image": "image:1", **mounts, **requests}, ancestor=ancestor)
        for job, container, ancestor in steps
    ]
    policies = {"mlPolicy": ml_policy, "podGroupPolicy": pod_group_policy}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": "steps"},
        "spec": {
            **{key: policy for key, policy in policies.items() if policy is not None},
            "template": {"spec": {"replicatedJobs": [*jobs, *(more_jobs or [])]}},
        },
    }


def build_pod_patch(rjob: str, manager: str = "acme.io/a", **pod: Any) -> JSON:
    """Return an entry of a job's runtimePatches for the pods of one replicated job."""
    patch = {"name": rjob, "template": {"spec": {"template": {"spec": pod}}}}
    return {"manager": manager, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [patch]}}}}


class StillClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time go on."""
        self.now += timedelta(seconds=seconds)
