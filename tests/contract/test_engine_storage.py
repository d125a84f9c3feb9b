"""What every engine promises of volumes, memory and files (trainlet/engine/base.py), held against the real ones."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import docker
import pytest

from engines import get_url, open_engine
from trainlet.engine.base import NameTaken, Owner
from trainlet.kube.errors import EngineError
from trainlet.planning import labels
from trainlet.planning.specs import ContainerSpec, File, Mount, Privileges, Tmpfs, VolumeMount, VolumeSpec
from workbench import Bench

pytestmark = pytest.mark.engine

SLEEP = "import time; print('ready'); time.sleep(600)"
READ_ONLY_ROOT = Privileges(read_only_root=True)
MEBIBYTE = 1 << 20
#: Lists modes, owners and contents of the paths given, or what is wrong with one.
LOOK = """
import os, stat, sys
for path in sys.argv[1:]:
    try: its = os.stat(path)
    except OSError as error: print(path, error.strerror); continue
    content = ascii(open(path, 'rb').read()) if stat.S_ISREG(its.st_mode) else sorted(os.listdir(path))
    print(path, oct(stat.S_IMODE(its.st_mode)), its.st_uid, its.st_gid, content)
"""


def volume_spec(bench: Bench, name: str = "volume") -> VolumeSpec:
    """Return a volume of the bench's owner."""
    return VolumeSpec(f"{bench.prefix}-{name}", bench.labels())


def make_volume(bench: Bench, target: str = "/data", *, read_only: bool = False, name: str = "volume") -> VolumeMount:
    """Make a volume and return how it is mounted."""
    spec = volume_spec(bench, name)
    bench.engine.create_volume(spec)
    return VolumeMount(spec.name, target, read_only)


def list_volumes(bench: Bench) -> list[str]:
    """Return the names of the owner's volumes."""
    return [volume.name for volume in bench.engine.observe(bench.owner).volumes]


def look(bench: Bench, *paths: str, **fields: Any) -> dict[str, str]:
    """Return what a container sees of these paths."""
    lines = bench.output(LOOK, args=paths, **fields)
    return dict(line.split(" ", 1) for line in lines)


# Volumes


def test_a_volume_is_made_once_seen_and_removed(bench: Bench) -> None:
    spec = volume_spec(bench)
    bench.engine.create_volume(spec)
    bench.engine.create_volume(spec)
    (seen,) = bench.engine.observe(bench.owner).volumes
    assert (seen.name, dict(seen.labels)) == (spec.name, spec.labels)
    assert bench.engine.observe(bench.owner, with_volumes=False).volumes == ()
    bench.engine.remove_volume(spec.name)
    bench.engine.remove_volume(spec.name)
    assert list_volumes(bench) == []


def test_a_volume_name_that_is_another_s_is_not_touched(bench: Bench) -> None:
    theirs = bench.stranger()
    make_volume(theirs)
    with pytest.raises(NameTaken, match=bench.prefix):
        bench.engine.create_volume(volume_spec(bench))
    assert list_volumes(bench) == []
    assert list_volumes(theirs) == [volume_spec(theirs).name]


def test_an_owner_is_found_by_its_volume_alone(bench: Bench) -> None:
    make_volume(bench)
    assert bench.engine.find_owners(bench.store) == {Owner(bench.owner, "default", "job")}
    assert bench.engine.find_owners("no-such-store") == frozenset()


def test_a_volume_that_a_container_refers_to_stays(bench: Bench) -> None:
    mount = make_volume(bench)
    id = bench.create(bench.spec(SLEEP, volumes=(mount,)))
    with pytest.raises(EngineError, match=r"in use|being used"):
        bench.engine.remove_volume(mount.volume)
    assert list_volumes(bench) == [mount.volume]
    bench.engine.remove_container(id)
    bench.engine.remove_volume(mount.volume)
    assert list_volumes(bench) == []


def test_what_one_container_writes_into_a_volume_the_next_one_reads(bench: Bench) -> None:
    mount = make_volume(bench)
    writer = bench.spec("open('/data/made', 'w').write('here')", volumes=(mount,))
    id = bench.run(writer)
    assert bench.wait_exit(writer).exit_code == 0
    bench.engine.remove_container(id)
    assert bench.output("print(open('/data/made').read())", name="reader", volumes=(mount,)) == ["here"]


def test_a_volume_made_again_is_empty(bench: Bench) -> None:
    code = "import os; print(os.listdir('/data')); open('/data/made', 'w')"
    for number in range(2):
        mount = make_volume(bench)
        name = f"node-{number}"
        assert bench.output(code, name=name, volumes=(mount,)) == ["[]"]
        bench.engine.remove_container(f"{bench.prefix}-{name}")
        bench.engine.remove_volume(mount.volume)


def test_a_volume_that_is_missing_is_an_error_and_not_made(bench: Bench) -> None:
    mount = VolumeMount(f"{bench.prefix}-missing", "/data")
    spec = bench.spec(SLEEP, volumes=(mount,))
    with pytest.raises(EngineError, match=r"there is no volume .*-missing"):
        bench.engine.create_container(spec)
    assert bench.find(spec) is None
    bench.engine.create_volume(volume_spec(bench, "missing"))  # would be refused if it were there without our labels
    assert list_volumes(bench) == [mount.volume]


@pytest.mark.needs("mounts")
@pytest.mark.parametrize("target", ["/data", "/etc/apt", "/var/run/deep/data"])
@pytest.mark.parametrize("privileges", [Privileges(), READ_ONLY_ROOT], ids=["plain", "read-only"])
def test_a_volume_is_empty_and_everybody_may_write_whatever_the_image_has_there(
    bench: Bench, target: str, privileges: Privileges
) -> None:
    mount = make_volume(bench, target)
    code = f"import os; print(sorted(os.listdir({target!r}))); open({target!r} + '/' + str(os.getuid()), 'w')"
    seen = [
        bench.output(code, name=f"as-{user}", user=user, volumes=(mount,), privileges=privileges)
        for user in ("1234", "1235", "0")
    ]
    assert seen == [["[]"], ["['1234']"], ["['1234', '1235']"]]


@pytest.mark.needs("mounts")
def test_who_made_a_volume_its_own_keeps_it(bench: Bench) -> None:
    mount = make_volume(bench)
    code = "import os; os.mkdir('/data/sub'); os.chown('/data', 7, 8); os.chmod('/data', 0o700)"
    bench.output(code, name="first", volumes=(mount,))
    seen = {"/data": "0o700 7 8 ['sub']"}
    assert look(bench, "/data", volumes=(mount,)) == seen
    with closing(open_engine(bench.kind, bench.directory)) as after_a_restart:
        assert look(replace(bench, engine=after_a_restart), "/data", name="last", volumes=(mount,)) == seen


@pytest.mark.needs("mounts")
def test_a_volume_made_by_hand_is_used_as_it_is(bench: Bench) -> None:
    spec = VolumeSpec(f"{bench.prefix}-by-hand", {labels.STORE: bench.store})
    with closing(docker.APIClient(get_url(bench.kind))) as client:  # Podman knows it too
        client.create_volume(spec.name)
        try:
            bench.engine.create_volume(spec)
            assert look(bench, "/data", volumes=(VolumeMount(spec.name, "/data"),)) == {"/data": "0o755 0 0 []"}
            bench.sweep()
        finally:
            client.remove_volume(spec.name)


def test_a_volume_without_an_owner_is_any_job_s_of_its_store_and_nobody_s_to_take_away(bench: Bench) -> None:
    spec = VolumeSpec(f"{bench.prefix}-kept", {labels.STORE: bench.store})
    mount, theirs = VolumeMount(spec.name, "/data"), bench.stranger()
    try:
        bench.engine.create_volume(spec)
        bench.engine.create_volume(spec)
        with pytest.raises(NameTaken):
            bench.engine.create_volume(VolumeSpec(spec.name, bench.labels()))
        with pytest.raises(NameTaken):
            bench.engine.create_volume(VolumeSpec(spec.name, {labels.STORE: "another"}))
        user = {"user": "1234"} if "users" in bench.kind.can else {}
        bench.output("open('/data/made', 'w').write('here')", name="ours", volumes=(mount,), **user)
        assert theirs.output("print(open('/data/made').read())", name="theirs", volumes=(mount,)) == ["here"]
        assert list_volumes(bench) == list_volumes(theirs) == []
        bench.sweep()
        assert bench.engine.find_owners(bench.store) == frozenset()
    finally:
        bench.sweep()
        bench.engine.remove_volume(spec.name)


@pytest.mark.needs("mounts")
def test_one_volume_may_be_seen_twice_and_read_only_is_read_only(bench: Bench) -> None:
    mount = make_volume(bench)
    code = (
        "open('/data/made', 'w').write('here'); print(open('/seen/made').read())\n"
        "try: open('/seen/more', 'w')\nexcept OSError as error: print(error.errno)"
    )
    mounts = (mount, VolumeMount(mount.volume, "/seen", read_only=True))
    assert bench.output(code, volumes=mounts) == ["here", "30"]


def test_what_a_volume_s_files_take_is_told(bench: Bench) -> None:
    volume = make_volume(bench)
    assert bench.engine.measure_volume(volume.volume) == 0
    code = "import os; os.makedirs('/data/a'); print(open('/data/a/file', 'wb').write(bytes(3 << 20)))"
    assert bench.output(code, volumes=(volume,)) == [str(3 * MEBIBYTE)]
    measured = bench.engine.measure_volume(volume.volume)
    assert measured is not None
    assert measured // MEBIBYTE == 3
    bench.engine.remove_container(bench.spec().name)
    bench.engine.remove_volume(volume.volume)
    assert bench.engine.measure_volume(volume.volume) is None


LOOK_AT_GROUP = """
import os, stat
open('/data/made', 'a').write('x')
for path in ('/data', '/data/made'):
    print(oct(stat.S_IMODE(os.stat(path).st_mode) & 0o7770), os.stat(path).st_gid)
"""


@pytest.mark.needs("users")
def test_a_volume_belongs_to_the_group_that_was_named_last(bench: Bench) -> None:
    volume = make_volume(bench)
    for number, group in enumerate([2000, 3000]):
        mine = (replace(volume, group=group),)
        fields = {"volumes": mine, "user": str(1000 + number), "groups": (group,)}
        code = LOOK_AT_GROUP.replace("made", f"made-{group}")
        assert bench.output(code, name=f"of-{group}", **fields) == [f"0o2770 {group}", f"0o640 {group}"]
    look = "import os; print([os.stat('/data' + name).st_gid for name in ('', '/made-2000')])"
    assert bench.output(look, name="later", volumes=(volume,)) == ["[3000, 2000]"], "what is there stays as it is"


# Memory


@pytest.mark.needs("mounts")
@pytest.mark.parametrize("target", ["/scratch", "/dev/shm", "/tmp"])
def test_memory_is_a_file_system_of_its_size_that_everybody_may_use(bench: Bench, target: str) -> None:
    code = f"""
import os, stat, subprocess
its, size = os.stat({target!r}), os.statvfs({target!r})
print(oct(stat.S_IMODE(its.st_mode)), size.f_blocks * size.f_frsize, os.listdir({target!r}))
print({{line.split(' ')[1]: line.split(' ')[2] for line in open('/proc/mounts')}}[{target!r}])
program = {target!r} + '/program'
open(program, 'w').write('#!/bin/sh\\necho runs\\n')
os.chmod(program, 0o700)
print(subprocess.check_output(program).decode().strip())
"""
    seen = bench.output(code, user="1234", tmpfs=(Tmpfs(target, 7 * MEBIBYTE),))
    assert seen == [f"0o1777 {7 * MEBIBYTE} []", "tmpfs", "runs"]


@pytest.mark.needs("mounts")
def test_memory_without_a_size_and_below_a_volume_is_there(bench: Bench) -> None:
    code = "open('/data/cache/made', 'w').write('here'); print(open('/data/cache/made').read())"
    assert bench.output(code, volumes=(make_volume(bench),), tmpfs=(Tmpfs("/data/cache"),)) == ["here"]


# Files


def test_a_file_is_there_when_the_container_starts_and_all_bytes_are_its_own(bench: Bench) -> None:
    content = bytes(range(256)) * 300
    files = (File("/config/deep/a.bin", content, 0o640), File("/config/empty", b"", 0o400))
    code = (
        "import hashlib, os\n"
        "for path in ('/config/deep/a.bin', '/config/empty'):\n"
        "    content = open(path, 'rb').read()\n"
        "    print(oct(os.stat(path).st_mode), len(content), hashlib.sha256(content).hexdigest())"
    )
    assert bench.output(code, files=files) == [
        f"0o100640 {len(content)} {files[0].digest}",
        f"0o100400 0 {files[1].digest}",
    ]


FILES = (
    File("/etc/app/conf.d/a", b"a", 0o444),
    File("/root/.ssh/id", b"key", 0o600, 1000, 1001),
    File("/var/run/secrets/token", b"token", 0o4750, 7, 8),
    File("/top", b"", 0o200, 65534, 65534),
)
SEEN = {
    "/etc/app/conf.d/a": "0o444 0 0 b'a'",
    "/root/.ssh/id": "0o600 1000 1001 b'key'",
    "/var/run/secrets/token": "0o4750 7 8 b'token'",
    "/etc/app": "0o755 0 0 ['conf.d']",
    "/etc/app/conf.d": "0o755 0 0 ['a']",
    "/root/.ssh": "0o755 0 0 ['id']",
    "/var/run/secrets": "0o755 0 0 ['token']",
}


@pytest.mark.needs("users")
def test_modes_and_ids_are_those_asked_for_and_what_is_there_stays_as_it_is(bench: Bench) -> None:
    others = ("/etc/passwd", "/tmp", "/root/.profile")
    before = look(bench, "/root", *others, name="before")
    seen = look(bench, *SEEN, "/top", "/root", *others, files=FILES)
    assert SEEN.items() <= seen.items()
    assert seen["/top"] == "0o200 65534 65534 b''"
    assert seen["/root"].split("[")[0] == before["/root"].split("[")[0]
    assert {path: seen[path] for path in others} == {path: before[path] for path in others}


@pytest.mark.needs("users")
def test_files_are_in_a_container_whose_root_is_read_only(bench: Bench) -> None:
    files = tuple(file for file in FILES if file.path != "/top")
    seen = look(bench, *SEEN, "/etc/app/more", files=files, privileges=READ_ONLY_ROOT)
    assert SEEN.items() <= seen.items()
    code = (
        "try: open('/made', 'w')\nexcept OSError as error: print(error.errno)\nprint(open('/etc/issue').read() != '')"
    )
    fields = {"files": (File("/etc/added", b""),), "privileges": READ_ONLY_ROOT}
    assert bench.output(code, name="beside", **fields) == ["30", "True"]


def test_a_file_right_in_what_is_mounted_is_there_for_all_who_see_it(bench: Bench) -> None:
    mount, volume = Mount(str(bench.shared), "/work"), make_volume(bench)
    files = (File("/work/train.py", b"print('trained')"), File("/data/plan", b"x"))
    code = "print(open('/work/train.py').read(), open('/data/plan').read())"
    assert bench.output(code, mounts=(mount,), volumes=(volume,), files=files) == ["print('trained') x"]
    assert (bench.shared / "train.py").read_bytes() == files[0].content
    assert bench.output("print(open('/data/plan').read())", name="other", volumes=(volume,)) == ["x"]


def test_many_containers_may_put_one_file_at_once(bench: Bench) -> None:
    volume = make_volume(bench)
    specs = [bench.spec(SLEEP, f"node-{n}", volumes=(volume,), files=(File("/data/plan", b"x"),)) for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bench.engine.create_container, specs))
    assert bench.output("print(open('/data/plan').read())", name="reader", volumes=(volume,)) == ["x"]


def test_a_file_deeper_in_what_is_mounted_is_the_container_s_own(bench: Bench) -> None:
    mount, volume = Mount(str(bench.shared), "/work"), make_volume(bench)
    files = (File("/work/config/secret", b"s"), File("/data/config/deep/secret", b"t"))
    code = "print(open('/work/config/secret').read(), open('/data/config/deep/secret').read())"
    assert bench.output(code, mounts=(mount,), volumes=(volume,), files=files) == ["s t"]
    assert [path for path in bench.shared.rglob("*") if path.is_file()] == []
    code = "import os; print([files for _, _, files in os.walk('/data') if files])"
    assert bench.output(code, name="other", volumes=(volume,)) == ["[]"]


def test_a_file_deeper_in_what_is_mounted_read_only_needs_its_directory_there(bench: Bench) -> None:
    (bench.shared / "config").mkdir()
    mount, files = Mount(str(bench.shared), "/work", read_only=True), (File("/work/config/a", b"here"),)
    assert bench.output("print(open('/work/config/a').read())", mounts=(mount,), files=files) == ["here"]


@pytest.mark.needs("mounts")
def test_without_the_directory_it_is_told_what_to_do(bench: Bench) -> None:
    mount, files = Mount(str(bench.shared), "/work", read_only=True), (File("/work/config/a", b"here"),)
    with pytest.raises(EngineError, match="mount it writable"):
        bench.run(bench.spec(SLEEP, mounts=(mount,), files=files))


@pytest.mark.needs("mounts")
def test_a_file_deeper_in_memory_is_not_hidden(bench: Bench) -> None:
    files = (File("/scratch/config/a", b"here"),)
    assert bench.output("print(open('/scratch/config/a').read())", tmpfs=(Tmpfs("/scratch"),), files=files) == ["here"]


PLACELESS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "it is mounted read-only": lambda bench: {"mounts": (Mount(str(bench.shared), "/here", read_only=True),)},
    "it is in memory": lambda _: {"tmpfs": (Tmpfs("/here"),)},
}


@pytest.mark.parametrize("reason", PLACELESS)
def test_a_file_that_could_not_be_seen_is_refused(bench: Bench, reason: str) -> None:
    spec = bench.spec(SLEEP, files=(File("/here/file", b"content"),), **PLACELESS[reason](bench))
    with pytest.raises(EngineError, match=reason) as caught:
        bench.engine.create_container(spec)
    assert "directory of its own" in caught.value.remedy
    assert bench.find(spec) is None


@pytest.mark.needs("users")
def test_a_container_that_cannot_get_its_files_is_not_left_to_be_started(bench: Bench) -> None:
    spec = bench.spec(SLEEP, files=(File("/etc", b"the secret"),))
    with pytest.raises(EngineError, match="another path") as caught:
        bench.engine.create_container(spec)
    assert "the secret" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert bench.find(spec) is None


class OperatorKilledError(BaseException):
    """The operator's process is gone."""


@pytest.mark.needs("users")
@pytest.mark.parametrize("privileges", [Privileges(), READ_ONLY_ROOT], ids=["plain", "read-only"])
def test_files_that_an_earlier_try_did_not_live_to_put_are_put_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, privileges: Privileges
) -> None:
    def die(*_: Any) -> None:
        raise OperatorKilledError

    files, code = (File("/run/config/a", b"here"),), "print(open('/var/run/config/a').read())"
    spec = bench.spec(code, files=files, volumes=(make_volume(bench),), privileges=privileges)
    with monkeypatch.context() as patch:
        patch.setattr(bench.engine, "_put_archive", die)
        with pytest.raises(OperatorKilledError):
            bench.engine.create_container(spec)
    unfinished = bench.see(spec).id
    id = bench.run(spec)
    assert id == unfinished
    assert bench.wait_exit(spec).exit_code == 0
    assert bench.read(id) == ["here"]


def test_files_are_not_put_again_once_the_container_was_started(bench: Bench) -> None:
    code = "open('/config/a', 'w').write('changed')\nimport time; print('ready'); time.sleep(600)"
    spec = bench.spec(code, files=(File("/config/a", b"given", 0o644),))
    id = bench.run(spec)
    bench.wait_line(id, "ready")
    assert bench.create(spec) == id
    bench.engine.kill_container(id)
    bench.wait_exit(spec)
    assert bench.create(spec) == id


def test_what_is_in_a_file_is_told_to_nobody(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    spec = bench.spec("pass", files=(File("/config/a", b"the secret"),))
    id = bench.run(spec)
    bench.wait_exit(spec)
    assert "the secret" not in caplog.text
    assert "the secret" not in str(bench.see(spec)) + str(bench.read(id)) + str(spec)


@pytest.mark.needs("images")
def test_what_is_a_container_s_own_goes_with_it(bench: Bench) -> None:
    spec = bench.spec("pass", files=FILES[:2], mounts=(Mount(str(bench.shared), "/root"),), privileges=READ_ONLY_ROOT)
    id = bench.run(spec)
    bench.wait_exit(spec)
    with closing(docker.APIClient(get_url(bench.kind))) as client:  # what we have no verb for; Podman knows it too
        own = [each["Name"] for each in client.inspect_container(id)["Mounts"] if each["Type"] == "volume"]
        assert own
        bench.engine.remove_container(id)
        for name in own:
            with pytest.raises(docker.errors.NotFound):
                client.inspect_volume(name)


def test_a_spec_that_differs_in_a_file_is_another_spec(bench: Bench) -> None:
    def build(content: bytes) -> ContainerSpec:
        return bench.spec(SLEEP, files=(File("/config/a", content),))

    bench.create(build(b"one"))
    bench.engine.create_container(build(b"one"))
    with pytest.raises(NameTaken):
        bench.engine.create_container(build(b"two"))
