"""Runtime patches merge into the template as a strategic merge patch does: by key, in the patch's order."""

from typing import Any

import pytest

from builders import build_job, build_pod_patch, build_runtime
from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset
from trainlet.planning.patches import apply_patches, is_same_patch


def patch_template(template: JSON) -> JSON:
    return {"manager": "acme.io/a", "trainingRuntimeSpec": {"template": template}}


def wrap(pod: JSON) -> JSON:
    return {"template": {"spec": pod}}


def pod_after(pod: JSON, *patches: JSON) -> JSON:
    """Return the pod spec of `node` with the patches in it."""
    template = {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": wrap(pod)}}]}}
    patched = apply_patches(template, [build_pod_patch("node", **patch) for patch in patches])
    merged: JSON = patched["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    return merged


def env(*entries: tuple[str, str]) -> list[JSON]:
    return [{"name": name, "value": value} for name, value in entries]


FIELDS: dict[str, tuple[JSON, JSON, JSON]] = {
    # name: (the runtime's pod, the patch, what comes out)
    "env, upstream's vector": (
        {"initContainers": [{"name": "i", "image": "x", "env": env(("INIT_ENV", "1"), ("DATASET_PATH", "2"))}]},
        {"initContainers": [{"name": "i", "env": env(("INIT_ENV", "3"), ("NEW_VALUE", "4"))}]},
        {
            "initContainers": [
                {"name": "i", "image": "x", "env": env(("INIT_ENV", "3"), ("NEW_VALUE", "4"), ("DATASET_PATH", "2"))}
            ]
        },
    ),
    "init containers by name": (
        {"initContainers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]},
        {"initContainers": [{"name": "b", "securityContext": {"runAsUser": 1}}]},
        {
            "initContainers": [
                {"name": "a", "image": "x"},
                {"name": "b", "image": "y", "securityContext": {"runAsUser": 1}},
            ]
        },
    ),
    "a container that is not there comes first": (
        {"containers": [{"name": "node", "image": "x"}]},
        {"containers": [{"name": "side"}]},
        {"containers": [{"name": "side"}, {"name": "node", "image": "x"}]},
    ),
    "mounts by path, not by name": (
        {"containers": [{"name": "node", "volumeMounts": [{"name": "a", "mountPath": "/a", "readOnly": True}]}]},
        {
            "containers": [
                {"name": "node", "volumeMounts": [{"name": "b", "mountPath": "/a"}, {"name": "a", "mountPath": "/b"}]}
            ]
        },
        {
            "containers": [
                {
                    "name": "node",
                    "volumeMounts": [
                        {"name": "b", "mountPath": "/a", "readOnly": True},
                        {"name": "a", "mountPath": "/b"},
                    ],
                }
            ]
        },
    ),
    "a volume keeps its old source too": (
        {"volumes": [{"name": "v", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "configMap": {"name": "c"}}]},
        {"volumes": [{"name": "v", "emptyDir": {}, "configMap": {"name": "c"}}]},
    ),
    "secrets and gates by name": (
        {"imagePullSecrets": [{"name": "a"}, {"name": "c"}], "schedulingGates": [{"name": "a"}]},
        {"imagePullSecrets": [{"name": "b"}, {"name": "a"}], "schedulingGates": [{"name": "b"}]},
        {
            "imagePullSecrets": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
            "schedulingGates": [{"name": "b"}, {"name": "a"}],
        },
    ),
    "tolerations are replaced": (
        {"tolerations": [{"key": "a"}]},
        {"tolerations": [{"key": "b"}]},
        {"tolerations": [{"key": "b"}]},
    ),
    "nodeSelector by key": (
        {"nodeSelector": {"a": "1", "b": "2"}},
        {"nodeSelector": {"b": "", "c": "3"}},
        {"nodeSelector": {"a": "1", "b": "", "c": "3"}},
    ),
    "affinity and securityContext by field": (
        {"affinity": {"nodeAffinity": {"x": [1]}}, "securityContext": {"runAsUser": 1, "fsGroup": 2}},
        {"affinity": {"podAffinity": {"y": [2]}, "nodeAffinity": {"x": [3]}}, "securityContext": {"runAsUser": 0}},
        {
            "affinity": {"nodeAffinity": {"x": [3]}, "podAffinity": {"y": [2]}},
            "securityContext": {"runAsUser": 0, "fsGroup": 2},
        },
    ),
    "a scalar is replaced": (
        {"terminationGracePeriodSeconds": 30},
        {"terminationGracePeriodSeconds": 0, "serviceAccountName": "me"},
        {"terminationGracePeriodSeconds": 0, "serviceAccountName": "me"},
    ),
    "null and an empty list change nothing": (
        {"serviceAccountName": "me", "tolerations": [{"key": "a"}], "nodeSelector": {"a": "1"}},
        {"serviceAccountName": None, "tolerations": [], "nodeSelector": {"a": None}},
        {"serviceAccountName": "me", "tolerations": [{"key": "a"}], "nodeSelector": {"a": "1"}},
    ),
}


@pytest.mark.parametrize(("pod", "patch", "expected"), FIELDS.values(), ids=FIELDS)
def test_how_each_field_is_merged(pod: JSON, patch: JSON, expected: JSON) -> None:
    assert pod_after(pod, patch) == expected
    assert pod_after(pod, patch, patch) == expected, "the same again changes nothing"


ORDERS = [
    # names there, names patched -> the order
    ("abc", "b", "abc"),
    ("abc", "ca", "bca"),
    ("abc", "x", "xabc"),
    ("abc", "bx", "abxc"),
    ("abc", "xb", "xabc"),
    ("abcd", "db", "acdb"),
    ("", "ba", "ba"),
]


@pytest.mark.parametrize(("there", "patched", "order"), ORDERS)
def test_patched_items_keep_their_order_and_others_go_before_what_they_stood_before(
    there: str, patched: str, order: str
) -> None:
    merged = pod_after({"volumes": [{"name": n} for n in there]}, {"volumes": [{"name": n} for n in patched]})
    assert "".join(volume["name"] for volume in merged["volumes"]) == order


def test_of_several_patches_the_last_wins_field_by_field() -> None:
    merged = pod_after({}, {"serviceAccountName": "a", "nodeSelector": {"x": "1"}}, {"serviceAccountName": "b"})
    assert merged == {"serviceAccountName": "b", "nodeSelector": {"x": "1"}}


def test_replicated_jobs_stay_in_the_runtime_s_order_and_new_ones_come_last() -> None:
    template = {"spec": {"replicatedJobs": [{"name": "first"}, {"name": "second"}]}}
    names = [{"name": name} for name in ("new", "second")]
    merged = apply_patches(template, [patch_template({"spec": {"replicatedJobs": names}})])
    assert [rjob["name"] for rjob in merged["spec"]["replicatedJobs"]] == ["first", "second", "new"]


NO_PATCHES: list[list[JSON]] = [
    [],
    [{"manager": "acme.io/a"}],
    [patch_template({})],
    [patch_template({"spec": {}, "metadata": {"name": "ignored", "labels": {}}})],
    [patch_template({"spec": {"replicatedJobs": []}})],
]


@pytest.mark.parametrize("patches", NO_PATCHES, ids=range(5))
def test_a_patch_of_nothing_changes_nothing(patches: list[JSON]) -> None:
    template = build_runtime()["spec"]["template"]
    assert apply_patches(template, patches) == template


def test_of_the_metadata_only_labels_and_annotations_go_to_the_jobset() -> None:
    runtime = build_runtime()
    runtime["spec"]["template"]["metadata"] = {"labels": {"a": "1", "b": "2"}}
    metadata = {"name": "no", "finalizers": ["no"], "labels": {"b": "3"}, "annotations": {"c": "4"}}
    job = TrainJob.of(build_job(runtimePatches=[patch_template({"metadata": metadata})]))
    built = build_jobset(job, runtime)["metadata"]
    assert (built["name"], built["labels"], built["annotations"]) == ("mnist", {"a": "1", "b": "3"}, {"c": "4"})
    assert "finalizers" not in built


def test_the_jobset_has_the_patches_in_it() -> None:
    metadata = {"labels": {"p": "1"}}
    rjob = {
        "name": "node",
        "template": {"metadata": metadata, "spec": {"template": {"metadata": metadata, "spec": {}}}},
    }
    patches = [
        patch_template({"spec": {"replicatedJobs": [rjob]}}),
        build_pod_patch("node", terminationGracePeriodSeconds=300),
    ]
    job = TrainJob.of(build_job(runtimePatches=patches, trainer={"image": "mine:1"}))
    [built] = build_jobset(job, build_runtime())["spec"]["replicatedJobs"]
    template = built["template"]
    assert template["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer", "p": "1"}
    pod = template["spec"]["template"]
    assert pod["metadata"]["labels"] == {"p": "1"}
    assert (pod["spec"]["terminationGracePeriodSeconds"], pod["spec"]["containers"][0]["image"]) == (300, "mine:1")


def test_upstream_s_vector_of_everything_at_once() -> None:
    init = {"name": "prepare", "image": "i:1", "env": env(("INIT_ENV", "original"), ("DATASET_PATH", "s3://d"))}
    runtime = build_runtime(pod={"initContainers": [init]})
    template = {
        "metadata": {"labels": {"pod": "label"}, "annotations": {"pod": "annotation"}},
        "spec": {
            "serviceAccountName": "sa",
            "initContainers": [{"name": "prepare", "env": env(("INIT_ENV", "patched"), ("NEW_VALUE", "new"))}],
        },
    }
    rjob = {"name": "node", "template": {"spec": {"template": template}}}
    job = TrainJob.of(build_job(runtimePatches=[patch_template({"spec": {"replicatedJobs": [rjob]}})]))
    [built] = build_jobset(job, runtime)["spec"]["replicatedJobs"]
    merged = env(("INIT_ENV", "patched"), ("NEW_VALUE", "new"), ("DATASET_PATH", "s3://d"))
    assert built["template"]["spec"]["template"] == {
        "metadata": template["metadata"],
        "spec": {
            "serviceAccountName": "sa",
            "initContainers": [{**init, "env": merged}],
            "containers": [{"name": "node", "image": "image:1"}],
        },
    }


def test_nothing_given_is_changed() -> None:
    template, patches = build_runtime()["spec"]["template"], [build_pod_patch("node", containers=[{"name": "node"}])]
    before = repr((template, patches))
    apply_patches(template, patches)
    assert repr((template, patches)) == before


SAME: list[tuple[Any, Any, bool]] = [
    ({"manager": "a", "time": "1"}, {"manager": "a", "time": "2"}, True),
    ({"manager": "a", "time": "1"}, {"manager": "a"}, True),
    ({"manager": "a"}, {"manager": "b"}, False),
    ({"manager": "a", "x": {"y": []}}, {"manager": "a", "x": {}}, True),
    ({"manager": "a", "x": {"y": None}}, {"manager": "a", "x": {}}, True),
    ({"manager": "a", "x": [{"y": []}]}, {"manager": "a", "x": [{}]}, True),
    ({"manager": "a", "x": [1, 2]}, {"manager": "a", "x": [2, 1]}, False),
    ({"manager": "a", "x": {"time": "1"}}, {"manager": "a", "x": {"time": "2"}}, False),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME, ids=range(len(SAME)))
def test_which_entries_ask_for_the_same(one: JSON, other: JSON, same: bool) -> None:
    assert is_same_patch(one, other) is same
    assert is_same_patch(other, one) is same
