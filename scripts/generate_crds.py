"""Write crds/*.json: structure from two published packages, what those packages lost from crds/overlay.yaml.

    kubeflow_trainer_api    every path, type, required field and core default of TrainJob, runtimes and JobSet
    kubernetes-validate     integer formats and list and map types of the Kubernetes core types
    crds/overlay.yaml       the rest: limits, enums, rules, the trainer's own defaults and descriptions

No description of either package is carried over. The output is sorted: writing it again gives the same bytes.
Neither package is needed to run the program, only to run this script: `make crds`.
"""

import argparse
import json
import typing
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module, metadata, resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

Schema = dict[str, Any]

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
CRDS_DIRECTORY = Path(__file__).parent.parent / "crds"
OVERLAY_FILE = CRDS_DIRECTORY / "overlay.yaml"
KUBERNETES_DEFINITIONS = "kubernetes-json-schema/v1.37.0-local/_definitions.json"

SCALARS: dict[type, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
}
INT_OR_STRING: Schema = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
}
_DECIMAL = r"(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
QUANTITY: Schema = {
    **INT_OR_STRING,
    "pattern": rf"^(\+|-)?{_DECIMAL}(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?{_DECIMAL}))?$",
}
# The part of ObjectMeta that means something inside a template; a server sets the rest.
EMBEDDED_METADATA: Schema = {
    "type": "object",
    "properties": {
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "name": {"type": "string"},
        "namespace": {"type": "string"},
    },
}
SPECIAL: dict[str, Schema] = {
    "IoK8sApimachineryPkgApiResourceQuantity": QUANTITY,
    "IoK8sApimachineryPkgUtilIntstrIntOrString": INT_OR_STRING,
    "IoK8sApimachineryPkgApisMetaV1ObjectMeta": EMBEDDED_METADATA,
}
CARRIED_FACTS = ("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type")


class Generator:
    """Turns the classes of kubeflow_trainer_api into structural schemas."""

    def __init__(self, layers: Sequence[dict[str, Schema]], definitions: dict[str, Schema]) -> None:
        self._models = import_module("kubeflow_trainer_api.models")
        self._layers = layers
        # IoK8sApiCoreV1PodSpec is how the model package spells io.k8s.api.core.v1.PodSpec.
        self._definitions = {name.replace(".", "").lower(): body for name, body in definitions.items()}
        self.used: set[str] = set()

    def build_root(self, name: str) -> Schema:
        """Build the schema of a whole object; its metadata belongs to the API server."""
        schema = self._build_type(getattr(self._models, name))
        schema["properties"]["metadata"] = {"type": "object"}
        return schema

    def _build_type(self, model: type[BaseModel]) -> Schema:
        if model.__name__ in SPECIAL:
            return self._lay_over(SPECIAL[model.__name__], model.__name__)
        schema: Schema = {"type": "object", "properties": self._build_properties(model)}
        required = sorted(_json_name(n, f) for n, f in model.model_fields.items() if f.is_required())
        if required:
            schema["required"] = required
        definition = self._definitions.get(model.__name__.lower(), {})
        schema |= {fact: definition[fact] for fact in CARRIED_FACTS if fact in definition}
        return self._lay_over(schema, model.__name__)

    def _build_properties(self, model: type[BaseModel]) -> Schema:
        core = self._definitions.get(model.__name__.lower(), {}).get("properties", {})
        properties = {}
        for name, field in model.model_fields.items():
            schema = dict(self._build_annotation(field.annotation))
            if field.default is not None and not field.is_required():
                schema["default"] = field.default
            properties[_json_name(name, field)] = _carry_facts(schema, core.get(_json_name(name, field), {}))
        return properties

    def _build_annotation(self, annotation: Any) -> Schema:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is None:
            return SCALARS.get(annotation) or self._build_type(annotation)
        if origin is list:
            return {"type": "array", "items": self._build_annotation(arguments[0])}
        if origin is dict:
            return self._build_map(arguments[1])
        return self._build_annotation(arguments[0])  # Optional[T] and Annotated[T, ...]

    def _build_map(self, value: Any) -> Schema:
        # Dict[str, Any] is the model package's word for a struct without fields.
        if value is Any:
            return {"type": "object"}
        return {"type": "object", "additionalProperties": self._build_annotation(value)}

    def _lay_over(self, schema: Schema, name: str) -> Schema:
        for layer in self._layers:
            if name in layer:
                self.used.add(name)
                schema = merge_facts(schema, layer[name], name)
        return schema


def _json_name(name: str, field: Any) -> str:
    return str(field.alias or name)


def _carry_facts(schema: Schema, definition: Schema) -> Schema:
    carried = {fact: definition[fact] for fact in CARRIED_FACTS if fact in definition}
    if schema.get("type") == "integer" and "format" in definition:
        carried["format"] = definition["format"]
    return schema | carried


def merge_facts(schema: Schema, facts: Schema, where: str) -> Schema:
    """Lay a partial schema over a schema. Raises SystemExit for a property that does not exist."""
    merged = dict(schema)
    for keyword, value in facts.items():
        if keyword == "properties":
            merged["properties"] = _merge_properties(schema["properties"], value, where)
        elif keyword == "items":
            merged["items"] = merge_facts(schema["items"], value, f"{where}[]")
        else:
            merged[keyword] = value
    return merged


def _merge_properties(properties: Schema, facts: Schema, where: str) -> Schema:
    strangers = sorted(set(facts) - set(properties))
    if strangers:
        raise SystemExit(f"{OVERLAY_FILE.name}: {where} has no property {', '.join(strangers)}")
    return properties | {n: merge_facts(properties[n], facts[n], f"{where}.{n}") for n in facts}


def build_crds() -> dict[str, dict[str, Any]]:
    """Build every CustomResourceDefinition, by file name."""
    overlay = yaml.safe_load(OVERLAY_FILE.read_text(encoding="utf-8"))
    definitions = json.loads(
        resources.files("kubernetes_validate").joinpath(KUBERNETES_DEFINITIONS).read_text(encoding="utf-8")
    )["$defs"]
    layers = (_expand_descriptions(overlay["descriptions"]), overlay["types"])
    generator = Generator(layers, definitions)
    crds = {
        f"{resource['names']['plural']}.json": _build_crd(resource, generator.build_root(resource["model"]))
        for resource in overlay["resources"]
    }
    unused = sorted(set().union(*layers) - generator.used)
    if unused:
        raise SystemExit(f"{OVERLAY_FILE.name}: no resource uses the type {', '.join(unused)}")
    return crds


def _expand_descriptions(descriptions: dict[str, dict[str, str]]) -> dict[str, Schema]:
    """Build the partial schemas that a table of descriptions, by class and field, stands for."""
    return {
        name: {"properties": {field: {"description": text} for field, text in texts.items()}}
        for name, texts in descriptions.items()
    }


def _build_crd(resource: dict[str, Any], schema: Schema) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource['names']['plural']}.{GROUP}",
            "annotations": _build_provenance(),
        },
        "spec": {
            "group": GROUP,
            "names": resource["names"],
            "scope": resource["scope"],
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    **resource["version"],
                }
            ],
        },
    }


def _build_provenance() -> dict[str, str]:
    sources = (f"{name} {metadata.version(name)}" for name in ("kubeflow_trainer_api", "kubernetes-validate"))
    return {"trainlet.dev/generated-by": f"scripts/generate_crds.py from {', '.join(sources)}"}


def render(crd: dict[str, Any]) -> str:
    """Render one definition the way it is committed."""
    return json.dumps(crd, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=CRDS_DIRECTORY, help="directory to write to")
    directory = parser.parse_args().output
    for name, crd in build_crds().items():
        (directory / name).write_text(render(crd), encoding="utf-8")


if __name__ == "__main__":
    main()
