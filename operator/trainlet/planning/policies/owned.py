"""Objects beside the JobSet that belong to a TrainJob: they carry its name and go when it goes."""

from base64 import b64encode
from collections.abc import Mapping

from trainlet.apis.trainer import API_VERSION, TRAIN_JOB, TrainJob
from trainlet.kube.meta import JSON


def build_owner_reference(job: TrainJob) -> JSON:
    """Return the reference that makes a job the controller of an object."""
    return {
        "apiVersion": API_VERSION,
        "kind": TRAIN_JOB,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def build_owned(job: TrainJob, api_version: str, kind: str, suffix: str, **fields: object) -> JSON:
    """Return an object named after the job and this suffix, with the job as its owner."""
    metadata = {
        "name": f"{job.metadata.name}{suffix}",
        "namespace": job.metadata.namespace,
        "ownerReferences": [build_owner_reference(job)],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def build_config_map(job: TrainJob, suffix: str, data: dict[str, str]) -> JSON:
    """Return a ConfigMap of a job."""
    return build_owned(job, "v1", "ConfigMap", suffix, data=data)


def build_secret(job: TrainJob, suffix: str, data: Mapping[str, bytes], **fields: object) -> JSON:
    """Return a Secret of a job, its data in base64 as on the wire; `fields` has its type if it is not Opaque."""
    encoded = {key: b64encode(value).decode() for key, value in data.items()}
    return build_owned(job, "v1", "Secret", suffix, **{"type": "Opaque", **fields, "data": encoded})
