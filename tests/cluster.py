"""An operator that serves the Kubernetes API, as those who think that it is a cluster see it."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from engines import KINDS, EngineKind, get_url
from trainlet.kube.meta import JSON
from waiting import wait_for
from world import PYTHON_IMAGE, World

#: How long one call of a client may take on a machine that has much else to do.
PATIENCE_SECONDS = 60
PROGRAMS = Path(__file__).parent / "clients" / "programs"
SELECTOR = "jobset.sigs.k8s.io/jobset-name"


class Cluster(World):
    """A world whose operator listens. Nothing but kubeconfig and token says that it is not a cluster."""

    def serve(self) -> None:
        """Start the operator, and wait until clients find it."""
        # Nodes run Python, also where they are processes of this machine.
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        cache = self.base / "cache"
        for directory in (cache, self.data):
            directory.mkdir()
            directory.chmod(0o777)  # an engine's user may be another
        flags = ["--initializer-image", PYTHON_IMAGE, "--cache-dir", str(cache), "--allow-host-path", str(self.data)]
        self.start("--listen", f"127.0.0.1:{find_free_port()}", *flags)
        try:
            wait_for(self._answers, "the API to answer", PATIENCE_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from None

    @property
    def data(self) -> Path:
        """A directory of this machine that initializers may read."""
        return self.base / "data"

    @property
    def kubeconfig(self) -> Path:
        """What clients are configured by."""
        return self.base / "kubeconfig"

    def _answers(self) -> bool:
        found = self.trainlet("kubeconfig")
        if found.returncode:
            return False
        self.kubeconfig.write_text(found.stdout, encoding="utf-8")
        return self.try_kubectl("get", "--raw", "/readyz").returncode == 0 if has_kubectl() else True

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every program of this world."""
        return {**super().environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.base)}

    def try_kubectl(
        self, *words: str, given: str = "", env: Mapping[str, str] = {}
    ) -> "subprocess.CompletedProcess[str]":
        """Run the real kubectl."""
        return subprocess.run(
            ["kubectl", "--cache-dir", str(self.base / "discovery"), *words],
            env={**self.environ, **env},
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def kubectl(self, *words: str, given: str = "", code: int = 0, env: Mapping[str, str] = {}) -> str:
        """Run the real kubectl, which must end with this code; return all that it says."""
        ran = self.try_kubectl(*words, given=given, env=env)
        said = ran.stdout + ran.stderr
        assert ran.returncode == code, f"kubectl {' '.join(words)}\n{said}\n{self.log.read_text()[-3000:]}"
        return said

    def program(self, name: str, *arguments: str, timeout_seconds: float = 120) -> str:
        """Run a client's program (clients/programs), as its user would; return what it says."""
        command = [sys.executable, "-W", "ignore", str(PROGRAMS / name), *arguments]
        ran = self._run(command, timeout_seconds)
        said = ran.stdout + ran.stderr
        assert ran.returncode == 0, f"{name}\n{said[-4000:]}\n{self.log.read_text()[-3000:]}"
        return said

    def pods(self, job: str) -> list[str]:
        """Return the names of a job's pods."""
        found = self.kubectl("get", "pods", "-l", f"{SELECTOR}={job}", "-o", "name")
        return [each.removeprefix("pod/") for each in found.split()]


def has_kubectl() -> bool:
    """Tell whether this machine has kubectl."""
    return shutil.which("kubectl") is not None


def require_kubectl() -> None:
    """Skip a test of kubectl where there is none, by name; in CI it fails."""
    if has_kubectl():
        return
    if os.environ.get("CI") or os.environ.get("TRAINLET_TEST_REQUIRE_ENGINES") == "1":
        pytest.fail("kubectl is not installed")
    pytest.skip("kubectl is not installed")


def find_free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def build_runtime(name: str, image: str = PYTHON_IMAGE, *, with_data: bool = False, **policy: JSON) -> JSON:
    """Return a runtime that the Kubeflow SDK knows what to do with; without policy its functions run by `python`.

    `with_data` there is a dataset initializer, and a volume for it and the nodes.
    """
    jobs = [_build_step("dataset-initializer", "dataset-initializer", image)] if with_data else []
    spec: JSON = {
        "replicatedJobs": [*jobs, _build_step("node", "trainer", image, after=[each["name"] for each in jobs])]
    }
    if with_data:
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        spec["volumeClaimPolicies"] = [{"templates": [{"metadata": {"name": "initializer"}, "spec": claim}]}]
        for each in spec["replicatedJobs"]:
            [container] = each["template"]["spec"]["template"]["spec"]["containers"]
            container["volumeMounts"] = [{"name": "initializer", "mountPath": "/workspace"}]
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": name, "labels": {"trainer.kubeflow.org/framework": "torch"}},
        "spec": {"mlPolicy": {"numNodes": 1, **policy}, "template": {"spec": spec}},
    }


def _build_step(name: str, ancestor: str, image: str, after: Sequence[str] = ()) -> JSON:
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": ancestor}
    pod = {"containers": [{"name": name, "image": image}]}
    waits = {"dependsOn": [{"name": each, "status": "Complete"} for each in after]} if after else {}
    return {"name": name, **waits, "template": {"metadata": {"labels": labels}, "spec": {"template": {"spec": pod}}}}


def build_job(name: str, script: str | Sequence[str], nodes: int = 1, **fields: JSON) -> JSON:
    """Return a TrainJob whose nodes run this shell script."""
    command = ["sh", "-c", script] if isinstance(script, str) else list(script)
    trainer = {"numNodes": nodes, "image": PYTHON_IMAGE, "command": command}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "namespace": "default", **fields.pop("metadata", {})},
        "spec": {"runtimeRef": {"name": "plain"}, "trainer": trainer, **fields},
    }


def open_cluster(kind: EngineKind, directory: Path) -> Cluster:
    """Return a cluster that answers, with the runtimes `plain` and `prepared`."""
    directory.chmod(0o755)
    cluster = Cluster(kind, directory)
    try:
        cluster.drop(build_runtime("plain"), build_runtime("prepared", with_data=True), file="runtimes.yaml")
        cluster.serve()
    except BaseException:
        cluster.close()
        raise
    return cluster


class Clusters:
    """The clusters of a test session, each from when it is first asked for; `stack` closes them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._open = stack, dict[str, Cluster]()

    def get(self, kind: str) -> Cluster:
        """Return the cluster on this kind of engine."""
        if kind not in self._open:
            if kind != "process":
                get_url(KINDS[kind])
            name = tempfile.mkdtemp(prefix="trainlet-clients-")
            self._stack.callback(shutil.rmtree, name, ignore_errors=True)
            self._open[kind] = open_cluster(KINDS[kind], Path(name))
            self._stack.callback(self._open[kind].close)
        return self._open[kind]
