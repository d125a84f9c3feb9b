"""A container's environment: what the template says, resolved, and what frameworks without torchrun read."""

import re
from collections.abc import Iterator, Mapping

from trainlet.apis.core_v1 import Container, EnvFromSource, EnvVarSource
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.downward import Fields
from trainlet.planning.objects import CONFIG_MAP, SECRET, Objects, Reference

MASTER_PORT = 29500
#: Where a container's environment has the index of its pod from, in the words of a template.
COMPLETION_INDEX: JSON = {"fieldRef": {"fieldPath": f"metadata.annotations['{labels.COMPLETION_INDEX}']"}}
# A reference ends at the first bracket, whatever is before it: `$(date $(RANK))` is one, to nothing, and stays.
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def resolve_environment(container: Container, fields: Fields, objects: Objects) -> dict[str, str]:
    """Return the environment in order; what `env` says wins over `envFrom`. Raises ConfigError.

    `$(NAME)` in a value refers to entries before it, `$$` is a dollar sign (core/v1 EnvVar).
    """
    environment: dict[str, str] = {}
    for source in container.env_from:
        environment |= _read_all(source, objects)
    for entry in container.env:
        value = expand(entry.value, environment)
        if entry.value_from is not None:
            found = _read_source(entry.value_from, fields, objects)
            if found is None:  # optional and missing: the variable is as if it were not named
                continue
            value = found
        environment[entry.name] = value
    return environment


def _read_all(source: EnvFromSource, objects: Objects) -> Iterator[tuple[str, str]]:
    for kind, reference in ((CONFIG_MAP, source.config_map_ref), (SECRET, source.secret_ref)):
        if reference is not None:
            data = objects.read(Reference(kind, reference.name, reference.optional))
            yield from ((source.prefix + key, _to_text(value)) for key, value in data.items())


def _read_source(source: EnvVarSource, fields: Fields, objects: Objects) -> str | None:
    if source.resource_field_ref is not None:
        return fields.read_resource(source.resource_field_ref)
    for kind, selector in ((CONFIG_MAP, source.config_map_key_ref), (SECRET, source.secret_key_ref)):
        if selector is not None:
            value = objects.read_key(Reference(kind, selector.name, selector.optional), selector.key)
            return None if value is None else _to_text(value)
    return fields.read_field(source.field_ref.field_path) if source.field_ref is not None else ""


def _to_text(value: bytes) -> str:
    # Neither an engine's API nor an environment holds any other bytes.
    return value.decode(errors="replace").replace("\0", "")


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; an unknown name stays as it is written (Kubernetes' expansion package)."""

    def value(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        return environment.get(match.group(1), match.group())

    return _REFERENCE.sub(value, text)


def find_unknown(text: str, environment: Mapping[str, str]) -> str | None:
    """Find the first `$(NAME)` that stays as it is written; return the name."""
    names = (match.group(1) for match in _REFERENCE.finditer(text))
    return next((name for name in names if name is not None and name not in environment), None)


def add_defaults(environment: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the defaults after it; what the user set always stays."""
    return {**environment, **{name: value for name, value in defaults.items() if name not in environment}}


def build_rendezvous(rank: int, world_size: int, address: str, port: int) -> dict[str, str]:
    """Return what scripts run by plain python read, as the Kubeflow SDK's container backend promises."""
    return {
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
    }


def localize(text: str, names: Mapping[str, str], port: int) -> str:
    """Replace peers' names by addresses and the usual port by this job's, where no names resolve."""
    choices = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = rf"(?<![\w.-])({choices})(?![\w-]|\.\w)(:{MASTER_PORT}\b)?"
    return re.sub(pattern, lambda m: names[m.group(1)] + (f":{port}" if m.group(2) else ""), text)


def localize_environment(environment: Mapping[str, str], names: Mapping[str, str], port: int) -> dict[str, str]:
    """Localize every value; a port of its own in a `..._PORT` entry is replaced too."""
    return {
        key: str(port) if key.endswith("_PORT") and value == str(MASTER_PORT) else localize(value, names, port)
        for key, value in environment.items()
    }
