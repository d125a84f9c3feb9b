"""Claims become volumes of the engine, with the labels of the directory's claim; no data goes because a file does."""

import pytest

from builders import build_job
from trainlet.kube.claim_status import bind
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning import labels
from trainlet.planning.claims import Claim, build_volume

JOB = ObjectKey("TrainJob", "default", "mnist")
OWNED = {labels.OWNER_UID: "uid", labels.NAMESPACE: "default", labels.STORE: "store", labels.JOB_NAME: "mnist"}
KEPT = {labels.NAMESPACE: "default", labels.STORE: "store"}


def build_wire(name: str = "sets", kind: str = "PersistentVolumeClaim", **own: str) -> JSON:
    metadata = {"name": name, "namespace": "default", "labels": own} if own else {"name": name}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


VOLUMES = {
    "one that a pod names": (Claim("sets"), [], KEPT),
    "one of the job's own": (Claim("sets", "s", is_kept=False), [], OWNED),
    "one of the directory": (Claim("sets"), [build_wire(team="vision")], {"team": "vision", **KEPT}),
    "one of the directory without labels": (Claim("sets"), [build_wire()], KEPT),
    "the job's own that the directory has too": (
        Claim("sets", "s", is_kept=False),
        [build_wire(a="b")],
        {"a": "b", **KEPT},
    ),
    "another of the directory": (Claim("sets"), [build_wire("other", a="b")], KEPT),
    "another kind of its name": (Claim("sets"), [build_wire(kind="ConfigMap", a="b")], KEPT),
    "labels of ours are ours": (Claim("sets"), [build_wire(**{labels.OWNER_UID: "x", labels.STORE: "x"})], KEPT),
}


@pytest.mark.parametrize(("claim", "objects", "expected"), VOLUMES.values(), ids=VOLUMES)
def test_the_labels_of_a_volume(claim: Claim, objects: list[JSON], expected: dict[str, str]) -> None:
    volume = build_volume(JOB, claim, OWNED, [build_job(), *objects])
    assert (volume.name, dict(volume.labels)) == ("sets", {**expected, labels.CLAIM: "sets"})


def test_a_volume_is_named_after_its_namespace() -> None:
    assert build_volume(ObjectKey("TrainJob", "team", "mnist"), Claim("sets"), OWNED).name == "team.sets"


def test_a_claim_is_bound_whatever_its_file_says_of_it() -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    claim = {**build_wire(), "spec": spec, "status": {"phase": "Lost"}}
    status = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "5Gi"}}
    assert bind(claim) == {**build_wire(), "spec": spec, "status": status}
