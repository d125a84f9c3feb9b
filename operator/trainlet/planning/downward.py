"""The downward API: what a container may know of its pod, by field and by resource."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from trainlet.apis.core_v1 import Container, ResourceFieldSelector
from trainlet.kube.quantity import parse_quantity

#: Fields that are maps; one key of them is named in brackets, and in a file all are given.
_MAPS = ("labels", "annotations")


@dataclass(frozen=True)
class Fields:
    """The fields of a pod: the plain ones by path, the maps by name; `container` is the one that asks.

    `capacity` is the machine's by resource name: what a container without a limit may use.
    """

    plain: Mapping[str, str]
    maps: Mapping[str, Mapping[str, str]]
    container: Container
    others: Mapping[str, Container]
    capacity: Mapping[str, float]

    def read_field(self, path: str) -> str:
        """Return a field as text, empty for one that is not known; a whole map as lines `key="value"`."""
        for name in _MAPS:
            if path == f"metadata.{name}":
                lines = sorted(self.maps[name].items())
                return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in lines)
            if path.startswith(f"metadata.{name}['"):
                return self.maps[name].get(path.removeprefix(f"metadata.{name}['").removesuffix("']"), "")
        return self.plain.get(path, "")

    def read_resource(self, selector: ResourceFieldSelector) -> str:
        """Return a limit or request in whole divisors, rounded up; what is not set is the machine's or 0."""
        container = self.others.get(selector.container_name, self.container)
        kind, _, name = selector.resource.partition(".")
        limits, requests = container.resources.limits, container.resources.requests
        found = limits.get(name) if kind == "limits" else requests.get(name, limits.get(name))
        amount = parse_quantity(found) if found is not None else None
        if amount is None:
            amount = parse_quantity(str(self.capacity.get(name, 0) if kind == "limits" else 0))
        divisor = parse_quantity(selector.divisor) or parse_quantity("1")
        return str(-(-amount // divisor))
