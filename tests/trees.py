"""Trees of files that stand for machines, for the checks of `trainlet doctor`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainlet.doctor.checks import CHECKS
from trainlet.doctor.machine import Finding, Level, Machine
from trainlet.engine.base import EngineUnavailable, Owner
from trainlet.engine.detect import Surroundings
from trainlet.settings import Settings

DOCKER, PODMAN = "unix:///var/run/docker.sock", "unix:///run/podman/podman.sock"
OWN_PODMAN = "unix:///run/user/1000/podman/podman.sock"
OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


@dataclass
class StillEngine:
    """As much of an engine as checks ask: what it is and what it has. It can do nothing."""

    name: str = "docker"
    endpoint: str = DOCKER
    subnets: frozenset[str] = frozenset()
    owners: frozenset[Owner] = frozenset()
    is_down: bool = False

    def ping(self) -> str:
        if self.is_down:
            raise EngineUnavailable("docker cannot be reached", remedy="start it")
        return "1.2.3"

    def find_subnets(self) -> frozenset[str]:
        return self.subnets

    def find_owners(self, _: str) -> frozenset[Owner]:
        return self.owners


@dataclass
class Tree:
    """A machine made of files below `root`; the watched directory is `jobs` in it.

    `replies` is what its engine's API says at each path.
    """

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    replies: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "jobs").mkdir()

    @property
    def settings(self) -> Settings:
        return Settings(dir=self.root / "jobs")

    def write(self, path: str, text: str = "") -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def install(self, name: str, text: str = "", mode: int = 0o755) -> None:
        self.write(f"/usr/bin/{name}", text)
        (self.root / "usr/bin" / name).chmod(mode)

    def look(self, engine: StillEngine | None = None, uid: int = 0, **fields: Any) -> Machine:
        environ = {"PATH": str(self.root / "usr/bin"), **self.environ}
        around = Surroundings(environ, self.root / "home", uid, "Linux", self.root / "state", self.root)
        settings = Settings(dir=self.root / "jobs", **fields.pop("settings", {}))
        fields = {"fetch": lambda _runtime, _url, path: self.replies.get(path.partition("?")[0]), **fields}
        return Machine(settings, around, engine=engine, **fields)  # type: ignore[arg-type]


def run(check: str, machine: Machine) -> list[Finding]:
    return list(CHECKS[check](machine))


def levels(check: str, machine: Machine) -> list[Level]:
    return [finding.level for finding in run(check, machine)]
