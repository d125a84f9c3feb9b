"""Every resource that is served, with what clients may do to it."""

from trainlet.apis.trainer import GROUP
from trainlet.server.api.types import Resource

_READ = frozenset({"get", "list", "watch"})
_WRITE = _READ | {"create", "update", "patch", "delete", "deletecollection"}

RESOURCES = (
    Resource(GROUP, "v1alpha1", "TrainJob", "trainjobs", verbs=_WRITE, short_names=("tj",), subresources=("status",)),
    Resource(GROUP, "v1alpha1", "TrainingRuntime", "trainingruntimes", verbs=_WRITE, short_names=("tr",)),
    Resource(GROUP, "v1alpha1", "ClusterTrainingRuntime", "clustertrainingruntimes", False, _WRITE, ("ctr",)),
    Resource("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets"),
    Resource("batch", "v1", "Job", "jobs", categories=("all",)),
    Resource(
        "",
        "v1",
        "Pod",
        "pods",
        verbs=_READ | {"delete", "deletecollection"},
        short_names=("po",),
        categories=("all",),
        subresources=("log", "exec", "attach", "status"),
    ),
    Resource("", "v1", "Event", "events", verbs=_READ | {"create", "patch"}, short_names=("ev",)),
    Resource("", "v1", "ConfigMap", "configmaps", verbs=_WRITE, short_names=("cm",)),
    Resource("", "v1", "Secret", "secrets", verbs=_WRITE),
    Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", verbs=_WRITE, short_names=("pvc",)),
    Resource("", "v1", "Namespace", "namespaces", False, short_names=("ns",)),
    Resource("", "v1", "Node", "nodes", False, short_names=("no",)),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
    ),
)

BY_PLURAL = {(each.group, each.version, each.plural): each for each in RESOURCES}
