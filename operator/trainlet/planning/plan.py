"""Actions and plans: what is to be done to the world, as values that can be printed, compared and counted.

One action is one call of an engine (or of the host's file system), made by `controller/executor.py`, which
holds no decisions. Every action says why it is there.
"""

from dataclasses import dataclass, field

from trainlet.apis.core_v1 import Handler
from trainlet.planning.pull_secrets import Login
from trainlet.planning.specs import ContainerSpec, NetworkSpec, VolumeSpec


@dataclass(frozen=True, kw_only=True)
class Action:
    """The base of all actions. `reason` is for people; it never steers anything."""

    reason: str = field(default="", compare=False)

    @property
    def target(self) -> str:
        """The name of the thing that is acted on; actions on one target keep their order."""
        raise AttributeError("target")

    def __str__(self) -> str:
        text = f"{type(self).__name__} {self.target}"
        return f"{text}: {self.reason}" if self.reason else text


@dataclass(frozen=True, kw_only=True)
class CreateWorkspace(Action):
    """Make the job's directory on the host; one of an earlier job of the same name is set aside, never deleted."""

    path: str
    owner_uid: str

    @property
    def target(self) -> str:
        return self.path


@dataclass(frozen=True, kw_only=True)
class PullImage(Action):
    """Start to fetch an image; a later pass sees how it went. `missing` are pull secrets that hold no logins."""

    image: str
    logins: tuple[Login, ...] = field(default=(), repr=False)
    missing: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return self.image


@dataclass(frozen=True, kw_only=True)
class CreateNetwork(Action):
    """Make a network on a free subnet of the pool."""

    spec: NetworkSpec

    @property
    def target(self) -> str:
        return self.spec.name


@dataclass(frozen=True, kw_only=True)
class RemoveNetwork(Action):
    """Remove the network with this engine id."""

    name: str
    id: str

    @property
    def target(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class CreateVolume(Action):
    """Make a named volume."""

    spec: VolumeSpec

    @property
    def target(self) -> str:
        return self.spec.name


@dataclass(frozen=True, kw_only=True)
class RemoveVolume(Action):
    """Remove a named volume and all that is in it."""

    name: str

    @property
    def target(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class CreateContainer(Action):
    """Make a container, not yet running."""

    spec: ContainerSpec

    @property
    def target(self) -> str:
        return self.spec.name


@dataclass(frozen=True, kw_only=True)
class ContainerAction(Action):
    """The base of actions on a container that exists; `id` may be its name when it was made in the same plan."""

    name: str
    id: str

    @property
    def target(self) -> str:
        return self.name


@dataclass(frozen=True)
class Hook:
    """What is done in a container beside its own work; `address` is the container's, if it has one."""

    handler: Handler
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class StartContainer(ContainerAction):
    """Start a created container; the hook is begun after it and not waited for."""

    hook: Hook | None = None


@dataclass(frozen=True, kw_only=True)
class StopContainer(ContainerAction):
    """Ask a container to end (SIGTERM), after its hook if it has one, and do not wait."""

    hook: Hook | None = None
    grace_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class KillContainer(ContainerAction):
    """End a container that had its grace period (SIGKILL)."""


@dataclass(frozen=True, kw_only=True)
class KeepLogs(ContainerAction):
    """Write a container's log to the job's status directory, before the container goes."""

    step: str


@dataclass(frozen=True, kw_only=True)
class RemoveContainer(ContainerAction):
    """Remove a container, killing it if it still runs."""


Plan = tuple[Action, ...]


def render_plan(plan: Plan) -> str:
    """Return the plan as one line an action."""
    return "\n".join(map(str, plan))


@dataclass(frozen=True)
class Failure:
    """An action that did not work, with the world's explanation.

    `exit_code` is set when a container can never start as it is: then the attempt has ended with it.
    """

    action: Action
    message: str
    exit_code: int | None = None
