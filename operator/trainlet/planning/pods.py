"""Slot -> Pod, as the Job controller would make it from the JobSet's template."""

import hashlib

from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, format_micro_time
from trainlet.planning import labels
from trainlet.planning.records import PodRecord, write_annotations, write_status
from trainlet.planning.slots import Slot

_SUFFIX_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def build_pod(job: TrainJob, slot: Slot, record: PodRecord, address: str | None) -> JSON:
    """Return the Pod of a slot with its status."""
    metadata: JSON = {
        "name": get_pod_name(job, slot, record),
        "namespace": job.metadata.namespace,
        "uid": _build_uid(job, slot, record),
        "creationTimestamp": format_micro_time(record.created_at),
        "labels": build_pod_labels(slot),
        "annotations": {**build_pod_annotations(slot), **write_annotations(record)},
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": slot.job_name, "uid": job.metadata.uid}],
    }
    if record.stopping_since is not None:
        metadata["deletionTimestamp"] = format_micro_time(record.stopping_since)
    template = find(slot.replicated_job.model_dump(by_alias=True, exclude_unset=True), "template", "spec", "template")
    spec = {**(find(template, "spec") or {}), "hostname": slot.hostname, "subdomain": slot.owner.name}
    status = write_status(record, slot.container.image, slot.container.name, address)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def get_pod_name(job: TrainJob, slot: Slot, record: PodRecord) -> str:
    """Return the pod's name. An in-place restart keeps it; with restartPolicy Never each attempt is a new pod."""
    attempt = record.attempt if slot.job_spec.template.spec.restart_policy == "Never" else 0
    digest = hashlib.sha256(f"{job.metadata.uid}/{slot.hostname}/{attempt}".encode()).digest()
    suffix = "".join(_SUFFIX_ALPHABET[byte % len(_SUFFIX_ALPHABET)] for byte in digest[:5])
    return f"{slot.hostname}-{suffix}"


def build_pod_labels(slot: Slot) -> dict[str, str]:
    """Return the labels that a pod has on a cluster (JobSet pkg/controllers, batch/v1 Indexed Jobs)."""
    rjob = slot.replicated_job
    return {
        **rjob.template.spec.template.metadata.labels,
        labels.JOBSET_NAME: slot.owner.name,
        labels.REPLICATED_JOB: rjob.name,
        "jobset.sigs.k8s.io/replicatedjob-replicas": str(rjob.replicas),
        "jobset.sigs.k8s.io/job-index": str(slot.job_index),
        "jobset.sigs.k8s.io/restart-attempt": "0",
        labels.BATCH_JOB_NAME: slot.job_name,
        "job-name": slot.job_name,
        labels.COMPLETION_INDEX: str(slot.index),
    }


def build_pod_annotations(slot: Slot) -> dict[str, str]:
    """Return the annotations that a pod has on a cluster."""
    return {
        **slot.replicated_job.template.spec.template.metadata.annotations,
        labels.COMPLETION_INDEX: str(slot.index),
    }


def _build_uid(job: TrainJob, slot: Slot, record: PodRecord) -> str:
    digest = hashlib.sha256(f"{job.metadata.uid}/{get_pod_name(job, slot, record)}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
