"""What clients ask before anything else: which groups and resources there are, and what they are called. Pure."""

from collections.abc import Callable, Iterable, Mapping

from trainlet.kube.meta import JSON
from trainlet.server.api.resources import RESOURCES
from trainlet.server.api.types import Resource

#: Writes go to what is named; reads of a subresource that streams are gets.
_SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"),
    "log": ("get",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
}
#: A subresource whose documents are of another kind than its resource's.
_SUBRESOURCE_KINDS = {"exec": "PodExecOptions", "attach": "PodAttachOptions"}
_AGGREGATED = ("v2", "v2beta1")


def build_core_versions() -> JSON:
    """Return the answer to `/api`."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def build_groups() -> JSON:
    """Return the answer to `/apis`."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_build_group(*each) for each in _list_groups()]}


def find_group(group: str) -> JSON | None:
    """Return the answer to `/apis/GROUP`, or None."""
    found = next((each for each in _list_groups() if each[0] == group), None)
    return {"kind": "APIGroup", "apiVersion": "v1", **_build_group(*found)} if found else None


def find_resources(group: str, version: str) -> JSON | None:
    """Return the answer to `/api/v1` or `/apis/GROUP/VERSION`, or None."""
    found = [each for each in RESOURCES if (each.group, each.version) == (group, version)]
    if not found:
        return None
    entries = [entry for each in found for entry in _build_entries(each)]
    name = found[0].api_version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def find_aggregated(accept: str, groups: Callable[[str], bool]) -> tuple[str, JSON] | None:
    """Return the media type and document that say all at once, or None if the client does not know it."""
    for entry in accept.split(","):
        parameters = {part.strip() for part in entry.split(";")}
        for version in _AGGREGATED:
            wanted = {"application/json", "g=apidiscovery.k8s.io", f"v={version}", "as=APIGroupDiscoveryList"}
            if wanted <= parameters:
                media_type = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                return media_type, _build_aggregated(version, groups)
    return None


def is_core(group: str) -> bool:
    """Tell whether a group is the one without a name."""
    return not group


def is_named(group: str) -> bool:
    """Tell whether a group has a name."""
    return bool(group)


def _list_groups() -> list[tuple[str, str]]:
    """Return the named groups with their one version, in the order of the resources."""
    return list(dict.fromkeys((each.group, each.version) for each in RESOURCES if each.group))


def _build_group(group: str, version: str) -> JSON:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _build_entries(resource: Resource) -> Iterable[JSON]:
    yield {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": sorted(resource.verbs),
        **_build_names(resource),
    }
    for each in resource.subresources:
        yield {
            "name": f"{resource.plural}/{each}",
            "singularName": "",
            "namespaced": resource.is_namespaced,
            "kind": _SUBRESOURCE_KINDS.get(each, resource.kind),
            "verbs": list(_SUBRESOURCE_VERBS[each]),
        }


def _build_names(resource: Resource) -> Mapping[str, list[str]]:
    names = {"shortNames": list(resource.short_names), "categories": list(resource.categories)}
    return {key: value for key, value in names.items() if value}


def _build_aggregated(version: str, groups: Callable[[str], bool]) -> JSON:
    found: dict[str, dict[str, list[Resource]]] = {}
    for each in RESOURCES:
        if groups(each.group):
            found.setdefault(each.group, {}).setdefault(each.version, []).append(each)
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [
                {"version": name, "freshness": "Current", "resources": [_build_discovered(each) for each in resources]}
                for name, resources in versions.items()
            ],
        }
        for group, versions in found.items()
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _build_discovered(resource: Resource) -> JSON:
    return {
        "resource": resource.plural,
        "responseKind": _build_kind(resource, resource.kind),
        "scope": "Namespaced" if resource.is_namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": sorted(resource.verbs),
        **_build_names(resource),
        **({"subresources": list(map(_build_part(resource), resource.subresources))} if resource.subresources else {}),
    }


def _build_part(resource: Resource) -> Callable[[str], JSON]:
    def build(name: str) -> JSON:
        kind = _SUBRESOURCE_KINDS.get(name, resource.kind)
        verbs = list(_SUBRESOURCE_VERBS[name])
        return {"subresource": name, "responseKind": _build_kind(resource, kind), "verbs": verbs}

    return build


def _build_kind(resource: Resource, kind: str) -> JSON:
    return {"group": resource.group, "version": resource.version, "kind": kind}
