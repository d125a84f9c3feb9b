"""What becomes of volumes, of their mounts and of claims."""

import pytest

from builders import build_job, build_runtime
from stances import CONTAINER, JOBSET, POD, E, H, N, R, Row, put_under, tell
from trainlet.admission.portability import Stance
from trainlet.kube.meta import JSON

MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
TOKEN = {"path": "token", "audience": "trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs/mnist/status"}
#: A volume called v, which the container mounts.
VOLUME_ROWS: dict[str, Row] = {
    "a directory of the host": ({"hostPath": {"path": "/data", "type": "Directory"}}, {"volumes": H}),
    "on disk": ({"emptyDir": {}}, {"volumes[0].name": H, "volumes[0].emptyDir": E}),
    "on disk, with a limit": ({"emptyDir": {"sizeLimit": "1Gi"}}, {"volumes[0].name": H, "volumes[0].emptyDir": E}),
    "by nothing": ({}, {"volumes[0]": E}),
    "in memory": ({"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}, {"volumes": H}),
    "in huge pages": (
        {"emptyDir": {"medium": "HugePages"}},
        {"volumes[0].name": H, "volumes[0].emptyDir.medium": R},
    ),
    "a claim": (
        {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
        {"volumes[0].name": H, "volumes[0].persistentVolumeClaim": E},
    ),
    "a ConfigMap": ({"configMap": {"name": "c"}}, {"volumes[0].name": H, "volumes[0].configMap": R}),
    "a Secret": ({"secret": {"secretName": "s"}}, {"volumes[0].name": H, "volumes[0].secret": R}),
    "the status server's token": (
        {"projected": {"sources": [{"serviceAccountToken": TOKEN}]}},
        {"volumes": H},
    ),
    "the token, for a time": (
        {"projected": {"sources": [{"serviceAccountToken": {**TOKEN, "expirationSeconds": 60}}]}},
        {
            "volumes[0].name": H,
            "volumes[0].projected.sources[0].serviceAccountToken.path": H,
            "volumes[0].projected.sources[0].serviceAccountToken.audience": H,
            "volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds": E,
        },
    ),
    "several sources": (
        {
            "projected": {
                "defaultMode": 0o400,
                "sources": [
                    {"serviceAccountToken": {"path": "token"}},
                    {"configMap": {"name": "c"}},
                    {"secret": {"name": "s"}},
                    {"downwardAPI": {"items": [{"path": "a"}]}},
                ],
            }
        },
        {
            "volumes[0].name": H,
            "volumes[0].projected.defaultMode": H,
            "volumes[0].projected.sources[0].serviceAccountToken": R,
            "volumes[0].projected.sources[1].configMap": R,
            "volumes[0].projected.sources[2].secret": R,
            "volumes[0].projected.sources[3].downwardAPI": R,
        },
    ),
    "the pod's own fields": (
        {"downwardAPI": {"items": [{"path": "a"}]}},
        {"volumes[0].name": H, "volumes[0].downwardAPI": R},
    ),
    "a cluster's": (
        {"nfs": {"server": "s", "path": "/"}},
        {"volumes[0].name": H, "volumes[0].nfs": R},
    ),
    "a later version's": ({"later": {}}, {"volumes[0].name": H, "volumes[0].later": R}),
    "two at once": ({"emptyDir": {}, "hostPath": {"path": "/data"}}, {"volumes[0]": R}),
}


@pytest.mark.parametrize(("volume", "stances"), VOLUME_ROWS.values(), ids=VOLUME_ROWS)
def test_volumes(volume: JSON, stances: dict[str, Stance]) -> None:
    runtime = build_runtime(pod={"volumes": [{"name": "v", **volume}]}, container=MOUNT)
    assert tell(build_job(), runtime) == put_under(POD, {**stances, "containers[0].volumeMounts": H})


MOUNT_ROWS: dict[str, Row] = {
    "read only": ({"readOnly": True, "mountPropagation": "None", "recursiveReadOnly": "Disabled"}, {"": H}),
    "a part of it": ({"subPath": "a"}, {".name": H, ".mountPath": H, ".subPath": R}),
    "a part by a variable": ({"subPathExpr": "$(A)"}, {".name": H, ".mountPath": H, ".subPathExpr": R}),
    "passed on": ({"mountPropagation": "Bidirectional"}, {".name": H, ".mountPath": H, ".mountPropagation": N}),
    "all below too": ({"recursiveReadOnly": "Enabled"}, {".name": H, ".mountPath": H, ".recursiveReadOnly": R}),
}


@pytest.mark.parametrize(("mount", "stances"), MOUNT_ROWS.values(), ids=MOUNT_ROWS)
def test_mounts(mount: JSON, stances: dict[str, Stance]) -> None:
    volume = {"name": "v", "hostPath": {"path": "/data"}}
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/w", **mount}]
    told = tell(build_job(), build_runtime(pod={"volumes": [volume]}, container={"volumeMounts": mounts}))
    first, second = f"{CONTAINER}.volumeMounts[0]", f"{CONTAINER}.volumeMounts[1]"
    expected = {first: H, **{f"{second}{path}": stance for path, stance in stances.items()}}
    if set(stances) == {""}:
        expected = {f"{CONTAINER}.volumeMounts": H}
    assert told == {f"{POD}.volumes": H, **expected}


CLAIM = {
    "metadata": {"name": "v", "labels": {"a": "b"}},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "s"},
}
CLAIM_ROWS: dict[str, Row] = {
    "a claim": (
        {"templates": [CLAIM], "retentionPolicy": {"whenDeleted": "Retain"}},
        {
            "templates[0].metadata.name": H,
            "templates[0].metadata.labels": N,
            "templates[0].spec.accessModes": N,
            "templates[0].spec.resources": N,
            "templates[0].spec.storageClassName": N,
            "retentionPolicy": H,
        },
    ),
    "of files": ({"templates": [{"spec": {"volumeMode": "Filesystem"}}]}, {"templates[0].spec.volumeMode": H}),
    "of devices and of data": (
        {"templates": [{"spec": {"volumeMode": "Block", "dataSource": {"kind": "A", "name": "a"}}}]},
        {"templates[0].spec.volumeMode": R, "templates[0].spec.dataSource": R},
    ),
}


@pytest.mark.parametrize(("policy", "stances"), CLAIM_ROWS.values(), ids=CLAIM_ROWS)
def test_claims_of_a_jobset(policy: JSON, stances: dict[str, Stance]) -> None:
    told = tell(build_job(), build_runtime(jobset={"volumeClaimPolicies": [policy]}))
    assert told == put_under(f"{JOBSET}.volumeClaimPolicies[0]", stances)


def test_a_claim_of_the_jobset_can_be_mounted() -> None:
    runtime = build_runtime(jobset={"volumeClaimPolicies": [{"templates": [CLAIM]}]}, container=MOUNT)
    assert tell(build_job(), runtime)[f"{CONTAINER}.volumeMounts"] is H
