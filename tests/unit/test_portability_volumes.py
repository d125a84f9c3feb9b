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
    "on disk": ({"emptyDir": {}}, {"volumes": H}),
    "on disk, with a limit": ({"emptyDir": {"sizeLimit": "1Gi"}}, {"volumes": H}),
    "with a limit that is none": (
        {"emptyDir": {"sizeLimit": "-1"}},
        {"volumes[0].name": H, "volumes[0].emptyDir.sizeLimit": R},
    ),
    "by nothing": ({}, {"volumes": H}),
    "in memory of one container": (
        {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"volumes[0].name": H, "volumes[0].emptyDir.medium": E, "volumes[0].emptyDir.sizeLimit": H},
    ),
    "made for the pod": (
        {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        {"volumes[0].name": H, "volumes[0].ephemeral": E},
    ),
    "in huge pages": (
        {"emptyDir": {"medium": "HugePages"}},
        {"volumes[0].name": H, "volumes[0].emptyDir.medium": R},
    ),
    "a claim": (
        {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
        {"volumes[0].name": H, "volumes[0].persistentVolumeClaim": E},
    ),
    "a claim without a name": (
        {"persistentVolumeClaim": {"claimName": ""}},
        {"volumes[0].name": H, "volumes[0].persistentVolumeClaim": R},
    ),
    "a ConfigMap": (
        {"configMap": {"name": "c", "defaultMode": 0, "items": [{"key": "k", "path": "a/b", "mode": 0o777}]}},
        {"volumes": H},
    ),
    "a Secret": ({"secret": {"secretName": "s", "optional": True, "defaultMode": 0o400}}, {"volumes": H}),
    "objects without a name": ({"secret": {"optional": True}}, {"volumes[0].name": H, "volumes[0].secret": R}),
    "modes that are none": (
        {"configMap": {"name": "c", "defaultMode": -1, "items": [{"key": "k", "path": "a", "mode": 0o1000}]}},
        {
            "volumes[0].name": H,
            "volumes[0].configMap.name": H,
            "volumes[0].configMap.defaultMode": R,
            "volumes[0].configMap.items[0].key": H,
            "volumes[0].configMap.items[0].path": H,
            "volumes[0].configMap.items[0].mode": R,
        },
    ),
    "files outside of the volume": (
        {
            "secret": {
                "secretName": "s",
                "items": [{"key": "k", "path": "/a"}, {"key": "k", "path": "a/../../b"}, {"key": "k"}],
            }
        },
        {
            "volumes[0].name": H,
            "volumes[0].secret.secretName": H,
            "volumes[0].secret.items[0].key": H,
            "volumes[0].secret.items[0].path": R,
            "volumes[0].secret.items[1].key": H,
            "volumes[0].secret.items[1].path": R,
            "volumes[0].secret.items[2]": R,
        },
    ),
    "two files of one name": (
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "x"}, {"key": "b", "path": "x"}]}},
        {"volumes[0].name": H, "volumes[0].configMap": R},
    ),
    "a file that is a directory of another": (
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "x"}, {"key": "b", "path": "x/y"}]}},
        {"volumes[0].name": H, "volumes[0].configMap": R},
    ),
    "files beside each other": (
        {"configMap": {"name": "c", "items": [{"key": k, "path": k} for k in ("x", "x-y", "x.y", "y/a", "y/b")]}},
        {"volumes": H},
    ),
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
                    {"configMap": {"name": "c"}},
                    {"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}},
                    {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                ],
            }
        },
        {"volumes": H},
    ),
    "sources that nothing serves": (
        {
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token"}},
                    {"clusterTrustBundle": {"path": "ca", "name": "b"}},
                    {"podCertificate": {"keyType": "ED25519"}},
                    {"later": {"a": 1}},
                    {"configMap": {"optional": True}},
                    {"configMap": {"name": "c"}, "secret": {"name": "s"}},
                ]
            }
        },
        {
            "volumes[0].name": H,
            "volumes[0].projected.sources[0].serviceAccountToken": R,
            "volumes[0].projected.sources[1].clusterTrustBundle": R,
            "volumes[0].projected.sources[2].podCertificate": R,
            "volumes[0].projected.sources[3].later": R,
            "volumes[0].projected.sources[4].configMap": R,
            "volumes[0].projected.sources[5]": R,
        },
    ),
    "sources with a file of one name": (
        {
            "projected": {
                "sources": [
                    {"secret": {"name": "s", "items": [{"key": "k", "path": "token"}]}},
                    {"serviceAccountToken": TOKEN},
                ]
            }
        },
        {"volumes[0].name": H, "volumes[0].projected": R},
    ),
    "the pod's own fields": (
        {
            "downwardAPI": {
                "items": [
                    {"path": "a", "fieldRef": {"fieldPath": "metadata.annotations"}, "mode": 0o400},
                    {"path": "b", "resourceFieldRef": {"containerName": "node", "resource": "limits.cpu"}},
                ]
            }
        },
        {"volumes": H},
    ),
    "fields that no pod has": (
        {
            "downwardAPI": {
                "items": [
                    {"path": "a", "fieldRef": {"fieldPath": "spec.later"}},
                    {"path": "b", "fieldRef": {"fieldPath": "metadata.name"}, "resourceFieldRef": {"resource": "x"}},
                    {"path": "c", "resourceFieldRef": {"containerName": "other", "resource": "limits.pods"}},
                    {"fieldRef": {"fieldPath": "metadata.name"}},
                ]
            }
        },
        {
            "volumes[0].name": H,
            "volumes[0].downwardAPI.items[0].path": H,
            "volumes[0].downwardAPI.items[0].fieldRef.fieldPath": N,
            "volumes[0].downwardAPI.items[1]": R,
            "volumes[0].downwardAPI.items[2].path": H,
            "volumes[0].downwardAPI.items[2].resourceFieldRef.containerName": R,
            "volumes[0].downwardAPI.items[2].resourceFieldRef.resource": R,
            "volumes[0].downwardAPI.items[3]": R,
        },
    ),
    "a cluster's": (
        {"nfs": {"server": "s", "path": "/"}},
        {"volumes[0].name": H, "volumes[0].nfs": R},
    ),
    "a later version's": ({"later": {}}, {"volumes[0].name": H, "volumes[0].later": R}),
    "two at once": ({"emptyDir": {}, "hostPath": {"path": "/data"}}, {"volumes[0]": R}),
}


def test_memory_that_containers_share_outlives_each_of_them() -> None:
    volume = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    runtime = build_runtime(pod={"volumes": [volume]}, container=MOUNT, more_containers=[{"name": "b", "image": "i"}])
    assert tell(build_job(), runtime)[f"{POD}.volumes"] is H


def test_a_volume_has_a_name_of_dns() -> None:
    told = tell(build_job(), build_runtime(pod={"volumes": [{"name": "A_b", "emptyDir": {}}]}))
    assert told == {f"{POD}.volumes[0].name": R}


@pytest.mark.parametrize(("volume", "stances"), VOLUME_ROWS.values(), ids=VOLUME_ROWS)
def test_volumes(volume: JSON, stances: dict[str, Stance]) -> None:
    runtime = build_runtime(pod={"volumes": [{"name": "v", **volume}]}, container=MOUNT)
    assert tell(build_job(), runtime) == put_under(POD, {**stances, "containers[0].volumeMounts": H})


MOUNT_ROWS: dict[str, Row] = {
    "read only": ({"readOnly": True, "mountPropagation": "None", "recursiveReadOnly": "Disabled"}, {"": H}),
    "a part of it": ({"subPath": "a/b"}, {"": H}),
    "a part by a variable": ({"subPathExpr": "$(A)"}, {"": H}),
    "a part, twice": (
        {"subPath": "a", "subPathExpr": "b"},
        {".name": H, ".mountPath": H, ".subPath": R, ".subPathExpr": R},
    ),
    "what is not a part of it": ({"subPath": "a/../b"}, {".name": H, ".mountPath": H, ".subPath": R}),
    "what is elsewhere": ({"subPathExpr": "/etc"}, {".name": H, ".mountPath": H, ".subPathExpr": R}),
    "at no path": ({"mountPath": "w"}, {".name": H, ".mountPath": R}),
    "at the root": ({"mountPath": "//"}, {".name": H, ".mountPath": R}),
    "nowhere": ({"mountPath": ""}, {"": R}),
    "without a name": ({"name": ""}, {"": R}),
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
    if stances == {"": H}:
        expected = {f"{CONTAINER}.volumeMounts": H}
    assert told == {f"{POD}.volumes": H, **expected}


#: subPaths of the mounts of a volume of the engine, and what becomes of each.
SUB_PATH_ROWS: dict[str, list[tuple[str, Stance | None]]] = {
    "one": [("a", E)],
    "the same twice": [("a", E), ("a/", E)],
    "beside each other": [("a", E), ("b", E), ("ab", E)],
    "within each other": [("a", R), ("a/b", R), ("c", E)],
    "a part and the whole": [("a", R), ("", None)],
    "out of it": [("a", E), ("../b", R)],
}
ENGINE_VOLUMES: list[JSON] = [
    {},
    {"emptyDir": {}},
    {"emptyDir": {"medium": "Memory"}},
    {"ephemeral": {"volumeClaimTemplate": {}}},
    {"persistentVolumeClaim": {"claimName": "c"}},
]


@pytest.mark.parametrize("volume", ENGINE_VOLUMES)
@pytest.mark.parametrize("rows", SUB_PATH_ROWS.values(), ids=SUB_PATH_ROWS)
def test_parts_of_an_engine_s_volume(rows: list[tuple[str, Stance | None]], volume: JSON) -> None:
    """Each path is mounted by a container of its own: they are judged beside each other all the same."""
    paths = [path for path, _ in rows]
    inits = [
        {"name": f"c{n}", "image": "i", "volumeMounts": [{**MOUNT["volumeMounts"][0], "subPath": path}]}
        for n, path in enumerate(paths)
    ]
    told = tell(build_job(), build_runtime(pod={"volumes": [{"name": "v", **volume}], "initContainers": inits}))
    found = [told.get(f"{POD}.initContainers[{n}].volumeMounts[0].subPath") for n in range(len(rows))]
    assert found == [stance for _, stance in rows]


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
