"""TrainJob + runtime -> all that the upstream controller would apply: the JobSet, and the objects beside it.

kubeflow/trainer pkg/runtime/core/trainingruntime.go says the order, plugins/jobset/builder.go what the job overrides.
The defaults of a cluster are not in what is applied; jobset_defaults.py has them.
"""

from collections.abc import Callable

from trainlet.apis.trainer import JOBSET_API_VERSION, Trainer, TrainJob
from trainlet.kube.merge import find, put, upsert
from trainlet.kube.meta import JSON
from trainlet.planning.policies import find_builders, find_policies, status
from trainlet.planning.policies.owned import build_owner_reference
from trainlet.planning.policies.status import ALL_OFF, Features
from trainlet.planning.runtime import TRAINER, Info, PodSet, build_info

DATASET, MODEL = "dataset-initializer", "model-initializer"
ANCESTORS = frozenset({TRAINER, DATASET, MODEL})
STORAGE_URI = "STORAGE_URI"


def build_jobset(job: TrainJob, runtime: JSON, features: Features = ALL_OFF) -> JSON:
    """Return the JobSet of a job with this runtime. Raises ApiError where its policy cannot be carried out."""
    info = _complete(job, runtime, features)
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


def build_objects(job: TrainJob, runtime: JSON, secret: bytes, features: Features = ALL_OFF) -> tuple[JSON, ...]:
    """Return the ConfigMaps, Secrets and PodGroups beside the JobSet, the same bytes for the same arguments.

    `secret` is 32 random bytes that never change; keys are derived from it and the job's uid. Raises ApiError as
    `build_jobset` does.
    """
    info = _complete(job, runtime, features)
    built = [each for builder in find_builders(info) for each in builder.build_objects(job, info, secret)]
    return (*built, *status.build_objects(job, features))


def _complete(job: TrainJob, runtime: JSON, features: Features) -> Info:
    """Return the record with all that job, policies and features put into it."""
    info = _override_trainer(job, build_info(job, runtime))
    for policy in find_policies(info):
        info = policy.apply(job, info)
    return _override_initializers(job, status.apply(job, info, features))


def _build_metadata(job: TrainJob, info: Info) -> JSON:
    given = info.template.get("metadata") or {}
    return {
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        **{key: given[key] for key in ("labels", "annotations") if given.get(key)},
        "ownerReferences": [build_owner_reference(job)],
    }


def _override_trainer(job: TrainJob, info: Info) -> Info:
    """Put the job's image, command, args and env over the node container of every trainer pod set.

    The environment is also that of MPI's workers, where its launcher is one of the nodes.
    """
    trainer = job.spec.trainer
    if trainer is None:
        return info
    return info.with_nodes(_build_override(trainer)).with_nodes(_merge_environment(trainer.env), workers=True)


def _build_override(trainer: Trainer) -> Callable[[JSON], JSON]:
    given = {"image": trainer.image, "command": trainer.command, "args": trainer.args}
    return lambda container: {**container, **{key: value for key, value in given.items() if value is not None}}


def _merge_environment(entries: list[JSON]) -> Callable[[JSON], JSON]:
    if not entries:
        return dict
    return lambda container: {**container, "env": upsert(container.get("env") or [], entries)}


def _override_initializers(job: TrainJob, info: Info) -> Info:
    """Put what the job says of its dataset and model over the containers of those names in the jobs of those steps."""
    given = job.spec.initializer
    configs = {DATASET: given.dataset, MODEL: given.model} if given else {}

    def edit(pod_set: PodSet) -> PodSet:
        step = pod_set.ancestor or ""
        config = configs.get(step)
        return pod_set if config is None else pod_set.with_container(step, _build_initializer_override(config))

    return info.with_pod_sets(edit)


def _build_initializer_override(config: JSON) -> Callable[[JSON], JSON]:
    uri, secret = config.get("storageUri"), find(config, "secretRef", "name")
    entries = [*([] if uri is None else [{"name": STORAGE_URI, "value": uri}]), *(config.get("env") or [])]
    sources = [] if secret is None else [{"secretRef": {"name": secret}}]

    def edit(container: JSON) -> JSON:
        edited = _merge_environment(entries)(container)
        return {**edited, "envFrom": [*(container.get("envFrom") or []), *sources]} if sources else edited

    return edit


def _build_replicated_job(pod_set: PodSet) -> JSON:
    rjob = put(pod_set.wire, ("template", "spec", "parallelism"), pod_set.count)
    rjob = put(rjob, ("template", "spec", "completions"), pod_set.count)
    return {**rjob, "replicas": 1} if pod_set.ancestor in ANCESTORS else rjob
