"""lightkube: a generic resource for TrainJobs, all kinds of patches, watches and waits."""

import pytest
from lightkube import ApiError, Client
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Event, Pod
from lightkube.types import PatchType

TrainJob = create_namespaced_resource("trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs")
trainer = {"numNodes": 1, "image": "localhost/trainlet-python:test", "command": ["sh", "-c", "echo by lightkube"]}


def build_job(**fields):
    spec = {"runtimeRef": {"name": "plain"}, "trainer": trainer}
    return TrainJob(metadata=ObjectMeta(name="with-lightkube", namespace="default", **fields), spec=spec)


client = Client(field_manager="tests")
client.create(build_job())
with pytest.raises(ApiError) as refused:
    client.create(build_job())
assert refused.value.status.reason == "AlreadyExists", refused.value.status
with pytest.raises(ApiError) as refused:
    client.patch(TrainJob, "with-lightkube", {}, namespace="default")
assert refused.value.response.status_code == 415, refused.value
body = {"metadata": {"labels": {"team": "blue"}}}
client.patch(TrainJob, "with-lightkube", body, namespace="default", patch_type=PatchType.MERGE)
assert client.apply(build_job(labels={"round": "two"}), force=True).metadata.labels["round"] == "two"
client.wait(TrainJob, "with-lightkube", for_conditions=["Complete"], namespace="default")
found = list(client.list(TrainJob, namespace="default", labels={"team": "blue"}))
assert [each.metadata.name for each in found] == ["with-lightkube"]
[pod] = client.list(Pod, namespace="default", labels={"jobset.sigs.k8s.io/jobset-name": "with-lightkube"})
assert pod.status.phase == "Succeeded"
assert list(client.log(pod.metadata.name, namespace="default")) == ["by lightkube\n"]
assert any(each.involvedObject.name == "with-lightkube" for each in client.list(Event, namespace="default"))
client.create(ConfigMap(metadata=ObjectMeta(name="with-lightkube", namespace="default"), data={"a": "1"}))
assert client.patch(ConfigMap, "with-lightkube", {"data": {"b": "2"}}, namespace="default").data == {"a": "1", "b": "2"}
client.delete(ConfigMap, "with-lightkube", namespace="default")
for kind, job in client.watch(TrainJob, namespace="default", fields={"metadata.name": "with-lightkube"}):
    if kind == "ADDED":
        client.delete(TrainJob, "with-lightkube", namespace="default")
    if kind == "DELETED":
        assert job.metadata.name == "with-lightkube"
        break
