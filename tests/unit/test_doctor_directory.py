"""What `trainlet doctor` says of the watched directory and of what its jobs left on the engine."""

import fcntl
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from builders import UID, build_job
from manifests import build_manifest
from trainlet.doctor.machine import Finding, Level
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Owner
from trainlet.kube.meta import JSON
from trees import FAIL, OK, WARN, StillEngine, Tree, levels, run


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_directory_that_is_not_there_fails(tree: Tree) -> None:
    (tree.root / "jobs").rmdir()
    assert levels("directory", tree.look()) == [FAIL]


def test_a_status_directory_that_cannot_be_made_fails(tree: Tree) -> None:
    tree.write("taken")
    machine = tree.look(settings={"status_dir": tree.root / "taken" / "status"})
    assert levels("directory", machine) == [OK, FAIL, OK]


def test_an_operator_at_work_is_seen_by_its_lock(tree: Tree) -> None:
    assert levels("operator", tree.look()) == [WARN]
    tree.write("jobs/status/.lock", "4711\n")
    assert levels("operator", tree.look()) == [WARN]
    with (tree.root / "jobs/status/.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        [finding] = run("operator", tree.look())
    assert finding == Finding(OK, f"an operator works on {tree.root / 'jobs'} (process 4711)")


def store(tree: Tree, *, finished: bool = False, jobset: JSON | None = None) -> None:
    """Write the status documents of the job mnist."""
    job = build_job()
    if finished:
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    status_dir = StatusDir(tree.settings.status_path)
    status_dir.write_job("default", "mnist", [job])
    if jobset:
        status_dir.write_part("default", "mnist", "jobset", [jobset])


OWNER = Owner(UID, "default", "mnist")


def test_what_belongs_to_nobody_is_left_over(tree: Tree) -> None:
    [finding] = run("leftovers", tree.look(StillEngine(owners=frozenset({OWNER}))))
    assert finding.level is WARN
    assert "default/mnist, which is not known here" in finding.message
    assert f"docker rm -f $(docker ps -aq --filter label=trainlet.dev/owner-uid={UID})" in finding.remedy


@pytest.mark.parametrize(
    ("finished", "auto_remove", "level"), [(False, True, OK), (True, True, WARN), (True, False, OK)]
)
def test_what_is_left_of_a_finished_job_is_told_unless_wanted(
    tree: Tree, finished: bool, auto_remove: bool, level: Level
) -> None:
    store(tree, finished=finished)
    machine = tree.look(StillEngine(owners=frozenset({OWNER})), settings={"auto_remove": auto_remove})
    assert levels("leftovers", machine) == [level]


JOBSET = {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": {"name": "mnist"},
    "spec": {
        "replicatedJobs": [
            {
                "name": "node",
                "template": {"spec": {"template": {"spec": {"containers": [{"name": "node", "image": "i"}]}}}},
            }
        ]
    },
}


@pytest.fixture
def things() -> Iterator[tuple[str, dict[str, JSON]]]:
    """An API that knows containers and networks by their paths, and its URL."""
    known: dict[str, JSON] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = known.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(body or {}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", known
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/networks/mnist-net", {"Labels": {}}),
        ("/networks/mnist-net", {"Labels": {"trainlet.dev/store": "another"}}),
        ("/containers/mnist-node-0/json", {"Config": {"Labels": None}}),
    ],
)
def test_a_name_that_a_stranger_has_fails(
    tree: Tree, things: tuple[str, dict[str, JSON]], path: str, body: JSON
) -> None:
    url, known = things
    tree.write("jobs/mnist.yaml", yaml.safe_dump(build_manifest()))
    store(tree, jobset=JOBSET)
    machine = tree.look(StillEngine(endpoint=url))
    assert levels("name conflicts", machine) == [OK]
    known[path] = body
    [finding] = run("name conflicts", machine)
    assert finding.level is FAIL
    assert "that TrainJob default/mnist needs exists" in finding.message
    assert ("docker network rm mnist-net" in finding.remedy) == ("networks" in path)


def test_what_is_ours_or_of_a_finished_job_is_no_conflict(tree: Tree, things: tuple[str, dict[str, JSON]]) -> None:
    url, known = things
    machine = tree.look(StillEngine(endpoint=url))
    tree.write("jobs/mnist.yaml", yaml.safe_dump(build_manifest()))
    known["/networks/mnist-net"] = {"Labels": {"trainlet.dev/store": machine.settings.store_id}}
    assert levels("name conflicts", machine) == [OK]
    known["/networks/mnist-net"] = {"Labels": {}}
    assert levels("name conflicts", machine) == [FAIL]
    store(tree, finished=True)
    assert levels("name conflicts", machine) == [OK]
