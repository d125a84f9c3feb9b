"""What the operator's settings and machine tell the planner. The planner reads nothing else of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Sizes are bytes, durations seconds, `workspace_dir` an absolute host path; `store` is the label of this store."""

    store: str = "store"
    workspace_dir: str = "/workspaces"
    auto_remove: bool = True
    pull_policy: str = "IfNotPresent"
    restart_backoff_seconds: float = 1.0
    default_shm_bytes: int = 1 << 30
