"""What stands for volumes, memory and files on the process engine: directories, and paths that lead there."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainlet.engine import process_mounts
from trainlet.engine.process import ProcessEngine
from trainlet.kube.errors import EngineError
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState
from trainlet.planning.specs import ContainerSpec, File, Mount, Tmpfs, VolumeMount, VolumeSpec
from waiting import wait_for

OWNER = "11111111-aaaa"
LABELS = {labels.OWNER_UID: OWNER, labels.STORE: "store", labels.NAMESPACE: "default", labels.JOB_NAME: "mnist"}
NAME = "mnist-node-0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "processes"


@pytest.fixture
def engine(root: Path) -> Iterator[ProcessEngine]:
    engine = ProcessEngine(root, os.environ)
    yield engine
    for container in engine.observe(OWNER).containers:
        engine.remove_container(container.id)


def build_spec(script: str = "true", **fields: Any) -> ContainerSpec:
    spec = ContainerSpec(NAME, "no/image", command=("sh", "-c", script), labels=LABELS)
    return replace(spec, **fields).with_hash()


def output(engine: ProcessEngine, script: str, **fields: Any) -> list[str]:
    """Run a script to its end and return what it wrote."""
    engine.create_container(build_spec(script, **fields))
    engine.start_container(NAME)

    def ended() -> bool:
        (seen,) = engine.observe(OWNER).containers
        return seen.state is ContainerState.EXITED

    wait_for(ended, "the node to end")
    return [line.text for line in engine.read_logs(NAME)]


def test_a_volume_is_a_directory_that_is_nobody_else_s(engine: ProcessEngine, root: Path) -> None:
    engine.create_volume(VolumeSpec("data", LABELS))
    assert output(engine, "echo x > /data/made; echo $OUT", env={"OUT": "/data/out"}, volumes=_mount("/data")) == [
        str(root / "volumes" / "data" / "data" / "out")
    ]
    assert (root / "volumes" / "data" / "data" / "made").read_text() == "x\n"
    assert (root / "volumes").stat().st_mode & 0o077 == 0
    engine.remove_container(NAME)
    engine.remove_volume("data")
    assert list((root / "volumes").iterdir()) == []


def _mount(target: str) -> tuple[VolumeMount, ...]:
    return (VolumeMount("data", target),)


def test_a_volume_at_the_workspace_is_the_working_directory(engine: ProcessEngine, root: Path) -> None:
    engine.create_volume(VolumeSpec("data", LABELS))
    directory = str(root / "volumes" / "data" / "data")
    assert output(engine, 'pwd; echo "$TRAINLET_WORKSPACE"', volumes=_mount("/workspace")) == [directory, directory]


def test_a_volume_in_use_says_by_whom(engine: ProcessEngine) -> None:
    engine.create_volume(VolumeSpec("data", LABELS))
    engine.create_container(build_spec(volumes=_mount("/data")))
    with pytest.raises(EngineError, match=f"in use by {NAME}") as caught:
        engine.remove_volume("data")
    assert "go first" in caught.value.remedy


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a@b"])
def test_a_volume_s_name_must_be_a_safe_file_name(engine: ProcessEngine, name: str) -> None:
    with pytest.raises(EngineError, match="cannot use the name"):
        engine.create_volume(VolumeSpec(name, LABELS))
    with pytest.raises(EngineError, match="cannot use the name"):
        engine.create_container(build_spec(volumes=(VolumeMount(name, "/data"),)))


def test_memory_is_an_empty_directory_of_the_node_s_own(engine: ProcessEngine, root: Path) -> None:
    seen = output(engine, "ls /scratch; touch /scratch/made; echo /scratch", tmpfs=(Tmpfs("/scratch", 4096),))
    assert seen == [str(root / "containers" / NAME / "mounts" / "0")]
    engine.remove_container(NAME)
    assert list((root / "containers").iterdir()) == []


def test_shared_memory_is_the_machine_s(engine: ProcessEngine) -> None:
    assert output(engine, "echo /dev/shm/x", tmpfs=(Tmpfs("/dev/shm"),)) == ["/dev/shm/x"]


def test_a_directory_of_files_is_found_by_its_own_path_too(engine: ProcessEngine) -> None:
    files = (File("/no-such/config/a", b"one\n"), File("/no-such/config/deep/b", b"two\n", 0o600))
    script = "cat /no-such/config/a /no-such/config/deep/b; ls /no-such/config; cd /no-such/config/ && cat deep/b"
    assert output(engine, script, files=files) == ["one", "two", "a", "deep", "two"]


def test_a_directory_that_the_machine_has_stays_what_it_is(engine: ProcessEngine, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("the machine's\n")
    files = (File(f"{tmp_path}/added", b"the file's\n"),)
    assert output(engine, f"cat {tmp_path}/added {tmp_path}/there; ls {tmp_path}", files=files) == [
        *("the file's", "the machine's", "processes", "there")
    ]
    assert not (tmp_path / "added").exists()


def test_a_file_right_in_a_mount_takes_the_place_of_a_link_and_of_nothing_it_leads_to(
    engine: ProcessEngine, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "work" / "train.py").symlink_to(tmp_path / "precious")
    mounts = (Mount(str(tmp_path / "work"), "/work"),)
    assert output(engine, "cat /work/train.py", mounts=mounts, files=(File("/work/train.py", b"x\n"),)) == ["x"]
    assert (tmp_path / "precious").read_text() == "precious"
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["train.py"]


def test_what_cannot_be_written_is_told(engine: ProcessEngine, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    spec = build_spec(mounts=(Mount(str(tmp_path / "work"), "/work"),), files=(File("/work/a", b"the secret"),))
    with pytest.raises(EngineError, match="cannot write the file /work/a") as caught:
        engine.create_container(spec)
    assert str(tmp_path / "work" / "a") in str(caught.value)
    assert "the secret" not in str(caught.value)
    assert engine.observe(OWNER).containers == ()


def test_a_file_in_the_root_has_no_place(engine: ProcessEngine) -> None:
    with pytest.raises(EngineError, match="directory of its own"):
        engine.create_container(build_spec(files=(File("/a", b""),)))


def test_a_node_is_there_with_all_its_files_or_not_at_all(
    engine: ProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(path: Path, file: File) -> None:
        if path.name == "b":
            raise KeyboardInterrupt
        write(path, file)

    write = process_mounts._write
    spec = build_spec(files=(File("/config/a", b"one"), File("/config/b", b"two")))
    with monkeypatch.context() as patch:
        patch.setattr(process_mounts, "_write", die)
        with pytest.raises(KeyboardInterrupt):
            engine.create_container(spec)
    assert engine.observe(OWNER).containers == ()
    engine.create_container(spec)
    assert len(engine.observe(OWNER).containers) == 1


def test_what_is_in_a_file_is_only_there(engine: ProcessEngine, root: Path) -> None:
    engine.create_container(build_spec(files=(File("/config/a", b"the secret", 0o644),)))
    holders = [path for path in root.rglob("*") if path.is_file() and b"the secret" in path.read_bytes()]
    assert [path.relative_to(root / "containers" / NAME) for path in holders] == [Path("mounts/0/a")]
    assert (root / "containers").stat().st_mode & 0o077 == 0


def test_a_node_written_down_before_there_were_volumes_is_still_found(engine: ProcessEngine, root: Path) -> None:
    engine.create_container(build_spec())
    path = root / "containers" / NAME / "container.json"
    document = json.loads(path.read_text())
    del document["volumes"]
    path.write_text(json.dumps(document))
    assert [container.name for container in engine.observe(OWNER).containers] == [NAME]
    engine.create_volume(VolumeSpec("data", LABELS))
    engine.remove_volume("data")
