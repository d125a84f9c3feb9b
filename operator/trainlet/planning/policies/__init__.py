"""One file a policy: its rules and its build side by side.

The module of a policy has `validate(job, info) -> list[FieldError]`, which judges a TrainJob as upstream's webhook
plugin does, and, where the policy can be built, `apply(job, info) -> Info`, which adds counts, environment and ports.
A policy without `apply` is judged all the same; that it cannot be built is refused by name at admission.
"""

from typing import Protocol

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.planning.policies import flux, jax, mpi, plain, torch, volcano, xgboost
from trainlet.planning.runtime import Info


class Rules(Protocol):
    """What the module of every policy offers."""

    def validate(self, job: TrainJob, info: Info) -> list[FieldError]:
        """Return what upstream's webhook would refuse."""


class Policy(Rules, Protocol):
    """What the module of a policy offers that can be built."""

    def apply(self, job: TrainJob, info: Info) -> Info:
        """Return the record with the policy's counts, environment and ports. Raises ApiError where it cannot."""


#: By the key under `spec.mlPolicy` of the runtime, in the order of their errors.
RULES: dict[str, Rules] = {"torch": torch, "mpi": mpi, "jax": jax, "xgboost": xgboost, "flux": flux}
#: By the key under `spec.podGroupPolicy`.
POD_GROUP_RULES: dict[str, Rules] = {"volcano": volcano}
#: Those of the machine-learning policies that can be built.
POLICIES: dict[str, Policy] = {"torch": torch, "jax": jax, "xgboost": xgboost}


def find_rules(info: Info) -> list[Rules]:
    """Return the rules of every policy that the runtime has."""
    learning = [rules for key, rules in RULES.items() if info.ml_policy.get(key) is not None]
    return learning + [rules for key, rules in POD_GROUP_RULES.items() if info.pod_group_policy.get(key) is not None]


def get_policy(info: Info) -> Policy:
    """Return the policy to build the runtime with; one without any is plain."""
    return next((policy for key, policy in POLICIES.items() if info.ml_policy.get(key) is not None), plain)
