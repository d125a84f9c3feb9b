"""What the operator's settings and machine tell the planner. The planner reads nothing else of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trainlet.planning.initializers import InitializerOptions
from trainlet.planning.policies.status import ALL_OFF, Features
from trainlet.planning.specs import Limits

#: The limits of a container that asks for nothing, on a machine of which nothing is known.
LIMITS = Limits(shm_bytes=1 << 30)


def search(pattern: str, text: str) -> bool:
    """Tell whether a pattern that can be trusted matches somewhere in a text."""
    return re.search(pattern, text) is not None


@dataclass(frozen=True)
class Options:
    """Sizes are bytes, durations seconds, `workspace_dir` an absolute host path; `store` is the label of this store.

    `limits` are those of a container that asks for nothing.
    `sandbox_image` holds what several containers of a pod share, empty where all share the machine's. `capacity` is
    what the machine called `node_name` has, by resource name.

    `find_match` tells whether a manifest's pattern matches somewhere in a text; it must not be one that can be made
    to run for ever. `secret` is the store's, from which all keys and tokens come. `host_address` is where containers
    find this machine, None for the gateway of their network.
    """

    store: str = "store"
    workspace_dir: str = "/workspaces"
    auto_remove: bool = True
    pull_policy: str = "IfNotPresent"
    restart_backoff_seconds: float = 1.0
    limits: Limits = LIMITS
    sandbox_image: str = ""
    node_name: str = "localhost"
    capacity: Mapping[str, float] = field(default_factory=dict)
    features: Features = ALL_OFF
    host_address: str | None = None
    initializer: InitializerOptions | None = None
    secret: bytes = field(default=bytes(32), repr=False)
    find_match: Callable[[str, str], bool] = field(default=search, compare=False, repr=False)
