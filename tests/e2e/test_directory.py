"""Whatever happens to the watched directory and its file system, jobs that run go on and files are found.

The real program on plain processes. Mounts and limits are those of namespaces that only the operator is in.
"""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trainlet.kube.meta import JSON
from waiting import wait_for
from world import Running, World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

COMMAND = ["python3", "-c", "print('well')"]
#: More events than a queue of inotify takes (fs.inotify.max_queued_events).
MANY_EVENTS = 20_000
OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]
NO_INOTIFY = [
    *("unshare", "--user", "--map-root-user", "--", "sh", "-c"),
    'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"',
    "sh",
]


def drop_short(world: World, name: str) -> Path:
    """Drop a job that ends at once."""
    return world.drop(build_train_job(name, 1, COMMAND))


def drop_long(world: World, name: str) -> Path:
    """Drop a job that runs until `go` is there, and wait until it runs."""
    code = f"import os, time\nwhile not os.path.exists({str(world.base / 'go')!r}): time.sleep(0.05)"
    path = world.drop(build_train_job(name, 1, ["python3", "-c", code]))
    world.wait_phase(name, "Running")
    return path


def let_go(world: World) -> None:
    (world.base / "go").touch()


def assert_completes(world: World, name: str) -> None:
    report = world.wait_phase(name, "Complete", "Failed", timeout_seconds=60)
    assert report["phase"] == "Complete", world.describe(name)


def get_uid(world: World, name: str) -> str:
    return str(world.job(name)["metadata"]["uid"])


def wait_error(world: World, words: str) -> JSON:
    """Wait until a file's error says these words, and return what is written of the file."""

    def look() -> JSON | None:
        entries = world.status.read_errors()
        return next((each for each in entries if any(words in error["detail"] for error in each["errors"])), None)

    try:
        return wait_for(look, f"an error that says {words!r}", 30) or {}
    except AssertionError as error:
        raise AssertionError(f"{error}\n{world.log.read_text()}") from None


# Whom to believe


def open_to_all(_: World, path: Path) -> None:
    path.chmod(0o666)


def link_outside(world: World, path: Path) -> None:
    path.rename(world.base / "outside.yaml")
    path.symlink_to(world.base / "outside.yaml")


@pytest.mark.parametrize("make", [open_to_all, link_outside], ids=lambda make: make.__name__)
def test_a_file_that_others_may_change_changes_nothing(
    process_world: World, make: Callable[[World, Path], None]
) -> None:
    world = process_world
    world.start()
    path = drop_long(world, "job")
    uid = get_uid(world, "job")
    make(world, path)
    entry = wait_error(world, "or run with --allow-unsafe-files")
    assert entry["file"] == str(path)
    drop_short(world, "healthy")
    assert_completes(world, "healthy")
    assert len(world.running("job")) == 1
    let_go(world)
    assert_completes(world, "job")
    world.stop()
    world.start("--allow-unsafe-files")
    wait_for(lambda: not world.status.has_errors(), "the file to be believed", 30)
    assert get_uid(world, "job") == uid


def test_a_directory_that_others_may_change_is_not_read(process_world: World) -> None:
    world = process_world
    world.start()
    path = drop_long(world, "job")
    world.jobs.chmod(0o777)
    entry = wait_error(world, f"chmod go-w {world.jobs}")
    assert entry["file"] == str(world.jobs)
    path.unlink()
    drop_short(world, "smuggled")
    let_go(world)
    assert_completes(world, "job")
    assert world.report("smuggled") == {}
    world.jobs.chmod(0o755)
    assert_completes(world, "smuggled")
    wait_for(lambda: world.job("job") == {}, "what was deleted meanwhile", 30)
    assert world.log.read_text().count(f"WARNING {world.jobs}: ") == 1


# The directory goes


def test_files_that_all_go_at_once_are_waited_for(process_world: World) -> None:
    world = process_world
    world.start("--deletion-grace", "5s")
    names = [f"job-{number:02}" for number in range(10)]
    for name in names:
        drop_long(world, name)
    uids = [get_uid(world, name) for name in names]
    (world.base / "away").mkdir()
    for path in world.jobs.glob("*.yaml"):
        path.rename(world.base / "away" / path.name)
    wait_error(world, "10 manifests are missing all at once")
    assert [len(world.running(name)) for name in names] == [1] * 10
    for path in (world.base / "away").iterdir():
        path.rename(world.jobs / path.name)
    wait_for(lambda: not world.status.has_errors(), "the return to be noticed", 30)
    assert [get_uid(world, name) for name in names] == uids
    for path in world.jobs.glob("*.yaml"):
        path.unlink()
    for uid in uids:
        world.wait_gone(uid)
    wait_for(lambda: not world.status.has_errors(), "the warning to go", 30)


def test_a_file_system_that_is_mounted_over_the_directory_ends_no_job(process_world: World) -> None:
    world = process_world
    operator = world.start(prefix=OWN_MOUNTS)
    drop_long(world, "job")
    uid = get_uid(world, "job")
    enter(operator, "mount", "-t", "tmpfs", "-o", "mode=755", "none", str(world.jobs))
    world.status.root = Path(f"/proc/{operator.pid}/root{world.jobs}/status")
    wait_error(world, "another file system is mounted here than before, without 1 of the manifests known")
    world.status.root = world.jobs / "status"
    assert len(world.running("job")) == 1
    enter(operator, "umount", str(world.jobs))
    drop_short(world, "healthy")
    assert_completes(world, "healthy")
    assert len(world.running("job")) == 1
    let_go(world)
    assert_completes(world, "job")
    assert get_uid(world, "job") == uid


def test_an_empty_directory_whose_jobs_run_is_not_believed_at_the_start(process_world: World) -> None:
    world = process_world
    world.start()
    drop_long(world, "job")
    uid = get_uid(world, "job")
    world.kill()
    away = world.jobs.rename(world.base / "away")
    world.jobs.mkdir()
    refused = world.start()
    assert refused.wait(30) == 4
    assert "mount its disk" in world.log.read_text()
    assert len(world.observe(uid).containers) == 1
    (world.jobs / "status").rename(world.base / "stray")
    world.jobs.rmdir()
    away.rename(world.jobs)
    world.start()
    let_go(world)
    assert_completes(world, "job")
    assert get_uid(world, "job") == uid


def enter(operator: Running, *command: str) -> None:
    """Run a command in the operator's namespaces."""
    target = ["nsenter", "--target", str(operator.pid), "--user", "--mount", "--preserve-credentials"]
    done = subprocess.run([*target, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_directory_that_is_deleted_and_made_again(process_world: World) -> None:
    world = process_world
    status = world.base / "status"
    world.status.root = status
    world.start("--status-dir", str(status), "--deletion-grace", "5s")
    paths = [drop_long(world, "stays"), drop_long(world, "goes")]
    uids = [get_uid(world, "stays"), get_uid(world, "goes")]
    text = paths[0].read_text()
    world.jobs.rename(world.base / "deleted")
    wait_for(lambda: "nothing is deleted until it is back" in world.log.read_text(), "the loss to be noticed", 30)
    world.jobs.mkdir()
    (world.jobs / "stays.yaml").write_text(text)
    wait_error(world, "another directory than before, without 1 of the manifests known")
    assert len(world.observe(uids[1]).containers) == 1
    world.wait_gone(uids[1])
    let_go(world)
    assert_completes(world, "stays")
    assert get_uid(world, "stays") == uids[0]


# Events that are lost


def test_without_inotify_files_are_found(process_world: World) -> None:
    world = process_world
    world.start(prefix=NO_INOTIFY)
    wait_for(lambda: "looking every 1 s" in world.log.read_text(), "the want of inotify to be noticed", 30)
    path = drop_long(world, "job")
    uid = get_uid(world, "job")
    path.unlink()
    world.wait_gone(uid)
    drop_short(world, "healthy")
    assert_completes(world, "healthy")


def test_more_events_than_the_queue_takes_hide_no_file(process_world: World) -> None:
    world = process_world
    operator = world.start()
    path = drop_long(world, "job")
    uid = get_uid(world, "job")
    operator.send_signal(signal.SIGSTOP)
    try:
        noise = [world.jobs / "noise-0.txt", world.jobs / "noise-1.txt"]
        noise[0].touch()
        for number in range(MANY_EVENTS // 2):
            noise[number % 2].rename(noise[1 - number % 2])
        path.unlink()
        for number in range(3):
            world.drop(build_train_job(f"job-{number}", 1, COMMAND), file=f"deep-{number}/a/job.yaml")
    finally:
        operator.send_signal(signal.SIGCONT)
    for number in range(3):
        assert_completes(world, f"job-{number}")
    world.wait_gone(uid)


# Names that are no manifests

IGNORED = [
    ".job.yaml",
    ".job.yaml.swp",
    ".#job.yaml",
    "#job.yaml#",
    "job.yaml~",
    "job.yaml.orig",
    "job.yaml.tmp.1234",
    "job.toml",
    "4913",
    ".git/job.yaml",
    "status/job.yaml",
    "status/default/more.yaml",
    "workspaces/default/job.yaml",
]


def test_what_is_no_manifest_is_left_alone(process_world: World) -> None:
    world = process_world
    world.start()
    drop_short(world, "first")
    assert_completes(world, "first")  # what is under status/ when the operator starts, it takes for its own
    written = {}
    for number, name in enumerate(IGNORED):
        path = world.drop(build_train_job(f"hidden-{number}", 1, COMMAND), file=name)
        written[path] = path.read_bytes()
    drop_short(world, "job")
    assert_completes(world, "job")
    assert [stored.name for stored in world.status.read_jobs() if stored.report] == ["first", "job"]
    assert {path: path.read_bytes() for path in written} == written
    assert not world.status.has_errors()


# Saving, half done


def test_a_manifest_that_is_copied_slowly_ends_no_job(process_world: World) -> None:
    world = process_world
    world.start()
    drop_long(world, "one")
    first = (world.jobs / "one.yaml").read_text()
    (world.jobs / "two.yaml").write_text(first.replace("name: one", "name: two"))
    world.wait_phase("two", "Running")
    uids = [get_uid(world, name) for name in ("one", "two")]
    for name in ("one", "two"):
        path = world.jobs / f"{name}.yaml"
        text = path.read_text()
        path.write_text(text[: text.index(f"name: {name}") + len("name: ")])
        wait_error(world, "must be a lowercase RFC 1123 subdomain")
        path.write_text(text)
        wait_for(lambda: not world.status.has_errors(), "the whole file to be read", 30)
    assert [len(world.running(name)) for name in ("one", "two")] == [1, 1]
    let_go(world)
    for name in ("one", "two"):
        assert_completes(world, name)
    assert [get_uid(world, name) for name in ("one", "two")] == uids
