"""The official client: custom objects, core kinds, watches, the dynamic client."""

import threading
import time

import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException

GROUP = {"group": "trainer.kubeflow.org", "version": "v1alpha1", "namespace": "default", "plural": "trainjobs"}


def build_job(name, command, **spec):
    trainer = {"numNodes": 1, "image": "localhost/trainlet-python:test", "command": ["sh", "-c", command]}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": {"runtimeRef": {"name": "plain"}, "trainer": trainer, **spec},
    }


config.load_kube_config()
custom, core, batch = client.CustomObjectsApi(), client.CoreV1Api(), client.BatchV1Api()

# Custom objects
made = custom.create_namespaced_custom_object(**GROUP, body=build_job("official", "true", suspend=True))
assert made["metadata"]["uid"], made
with pytest.raises(ApiException) as refused:
    custom.create_namespaced_custom_object(**GROUP, body=build_job("official", "true"))
assert (refused.value.status, "AlreadyExists" in refused.value.body) == (409, True)
label = {"metadata": {"labels": {"team": "blue"}}}
patched = custom.patch_namespaced_custom_object(**GROUP, name="official", body=label)
assert patched["metadata"]["labels"] == {"team": "blue"}, patched
found = custom.list_namespaced_custom_object(**GROUP, label_selector="team=blue")["items"]
assert [each["metadata"]["name"] for each in found] == ["official"]
read = custom.get_namespaced_custom_object(**GROUP, name="official")
read["spec"]["suspend"] = False
stale = {**read, "metadata": {**read["metadata"], "resourceVersion": made["metadata"]["resourceVersion"]}}
custom.replace_namespaced_custom_object(**GROUP, name="official", body=read)
with pytest.raises(ApiException) as refused:
    custom.replace_namespaced_custom_object(**GROUP, name="official", body=stale)
assert refused.value.status == 409

# Watches
seen = []
for event in watch.Watch().stream(
    custom.list_namespaced_custom_object, **GROUP, field_selector="metadata.name=official", timeout_seconds=60
):
    conditions = event["object"].get("status", {}).get("conditions", [])
    seen += [each["type"] for each in conditions if each["status"] == "True"]
    if "Complete" in seen:
        break
assert "Complete" in seen, seen

# Core kinds, as the models want them
[pod] = core.list_namespaced_pod("default", label_selector="jobset.sigs.k8s.io/jobset-name=official").items
assert pod.status.phase == "Succeeded", pod.status
assert core.read_namespaced_pod(pod.metadata.name, "default").spec.containers[0].name == "node"
assert core.read_namespaced_pod_log(pod.metadata.name, "default", container="node", tail_lines=10) == ""
assert batch.read_namespaced_job("official-node-0", "default").metadata.labels
assert [each for each in core.list_namespaced_event("default").items if each.involved_object.name == "official"]
assert core.list_node().items[0].status.capacity["cpu"]
assert core.read_namespaced_config_map("kubeflow-trainer-public", "kubeflow-system").data["kubeflow_trainer_version"]
core.create_namespaced_config_map(
    "default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="official"), data={"a": "1"})
)
assert core.patch_namespaced_config_map("official", "default", {"data": {"b": "2"}}).data == {"a": "1", "b": "2"}
core.delete_namespaced_config_map("official", "default")
secret = client.V1Secret(metadata=client.V1ObjectMeta(name="official"), string_data={"a": "1"})
assert core.create_namespaced_secret("default", secret).data == {"a": "MQ=="}
core.delete_namespaced_secret("official", "default")

# The dynamic client
jobs = dynamic.DynamicClient(client.ApiClient()).resources.get(
    api_version="trainer.kubeflow.org/v1alpha1", kind="TrainJob"
)
jobs.create(body=build_job("dynamic", "true", suspend=True), namespace="default")
merge = {"content_type": "application/merge-patch+json"}
body = {"metadata": {"annotations": {"note": "x"}}}
assert jobs.patch(body=body, name="dynamic", namespace="default", **merge).metadata.annotations.note == "x"
applied = build_job("dynamic", "true", suspend=True) | {"metadata": {"name": "dynamic", "labels": {"team": "red"}}}
applied["spec"].pop("trainer")
assert (
    jobs.server_side_apply(
        body=applied, name="dynamic", namespace="default", field_manager="tests", force_conflicts=True
    ).metadata.labels.team
    == "red"
)
names = {each.metadata.name for each in jobs.get(namespace="default").items}
assert {"official", "dynamic"} <= names, names
there, gone = threading.Event(), threading.Event()


def await_end():
    for event in jobs.watch(namespace="default", timeout=30):
        if event["object"].metadata.name == "dynamic":
            there.set()
            if event["type"] == "DELETED":
                gone.set()
                return


waiting = threading.Thread(target=await_end)
waiting.start()
assert there.wait(30), "a watch begins with what is there"
jobs.delete(name="dynamic", namespace="default")
waiting.join()
assert gone.is_set()
custom.delete_namespaced_custom_object(**GROUP, name="official")


def read_until_gone(seconds):
    """Read it again and again: what runs has to end before it goes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert custom.get_namespaced_custom_object(**GROUP, name="official")["metadata"]["deletionTimestamp"]


with pytest.raises(ApiException, match="not found"):
    read_until_gone(30)
