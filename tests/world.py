"""One directory, one live engine and the operator as a separate process: what end-to-end tests act on and look at."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from engines import EngineKind, get_url, open_engine
from operators import Operator
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, Observed, ObservedContainer
from waiting import wait_for

Running = subprocess.Popen[bytes] | Operator
PYTHON_IMAGE = "localhost/trainlet-python:test"
TORCH_IMAGE = "localhost/trainlet-torch:test"
TRAINLET = Path(sys.executable).with_name("trainlet")
#: The prefix with which an operator is started by its command, as its users do.
COMMAND = ("env",)


class World:
    """The test's hands and eyes. Everything it looks at is on disk or on the engine."""

    def __init__(self, kind: EngineKind, directory: Path, url: str | None = None) -> None:
        self.kind = kind
        self.url = url or ("" if kind.runtime == "process" else get_url(kind))
        self.base = directory
        self.jobs = directory / "jobs"
        self.jobs.mkdir()
        self.log = directory / "operator.log"
        self.status = StatusDir(self.jobs / "status")
        self.engine: Engine = open_engine(kind, self._state_home / "trainlet" / "processes", self.url)
        self._operators: list[Running] = []

    @property
    def _state_home(self) -> Path:
        return self.base / "state"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every program of this world."""
        cache = str(self.base / "cache")
        own = {"XDG_STATE_HOME": str(self._state_home), "XDG_CACHE_HOME": cache, "TRAINLET_DIR": str(self.jobs)}
        # Tests run with the runtimes of this very tree, network or not.
        own["TRAINLET_RUNTIME_SOURCE"] = "builtin"
        own["TRAINLET_NETWORK_POOL"] = self.kind.pool
        return {**os.environ, **own}

    def engine_flags(self) -> list[str]:
        """What tells trainlet which engine to use."""
        flags = ["--container-runtime", self.kind.runtime]
        return [*flags, "--container-host", self.url] if self.url else flags

    # The operator

    def start(self, *flags: str, once: bool = False, prefix: Sequence[str] = ()) -> Running:
        """Start the operator on the directory; `prefix` is put before its command."""
        words = ["run", str(self.jobs), *self.engine_flags(), *flags, *(["--once"] if once else [])]
        self._operators.append(self._start_behind(prefix, words) if prefix else Operator(words, self.environ, self.log))
        return self._operators[-1]

    def _start_behind(self, prefix: Sequence[str], words: Sequence[str]) -> Running:
        command = [*prefix, str(TRAINLET), *words]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=self.environ, start_new_session=True)

    def kill(self) -> None:
        """End the operator as a crash would."""
        self._operators[-1].send_signal(signal.SIGKILL)
        self._operators[-1].wait(10)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the operator from doing anything for as long as the block lasts."""
        self._operators[-1].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._operators[-1].send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask the operator to end and return its exit status."""
        self._operators[-1].terminate()
        return self._operators[-1].wait(30)

    # Files

    def drop(self, *documents: JSON, file: str | None = None) -> Path:
        """Write a manifest into the directory, as an editor does: beside it, then renamed."""
        path = self.jobs / (file or f"{documents[0]['metadata']['name']}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        temporary.replace(path)
        return path

    def drop_private(self, *documents: JSON, file: str) -> Path:
        """Write a manifest for its owner's eyes only into the directory."""
        path = self.jobs / f".{file}"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        return path.rename(self.jobs / file)

    def workspace(self, name: str, namespace: str = "default") -> Path:
        """Make the job's workspace before the job, open to whoever the engine's containers run as."""
        path = self.jobs / "workspaces" / namespace / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        return path

    # Looking

    def job(self, name: str, namespace: str = "default") -> JSON:
        """Return the TrainJob as its status document has it; empty if there is none."""
        stored = self.status.read_job(namespace, name)
        return (stored.job if stored else None) or {}

    def report(self, name: str, namespace: str = "default") -> JSON:
        """Return the status of the job's report; empty if there is none."""
        stored = self.status.read_job(namespace, name)
        report = (stored.report if stored else None) or {}
        return dict(report.get("status") or {})

    def nodes(self, name: str, namespace: str = "default") -> list[JSON]:
        """Return the nodes as the report has them."""
        return list(self.report(name, namespace).get("nodes") or [])

    def check_log(self) -> None:
        """Check that the operator met no bug of its own: each is logged with where it was."""
        log = self.log.read_text(encoding="utf-8")
        assert "Traceback" not in log, log

    def log_of(self, name: str, step: str, namespace: str = "default", *, previous: bool = False) -> str:
        """Return the kept log of a node; it is written when its container goes, a moment after its end is known."""
        path = self.status.log_path(namespace, name, step, previous=previous)
        wait_for(path.exists, f"{path} to be written", 30)
        return path.read_text(encoding="utf-8")

    def observe(self, uid: str) -> Observed:
        """Return what the engine has of an owner."""
        return self.engine.observe(uid)

    def running(self, name: str, namespace: str = "default") -> list[ObservedContainer]:
        """Return the job's running containers, by name."""
        uid = self.job(name, namespace).get("metadata", {}).get("uid")
        containers = self.observe(uid).containers if uid else ()
        return sorted((c for c in containers if c.state is ContainerState.RUNNING), key=lambda c: c.name)

    def owned(self) -> int:
        """Return how many jobs of this directory have something on the engine."""
        return len(self.engine.find_owners(self._store_id()))

    # Waiting

    def wait_phase(self, name: str, *phases: str, namespace: str = "default", timeout_seconds: float = 120) -> JSON:
        """Wait until the job's report is in one of these phases and return it."""

        def look() -> JSON | None:
            report = self.report(name, namespace)
            return report if report.get("phase") in phases else None

        try:
            return wait_for(look, f"{name} to be {' or '.join(phases)}", timeout_seconds) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe(name, namespace)}") from None

    def wait_running(self, name: str, count: int, namespace: str = "default") -> list[ObservedContainer]:
        """Wait until so many containers of the job run."""
        what = f"{count} running containers of {name}"
        wait_for(lambda: len(self.running(name, namespace)) == count, what, 60)
        return self.running(name, namespace)

    def wait_gone(self, uid: str) -> None:
        """Wait until the engine has nothing of the owner."""
        wait_for(lambda: self.observe(uid) == Observed(), f"nothing left of {uid}", 60)

    def describe(self, name: str, namespace: str = "default") -> str:
        """Return all there is to know of a job, for a failure's message."""
        log = self.log.read_text(encoding="utf-8", errors="replace")[-4000:] if self.log.exists() else ""
        return f"{yaml.safe_dump(self.report(name, namespace))}\noperator log:\n{log}"

    # Programs

    def trainlet(self, *arguments: str, timeout_seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one of trainlet's verbs on the directory."""
        return self._run([str(TRAINLET), *arguments], timeout_seconds)

    def client(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run the engine's own command-line client, as a user would, with this as its standard input."""
        flag = "--host" if self.kind.runtime == "docker" else "--url"
        return self._run([self.kind.runtime, flag, self.url, *arguments], 60, given)

    def _run(self, command: Sequence[str], timeout_seconds: float, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environ,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    def _store_id(self) -> str:
        from trainlet.settings import build_settings

        return build_settings({"dir": self.jobs}, {}).store_id

    def close(self) -> None:
        """End the operators and remove whatever is left on the engine."""
        for operator in self._operators:
            if operator.poll() is None:
                operator.kill()
                operator.wait(10)
        wait_for(self._sweep, "the engine to be clean", 30)
        self.engine.close()

    def _sweep(self) -> bool:
        """Remove what is left on the engine; an engine may refuse while a container is just ending."""
        owners = self.engine.find_owners(self._store_id())
        with contextlib.suppress(EngineError):
            for seen in map(self.engine.observe, (owner.uid for owner in owners)):
                # A sandbox is joined by the others of its pod, so it goes last.
                for container in sorted(seen.containers, key=lambda each: each.container == labels.SANDBOX):
                    self.engine.remove_container(container.id)
                for network in seen.networks:
                    self.engine.remove_network(network.id)
                for volume in seen.volumes:
                    self.engine.remove_volume(volume.name)
        return not owners


def build_train_job(name: str, nodes: int, command: Sequence[str], namespace: str = "default", **spec: object) -> JSON:
    """Return a TrainJob on the Python test image."""
    trainer = {"numNodes": nodes, "image": PYTHON_IMAGE, "command": list(command), **dict(spec.pop("trainer", {}))}  # type: ignore[call-overload]
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer, **spec},
    }
