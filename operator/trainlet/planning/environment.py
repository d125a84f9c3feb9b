"""A container's environment: what the template says, resolved, and what frameworks without torchrun read."""

import re
from collections.abc import Mapping, Sequence

from trainlet.apis.core_v1 import EnvVar
from trainlet.kube.meta import JSON
from trainlet.planning import labels

MASTER_PORT = 29500
#: Where a container's environment has the index of its pod from, in the words of a template.
COMPLETION_INDEX: JSON = {"fieldRef": {"fieldPath": f"metadata.annotations['{labels.COMPLETION_INDEX}']"}}
# A reference ends at the first bracket, whatever is before it: `$(date $(RANK))` is one, to nothing, and stays.
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def resolve_environment(entries: Sequence[EnvVar], fields: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in order; `fields` gives the pod's fields by their fieldPath.

    `$(NAME)` in a value refers to entries before it, `$$` is a dollar sign (core/v1 EnvVar).
    """
    environment: dict[str, str] = {}
    for entry in entries:
        source = entry.value_from
        if source is not None and source.field_ref is not None:
            environment[entry.name] = fields.get(source.field_ref.field_path, "")
        else:
            environment[entry.name] = expand(entry.value, environment)
    return environment


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; an unknown name stays as it is written (Kubernetes' expansion package)."""

    def value(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        return environment.get(match.group(1), match.group())

    return _REFERENCE.sub(value, text)


def build_fields(metadata: Mapping[str, Mapping[str, str]], plain: Mapping[str, str]) -> Mapping[str, str]:
    """Return the downward API's fields: the plain ones, and each label and annotation by its key."""
    keyed = {f"metadata.{kind}['{key}']": value for kind, values in metadata.items() for key, value in values.items()}
    return {**plain, **keyed}


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
