"""Clients in Python, each in a program of its own as its users write them."""

import subprocess
import sys

import pytest

from cluster import PROGRAMS, Cluster, build_job
from waiting import wait_for

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("program", ["official.py", "with_kr8s.py", "with_lightkube.py"])
def test_a_client_does_all_it_can(processes: Cluster, program: str) -> None:
    processes.program(program)


def test_an_operator_reacts(processes: Cluster) -> None:
    """What kopf keeps in annotations and finalizers is the server's affair and not the manifest's."""
    log = processes.base / "kopf.log"
    command = [sys.executable, "-m", "kopf", "run", "-n", "default", "--quiet", str(PROGRAMS / "an_operator.py")]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=processes.environ, stdout=output, stderr=output) as kopf,
    ):
        try:
            path = processes.drop(build_job("minded", "true"))

            def find_marks() -> bool:
                metadata = processes.job("minded").get("metadata", {})
                marks = {**metadata.get("annotations", {}), **metadata.get("labels", {})}
                return (marks.get("tests/seen"), marks.get("tests/complete")) == ("minded", "yes")

            wait_for(find_marks, f"marks; kopf says {log.read_text()}", 60)
            assert processes.job("minded")["metadata"]["finalizers"] == ["tests/finalizer"]
            assert "kopf.dev" not in path.read_text()
            assert "finalizer" not in path.read_text()
            wait_for(lambda: "Seen" in processes.trainlet("events").stdout, "the event", 30)
            path.unlink()
            wait_for(lambda: "goodbye minded" in log.read_text(), "the goodbye", 60)
            wait_for(lambda: not processes.job("minded"), "the job to be gone", 60)
        finally:
            kopf.terminate()
            kopf.wait(20)
    assert "Traceback" not in log.read_text()
