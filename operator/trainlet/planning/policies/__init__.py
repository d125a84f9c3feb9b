"""One file a policy: its rules, its build and its objects side by side.

The module of a policy may have
    validate(job, info) -> list[FieldError]              what upstream's webhook plugin would refuse,
    apply(job, info) -> Info                             counts, environment, ports, volumes; Raises ApiError,
    build_objects(job, info, secret) -> list[JSON]       what upstream's controller makes beside the JobSet,
and stands in the table of each thing that it has.
"""

from typing import Protocol, TypeVar

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON
from trainlet.planning.policies import coscheduling, flux, jax, mpi, plain, torch, volcano, xgboost
from trainlet.planning.runtime import Info

Part = TypeVar("Part")


class Rules(Protocol):
    """What the module of a policy offers that judges jobs."""

    def validate(self, job: TrainJob, info: Info) -> list[FieldError]:
        """Return what upstream's webhook would refuse."""


class Policy(Protocol):
    """What the module of a policy offers that changes the JobSet."""

    def apply(self, job: TrainJob, info: Info) -> Info:
        """Return the record with what the policy sets. Raises ApiError where it cannot be carried out."""


class Builder(Protocol):
    """What the module of a policy offers that needs more than the JobSet."""

    def build_objects(self, job: TrainJob, info: Info, secret: bytes) -> list[JSON]:
        """Return ConfigMaps, Secrets and PodGroups of a finished record; `secret` is 32 bytes, always the same."""


#: By the key under `spec.mlPolicy` of the runtime, in the order of their errors.
RULES: dict[str, Rules] = {"torch": torch, "mpi": mpi, "jax": jax, "xgboost": xgboost, "flux": flux}
POLICIES: dict[str, Policy] = {"torch": torch, "mpi": mpi, "jax": jax, "xgboost": xgboost, "flux": flux}
BUILDERS: dict[str, Builder] = {"mpi": mpi, "flux": flux}
#: By the key under `spec.podGroupPolicy`.
POD_GROUP_RULES: dict[str, Rules] = {"volcano": volcano}
POD_GROUP_POLICIES: dict[str, Policy] = {"coscheduling": coscheduling, "volcano": volcano}
POD_GROUP_BUILDERS: dict[str, Builder] = {"coscheduling": coscheduling, "volcano": volcano}


def find_rules(info: Info) -> list[Rules]:
    """Return the rules of every policy that the runtime has."""
    return _pick(RULES, info.ml_policy) + _pick(POD_GROUP_RULES, info.pod_group_policy)


def get_policy(info: Info) -> Policy:
    """Return the machine-learning policy to build the runtime with; one without any is plain."""
    return next(iter(_pick(POLICIES, info.ml_policy)), plain)


def find_policies(info: Info) -> list[Policy]:
    """Return all that changes the JobSet of this runtime, in upstream's order."""
    return [get_policy(info), *_pick(POD_GROUP_POLICIES, info.pod_group_policy)]


def find_builders(info: Info) -> list[Builder]:
    """Return what makes the objects beside the JobSet of this runtime."""
    return _pick(BUILDERS, info.ml_policy) + _pick(POD_GROUP_BUILDERS, info.pod_group_policy)


def _pick(table: dict[str, Part], keys: JSON) -> list[Part]:
    return [part for key, part in table.items() if keys.get(key) is not None]
