"""The PersistentVolumeClaims of a JobSet -> named volumes of the engine.

A claim that the JobSet makes for itself goes with it, unless its policy retains it; one that a pod names, or that
stands in the directory, is somebody else's and stays: no data is deleted because a file is. Sizes and access modes
have no meaning here: a volume takes what the disk has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainlet.apis.core_v1 import Volume
from trainlet.apis.jobset import JobSet
from trainlet.kube.claim_status import PERSISTENT_VOLUME_CLAIM
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.planning import labels
from trainlet.planning.specs import VolumeSpec

RETAIN = "Retain"


@dataclass(frozen=True)
class Claim:
    """One claim by its name on a cluster; `template` is the pods' name for one that the JobSet makes, else empty."""

    name: str
    template: str = ""
    is_kept: bool = True


def build_volume(
    owner: ObjectKey, claim: Claim, owner_labels: dict[str, str], objects: Sequence[JSON] = ()
) -> VolumeSpec:
    """Return the volume of a claim, with the labels of the claim of its name among the objects of the directory.

    One that is kept carries no job's labels.
    """
    wire = _find_wire(claim, objects)
    own = {key: text for key, text in (get_metadata(wire or {}).get("labels") or {}).items() if key not in owner_labels}
    known = owner_labels
    if claim.is_kept or wire is not None:
        known = {key: owner_labels[key] for key in (labels.NAMESPACE, labels.STORE)}
    return VolumeSpec(labels.claim_name(owner, claim.name), {**own, **known, labels.CLAIM: claim.name})


def find_volume(jobset: JobSet, volumes: list[Volume], name: str) -> Volume | Claim | None:
    """Return what a pod mounts under this name: one of its volumes, or a claim that the JobSet makes."""
    given = next((volume for volume in volumes if volume.name == name), None)
    return given or next((claim for claim in _find_own(jobset) if claim.template == name), None)


def _find_wire(claim: Claim, objects: Sequence[JSON]) -> JSON | None:
    claims = (each for each in objects if each["kind"] == PERSISTENT_VOLUME_CLAIM)
    return next((each for each in claims if get_metadata(each)["name"] == claim.name), None)


def _find_own(jobset: JobSet) -> Iterator[Claim]:
    for policy in jobset.spec.volume_claim_policies:
        for template in policy.templates:
            name = template.metadata.name
            yield Claim(f"{name}-{jobset.metadata.name}", name, policy.retention_policy.when_deleted == RETAIN)
