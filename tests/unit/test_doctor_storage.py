"""What `trainlet doctor` says of disks, shared memory and mounted directories, on trees that stand for machines."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from trainlet.doctor.machine import Level
from trees import DOCKER, OK, OWN_PODMAN, PODMAN, WARN, StillEngine, Tree, levels, run


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize(("free", "level"), [(5 << 30, OK), ((5 << 30) - 1, WARN)])
def test_little_room_on_disk_is_told(tree: Tree, free: int, level: Level) -> None:
    assert set(levels("disk", tree.look(StillEngine(), get_free_bytes=lambda _: free))) == {level}


@pytest.mark.parametrize(
    ("engine", "uid", "place"),
    [
        (StillEngine("docker", DOCKER), 0, "var/lib/docker"),
        (StillEngine("podman", PODMAN), 0, "var/lib/containers"),
        (StillEngine("podman", OWN_PODMAN), 1000, "home/.local/share/containers"),
        (StillEngine("podman", OWN_PODMAN), 0, "home/ann/.local/share/containers"),
    ],
)
def test_room_is_looked_for_where_the_engine_keeps_images(
    tree: Tree, engine: StillEngine, uid: int, place: str
) -> None:
    (tree.root / place).mkdir(parents=True)
    tree.write("/etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n")
    seen: list[Path] = []
    run("disk", tree.look(engine, uid, get_free_bytes=lambda path: seen.append(path) or 0))
    assert tree.root / place in seen


def test_the_engine_itself_is_asked_where_its_images_are(tree: Tree) -> None:
    (tree.root / "big/docker").mkdir(parents=True)
    tree.replies["/info"] = {"DockerRootDir": "/big/docker"}
    seen: list[Path] = []
    run("disk", tree.look(StillEngine(), get_free_bytes=lambda path: seen.append(path) or 0))
    assert tree.root / "big/docker" in seen


def test_the_place_of_fetched_data_is_looked_at(tree: Tree) -> None:
    seen: list[Path] = []
    settings = {"cache_dir": tree.root / "jobs/cache"}
    run("disk", tree.look(StillEngine(), settings=settings, get_free_bytes=lambda path: seen.append(path) or 0))
    assert tree.root / "jobs" in seen


@pytest.mark.parametrize(("free", "level"), [(256 << 20, OK), ((256 << 20) - 1, WARN)])
def test_processes_share_one_shared_memory(tree: Tree, free: int, level: Level) -> None:
    (tree.root / "dev/shm").mkdir(parents=True)
    machine = tree.look(StillEngine("process", "file:///state"), get_free_bytes=lambda _: free)
    assert levels("shared memory", machine) == [level]


@pytest.mark.parametrize(("memory", "level"), [(8 << 30, OK), ((8 << 30) - 1, WARN)])
def test_a_virtual_machine_may_be_smaller_than_half_of_this_one(tree: Tree, memory: int, level: Level) -> None:
    tree.replies["/info"] = {"MemTotal": memory}
    assert levels("shared memory", tree.look(StillEngine(), get_shm_bytes=lambda: 8 << 30)) == [level]


@pytest.mark.parametrize(("mode", "level"), [(0o700, WARN), (0o710, WARN), (0o701, OK)])
def test_another_users_engine_must_be_able_to_enter(tree: Tree, mode: int, level: Level) -> None:
    # Not pytest's tmp_path, which its user alone may enter.
    with TemporaryDirectory(prefix="trainlet-") as name:
        workspaces, closed = Path(name, "open"), Path(name, "closed")
        for directory, bits in ((workspaces.parent, 0o755), (workspaces, 0o755), (closed, mode)):
            directory.mkdir(exist_ok=True)
            directory.chmod(bits)
        settings = {"workspace_dir": workspaces, "cache_dir": closed / "cache"}
        first, second = run("mounts", tree.look(StillEngine("podman", OWN_PODMAN), settings=settings))
    assert (first.level, second.level) == (OK, level)
    assert (f"`chmod o+x {closed}`" in second.remedy) == (level is WARN)


@pytest.mark.parametrize(("engine", "uid"), [(StillEngine("docker", DOCKER), 1000), (StillEngine("podman", PODMAN), 0)])
def test_root_may_enter_everything(tree: Tree, engine: StillEngine, uid: int) -> None:
    assert run("mounts", tree.look(engine, uid)) == []


def test_ones_own_engine_may_enter_what_oneself_may(tree: Tree) -> None:
    assert run("mounts", tree.look(StillEngine("podman", OWN_PODMAN), uid=1000)) == []
