"""What a pod's volumes are in its containers: directories, the engine's volumes, memory, and files."""

from dataclasses import replace

import pytest

from builders import NOW, UID, build_job, build_runtime
from stage import Stage, build_config_map, build_secret, restart, set_stage
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.labels import SANDBOX
from trainlet.planning.objects import ConfigError
from trainlet.planning.pods import get_pod_name
from trainlet.planning.records import ContainerRecord
from trainlet.planning.specs import File, Mount, Tmpfs, VolumeMount
from trainlet.planning.volumes import Storage, build_storage

CONFIG = build_config_map("c", a="1", b="2")
LOGIN = build_secret("s", user="me", key=b"\0\xff")
SIDE: JSON = {"name": "side", "image": "image:1"}


def put(volume: JSON, *objects: JSON, pod: JSON | None = None, others: list[JSON] | None = None, **mount: str) -> Stage:
    """Return a pod that has a volume `v` at /v."""
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}
    return set_stage(mounts, *objects, others=others, **{"volumes": [{"name": "v", **volume}], **(pod or {})})


def store(stage: Stage, name: str = "node") -> Storage:
    member = stage.member(name)
    return build_storage(stage.site.build_pod(stage.slot, stage.record, member), member)


def get_volume(stage: Stage, suffix: str = "") -> str:
    """Return the name of the pod's own volume `v`."""
    return f"{get_pod_name(stage.slot, stage.record)}_v{suffix}"


FILES: dict[str, tuple[JSON, list[tuple[str, bytes, int]]]] = {
    # name: (volume, (path, content, mode) of each file)
    "a ConfigMap": ({"configMap": {"name": "c"}}, [("/v/a", b"1", 0o644), ("/v/b", b"2", 0o644)]),
    "chosen keys": (
        {"configMap": {"name": "c", "items": [{"key": "b", "path": "x/y"}, {"key": "a", "path": "a", "mode": 0}]}},
        [("/v/x/y", b"2", 0o644), ("/v/a", b"1", 0)],
    ),
    "a Secret": (
        {"secret": {"secretName": "s", "defaultMode": 0o400}},
        [("/v/key", b"\0\xff", 0o400), ("/v/user", b"me", 0o400)],
    ),
    "optional": ({"secret": {"secretName": "no", "optional": True}}, []),
    "an optional key": (
        {"configMap": {"name": "c", "optional": True, "items": [{"key": k, "path": k} for k in ("no", "a")]}},
        [("/v/a", b"1", 0o644)],
    ),
    "fields of the pod": (
        {
            "downwardAPI": {
                "defaultMode": 0o440,
                "items": [
                    {"path": "name", "fieldRef": {"fieldPath": "metadata.namespace"}, "mode": 0o400},
                    {"path": "cpu", "resourceFieldRef": {"containerName": "node", "resource": "requests.cpu"}},
                    {"path": "nothing"},
                ],
            }
        },
        [("/v/name", b"default", 0o400), ("/v/cpu", b"0", 0o440), ("/v/nothing", b"", 0o440)],
    ),
    "several sources, of which later ones win": (
        {
            "projected": {
                "defaultMode": 0o600,
                "sources": [
                    {"configMap": {"name": "c"}},
                    {"secret": {"name": "s", "items": [{"key": "user", "path": "b", "mode": 0o640}]}},
                    {"downwardAPI": {"items": [{"path": "d", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
                ],
            }
        },
        [("/v/a", b"1", 0o600), ("/v/b", b"me", 0o640), ("/v/d", b"default", 0o600)],
    ),
    "a token of somebody else": (
        {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "x"}}]}},
        [],
    ),
}


@pytest.mark.parametrize(("volume", "files"), FILES.values(), ids=FILES)
def test_files(volume: JSON, files: list[tuple[str, bytes, int]]) -> None:
    storage = store(put(volume, CONFIG, LOGIN))
    assert storage == Storage(files=tuple(File(*each) for each in files))


def test_all_labels_as_a_file() -> None:
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    [file] = store(put({"downwardAPI": {"items": [item]}})).files
    assert 'job-name="mnist-node-0"' in file.content.decode().splitlines()


PARTS: list[tuple[str, list[str]]] = [
    ("a", ["/v"]),
    ("./a/", ["/v"]),
    ("x", ["/v/y", "/v/z"]),
    ("x/y", ["/v"]),
    ("no", []),
]


@pytest.mark.parametrize(("path", "places"), PARTS)
def test_a_part_of_files(path: str, places: list[str]) -> None:
    items = [{"key": "a", "path": path} for path in ("a", "x/y", "x/z")]
    stage = put({"configMap": {"name": "c", "items": items}}, CONFIG, subPath=path)
    assert [file.path for file in store(stage).files] == places


def test_files_belong_to_the_group_of_the_pod_which_may_read_them() -> None:
    stage = put({"secret": {"secretName": "s", "defaultMode": 0o400}}, LOGIN, pod={"securityContext": {"fsGroup": 7}})
    assert {(file.mode, file.uid, file.gid) for file in store(stage).files} == {(0o440, 0, 7)}


def test_what_a_policy_makes_is_not_to_be_replaced() -> None:
    runtime = build_runtime(ml_policy={"mpi": {}})
    stage = Stage(runtime, (build_secret("mnist-mpi-ssh-auth", **{"ssh-privatekey": "mine"}),))
    contents = [file.content for file in stage.spec().files]
    assert contents
    assert b"mine" not in contents


MISSING: dict[str, tuple[JSON, str]] = {
    "a ConfigMap": ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
    "a Secret": ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
    "a key": (
        {"secret": {"secretName": "s", "items": [{"key": "no", "path": "p"}]}},
        "couldn't find key no in Secret default/s",
    ),
    "a source": ({"projected": {"sources": [{"secret": {"name": "no"}}]}}, 'secret "no" not found'),
}


@pytest.mark.parametrize(("volume", "message"), MISSING.values(), ids=MISSING)
def test_a_volume_of_what_is_missing_cannot_be_set_up(volume: JSON, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        store(put(volume, LOGIN))
    expected = f'MountVolume.SetUp failed for volume "v" : {message}'
    assert (str(error.value), error.value.reason) == (expected, "ContainerCreating")


DIRECTORIES: list[tuple[JSON, JSON, Mount]] = [
    # volume, mount -> what is mounted
    ({"path": "/data"}, {}, Mount("/data", "/v", host_path_type="")),
    ({"path": "/data", "type": "Directory"}, {"readOnly": True}, Mount("/data", "/v", True, "Directory")),
    ({"path": "/data", "type": "Directory"}, {"subPath": "a/./b/"}, Mount("/data/a/b", "/v", host_path_type="")),
    ({"path": "/data/"}, {"subPathExpr": "$(JOB_COMPLETION_INDEX)"}, Mount("/data/0", "/v", host_path_type="")),
]


@pytest.mark.parametrize(("host_path", "mount", "expected"), DIRECTORIES)
def test_directories_of_the_host(host_path: JSON, mount: JSON, expected: Mount) -> None:
    assert store(put({"hostPath": host_path}, **mount)) == Storage(mounts=(expected,))


OF_PODS: list[JSON] = [{}, {"emptyDir": {}}, {"emptyDir": {"sizeLimit": "1Gi"}}, {"ephemeral": {}}]


@pytest.mark.parametrize("volume", OF_PODS)
def test_a_volume_of_the_pod_is_the_engine_s(volume: JSON) -> None:
    stage = put(volume, readOnly="true")
    name = get_volume(stage)
    assert store(stage) == Storage(volumes=(VolumeMount(name, "/v", read_only=True),))
    [spec] = stage.volumes()
    assert (spec.name, spec.in_memory) == (name, False)
    assert (spec.labels[labels.OWNER_UID], spec.labels[labels.POD]) == (UID, "mnist-node-0-0")


@pytest.mark.parametrize("volume", [{}, {"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "c"}}])
def test_it_belongs_to_the_pod_s_group(volume: JSON) -> None:
    [mounted] = store(put(volume, pod={"securityContext": {"fsGroup": 7}})).volumes
    assert mounted.group == 7
    [mounted] = store(put(volume)).volumes
    assert mounted.group is None


@pytest.mark.parametrize(("policy", "is_same"), [("OnFailure", True), ("Never", False)])
def test_it_lives_as_long_as_the_pod(policy: str, is_same: bool) -> None:
    stage = put({"emptyDir": {}}, pod={"restartPolicy": policy})
    first, again = (stage.volumes(record=record)[0].name for record in (stage.record, restart(stage.record)))
    assert (first == again) is is_same
    later = stage.volumes(record=restart(stage.record, restart=1))[0].name
    assert later not in (first, again)


def test_it_is_named_after_its_namespace() -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    runtime = build_runtime(container=mount, pod={"volumes": [{"name": "v"}]})
    stage = Stage(runtime, job=build_job(namespace="team"))
    assert stage.volumes()[0].name == f"team.{get_volume(stage)}"


def test_each_part_of_an_engine_s_volume_is_one_of_its_own() -> None:
    names = [put({"emptyDir": {}}, subPath=path).volumes()[0].name for path in ("", "a", "a/", "b")]
    assert names[1] == names[2]
    assert len(set(names)) == 3
    assert all(name.startswith(names[0]) for name in names)


def test_a_claim_is_nobody_s_and_stays() -> None:
    stage = put({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}})
    assert store(stage) == Storage(volumes=(VolumeMount("c", "/v", read_only=True),))
    [spec] = stage.volumes()
    assert labels.OWNER_UID not in spec.labels


def test_a_claim_that_the_jobset_makes() -> None:
    policies = {"volumeClaimPolicies": [{"templates": [{"metadata": {"name": "v"}}]}]}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a"}]}
    stage = Stage(build_runtime(container=mount, jobset=policies))
    [spec] = stage.volumes()
    assert spec.name == labels.add_sub_path("v-mnist", "a")
    assert store(stage).volumes == (VolumeMount(spec.name, "/v"),)


MEMORY: JSON = {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}


def test_memory_of_one_container_is_its_own() -> None:
    stage = put(MEMORY)
    assert (store(stage), stage.volumes()) == (Storage(tmpfs=(Tmpfs("/v", 1 << 20),)), ())


def test_memory_of_a_group_is_a_volume_that_is_made_for_it() -> None:
    stage = put(MEMORY, pod={"securityContext": {"fsGroup": 7}})
    assert store(stage) == Storage(volumes=(VolumeMount(get_volume(stage), "/v"),))
    [spec] = stage.volumes()
    assert (spec.in_memory, spec.size_bytes, spec.group) == (True, 1 << 20, 7)


@pytest.mark.parametrize(("limit", "size"), [({}, None), ({"sizeLimit": "0"}, None), ({"sizeLimit": "1k"}, 1000)])
def test_memory_has_the_size_that_is_said(limit: JSON, size: int | None) -> None:
    [tmpfs] = store(put({"emptyDir": {"medium": "Memory", **limit}})).tmpfs
    assert tmpfs.size_bytes == size


def test_memory_that_containers_share_is_held_by_the_sandbox() -> None:
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/s"}, {"name": "v", "mountPath": "/t", "subPath": "a"}]}
    stage = put(MEMORY, others=[{**SIDE, **mounts}])
    whole, part = get_volume(stage), labels.add_sub_path(get_volume(stage), "a")
    assert store(stage).volumes == (VolumeMount(whole, "/v"),)
    assert store(stage, "side").volumes == (VolumeMount(whole, "/s"), VolumeMount(part, "/t"))
    held = {mount.volume for mount in store(stage, SANDBOX).volumes}
    assert held == {whole, part} == {spec.name for spec in stage.volumes(SANDBOX)}
    assert {(spec.in_memory, spec.size_bytes) for spec in stage.volumes(SANDBOX)} == {(True, 1 << 20)}


def test_the_sandbox_holds_nothing_else() -> None:
    stage = put({"emptyDir": {}}, others=[SIDE])
    assert (store(stage, SANDBOX), stage.volumes(SANDBOX)) == (Storage(), ())


def test_the_sandbox_does_not_guess_what_only_a_container_knows() -> None:
    stage = put(MEMORY, others=[SIDE], subPathExpr="$(JOB_COMPLETION_INDEX)")
    assert (store(stage, SANDBOX), stage.volumes(SANDBOX)) == (Storage(), ())
    assert [spec.name for spec in stage.volumes()] == [labels.add_sub_path(get_volume(stage), "0")]


def test_without_a_sandbox_memory_is_each_container_s_own() -> None:
    stage = put(MEMORY, others=[SIDE])
    alone = replace(stage, options=replace(stage.options, sandbox_image=""))
    assert store(alone).tmpfs == (Tmpfs("/v", 1 << 20),)


OUTSIDE: list[tuple[str, JSON, str]] = [
    # a variable, the mount, and what is said, which may not have the variable's value in it
    ("../up", {"subPathExpr": "a/$(PLACE)"}, "the subPath a/$(PLACE) leads out of its volume"),
    ("/etc", {"subPathExpr": "$(PLACE)"}, "the subPath $(PLACE) leads out of its volume"),
    ("", {"subPath": "a/../../b"}, "the subPath a/../../b leads out of its volume"),
    ("", {"subPathExpr": "$(NOTHING)"}, 'missing value for "NOTHING"'),
]


@pytest.mark.parametrize(("value", "mount", "message"), OUTSIDE)
@pytest.mark.parametrize("volume", [{"hostPath": {"path": "/data"}}, {"emptyDir": {}}, {"configMap": {"name": "c"}}])
def test_no_part_lies_outside_of_its_volume(volume: JSON, value: str, mount: JSON, message: str) -> None:
    container = {
        "env": [{"name": "PLACE", "value": value}],
        "volumeMounts": [{"name": "v", "mountPath": "/v", **mount}],
    }
    with pytest.raises(ConfigError) as error:
        set_stage(container, CONFIG, volumes=[{"name": "v", **volume}]).spec()
    assert (str(error.value), error.value.reason) == (message, "CreateContainerConfigError")


def test_a_mount_of_nothing_is_nothing() -> None:
    stage = set_stage({"volumeMounts": [{"name": "no", "mountPath": "/v"}]})
    assert (store(stage), stage.volumes()) == (Storage(), ())


def test_a_container_that_waits_has_the_volumes_of_its_pod() -> None:
    """All containers of a pod name it alike, however often each of them was started."""
    stage = put({"emptyDir": {}}, others=[{**SIDE, "volumeMounts": [{"name": "v", "mountPath": "/s"}]}])
    record = stage.record.put("side", ContainerRecord(attempt=3, started_at=NOW))
    assert stage.volumes("side", record) == stage.volumes("node", record) == stage.volumes()
