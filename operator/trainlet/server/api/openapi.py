"""OpenAPI v3 documents: what kubectl explain shows, and what tells kubectl that fields are checked here. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from trainlet.admission.crd import Crd
from trainlet.kube.meta import JSON
from trainlet.server.api.rendering import encode
from trainlet.server.api.resources import RESOURCES
from trainlet.server.api.types import Resource

_ANYTHING: JSON = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TEXT = {"type": "string"}
_QUERY = ("dryRun", "fieldManager", "fieldValidation")


class OpenApi:
    """The documents of all groups, each encoded once, with the hash that it is asked for by."""

    def __init__(self, definitions: Sequence[Crd]) -> None:
        schemas = {(each.group, each.kind): each.schema for each in definitions}
        groups = dict.fromkeys((each.group, each.version) for each in RESOURCES)
        self._documents = {_build_path(*each): encode(_build_document(*each, schemas)) for each in groups}
        self._hashes = {path: hashlib.sha256(data).hexdigest() for path, data in self._documents.items()}

    def build_index(self) -> JSON:
        """Return the answer to `/openapi/v3`: a document that changes gets another address."""
        urls = {path: f"/openapi/v3/{path}?hash={hash}" for path, hash in self._hashes.items()}
        return {"paths": {path: {"serverRelativeURL": url} for path, url in urls.items()}}

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Return a document (`apis/GROUP/VERSION`) and its hash, or None."""
        return (self._documents[path], self._hashes[path]) if path in self._documents else None


def _build_path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _build_document(group: str, version: str, schemas: Mapping[tuple[str, str], JSON]) -> JSON:
    resources = [each for each in RESOURCES if (each.group, each.version) == (group, version)]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": {_build_url(each): _build_operations(each) for each in resources},
        "components": {"schemas": {_name(each): _build_schema(each, schemas) for each in resources}},
    }


def _name(resource: Resource) -> str:
    """Return `io.k8s.api.core.v1.Pod`, `org.kubeflow.trainer.v1alpha1.TrainJob`."""
    if resource.group in ("", "batch"):
        return f"io.k8s.api.{resource.group or 'core'}.{resource.version}.{resource.kind}"
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _build_schema(resource: Resource, schemas: Mapping[tuple[str, str], JSON]) -> JSON:
    schema = schemas.get((resource.group, resource.kind)) or {
        "type": "object",
        "description": f"A {resource.kind} as Kubernetes has it.",
        "properties": {
            "apiVersion": _TEXT,
            "kind": _TEXT,
            **dict.fromkeys(("metadata", "spec", "status"), _ANYTHING),
        },
    }
    return {**schema, "x-kubernetes-group-version-kind": [_build_kind(resource)]}


def _build_url(resource: Resource) -> str:
    place = "namespaces/{namespace}/" if resource.is_namespaced else ""
    return f"/{_build_path(resource.group, resource.version)}/{place}{resource.plural}/{{name}}"


def _build_operations(resource: Resource) -> JSON:
    answer: dict[str, Any] = {
        "responses": {
            "200": {
                "description": "OK",
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_name(resource)}"}}},
            }
        },
        "x-kubernetes-group-version-kind": _build_kind(resource),
    }
    operations = {"get": {**answer, "x-kubernetes-action": "get"}}
    if "patch" in resource.verbs:
        parameters = [{"name": name, "in": "query", "schema": _TEXT} for name in _QUERY]
        operations["patch"] = {**answer, "x-kubernetes-action": "patch", "parameters": parameters}
    return operations


def _build_kind(resource: Resource) -> JSON:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}
