"""What an operator is to those who run it: it ends when told to, says how it is, and takes over from an older one."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from exposition import parse
from proxy import Proxy
from trainlet.controller.metrics import FAMILIES
from trainlet.documents.migrations import FILE
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.addresses import get_address
from trainlet.planning.records import ATTEMPT
from trainlet.planning.specs import ContainerSpec, NetworkSpec
from waiting import wait_for
from world import PYTHON_IMAGE, Running, World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

STORED = Path(__file__).parents[1] / "stored_status" / "v0"
SLEEP = ["python3", "-c", "import time; time.sleep(600)"]
#: Of the usual pool, and not where the operator itself begins.
SUBNET = "10.213.250.0/29"
#: An orderly end takes some 0.3 s; the rest is for a machine that is busy.
QUICK_SECONDS = 5
#: What the program gives itself, and a little for its start of the clock.
BOUND_SECONDS = 15


def ask(world: World, path: str) -> tuple[int, str]:
    """Return code and body of one of the operator's pages."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    with closing(connection), socket.socket(socket.AF_UNIX) as connection.sock:
        connection.sock.connect(str(world.base / "metrics.sock"))
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def start_with_metrics(world: World, *flags: str) -> Running:
    operator = world.start("--metrics-listen", f"unix://{world.base}/metrics.sock", *flags)
    wait_for(lambda: is_answered(world), "the operator to answer", 30)
    return operator


def is_answered(world: World) -> bool:
    try:
        return ask(world, "/healthz")[0] == 200
    except OSError:
        return False


def end(operator: Running, *signals: signal.Signals) -> tuple[int, float]:
    """Send the signals, a moment apart, and return the exit status and how many seconds the end took."""
    begun = time.monotonic()
    for number in signals:
        operator.send_signal(number)
        try:
            operator.wait(0.5 if len(signals) > 1 else BOUND_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    return operator.wait(BOUND_SECONDS), time.monotonic() - begun


# How it is


def test_a_running_operator_tells_of_itself(process_world: World) -> None:
    world = process_world
    world.drop(build_train_job("mnist", 2, SLEEP))
    start_with_metrics(world, "--log-format", "json")
    world.wait_running("mnist", 2)
    world.wait_phase("mnist", "Running")
    wait_for(lambda: 'trainlet_nodes{state="running"} 2' in ask(world, "/metrics")[1], "both nodes to be counted", 30)
    assert ask(world, "/readyz") == (200, "ok\n")
    found = parse(ask(world, "/metrics")[1])
    told = {name for name, _ in found}
    assert found[("trainlet_engine_call_duration_seconds_count", (("engine", "process"), ("verb", "ping")))] >= 1
    assert {family.name for family in FAMILIES if f"# TYPE {family.name} " not in ask(world, "/metrics")[1]} == set()
    assert told >= {"trainlet_reconcile_duration_seconds_count", "workqueue_adds_total", "trainlet_watched_files"}
    assert found[("trainlet_jobs", (("phase", "Running"),))] == 1
    assert found[("trainlet_actions_total", (("action", "StartContainer"), ("result", "success")))] == 2
    assert world.stop() == 0
    records = [json.loads(line) for line in world.log.read_text(encoding="utf-8").splitlines()]
    starts = [record for record in records if record.get("action") == "StartContainer"]
    assert {record["container"] for record in starts} == {"mnist-node-0", "mnist-node-1"}


def test_systemd_is_told_of_start_life_and_end(process_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(process_world.base / "notify"))
        heard.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(process_world.base / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        process_world.start()
        assert heard.recv(4096).splitlines()[0] == b"READY=1"
        assert [heard.recv(4096) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        assert process_world.stop() == 0
        messages = [b""]
        while messages[-1] != b"STOPPING=1":
            messages.append(heard.recv(4096))
        assert set(messages) <= {b"", b"WATCHDOG=1", b"STOPPING=1"}


# Its end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quickly_and_jobs_run_on(process_world: World, number: signal.Signals) -> None:
    world = process_world
    world.drop(build_train_job("mnist", 2, SLEEP))
    operator = world.start()
    before = world.wait_running("mnist", 2)
    status, seconds = end(operator, number)
    assert (status, seconds < QUICK_SECONDS) == (0, True), seconds
    assert world.running("mnist") == before


@pytest.fixture
def hanging(docker_world: World) -> Iterator[tuple[World, Proxy]]:
    """A world whose operator reaches its engine through a socket that can hang."""
    proxy = Proxy(docker_world.base / "engine.sock", docker_world.url)
    docker_world.url, url = proxy.url, docker_world.url
    yield docker_world, proxy
    docker_world.url = url
    proxy.close()


@pytest.mark.parametrize(
    ("hangs", "job"),
    [
        ("POST /v[0-9.]+/containers/create", {}),
        ("POST /v[0-9.]+/images/create", {"trainer": {"image": "registry.invalid/none:1"}}),
    ],
    ids=["a create", "a pull"],
)
def test_an_engine_that_hangs_does_not_keep_it(hanging: tuple[World, Proxy], hangs: str, job: JSON) -> None:
    world, proxy = hanging
    operator = start_with_metrics(world)
    with proxy.fault("hang", hangs):
        world.drop(build_train_job("mnist", 2, SLEEP, **job))
        wait_for(lambda: proxy.count(hangs) > 0, "the engine to hang", 30)
        status, seconds = end(operator, signal.SIGTERM)
    assert (status, seconds < BOUND_SECONDS) == (0, True), seconds


def test_a_second_signal_ends_it_at_once(hanging: tuple[World, Proxy]) -> None:
    world, proxy = hanging
    operator = start_with_metrics(world)
    with proxy.fault("hang", "POST /v[0-9.]+/containers/create"):
        world.drop(build_train_job("mnist", 1, SLEEP))
        wait_for(lambda: proxy.count("containers/create") > 0, "the engine to hang", 30)
        status, seconds = end(operator, signal.SIGTERM, signal.SIGTERM)
    assert (status, seconds < QUICK_SECONDS) == (128 + signal.SIGTERM, True), seconds


def test_it_can_be_ended_while_it_waits_for_the_engine_at_its_start(hanging: tuple[World, Proxy]) -> None:
    world, proxy = hanging
    with proxy.fault("hang", "GET /v[0-9.]+/containers/json"):
        operator = world.start()
        wait_for(lambda: proxy.count("containers/json") > 0, "the operator to ask", 30)
        status, seconds = end(operator, signal.SIGTERM)
    assert (status, seconds < QUICK_SECONDS) == (0, True), seconds


# An upgrade


def leave_as_layout_0(world: World, command: Sequence[str], *, suspended: bool = False) -> str:
    """Leave what an operator of layout 0 left: its documents, and its two containers. Return the job's uid.

    If it is `suspended`, the operator has asked them to end, and did not live to see it.
    """
    shutil.copytree(STORED, world.jobs / "status")
    if suspended:
        world.status.write_part("default", "mnist", "pods", [_ask_to_end(pod) for pod in read_pods(world)])
    job = world.job("mnist")
    job["spec"]["suspend"] = suspended
    uid, pods = job["metadata"]["uid"], read_pods(world)
    world.drop({**{part: job[part] for part in ("apiVersion", "kind", "spec")}, "metadata": {"name": "mnist"}})
    owner = {labels.OWNER_UID: uid, labels.STORE: world._store_id(), labels.NAMESPACE: "default"}
    owner |= {labels.JOB_NAME: "mnist", labels.SDK_JOB_NAME: "mnist"}
    world.engine.create_network(NetworkSpec("mnist-net", len(pods), owner, SUBNET))
    [network] = world.observe(uid).networks
    for number, pod in enumerate(pods):
        name, attempt = f"mnist-node-{number}", pod["metadata"]["annotations"][ATTEMPT]
        mine = {labels.POD: pod["spec"]["hostname"], labels.ATTEMPT: attempt, labels.SPEC_HASH: "of-layout-0"}
        mine |= {labels.SDK_STEP: f"node-{number}", labels.NETWORK: network.id}
        spec = ContainerSpec(
            name=name,
            image=PYTHON_IMAGE,
            command=tuple(command),
            labels={**pod["metadata"]["labels"], **owner, **mine},
            network=network.name,
            address=get_address(network, number),
        )
        world.engine.create_container(spec)
        world.engine.start_container(name)
    return str(uid)


def read_pods(world: World) -> list[JSON]:
    return world.status.read_part("default", "mnist", "pods")


def _ask_to_end(pod: JSON) -> JSON:
    metadata = pod["metadata"]
    notes = {**metadata["annotations"], "trainlet.dev/asked-to-end": "true"}
    return {**pod, "metadata": {**metadata, "annotations": notes, "deletionTimestamp": metadata["creationTimestamp"]}}


def test_nodes_of_an_older_operator_run_on_and_are_counted_on(world: World) -> None:
    uid = leave_as_layout_0(world, SLEEP)
    before = world.wait_running("mnist", 2)
    world.start("--restart-backoff", "0s")
    wait_for((world.jobs / "status" / FILE).exists, "the directory to be brought to this layout", 30)
    world.wait_phase("mnist", "Running")
    assert world.running("mnist") == before
    world.engine.kill_container(before[1].id)
    wait_for(lambda: world.nodes("mnist")[1]["restarts"] >= 2, "its second restart", 60)
    first, second = world.nodes("mnist")  # the job's own command, which it has now, may have failed again
    failures = int(second["failures"].removesuffix(" of 6"))
    assert failures - second["restarts"] in (0, 1), "the one before is counted"
    assert first["restarts"] == 0
    assert world.running("mnist")[0] == before[0], "the other runs on"
    (world.jobs / "mnist.yaml").unlink()
    world.wait_gone(uid)


def test_what_an_older_operator_has_asked_to_end_has_not_done_its_work(world: World) -> None:
    uid = leave_as_layout_0(world, ["true"], suspended=True)
    wait_for(lambda: not world.running("mnist"), "both containers to end", 30)
    world.start()
    wait_for(lambda: not world.observe(uid).containers, "both containers to be seen and removed", 60)
    world.wait_phase("mnist", "Suspended", "Complete")
    assert world.report("mnist")["phase"] == "Suspended"
    (world.jobs / "mnist.yaml").unlink()
    world.wait_gone(uid)


def test_a_directory_of_a_later_layout_is_refused_by_name(process_world: World) -> None:
    world = process_world
    world.status.prepare()
    (world.jobs / "status" / FILE).write_text("99 trainlet 9.1\n")
    assert world.start().wait(30) == 4
    error = world.log.read_text(encoding="utf-8").splitlines()[-1]
    assert error.startswith("error: trainlet 9.1 wrote this directory in layout 99")
    assert error.endswith("run that one again, or give another --status-dir")
