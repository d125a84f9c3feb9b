"""`Info` -> the JobSet that the upstream controller would apply (kubeflow/trainer plugins/jobset/builder.go)."""

from collections.abc import Callable

from trainlet.apis.trainer import API_VERSION, JOBSET_API_VERSION, TRAIN_JOB, Trainer, TrainJob
from trainlet.kube.merge import find, put, upsert
from trainlet.kube.meta import JSON
from trainlet.planning.policies import get_policy
from trainlet.planning.runtime import TRAINER, Info, PodSet, build_info

ANCESTORS = frozenset({TRAINER, "dataset-initializer", "model-initializer"})


def build_jobset(job: TrainJob, runtime: JSON) -> JSON:
    """Return the JobSet of a job with this runtime. Raises ApiError where its policy cannot be carried out."""
    info = build_info(job, runtime)
    info = _override_trainer(job, info)
    info = get_policy(info).apply(job, info)
    spec = find(info.template, "spec") or {}
    return {
        "apiVersion": JOBSET_API_VERSION,
        "kind": "JobSet",
        "metadata": _build_metadata(job, info),
        "spec": {
            **spec,
            "replicatedJobs": [_build_replicated_job(pod_set) for pod_set in info.pod_sets],
            "suspend": job.spec.suspend,
        },
    }


def _build_metadata(job: TrainJob, info: Info) -> JSON:
    given = info.template.get("metadata") or {}
    owner = {
        "apiVersion": API_VERSION,
        "kind": TRAIN_JOB,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        **{key: given[key] for key in ("labels", "annotations") if given.get(key)},
        "ownerReferences": [owner],
    }


def _override_trainer(job: TrainJob, info: Info) -> Info:
    """Put the job's image, command, args and env over the node container of every trainer pod set."""
    trainer = job.spec.trainer
    if trainer is None:
        return info
    return info.with_nodes(_build_override(trainer))


def _build_override(trainer: Trainer) -> Callable[[JSON], JSON]:
    def edit(container: JSON) -> JSON:
        edited = dict(container)
        if trainer.image is not None:
            edited["image"] = trainer.image
        if trainer.command is not None:
            edited["command"] = trainer.command
        if trainer.args is not None:
            edited["args"] = trainer.args
        if trainer.env:
            edited["env"] = upsert(container.get("env") or [], trainer.env)
        return edited

    return edit


def _build_replicated_job(pod_set: PodSet) -> JSON:
    rjob = put(pod_set.wire, ("template", "spec", "parallelism"), pod_set.count)
    rjob = put(rjob, ("template", "spec", "completions"), pod_set.count)
    return {**rjob, "replicas": 1} if pod_set.ancestor in ANCESTORS else rjob
