"""kr8s: a class of its own for TrainJobs, from creation over conditions to the end."""

import kr8s
from kr8s.objects import ConfigMap, Pod, new_class

TrainJob = new_class("TrainJob", version="trainer.kubeflow.org/v1alpha1", namespaced=True, plural="trainjobs")

trainer = {"numNodes": 1, "image": "localhost/trainlet-python:test", "command": ["sh", "-c", "echo by kr8s"]}
job = TrainJob(
    {
        "metadata": {"name": "with-kr8s", "namespace": "default"},
        "spec": {"runtimeRef": {"name": "plain"}, "trainer": trainer},
    }
)
job.create()
assert job.exists()
job.label({"team": "blue"})
job.annotate({"note": "x"})
while "status" not in job.raw:  # its wait knows no object without one
    job.refresh()
job.wait("condition=Complete", timeout=60)
[found] = kr8s.get("trainjobs.trainer.kubeflow.org", namespace="default", label_selector="team=blue")
assert found.name == "with-kr8s", found
[pod] = kr8s.get("pods", namespace="default", label_selector="jobset.sigs.k8s.io/jobset-name=with-kr8s")
assert list(Pod.get(pod.name, namespace="default").logs(container="node")) == ["by kr8s"]
job.patch([{"op": "add", "path": "/metadata/labels/team", "value": "red"}], type="json")
job.refresh()
assert job.labels["team"] == "red", job.labels
config = ConfigMap({"metadata": {"name": "with-kr8s", "namespace": "default"}, "data": {"a": "1"}})
config.create()
config.patch({"data": {"b": "2"}})
assert dict(config.data) == {"a": "1", "b": "2"}, config.data
config.delete()
for kind, changed in kr8s.watch("trainjobs.trainer.kubeflow.org", namespace="default"):
    if (kind, changed.name) == ("ADDED", "with-kr8s"):
        break
job.delete()
job.wait("delete", timeout=30)
assert not job.exists()
