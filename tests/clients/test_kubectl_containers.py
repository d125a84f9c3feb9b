"""kubectl, and other clients, with the containers of a job: logs, commands, files; on each engine."""

import hashlib
import os
import re
import subprocess
import threading
from pathlib import Path
from subprocess import PIPE

import pytest

from cluster import SELECTOR, Cluster, build_job
from waiting import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("kubectl")]

MEBIBYTE = 1 << 20
#: The first is what shows that none of it stays in the operator's memory.
COPIED_MEBIBYTES = {"docker": 100, "podman": 24, "podman-rootless": 24}
SCRIPT = "echo hello from $JOB_COMPLETION_INDEX; while :; do sleep 0.1; done"


@pytest.fixture
def pod(containers: Cluster) -> str:
    """A pod that runs, the first of two of the job `talk`."""
    if not containers.job("talk"):
        containers.drop(build_job("talk", SCRIPT, nodes=2))
        containers.wait_phase("talk", "Running")
    return containers.pods("talk")[0]


def test_logs(containers: Cluster, pod: str) -> None:
    def read() -> list[str]:
        return sorted(containers.kubectl("logs", "-l", f"{SELECTOR}=talk", "--prefix").splitlines())

    lines = wait_for(lambda: len(read()) == 2 and read(), "both lines")
    assert [line.split("] ")[1] for line in lines] == ["hello from 0", "hello from 1"]
    assert re.fullmatch(r"\d{4}-\S+Z hello from 0\n", containers.kubectl("logs", pod, "--timestamps"))


def test_commands(containers: Cluster, pod: str) -> None:
    assert containers.kubectl("exec", pod, "--", "sh", "-c", "echo $JOB_COMPLETION_INDEX") == "0\n"
    assert "exit code 7" in containers.kubectl("exec", pod, "--", "sh", "-c", "exit 7", code=7)
    assert containers.kubectl("exec", "-i", pod, "--", "tr", "a-z", "A-Z", given="hello\n") == "HELLO\n"
    assert "no-such-command" in containers.kubectl("exec", pod, "--", "no-such-command", code=127)


def test_a_terminal(containers: Cluster, pod: str) -> None:
    """As somebody sits before it: a terminal of ours is kubectl's own."""
    ours, theirs = os.openpty()
    command = ["kubectl", "--cache-dir", str(containers.base / "discovery"), "exec", "-it", pod, "--", "sh"]
    with subprocess.Popen(command, env=containers.environ, stdin=theirs, stdout=theirs, stderr=theirs) as program:
        os.close(theirs)
        os.write(ours, b"echo $((40 + 2)) $(test -t 0 && echo terminal)\nexit 5\n")
        shown = b""
        while b"42 terminal" not in shown:
            shown += os.read(ours, 65536)
        assert program.wait(30) == 5
    os.close(ours)


def test_a_large_file_goes_there_and_back(containers: Cluster, pod: str, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(MEBIBYTE) * COPIED_MEBIBYTES[containers.kind.name])
    before, highest = read_memory(containers), 0
    watching = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not watching.wait(0.05):
            highest = max(highest, read_memory(containers))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        containers.kubectl("cp", str(source), f"{pod}:/tmp/there")
        containers.kubectl("cp", f"{pod}:/tmp/there", str(back))
    finally:
        watching.set()
        watcher.join()
    assert digest(back) == digest(source)
    assert highest - before < 40 * MEBIBYTE
    containers.kubectl("exec", pod, "--", "rm", "/tmp/there")


def read_memory(cluster: Cluster) -> int:
    """Return how much memory the operator has, in bytes."""
    pid = cluster._operators[-1].pid
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_attach_and_follow_end_with_the_container(containers: Cluster) -> None:
    containers.drop(build_job("short", "until [ -e /tmp/go ]; do echo waiting; sleep 0.05; done; echo last words"))
    containers.wait_phase("short", "Running")
    [pod] = containers.pods("short")
    words = ["kubectl", "--cache-dir", str(containers.base / "discovery")]
    following, attached = (
        subprocess.Popen([*words, *more, pod], bufsize=0, env=containers.environ, stdout=PIPE, stderr=PIPE)
        for more in (["logs", "-f"], ["attach"])
    )
    assert attached.stdout is not None
    assert attached.stdout.readline() == b"waiting\n"
    containers.kubectl("exec", pod, "--", "touch", "/tmp/go")
    followed, seen = (each.communicate(timeout=30)[0].decode() for each in (following, attached))
    assert [following.returncode, attached.returncode] == [0, 0]
    assert followed.replace("waiting\n", "") == seen.replace("waiting\n", "") == "last words\n"
    containers.wait_phase("short", "Complete")
    assert containers.kubectl("logs", pod) == followed


@pytest.mark.parametrize("program", ["official_exec.py", "kr8s_exec.py", "lightkube_exec.py"])
def test_clients_run_commands(containers: Cluster, pod: str, program: str) -> None:
    containers.program(program, pod)
