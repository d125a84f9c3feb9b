"""One file a machine-learning policy: its rules and its build side by side.

A policy is a module with two functions: `validate(job, info) -> list[FieldError]` judges a TrainJob as
upstream's webhook plugin does, `apply(job, info) -> Info` adds counts, environment and ports.
"""

from typing import Protocol

from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.planning.policies import plain, torch
from trainlet.planning.runtime import Info


class Policy(Protocol):
    """What the module of a policy offers."""

    def validate(self, job: TrainJob, info: Info) -> list[FieldError]:
        """Return what upstream's webhook would refuse."""

    def apply(self, job: TrainJob, info: Info) -> Info:
        """Return the record with the policy's counts, environment and ports."""


#: By the key under `spec.mlPolicy` of the runtime.
POLICIES: dict[str, Policy] = {"torch": torch}


def get_policy(info: Info) -> Policy:
    """Return the runtime's policy; one without any is plain."""
    return next((policy for key, policy in POLICIES.items() if key in info.ml_policy), plain)
