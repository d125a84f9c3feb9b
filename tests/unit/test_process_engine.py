"""What only the process engine has: supervisors, process groups, adoption, the files on disk."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import trainlet
from trainlet.engine import process_table
from trainlet.engine.base import EngineEvent, NameTaken, Owner, StartFailed
from trainlet.engine.process import ISOLATION_NOTICE, ProcessEngine
from trainlet.engine.process_launch import build_base_env
from trainlet.engine.process_table import find_process, is_same_process
from trainlet.kube.errors import EngineError
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, ObservedContainer
from trainlet.planning.specs import ContainerSpec, Mount, NetworkSpec
from waiting import wait_for

SOURCES = str(Path(trainlet.__file__).parents[1])
OWNER = "11111111-aaaa"
LABELS = {
    labels.OWNER_UID: OWNER,
    labels.STORE: "store",
    labels.NAMESPACE: "default",
    labels.JOB_NAME: "mnist",
}
NAME = "mnist-node-0"
#: A command that ends at once when asked to, and never by itself within a test.
ENDLESS = "while :; do sleep 0.05; done"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "processes"
    yield root
    engine = build_engine(root)
    for container in engine.observe(OWNER).containers:
        engine.remove_container(container.id)


@pytest.fixture
def engine(root: Path) -> ProcessEngine:
    return build_engine(root)


def build_engine(root: Path, **options: int) -> ProcessEngine:
    return ProcessEngine(root, os.environ, **options)


def build_spec(*command: str, name: str = NAME, **fields: object) -> ContainerSpec:
    spec = ContainerSpec(name, "no/image", command=command, labels=LABELS)
    return replace(spec, **fields).with_hash()  # type: ignore[arg-type]


def run(engine: ProcessEngine, *command: str, name: str = NAME, **fields: object) -> ObservedContainer:
    engine.create_container(build_spec(*command, name=name, **fields))
    engine.start_container(name)
    return look(engine, name)


def run_shell(engine: ProcessEngine, script: str, name: str = NAME, **fields: object) -> ObservedContainer:
    return run(engine, "sh", "-c", script, name=name, **fields)


def look(engine: ProcessEngine, name: str = NAME) -> ObservedContainer:
    return next(seen for seen in engine.observe(OWNER).containers if seen.name == name)


def wait_for_exit(engine: ProcessEngine, name: str = NAME) -> ObservedContainer:
    wait_for(lambda: look(engine, name).state == ContainerState.EXITED, f"{name} to end")
    return look(engine, name)


def read_texts(engine: ProcessEngine, name: str = NAME) -> list[str]:
    return [line.text for line in engine.read_logs(name)]


def wait_for_line(engine: ProcessEngine, name: str = NAME) -> str:
    return wait_for(lambda: read_texts(engine, name), f"a log line of {name}")[0]


def read_state(root: Path, name: str = NAME) -> dict[str, dict[str, int]]:
    state: dict[str, dict[str, int]] = json.loads((root / "containers" / name / "state.json").read_text())
    return state


def supervisor_of(root: Path, name: str = NAME) -> int:
    return read_state(root, name)["supervisor"]["pid"]


def is_running(pid: int) -> bool:
    process = find_process(pid)
    return process is not None and process.is_alive


def wait_for_death(pid: int) -> None:
    wait_for(lambda: not is_running(pid), f"process {pid} to die")


# --- a node's life ---


def test_a_node_runs_and_its_exit_code_times_and_both_streams_are_kept(engine: ProcessEngine) -> None:
    before = datetime.now(UTC)
    run_shell(engine, "echo out; echo err >&2; exit 3")
    ended = wait_for_exit(engine)
    assert ended.exit_code == 3
    assert ended.started_at
    assert ended.finished_at
    assert before <= ended.started_at <= ended.finished_at <= datetime.now(UTC)
    assert {(line.stream, line.text) for line in engine.read_logs(NAME)} == {("stdout", "out"), ("stderr", "err")}


def test_a_node_killed_by_a_signal_exits_with_128_and_its_number(engine: ProcessEngine) -> None:
    run_shell(engine, "kill -SEGV $$")
    assert wait_for_exit(engine).exit_code == 128 + signal.SIGSEGV


def test_stop_passes_sigterm_to_the_first_process_which_may_end_as_it_likes(engine: ProcessEngine) -> None:
    run_shell(engine, f"trap 'echo bye; exit 7' TERM; echo ready; {ENDLESS}")
    wait_for_line(engine)
    engine.stop_container(NAME)
    assert wait_for_exit(engine).exit_code == 7
    assert read_texts(engine) == ["ready", "bye"]


def test_stop_right_after_start_reaches_the_node_and_not_the_supervisor(engine: ProcessEngine) -> None:
    run_shell(engine, ENDLESS)
    engine.stop_container(NAME)
    ended = wait_for_exit(engine)
    assert (ended.exit_code, ended.disrupted) == (128 + signal.SIGTERM, False)


def test_an_ended_node_is_not_run_again(engine: ProcessEngine, tmp_path: Path) -> None:
    run_shell(engine, f"echo run >> {tmp_path}/runs")
    ended = wait_for_exit(engine)
    engine.start_container(NAME)
    assert look(engine) == ended
    assert (tmp_path / "runs").read_text() == "run\n"


def test_starts_at_the_same_time_run_a_node_once(root: Path, tmp_path: Path) -> None:
    build_engine(root).create_container(build_spec("sh", "-c", f"echo run >> {tmp_path}/runs; {ENDLESS}"))
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(build_engine(root).start_container, NAME) for _ in range(4)]:
            future.result()
    wait_for(lambda: look(build_engine(root)).state == ContainerState.RUNNING, "the node to run")
    wait_for((tmp_path / "runs").exists, "the first run")
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.parametrize(
    ("command", "exit_code", "words"),
    [
        (("no-such-command",), 127, "command not found"),
        (("/no/such/command",), 127, "command not found"),
        (("/etc/passwd",), 126, "not executable"),
        (("/",), 126, "not executable"),
        ((), 128, "no image"),
    ],
)
def test_a_command_that_cannot_start_is_told_and_remembered(
    root: Path, command: tuple[str, ...], exit_code: int, words: str
) -> None:
    engine = build_engine(root)
    engine.create_container(build_spec(*command))
    with pytest.raises(StartFailed, match=words) as failure:
        engine.start_container(NAME)
    assert failure.value.exit_code == exit_code
    seen = look(build_engine(root))
    assert (seen.state, seen.exit_code) == (ContainerState.CREATED, exit_code)
    assert seen.error


def test_a_working_directory_that_is_missing_is_named(engine: ProcessEngine) -> None:
    engine.create_container(build_spec("true", working_dir="/no/such/place"))
    with pytest.raises(StartFailed, match="/no/such/place") as failure:
        engine.start_container(NAME)
    assert failure.value.exit_code == 128


def test_a_program_that_is_not_one_is_refused(engine: ProcessEngine, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00\x01\x02")
    program.chmod(0o755)
    engine.create_container(build_spec(str(program)))
    with pytest.raises(StartFailed) as failure:
        engine.start_container(NAME)
    assert failure.value.exit_code == 126


# --- outliving the operator, and being found again ---


def test_a_node_outlives_a_killed_operator_and_its_exit_code_is_seen_by_the_next(root: Path, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    program = f"""
import os, signal
from pathlib import Path
from trainlet.engine.process import ProcessEngine
from trainlet.planning.specs import ContainerSpec
engine = ProcessEngine(Path({str(root)!r}), os.environ)
command = ("sh", "-c", "echo ready; while [ ! -e {go_on} ]; do sleep 0.05; done; echo late; exit 5")
engine.create_container(ContainerSpec({NAME!r}, "", command=command, labels={LABELS!r}))
engine.start_container({NAME!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    operator = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": SOURCES}, check=False)
    assert operator.returncode == -signal.SIGKILL
    next_engine = build_engine(root)
    assert look(next_engine).state == ContainerState.RUNNING
    go_on.touch()
    assert wait_for_exit(next_engine).exit_code == 5
    assert read_texts(next_engine) == ["ready", "late"]


def test_a_node_has_a_session_of_its_own_away_from_the_terminal(engine: ProcessEngine, root: Path) -> None:
    run_shell(engine, ENDLESS)
    assert os.getsid(read_state(root)["leader"]["pid"]) != os.getsid(0)
    assert os.getpgid(read_state(root)["leader"]["pid"]) == read_state(root)["leader"]["pid"]


def test_a_used_again_pid_fools_nobody(engine: ProcessEngine, root: Path) -> None:
    run_shell(engine, ENDLESS)
    state = read_state(root)
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        # As if our supervisor and node had ended unseen, and a stranger had been given both numbers.
        for role in ("supervisor", "leader"):
            state[role] = {"pid": stranger.pid, "start": "another time"}  # type: ignore[dict-item]
        real = [read_state(root)[role]["pid"] for role in ("supervisor", "leader")]
        for pid in real:
            os.kill(pid, signal.SIGKILL)
            wait_for_death(pid)
        (root / "containers" / NAME / "state.json").write_text(json.dumps(state))
        seen = look(engine)
        assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 137)
        engine.stop_container(NAME)
        engine.kill_container(NAME)
        engine.remove_container(NAME)
        assert engine.observe(OWNER).containers == ()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_killed_supervisor_shows_as_an_end_by_disruption_that_never_changes(
    engine: ProcessEngine, root: Path
) -> None:
    run_shell(engine, ENDLESS)
    pid = supervisor_of(root)
    os.kill(pid, signal.SIGKILL)
    ended = wait_for_exit(engine)
    assert (ended.exit_code, ended.disrupted) == (137, True)
    assert ended.finished_at
    assert look(build_engine(root)) == ended


def test_removal_kills_what_a_killed_supervisor_left_behind(engine: ProcessEngine, root: Path) -> None:
    run_shell(engine, f"sh -c '{ENDLESS}' & echo $!; {ENDLESS}")
    child, leader = int(wait_for_line(engine)), read_state(root)["leader"]["pid"]
    os.kill(supervisor_of(root), signal.SIGKILL)
    wait_for_exit(engine)
    assert is_running(leader)
    engine.remove_container(NAME)
    assert not is_running(leader)
    assert not is_running(child)
    assert engine.observe(OWNER).containers == ()


# --- killing all of a node ---


def test_kill_ends_grandchildren_too(engine: ProcessEngine) -> None:
    run_shell(engine, f"sh -c '({ENDLESS}) & echo $!; wait' & wait")
    grandchild = int(wait_for_line(engine))
    engine.kill_container(NAME)
    assert not is_running(grandchild)
    assert wait_for_exit(engine).exit_code == 137


@pytest.mark.parametrize("environment", ["", "env -i PATH=$PATH"], ids=["marked", "unmarked"])
def test_kill_ends_a_descendant_that_left_the_group(engine: ProcessEngine, environment: str) -> None:
    # torchrun gives each of its workers a session of its own.
    run_shell(engine, f"{environment} {sys.executable} -c '{_LEAVE_GROUP}' & wait")
    worker = int(wait_for_line(engine))
    engine.kill_container(NAME)
    assert not is_running(worker)


_LEAVE_GROUP = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(60)"


def test_when_the_first_process_ends_the_rest_of_the_node_ends_with_it(engine: ProcessEngine) -> None:
    run_shell(engine, f"({ENDLESS}) & echo $!; exit 0")
    leftover = int(wait_for_line(engine))
    assert wait_for_exit(engine).exit_code == 0
    assert not is_running(leftover)


def test_removal_of_a_running_node_leaves_no_process_no_file_and_no_zombie(engine: ProcessEngine, root: Path) -> None:
    run_shell(engine, f"({ENDLESS}) & {ENDLESS}")
    pids = [supervisor_of(root), read_state(root)["leader"]["pid"]]
    engine.remove_container(NAME)
    for pid in pids:
        wait_for(lambda pid=pid: find_process(pid) is None, f"process {pid} to be gone, also as a zombie")
    assert list((root / "containers").iterdir()) == []
    engine.remove_container(NAME)


def test_an_ended_node_leaves_no_zombie_with_us(engine: ProcessEngine, root: Path) -> None:
    run(engine, "true")
    wait_for_exit(engine)
    supervisor = supervisor_of(root)
    wait_for(lambda: find_process(supervisor) is None, "the supervisor to be gone")
    assert [row.pid for row in process_table.read_proc() if row.parent == os.getpid() and not row.is_alive] == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="compares ps with /proc")
def test_ps_tells_the_same_processes_as_proc() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        by_ps = next(row for row in process_table.read_ps() if row.pid == child.pid)
        by_proc = find_process(child.pid)
        child.kill()
    assert by_proc
    assert (by_ps.parent, by_ps.group, by_ps.state) == (by_proc.parent, by_proc.group, by_proc.state)
    assert by_ps.start


def test_a_process_is_itself_only_with_its_start_time() -> None:
    process = find_process(os.getpid())
    assert process
    assert is_same_process(process.pid, process.start)
    assert not is_same_process(process.pid, f"{process.start}0")


# --- names, networks, owners ---


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "a b", "a\n", "a@b", "-a", "a" * 201])
def test_a_name_that_is_no_safe_file_name_is_refused(engine: ProcessEngine, name: str) -> None:
    with pytest.raises(EngineError, match="cannot use the name"):
        engine.create_container(build_spec("true", name=name))
    with pytest.raises(EngineError, match="cannot use the name"):
        engine.create_network(NetworkSpec(name, 2, LABELS))


def test_a_name_with_a_namespace_is_used_as_it_is(engine: ProcessEngine) -> None:
    run(engine, "true", name="team.mnist-node-0")
    assert wait_for_exit(engine, "team.mnist-node-0").exit_code == 0


def test_a_name_is_taken_unless_it_is_the_same_node_again(engine: ProcessEngine) -> None:
    engine.create_container(build_spec("true"))
    made = look(engine)
    engine.create_container(build_spec("true"))
    assert look(engine) == made
    with pytest.raises(NameTaken):
        engine.create_container(build_spec("false"))
    with pytest.raises(NameTaken):
        engine.create_container(build_spec("true", labels=LABELS | {labels.OWNER_UID: "another"}))


def test_an_id_never_means_the_next_node_of_the_same_name(engine: ProcessEngine) -> None:
    engine.create_container(build_spec("true"))
    first = look(engine)
    engine.remove_container(first.id)
    engine.create_container(build_spec("true"))
    engine.remove_container(first.id)
    assert look(engine).id != first.id


def test_networks_share_the_loopback_address_and_no_port(root: Path) -> None:
    names = [f"job-{number}-net" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: build_engine(root).create_network(NetworkSpec(name, 2, LABELS)), names))
    networks = build_engine(root).observe(OWNER).networks
    assert {network.name for network in networks} == set(names)
    assert len({network.port for network in networks}) == len(names)
    assert {network.subnet for network in networks} == {"127.0.0.1/32"}


def test_a_network_made_again_keeps_its_port_and_one_of_another_owner_is_refused(engine: ProcessEngine) -> None:
    engine.create_network(NetworkSpec("net", 2, LABELS))
    (made,) = engine.observe(OWNER).networks
    engine.create_network(NetworkSpec("net", 2, LABELS))
    assert engine.observe(OWNER).networks == (made,)
    with pytest.raises(NameTaken):
        engine.create_network(NetworkSpec("net", 2, LABELS | {labels.OWNER_UID: "another"}))
    engine.remove_network(made.id)
    engine.remove_network(made.id)
    assert engine.observe(OWNER).networks == ()


def test_owners_are_found_by_store(engine: ProcessEngine) -> None:
    assert engine.find_owners("store") == frozenset()
    engine.create_network(NetworkSpec("net", 2, LABELS))
    engine.create_container(build_spec("true", labels=LABELS | {labels.STORE: "another"}))
    assert engine.find_owners("store") == {Owner(OWNER, "default", "mnist")}


def test_a_root_that_does_not_exist_holds_nothing_and_is_not_made_by_looking(root: Path) -> None:
    seen = build_engine(root).observe(OWNER)
    assert (seen.containers, seen.networks) == ((), ())
    assert not root.exists()


def test_files_are_for_their_owner_only(engine: ProcessEngine, root: Path) -> None:
    engine.create_container(build_spec("true", env={"TOKEN": "secret"}))
    assert (root / "containers").stat().st_mode & 0o077 == 0


def test_a_broken_record_is_named(engine: ProcessEngine, root: Path) -> None:
    engine.create_container(build_spec("true"))
    (root / "containers" / NAME / "state.json").write_text("{")
    with pytest.raises(EngineError, match=r"state\.json"):
        engine.observe(OWNER)
    (root / "containers" / NAME / "state.json").unlink()


# --- what a node sees ---


def test_the_base_environment_is_small_and_finds_our_interpreter_last() -> None:
    given = {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "CUDA_HOME": "/c", "SECRET": "s", "PYTHONPATH": "p"}
    assert build_base_env(given) == {
        "PATH": f"/bin:{Path(sys.executable).parent}",
        "HOME": "/h",
        "LC_ALL": "C",
        "CUDA_HOME": "/c",
    }


def test_a_node_gets_the_base_environment_and_the_spec_on_top(root: Path) -> None:
    engine = ProcessEngine(root, {"PATH": os.environ["PATH"], "HOME": "/caller", "SECRET": "s", "TZ": "UTC"})
    run(engine, "env", env={"HOME": "/spec", "GLOO_SOCKET_IFNAME": "eth7"})
    wait_for_exit(engine)
    env = dict(text.split("=", 1) for text in read_texts(engine))
    assert env["HOME"] == "/spec"
    assert env["TZ"] == "UTC"
    assert env["GLOO_SOCKET_IFNAME"] == "eth7"
    assert env["TP_SOCKET_IFNAME"] in ("lo", "lo0")
    assert "SECRET" not in env


def test_the_workspace_is_the_working_directory_and_its_path_is_replaced(engine: ProcessEngine, tmp_path: Path) -> None:
    workspace = tmp_path / "work space"
    (workspace / "sub").mkdir(parents=True)
    mounts = (Mount(str(workspace), "/workspace"),)
    run(
        engine,
        *("sh", "-c", 'pwd; echo "$TRAINLET_WORKSPACE"; echo "$OUT"; for a; do echo "$a"; done', "sh"),
        args=("/workspace", "--out=/workspace/a", "/workspaces", "s3://workspace/a", "/srv/workspace/a"),
        env={"OUT": "/workspace/sub"},
        mounts=mounts,
    )
    wait_for_exit(engine)
    assert read_texts(engine) == [
        *(str(workspace), str(workspace), f"{workspace}/sub"),
        *(str(workspace), f"--out={workspace}/a", "/workspaces", "s3://workspace/a", "/srv/workspace/a"),
    ]


def test_a_working_directory_is_seen_through_the_longest_mount(engine: ProcessEngine, tmp_path: Path) -> None:
    for name in ("outer", "inner/deep"):
        (tmp_path / name).mkdir(parents=True)
    mounts = (Mount(str(tmp_path / "outer"), "/data"), Mount(str(tmp_path / "inner"), "/data/inner/"))
    run(engine, "pwd", working_dir="/data/inner/deep", mounts=mounts)
    wait_for_exit(engine)
    assert read_texts(engine) == [str(tmp_path / "inner/deep")]


def test_without_any_directory_a_node_works_in_one_of_its_own(engine: ProcessEngine, root: Path) -> None:
    run(engine, "pwd")
    wait_for_exit(engine)
    assert read_texts(engine) == [str(root / "containers" / NAME / "work")]


# --- logs ---


def test_the_log_is_rotated_and_a_follower_misses_nothing(root: Path) -> None:
    engine = build_engine(root, log_limit_bytes=20_000)
    count = 3000
    engine.create_container(
        build_spec(
            sys.executable, "-c", f"import time\nfor i in range({count}): print(i, flush=True); time.sleep(5e-4)"
        )
    )
    followed = engine.read_logs(NAME, follow=True)
    engine.start_container(NAME)
    assert [int(line.text) for line in followed] == list(range(count))
    kept = [int(text) for text in read_texts(engine)]
    assert kept == list(range(kept[0], count))
    sizes = [path.stat().st_size for path in (root / "containers" / NAME).glob("node.log*")]
    assert len(sizes) == 2
    assert max(sizes) <= 20_000


def test_log_lines_are_chosen_by_tail_and_by_time(engine: ProcessEngine) -> None:
    run_shell(engine, "echo one; sleep 0.1; echo two; echo three")
    wait_for_exit(engine)
    second = list(engine.read_logs(NAME))[1]
    assert second.time
    assert [line.text for line in engine.read_logs(NAME, tail=1)] == ["three"]
    assert [line.text for line in engine.read_logs(NAME, tail=0)] == []
    assert [line.text for line in engine.read_logs(NAME, since=second.time)] == ["two", "three"]
    assert [line.text for line in engine.read_logs(NAME, since=second.time + timedelta(hours=1))] == []


def test_odd_output_is_kept_line_by_line(engine: ProcessEngine) -> None:
    run_shell(engine, r"printf '\n  two  spaces \n\377\n\f\v\nno end'")
    wait_for_exit(engine)
    assert read_texts(engine) == ["", "  two  spaces ", "�", "\f\v", "no end"]


def test_a_very_long_line_arrives(engine: ProcessEngine) -> None:
    run(engine, sys.executable, "-c", "print('x' * 300_000)")
    wait_for_exit(engine)
    assert read_texts(engine) == ["x" * 300_000]


def test_follow_ends_when_the_engine_is_closed_or_the_node_removed(root: Path) -> None:
    closed, engine = build_engine(root), build_engine(root)
    run_shell(engine, f"echo ready; {ENDLESS}")
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(list, one.read_logs(NAME, follow=True)) for one in (closed, engine)]
        closed.close()
        assert readers[0].result(timeout=10)[:1] == list(engine.read_logs(NAME))[:1]
        assert not readers[1].done()
        engine.remove_container(NAME)
        assert [line.text for line in readers[1].result(timeout=10)] == ["ready"]


def test_logs_of_an_unknown_node_are_refused_at_once(engine: ProcessEngine) -> None:
    with pytest.raises(EngineError, match="no node nobody"):
        engine.read_logs("nobody")


# --- events ---


def test_watch_tells_of_every_change_and_ends_when_closed(root: Path) -> None:
    watcher, engine = build_engine(root), build_engine(root)
    events: list[EngineEvent] = []
    stream = watcher.watch()
    thread = threading.Thread(target=lambda: events.extend(stream) or events.append(EngineEvent("end")))
    thread.start()

    def wait_for_event(what: str) -> None:
        wait_for(lambda: EngineEvent(OWNER) in events, f"an event: {what}")
        events.clear()

    engine.create_network(NetworkSpec("net", 2, LABELS))
    wait_for_event("network made")
    run_shell(engine, ENDLESS)
    wait_for_event("node started")
    os.kill(supervisor_of(root), signal.SIGKILL)
    wait_for_event("supervisor killed")
    engine.remove_container(NAME)
    wait_for_event("node removed")
    watcher.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert events[-1] == EngineEvent("end")


def test_it_says_that_it_isolates_nothing() -> None:
    assert "isolates nothing" in ISOLATION_NOTICE
