"""Our definitions written the way Kubeflow Trainer ships its own: the same meaning, another shape."""

from pathlib import Path
from typing import Any

import yaml

from trainlet.kube.meta import JSON
from trainlet.package_data import read_crds

_OTHER_KINDS = [
    ("trainer.kubeflow.org", "OptimizationJob", "optimizationjobs"),
    ("jobset.x-k8s.io", "JobSet", "jobsets"),
]


def write_upstream_crds(directory: Path) -> Path:
    """Write a file each, as controller-gen does, with the kustomization and the other kinds that lie beside them."""
    directory.mkdir(parents=True, exist_ok=True)
    for document in (*map(_reshape, read_crds()), *(_build_other(*other) for other in _OTHER_KINDS)):
        path = directory / f"{document['spec']['group']}_{document['spec']['names']['plural']}.yaml"
        text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=True)  # the other takes seconds
        path.write_text(f"---\n{text}", encoding="utf-8")
    resources = {"resources": [path.name for path in sorted(directory.iterdir())]}
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **resources}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return directory


def _reshape(document: JSON) -> JSON:
    """Describe every field, leave ObjectMeta open, and add an older version that is not stored."""
    [version] = document["spec"]["versions"]
    schema = _describe(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    older = {"name": "v1alpha0", "served": False, "storage": False, "schema": {"openAPIV3Schema": {"type": "object"}}}
    stored = {**version, "schema": {"openAPIV3Schema": schema}}
    annotations = {"controller-gen.kubebuilder.io/version": "v0.20.1"}
    return {
        **document,
        "metadata": {"annotations": annotations, "name": document["metadata"]["name"]},
        "spec": {**document["spec"], "conversion": {"strategy": "None"}, "versions": [older, stored]},
    }


def _describe(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_describe(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    described = {
        name: {key: _describe(value) for key, value in child.items()} if name == "properties" else _describe(child)
        for name, child in schema.items()
    }
    return {**described, "description": "What it is for."} if "type" in schema else described


def _build_other(group: str, kind: str, plural: str) -> JSON:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
