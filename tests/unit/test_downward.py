"""What a container may know of its pod: fields, whole maps of them, and resources in parts."""

import pytest

from trainlet.apis.core_v1 import Container, ResourceFieldSelector
from trainlet.kube.meta import JSON
from trainlet.planning.downward import Fields

GIB = 1 << 30
LABELS = {"b": "2", "a/c": 'say "1"\n\\'}
NODE = Container.of(
    {
        "name": "node",
        "resources": {
            "limits": {"cpu": "1500m", "memory": "1Gi", "hugepages-2Mi": "4Mi"},
            "requests": {"cpu": "250m"},
        },
    }
)
SIDE = Container.of({"name": "side", "resources": {"requests": {"memory": "100M"}}})
FIELDS = Fields(
    plain={"metadata.name": "pod", "status.podIP": "10.0.0.2"},
    maps={"labels": LABELS, "annotations": {}},
    container=NODE,
    others={"node": NODE, "side": SIDE},
    capacity={"cpu": 8.0, "memory": 16.0 * GIB, "ephemeral-storage": 1e20},
)

READ = [
    ("metadata.name", "pod"),
    ("status.podIP", "10.0.0.2"),
    ("spec.later", ""),
    ("metadata.labels['b']", "2"),
    ("metadata.labels['a/c']", 'say "1"\n\\'),
    ("metadata.labels['c']", ""),
    # Sorted, quoted as Go does it, and no line end after the last (pkg/fieldpath).
    ("metadata.labels", 'a/c="say \\"1\\"\\n\\\\"\nb="2"'),
    ("metadata.annotations", ""),
]


@pytest.mark.parametrize(("path", "text"), READ)
def test_fields(path: str, text: str) -> None:
    assert FIELDS.read_field(path) == text


RESOURCES: list[tuple[JSON, str]] = [
    ({"resource": "limits.cpu"}, "2"),
    ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
    ({"resource": "limits.cpu", "divisor": 1}, "2"),
    ({"resource": "limits.cpu", "divisor": "0"}, "2"),
    ({"resource": "requests.cpu"}, "1"),
    ({"resource": "requests.cpu", "divisor": "1m"}, "250"),
    ({"resource": "limits.memory"}, str(GIB)),
    ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
    ({"resource": "limits.memory", "divisor": "1G"}, "2"),
    # What is requested is the limit where it is not said.
    ({"resource": "requests.memory", "divisor": "1Gi"}, "1"),
    ({"resource": "limits.hugepages-2Mi"}, str(4 << 20)),
    # Of another container, and of the machine where a container has no limit.
    ({"resource": "requests.memory", "containerName": "side", "divisor": "1M"}, "100"),
    ({"resource": "requests.cpu", "containerName": "side"}, "0"),
    ({"resource": "limits.cpu", "containerName": "side"}, "8"),
    ({"resource": "limits.memory", "containerName": "side", "divisor": "1Gi"}, "16"),
    ({"resource": "limits.ephemeral-storage"}, str(10**20)),
    ({"resource": "limits.hugepages-2Mi", "containerName": "side"}, "0"),
]


@pytest.mark.parametrize(("selector", "text"), RESOURCES)
def test_resources_are_whole_parts_rounded_up(selector: JSON, text: str) -> None:
    assert FIELDS.read_resource(ResourceFieldSelector.of(selector)) == text
