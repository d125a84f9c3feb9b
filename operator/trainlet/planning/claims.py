"""The PersistentVolumeClaims of a JobSet -> named volumes of the engine.

A claim that the JobSet makes for itself goes with it, unless its policy retains it; one that a pod names is
somebody else's and stays. Sizes and access modes have no meaning here: a volume takes what the disk has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from trainlet.apis.core_v1 import Volume
from trainlet.apis.jobset import JobSet
from trainlet.kube.meta import ObjectKey
from trainlet.planning import labels
from trainlet.planning.specs import VolumeSpec

RETAIN = "Retain"


@dataclass(frozen=True)
class Claim:
    """One claim by its name on a cluster; `template` is the pods' name for one that the JobSet makes, else empty."""

    name: str
    template: str = ""
    is_kept: bool = True


def find_claims(jobset: JobSet) -> tuple[Claim, ...]:
    """Return every claim that the pods of a JobSet may mount, each once."""
    return tuple(dict.fromkeys([*_find_own(jobset), *_find_named(jobset)]))


def build_volume(owner: ObjectKey, claim: Claim, owner_labels: dict[str, str]) -> VolumeSpec:
    """Return the volume of a claim; one that is kept carries no job's labels."""
    known = owner_labels
    if claim.is_kept:
        known = {key: owner_labels[key] for key in (labels.NAMESPACE, labels.STORE)}
    return VolumeSpec(labels.claim_name(owner, claim.name), {**known, labels.CLAIM: claim.name})


def find_volume(jobset: JobSet, volumes: list[Volume], name: str) -> Volume | Claim | None:
    """Return what a pod mounts under this name: one of its volumes, or a claim that the JobSet makes."""
    given = next((volume for volume in volumes if volume.name == name), None)
    return given or next((claim for claim in _find_own(jobset) if claim.template == name), None)


def _find_own(jobset: JobSet) -> Iterator[Claim]:
    for policy in jobset.spec.volume_claim_policies:
        for template in policy.templates:
            name = template.metadata.name
            yield Claim(f"{name}-{jobset.metadata.name}", name, policy.retention_policy.when_deleted == RETAIN)


def _find_named(jobset: JobSet) -> Iterator[Claim]:
    for rjob in jobset.spec.replicated_jobs:
        for volume in rjob.template.spec.template.spec.volumes:
            if volume.persistent_volume_claim is not None:
                yield Claim(volume.persistent_volume_claim.claim_name)
