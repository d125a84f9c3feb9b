"""Pods of several containers: what each of them sees, in which order they begin and end, and what is left of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import build_pod_patch, build_runtime
from runtimes import PROGRAM, drop_job, put_program
from trainlet.kube.meta import JSON
from waiting import wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

TOKEN = "s3cr3t-token-of-the-test"
#: The same in base64, as a Secret of a cluster has it.
ENCODED = "czNjcjN0LXRva2VuLW9mLXRoZS10ZXN0"
SETTINGS: JSON = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"color": "blue", "size": "7"},
}
CREDENTIALS: JSON = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "credentials"},
    "stringData": {"token": TOKEN},
}
LOOKED_AT = ("TOKEN", "HEADER", "COLOR", "SETTING_size", "MEMORY", "TEAM", "ADDRESS", "RANK")
READ = ("/settings/size", "/etc/color", "/credentials/token", "/about/labels", "/about/cpu", "/about/nested/color")


def drop_pods(world: World, name: str = "pods") -> None:
    put_program(world, name, "look_around")
    variables = [{"name": "LOOK_AT", "value": " ".join(LOOKED_AT)}, {"name": "READ", "value": " ".join(READ)}]
    drop_job(world, name, 1, ["python3", PROGRAM], "pods", trainer={"env": variables})


def read_seen(log: str) -> JSON:
    """Return what look_around.py saw."""
    seen: JSON = json.loads(next(line for line in log.splitlines() if "SEEN " in line).partition("SEEN ")[2])
    return seen


def test_containers_of_a_pod_see_what_their_template_says(world: World) -> None:
    world.drop_private(CREDENTIALS, file="credentials.yaml")
    world.drop(SETTINGS)
    drop_pods(world)
    world.start()
    report = world.wait_phase("pods", "Complete", "Failed", "Rejected")
    assert report["phase"] == "Complete", world.describe("pods")
    seen = read_seen(world.log_of("pods", "node-0"))
    assert seen["env"] == {
        "TOKEN": TOKEN,
        "HEADER": f"Bearer {TOKEN}",
        "COLOR": "blue",
        "SETTING_size": "7",
        "MEMORY": "256",
        "TEAM": "vision",
        "ADDRESS": seen["address"],
        "RANK": "0",
    }
    assert seen["served"].startswith("prepared by pods-node-0-0-")
    assert {path: file["text"] for path, file in seen["files"].items() if path != "/about/labels"} == {
        "/settings/size": "7",
        "/etc/color": "blue",
        "/credentials/token": TOKEN,
        "/about/cpu": "1",
        "/about/nested/color": "blue",
    }
    assert 'team="vision"' in seen["files"]["/about/labels"]["text"]
    assert (seen["files"]["/credentials/token"]["mode"], seen["files"]["/credentials/token"]["group"]) == (
        "0o440",
        2000,
    )
    assert seen["parts"] == {"a": ["name"], "b": []}
    if "limits" in world.kind.can:
        assert seen["limit"] == str(256 << 20)
    assert seen["memory"]["f_blocks"] * seen["memory"]["f_frsize"] == 16 << 20
    assert (seen["hostname"], seen["alias"]) == ("pods-node-0-0", "10.99.0.1")
    assert 2000 in seen["groups"]
    assert set(seen["volumes"].values()) == {2000}, seen["volumes"]
    lines = world.log_of("pods", "node-0.other").splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["hello in a volume", "hello in shared memory"]


HOARD = """
import pathlib, time
marker = pathlib.Path('/workspace/hoarded')
print('found', sorted(path.name for path in pathlib.Path('/scratch').iterdir()), flush=True)
if not marker.exists():
    marker.touch()
    pathlib.Path('/scratch/hoard').write_bytes(bytes(8 << 20))
    time.sleep(600)
"""


def test_a_pod_that_takes_too_much_disk_makes_room_for_one_that_does_not(world: World) -> None:
    scratch = {"name": "scratch", "emptyDir": {"sizeLimit": "2Mi"}}
    mount = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    pod = {"volumes": [scratch], "restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 1}
    world.drop(build_runtime("scratch", container=mount, pod=pod))
    world.workspace("hoarder")
    world.drop(build_train_job("hoarder", 1, ["python3", "-c", HOARD], runtimeRef={"name": "scratch"}))
    world.start()
    report = world.wait_phase("hoarder", "Complete", "Failed", "Rejected")
    assert report["phase"] == "Complete", world.describe("hoarder")
    assert [node["failures"] for node in world.nodes("hoarder")] == ["1 of 6"]
    assert world.log_of("hoarder", "node-0").strip().endswith("found []"), "the volume is another one"
    events = world.trainlet("events").stdout
    assert 'Usage of EmptyDir volume "scratch" exceeds the limit "2Mi"' in events
    assert "Evicted" in events


def test_nothing_is_left_of_a_pod_and_no_secret_is_told(world: World) -> None:
    world.drop_private(CREDENTIALS, file="credentials.yaml")
    world.drop(SETTINGS)
    drop_pods(world)
    world.start()
    report = world.wait_phase("pods", "Complete", "Failed", "Rejected")
    assert report["phase"] == "Complete", world.describe("pods")
    uid = str(world.job("pods")["metadata"]["uid"])
    world.wait_gone(uid)
    plan = world.trainlet("plan", "-o", "json", str(world.jobs))
    assert plan.returncode == 0, plan.stderr
    told = "\n".join([plan.stdout, world.log.read_text(), *read_all(world.jobs / "status")])
    assert TOKEN in world.log_of("pods", "node-0"), "a container may print what it reads"
    assert TOKEN not in told
    assert ENCODED not in told


def read_all(directory: Path) -> Iterator[str]:
    """Yield the texts of all files but the kept logs, which are the containers' own words."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.parent.name != "logs":
            yield path.read_text(errors="replace")


WAIT_FOR_GO = ["sh", "-c", "while ! [ -e /workspace/go ]; do sleep 0.1; done"]


def drop_sidecar_job(world: World, code: int) -> Path:
    """Drop a job whose init container ends with this code, and return its workspace."""
    workspace = world.workspace("sidecar")
    (workspace / "code").write_text(str(code))
    drop_job(world, "sidecar", 1, WAIT_FOR_GO, "sidecar")
    return workspace


def find_container(report: JSON, name: str) -> JSON:
    """Return what the report says of one container of the only node."""
    [node] = report.get("nodes") or [{}]
    found: JSON = next((each for each in node.get("containers") or [] if each["name"] == name), {})
    return found


@pytest.mark.parametrize("world", ["docker"], indirect=True)
def test_a_pod_waits_for_a_secret_that_is_missing(world: World) -> None:
    world.drop(SETTINGS)
    drop_pods(world)
    world.start()
    reason = "CreateContainerConfigError"
    wait_for(lambda: find_container(world.report("pods"), "node").get("reason") == reason, "the node to wait", 60)
    assert find_container(world.report("pods"), "node")["message"] == 'secret "credentials" not found'
    assert find_container(world.report("pods"), "prepare")["state"] == "succeeded"
    world.drop_private(CREDENTIALS, file="credentials.yaml")
    assert world.wait_phase("pods", "Complete", "Failed")["phase"] == "Complete", world.describe("pods")


@pytest.mark.parametrize("world", ["podman-rootless"], indirect=True)
def test_an_init_container_that_fails_is_what_is_told_first(world: World) -> None:
    drop_sidecar_job(world, 3)
    world.start()
    report = world.wait_phase("sidecar", "Complete", "Failed", "Rejected")
    assert report["phase"] == "Failed", world.describe("sidecar")
    cause = report["rootCause"]
    assert (cause["node"], cause["container"], cause["exitCode"]) == ("node-0", "prepare", 3)
    assert cause["log"] == ["preparing"]
    shown = world.trainlet("logs", "sidecar", "-c", "prepare")
    assert shown.stdout.splitlines()[-1].endswith("preparing"), shown.stderr
    world.wait_gone(str(world.job("sidecar")["metadata"]["uid"]))


@pytest.mark.parametrize("is_watched", [True, False], ids=["killed-watched", "removed-unwatched"])
@pytest.mark.parametrize("world", ["podman"], indirect=True)
def test_a_pod_whose_sandbox_is_lost_begins_anew(world: World, *, is_watched: bool) -> None:
    workspace = drop_sidecar_job(world, 0)
    world.start()
    before = {container.name: container.id for container in world.wait_running("sidecar", 3)}
    if is_watched:
        world.client("kill", "sidecar-node-0_POD")
    else:  # Podman removes one by one: an operator that looked would put some of them back in between
        world.kill()
        world.client("rm", "-f", "-t", "0", "--depend", "sidecar-node-0_POD")
        world.start()

    def find_new() -> bool:
        running = world.running("sidecar")
        return len(running) == 3 and not {container.id for container in running} & set(before.values())

    wait_for(find_new, "other containers of the same names", 60)
    assert {container.name for container in world.running("sidecar")} == set(before)
    assert len((workspace / "prepared").read_text().splitlines()) == 2, "the init container ran again"
    (workspace / "go").touch()
    report = world.wait_phase("sidecar", "Complete", "Failed")
    assert report["phase"] == "Complete", world.describe("sidecar")
    world.wait_gone(str(world.job("sidecar")["metadata"]["uid"]))


def find_node(world: World, name: str) -> JSON:
    """Return what the report of the job `probes` says of one node."""
    found: JSON = next((node for node in world.nodes("probes") if node["name"] == name), {})
    return found


def test_probes_say_when_others_may_begin_and_when_to_start_over(world: World) -> None:
    workspace = world.workspace("probes")
    (workspace / "pages").mkdir()
    drop_job(world, "probes", 1, WAIT_FOR_GO, "probes")
    world.start()
    wait_for(lambda: find_node(world, "server-0").get("state") == "running", "the server to run", 60)
    told = workspace / "told"
    wait_for(lambda: told.exists() and told.read_text() == "started\n", "its postStart hook", 30)
    (workspace / "up").touch()
    wait_for(lambda: "HTTP status 404" in str(find_node(world, "server-0").get("message")), "it not to be ready", 30)
    assert find_node(world, "node-0") == {}, "the node waits"
    (workspace / "pages" / "ready").write_text("yes")
    wait_for(lambda: find_node(world, "node-0").get("state") == "running", "the node to begin", 30)
    (workspace / "dead").touch()
    wait_for(lambda: find_node(world, "server-0").get("restarts") == 1, "the server to be started again", 60)
    assert "Liveness probe failed" in find_node(world, "server-0")["last"]["message"]
    lines = ["started", "stopping", "started"]
    wait_for(lambda: told.read_text().split() == lines, "its hooks", 30)
    (workspace / "go").touch()
    report = world.wait_phase("probes", "Complete", "Failed")
    assert report["phase"] == "Complete", world.describe("probes")
    world.wait_gone(str(world.job("probes")["metadata"]["uid"]))
    assert told.read_text().split() == [*lines, "stopping"]
    events = world.trainlet("events").stdout
    assert "Unhealthy" in events


CLAIM: JSON = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "trainlet-e2e-data", "labels": {"team": "vision"}},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def test_a_claim_outlives_the_jobs_that_mount_it(world: World) -> None:
    world.drop(CLAIM, file="claim.yaml")
    pod = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "trainlet-e2e-data"}}],
        "containers": [{"name": "node", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
    }
    patch = build_pod_patch("node", **pod)
    look = ["sh", "-c", "cat /data/lines 2>/dev/null; echo $POD >>/data/lines"]
    world.start()
    try:
        for name in ("first", "second"):
            env = [{"name": "POD", "value": name}]
            drop_job(world, name, 1, look, trainer={"env": env}, runtimePatches=[patch])
            assert world.wait_phase(name, "Complete", "Failed", "Rejected")["phase"] == "Complete", world.describe(name)
            assert ("first" in world.log_of(name, "node-0")) is (name == "second")
            uid = str(world.job(name)["metadata"]["uid"])
            (world.jobs / f"{name}.yaml").rename(world.base / f"{name}.yaml")
            world.wait_gone(uid)
            found = json.loads(world.client("volume", "inspect", "trainlet-e2e-data").stdout)
            assert found[0]["Labels"]["team"] == "vision"
    finally:
        world.client("volume", "rm", "trainlet-e2e-data")


def test_containers_of_a_pod_are_plain_processes_where_nothing_is_shared_anyway(process_world: World) -> None:
    world = process_world
    workspace = world.workspace("sidecar")
    (workspace / "code").write_text("0")
    drop_job(world, "sidecar", 1, WAIT_FOR_GO, "sidecar")
    world.start()
    assert {container.name for container in world.wait_running("sidecar", 2)} == {
        "sidecar-node-0",
        "sidecar-node-0_beside",
    }
    (workspace / "go").touch()
    report = world.wait_phase("sidecar", "Complete", "Failed")
    assert report["phase"] == "Complete", world.describe("sidecar")
    world.wait_gone(str(world.job("sidecar")["metadata"]["uid"]))
