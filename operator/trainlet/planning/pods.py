"""Slot -> Pod, as the Job controller would make it from the JobSet's template."""

import hashlib

from trainlet.apis.jobset import JobSet, ReplicatedJob
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, derive_uid, format_micro_time
from trainlet.planning import labels
from trainlet.planning.records import PodRecord, write_annotations, write_status
from trainlet.planning.slots import Slot

_SUFFIX_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def build_pod(job: TrainJob, slot: Slot, record: PodRecord, address: str | None) -> JSON:
    """Return the Pod of a slot with its status."""
    name = get_pod_name(slot, record)
    uid = get_job_uid(slot.jobset, slot.job_name, record.restart)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": slot.job_name, "uid": uid}
    metadata: JSON = {
        "name": name,
        "namespace": job.metadata.namespace,
        "uid": get_pod_uid(job.metadata.uid, name),
        "creationTimestamp": format_micro_time(record.created_at),
        "labels": build_pod_labels(slot, record.restart),
        "annotations": {**build_pod_annotations(slot, record.restart), **write_annotations(record)},
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }
    if (ending := record.deleted_at or record.stopping_since) is not None:
        metadata["deletionTimestamp"] = format_micro_time(ending)
    template = find(slot.replicated_job.model_dump(by_alias=True, exclude_unset=True), "template", "spec", "template")
    spec = {**(find(template, "spec") or {}), "hostname": slot.hostname, "subdomain": slot.subdomain}
    status = write_status(slot, record, address)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def get_pod_uid(job_uid: str, name: str) -> str:
    """Return the uid of a pod of a job."""
    return derive_uid(job_uid, name)


def get_pod_name(slot: Slot, record: PodRecord) -> str:
    """Return the pod's name. An in-place restart keeps it; with restartPolicy Never each attempt is a new pod."""
    attempt = record.attempt if slot.makes_new_pods else record.first_attempt
    digest = hashlib.sha256(f"{slot.jobset.metadata.uid}/{slot.hostname}/{record.restart}/{attempt}".encode()).digest()
    suffix = "".join(_SUFFIX_ALPHABET[byte % len(_SUFFIX_ALPHABET)] for byte in digest[:5])
    return f"{slot.hostname}-{suffix}"


def get_job_uid(jobset: JobSet, name: str, restart: int) -> str:
    """Return the uid of a Job; a restart of the JobSet makes another Job."""
    return derive_uid(jobset.metadata.uid, f"{name}/{restart}")


def build_jobset_labels(jobset: JobSet, rjob: ReplicatedJob, job_index: int, restart: int) -> dict[str, str]:
    """Return what JobSet puts on a Job and its pods, as labels and as annotations (JobSet pkg/controllers)."""
    everyone = jobset.spec.replicated_jobs
    place = next(i for i, other in enumerate(everyone) if other.name == rjob.name)
    group = [other for other in everyone if other.group_name == rjob.group_name]
    before = [other for other in everyone[:place] if other.group_name == rjob.group_name]
    key = f"{jobset.metadata.namespace}/{jobset.metadata.name}-{rjob.name}-{job_index}"
    return {
        labels.JOBSET_NAME: jobset.metadata.name,
        "jobset.sigs.k8s.io/jobset-uid": jobset.metadata.uid,
        labels.REPLICATED_JOB: rjob.name,
        "jobset.sigs.k8s.io/replicatedjob-replicas": str(rjob.replicas),
        "jobset.sigs.k8s.io/global-replicas": str(sum(other.replicas for other in everyone)),
        "jobset.sigs.k8s.io/job-index": str(job_index),
        "jobset.sigs.k8s.io/job-global-index": str(sum(o.replicas for o in everyone[:place]) + job_index),
        "jobset.sigs.k8s.io/job-key": hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest(),
        labels.RESTART_ATTEMPT: str(restart),
        "jobset.sigs.k8s.io/group-name": rjob.group_name,
        "jobset.sigs.k8s.io/group-replicas": str(sum(other.replicas for other in group)),
        "jobset.sigs.k8s.io/job-group-index": str(sum(other.replicas for other in before) + job_index),
    }


def build_pod_labels(slot: Slot, restart: int) -> dict[str, str]:
    """Return the labels that a pod has on a cluster: its template's, JobSet's and those of an Indexed Job."""
    uid = get_job_uid(slot.jobset, slot.job_name, restart)
    return {
        **slot.job_spec.template.metadata.labels,
        **build_jobset_labels(slot.jobset, slot.replicated_job, slot.job_index, restart),
        labels.BATCH_JOB_NAME: slot.job_name,
        "job-name": slot.job_name,
        "batch.kubernetes.io/controller-uid": uid,
        "controller-uid": uid,
        labels.COMPLETION_INDEX: str(slot.index),
    }


def build_pod_annotations(slot: Slot, restart: int) -> dict[str, str]:
    """Return the annotations that a pod has on a cluster."""
    return {
        **slot.job_spec.template.metadata.annotations,
        **build_jobset_labels(slot.jobset, slot.replicated_job, slot.job_index, restart),
        labels.COMPLETION_INDEX: str(slot.index),
    }
