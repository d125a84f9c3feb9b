"""What the policies promise to real programs: Open MPI over ssh, JAX, XGBoost, and data that an initializer fetched.

MPI and the initializer run on every engine, because keys with owners and modes, looks at ports and volumes are each
engine's own business. JAX and XGBoost see no more of an engine than PyTorch does, which test_training.py runs on all:
an address, a name and variables; so each runs on one engine only. MPI as root differs from MPI as another user in who
may read the key, which one engine shows.
"""

import base64
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engines import FRAMEWORKS_IMAGE
from runtimes import PROGRAM, drop_job, put_program, read_program
from trainlet.kube.meta import JSON
from trainlet.server.credentials import load_credentials
from waiting import wait_for
from world import PYTHON_IMAGE, World

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

KEY_BEGIN = b"-----BEGIN EC PRIVATE KEY-----"
COUNTERS = ("ready", "succeeded", "failed", "active", "suspended")


def drop_training(world: World, name: str, program: str, nodes: int, *command: str) -> str:
    """Drop a job of the runtime of its own name that runs a program, wait for its end and return its uid."""
    put_program(world, name, program)
    drop_job(world, name, nodes, [*command, PROGRAM], name, trainer={"image": FRAMEWORKS_IMAGE})
    return wait_complete(world, name)


def wait_complete(world: World, name: str) -> str:
    """Wait until the job is complete, and for no other reason than upstream's; return its uid."""
    report = world.wait_phase(name, "Complete", "Failed", "Rejected", timeout_seconds=120)
    assert report["phase"] == "Complete", world.describe(name)
    job = world.job(name)
    [condition] = job["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Complete", "AllJobsCompleted")
    assert condition["message"] == "jobset completed successfully"
    assert report["restarts"] == 0, world.describe(name)
    return str(job["metadata"]["uid"])


def count_job(name: str, **counters: int) -> JSON:
    """Return an entry of jobsStatus in which all other counters are 0."""
    return {"name": name, **dict.fromkeys(COUNTERS, 0), **counters}


def assert_in_order(world: World, *actions: str) -> None:
    """Check that the operator did these things, the first of them first."""
    log = world.log.read_text()
    places = [log.find(action) for action in actions]
    assert -1 not in places, f"{actions} at {places} of\n{log}"
    assert places == sorted(places), f"{actions} at {places} of\n{log}"


# MPI


def test_mpi_ranks_on_a_launcher_and_two_nodes_add_up(world: World) -> None:
    world.start()
    uid = drop_training(world, "mpi", "mpi_allreduce", 3, "mpirun", "python3")
    world.wait_gone(uid)
    [(ranks, hosts, total)] = re.findall(r"(\d+) ranks on (.+) sum (\d+)", world.log_of("mpi", "launcher-0"))
    assert sorted(hosts.split()) == ["mpi-launcher-0-0", "mpi-node-0-0", "mpi-node-0-1"]
    assert (ranks, total) == ("3", "6")
    assert_in_order(world, "StartContainer mpi-node-0", "CreateContainer mpi-launcher-0")
    assert_in_order(world, "StartContainer mpi-node-1", "CreateContainer mpi-launcher-0")
    # The nodes' sshd never ends by itself: that the launcher did ends them, and is no failure of theirs.
    assert world.job("mpi")["status"]["jobsStatus"] == [count_job("node"), count_job("launcher", succeeded=1)]
    assert_no_key(world)


def assert_no_key(world: World) -> None:
    """Check that the job's private key is in nothing that the operator wrote, as itself or as a Secret has it."""
    texts = [world.log.read_text(), *(path.read_text() for path in world.status.root.rglob("*.yaml"))]
    encoded = base64.b64encode(KEY_BEGIN).decode()  # 30 bytes: what follows them changes nothing
    assert not any(mark in text for mark in (KEY_BEGIN.decode(), encoded) for text in texts)


def test_mpi_as_root_starts_as_many_ranks_a_node_as_its_slots(docker_world: World) -> None:
    world = docker_world
    world.start()
    # ssh takes no key of its own user that a group may read, and the key's mode is upstream's: 0640.
    launch = "install -m 600 /root/.ssh/id_rsa /tmp/key && exec mpirun --allow-run-as-root"
    mpirun = ["--mca", "plm_rsh_args", "-i /tmp/key -o ConnectionAttempts=10", "python3"]
    uid = drop_training(world, "mpi-as-root", "mpi_allreduce", 2, "sh", "-c", f'{launch} "$@"', "sh", *mpirun)
    world.wait_gone(uid)
    [(hosts, total)] = re.findall(r"4 ranks on (.+) sum (\d+)", world.log_of("mpi-as-root", "launcher-0"))
    assert hosts.split() == ["mpi-as-root-node-0-0"] * 2 + ["mpi-as-root-node-0-1"] * 2
    assert total == "10"


# JAX and XGBoost


@pytest.mark.parametrize("world", ["podman-rootless"], indirect=True)
def test_jax_processes_add_up(world: World) -> None:
    world.start()
    uid = drop_training(world, "jax", "jax_sum", 2, "python3")
    world.wait_gone(uid)
    for rank in range(2):
        assert f"process {rank} of 2 sum 3\n" in world.log_of("jax", f"node-{rank}")


@pytest.mark.parametrize("world", ["podman"], indirect=True)
def test_xgboost_workers_train_one_model(world: World) -> None:
    world.start()
    uid = drop_training(world, "xgboost", "xgboost_train", 2, "python3")
    world.wait_gone(uid)
    logs = "".join(world.log_of("xgboost", f"node-{rank}") for rank in range(2))
    results = re.findall(r"worker (\d) of 2 accuracy (\S+) model (\S+)", logs)
    assert sorted(worker for worker, *_ in results) == ["0", "1"]
    assert all(float(accuracy) > 0.9 for _, accuracy, _ in results)
    assert len({model for *_, model in results}) == 1


# Initializers


def make_data(world: World) -> Path:
    """Make a directory of numbers, 100 in all, that any user may read."""
    data = world.base / "data"
    for name, text in {"first.txt": "1\n2\n", "more/second.txt": "90\n7\n"}.items():
        path = data / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(text)
    return data


def start_with_initializer(world: World, *flags: str) -> None:
    """Start an operator that fetches data with the test image, and keeps it where any engine's user may write."""
    cache = world.base / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    world.start("--initializer-image", PYTHON_IMAGE, "--cache-dir", str(cache), *flags)


def drop_reading_job(world: World, data: Path, nodes: int = 2) -> Path:
    """Drop a job whose nodes add up what an initializer fetched; their workspace is the claim, not the host's."""
    return drop_job(
        world,
        "reading",
        nodes,
        ["python3", "-c", read_program("read_data")],
        "dataset",
        initializer={"dataset": {"storageUri": f"file://{data}"}},
        trainer={"env": [{"name": "EXPECTED", "value": "100"}]},
    )


def list_volumes(world: World, uid: str) -> list[str]:
    """Return the job's volumes as the engine's own client has them."""
    flags = ["--quiet", "--filter", f"label=trainlet.dev/owner-uid={uid}"]
    return world.client("volume", "ls", *flags).stdout.split()


def test_nodes_find_what_their_initializer_fetched(world: World) -> None:
    data = make_data(world)
    start_with_initializer(world, "--allow-host-path", str(data))
    path = drop_reading_job(world, data)
    uid = wait_complete(world, "reading")
    wait_for(lambda: not world.observe(uid).containers, "the containers to go", 60)
    for rank in range(2):
        log = world.log_of("reading", f"node-{rank}")
        assert f"rank {rank} sum 100 of first.txt more/second.txt\n" in log
    assert_in_order(world, "StartContainer reading-dataset-initializer-0", "CreateContainer reading-node-0")
    assert world.job("reading")["status"]["jobsStatus"] == [
        count_job("node", succeeded=1),
        count_job("dataset-initializer", succeeded=1),
    ]
    assert list_volumes(world, uid) == ["initializer-reading"], "a claim lives as long as the job"
    path.unlink()
    world.wait_gone(uid)
    assert list_volumes(world, uid) == []
    assert sorted(path.name for path in data.rglob("*")) == ["first.txt", "more", "second.txt"]


@pytest.mark.parametrize("world", ["docker"], indirect=True)
def test_an_initializer_of_a_path_that_is_not_allowed_is_refused(world: World) -> None:
    data = make_data(world)
    start_with_initializer(world)
    drop_reading_job(world, data)
    report = world.wait_phase("reading", "Rejected", "Pending", "Running", "Complete", "Failed")
    assert report["phase"] == "Rejected", world.describe("reading")
    assert "--allow-host-path" in str(report["errors"])
    assert world.owned() == 0


def build_object(kind: str, name: str, **data: str) -> JSON:
    """Return a ConfigMap or a Secret; a dot in a key is written as two underscores."""
    texts = {key.replace("__", "."): text for key, text in data.items()}
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name},
        "stringData" if kind == "Secret" else "data": texts,
    }


def test_an_initializer_fetches_over_https_with_what_a_secret_of_the_job_says(world: World) -> None:
    credentials = load_credentials(world.base / "credentials", datetime.now(UTC))
    world.drop_private(
        build_object("Secret", "keys", server__pem=credentials.server_file.read_text()),
        build_object("Secret", "how-to-fetch", SSL_CERT_FILE="/authority/root.pem"),
        file="secrets.yaml",
    )
    world.drop(
        build_object("ConfigMap", "pages", numbers__txt="40\n60\n"),
        build_object("ConfigMap", "authority", root__pem=credentials.authority),
        file="maps.yaml",
    )
    uri = "https://127.0.0.1:8443/numbers.txt"
    drop_job(
        world,
        "web",
        1,
        ["python3", "-c", read_program("read_data")],
        "web",
        initializer={"dataset": {"storageUri": uri, "secretRef": {"name": "how-to-fetch"}}},
        trainer={"env": [{"name": "EXPECTED", "value": "100"}]},
    )
    start_with_initializer(world)
    wait_complete(world, "web")
    assert "rank 0 sum 100 of numbers.txt\n" in world.log_of("web", "node-0")
    assert '"GET /numbers.txt' in world.log_of("web", "dataset-initializer.site")


# Flux

FLUX_VIEW_IMAGE = "localhost/trainlet-flux-view:test"
VIEW = "/opt/views/._view/hash/bin"


@pytest.fixture
def flux_view(world: World) -> Iterator[None]:
    """The image that brings Flux, with a program in its place; the scripts around it are the policy's own."""
    script = f"mkdir -p {VIEW} /opt/software && cat >{VIEW}/flux && chmod +x {VIEW}/flux"
    name = f"flux-view-{os.getpid()}"
    world.client("run", "-i", "--name", name, PYTHON_IMAGE, "sh", "-c", script, given=read_program("flux_stand_in"))
    file = world.base / "view.tar"
    world.client("export", "-o", str(file), name)
    world.client("rm", name)
    with file.open("rb") as tar:
        world.engine.import_image(FLUX_VIEW_IMAGE, iter(lambda: tar.read(1 << 20), b""))
    file.unlink()
    try:
        yield
    finally:
        world.client("rmi", FLUX_VIEW_IMAGE)


@pytest.mark.usefixtures("flux_view")
def test_flux_nodes_meet_with_what_their_init_container_brought(world: World) -> None:
    """Real Flux is in no package of this machine's: what meets here is a stand-in, the way to it is the policy's."""
    drop_job(world, "flux", 2, ["echo", "trained"], "flux", trainer={"args": ["by", "flux"]})
    world.start()
    report = world.wait_phase("flux", "Complete", "Failed", "Rejected")
    assert report["phase"] == "Complete", world.describe("flux")
    leader = world.log_of("flux", "node-0")
    assert "2 brokers have met" in leader
    assert "trained by flux" in leader
    assert "Flux is ready for flux-node-0-[0-1]" in world.log_of("flux", "node-1.flux-installer")
    world.wait_gone(str(world.job("flux")["metadata"]["uid"]))
