"""What every engine promises (trainlet/engine/base.py), held against the real ones.

Streams (logs and events) are in test_engine_streams.py. What only some engines can do is marked with `needs`.
"""

import io
import signal
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from ipaddress import ip_network

import docker
import pytest

from engines import get_url
from trainlet.engine.base import ImageMissing, NameTaken, Owner, PullFailed, StartFailed, SubnetTaken
from trainlet.kube.errors import EngineError
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState
from trainlet.planning.specs import Limits, Mount, Privileges
from waiting import wait_for
from workbench import Bench

pytestmark = pytest.mark.engine

SLEEP = "import time; print('ready'); time.sleep(600)"
IGNORE_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(600)"
MEBIBYTE = 1 << 20


def test_it_says_what_and_where_it_is(bench: Bench) -> None:
    assert bench.engine.name == bench.kind.runtime
    assert bench.engine.endpoint
    assert bench.engine.ping()


def test_a_container_goes_from_created_through_running_to_exited(bench: Bench) -> None:
    spec = bench.spec(SLEEP)
    id = bench.create(spec)
    assert bench.see(spec).state is ContainerState.CREATED
    assert bench.see(spec).exit_code is None
    bench.engine.start_container(id)
    running = bench.see(spec)
    assert (running.state, running.exit_code) == (ContainerState.RUNNING, None)
    assert running.started_at is not None
    bench.engine.kill_container(id)
    ended = bench.wait_exit(spec)
    assert ended.exit_code == 128 + signal.SIGKILL
    assert ended.finished_at is not None
    assert ended.started_at is not None
    assert ended.finished_at >= ended.started_at.replace(microsecond=0)


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_exit_code_is_the_program_s(bench: Bench, code: int) -> None:
    spec = bench.spec(f"raise SystemExit({code})")
    bench.run(spec)
    assert bench.wait_exit(spec).exit_code == code


def test_a_command_that_is_not_there_counts_as_127(bench: Bench) -> None:
    spec = bench.spec(command=("/no/such/command",))
    id = bench.create(spec)
    try:
        bench.engine.start_container(id)
    except StartFailed as error:
        code = error.exit_code
    else:  # the init inside the container was the one to find out
        code = bench.wait_exit(spec).exit_code
    assert code == 127


def test_args_are_given_to_the_command(bench: Bench) -> None:
    command = ("python3", "-c", "import sys; print(sys.argv[1:])")
    assert bench.output("", command=command, args=("a b", "$HOME", "")) == ["['a b', '$HOME', '']"]


def test_creating_twice_is_creating_once(bench: Bench) -> None:
    spec = bench.spec(SLEEP)
    first = bench.create(spec)
    assert bench.create(spec) == first
    bench.engine.start_container(first)
    bench.engine.start_container(first)
    assert len(bench.engine.observe(bench.owner).containers) == 1


def test_a_name_that_is_another_s_is_not_touched(bench: Bench) -> None:
    theirs = bench.stranger()
    id = theirs.run(theirs.spec(SLEEP))
    with pytest.raises(NameTaken, match=bench.prefix):
        bench.engine.create_container(bench.spec(SLEEP))
    with pytest.raises(NameTaken):
        theirs.engine.create_container(theirs.spec("another command"))
    seen = theirs.see(theirs.spec(SLEEP))
    assert (seen.id, seen.state) == (id, ContainerState.RUNNING)
    assert bench.engine.observe(bench.owner).containers == ()


def test_a_network_name_that_is_another_s_is_not_touched(bench: Bench) -> None:
    theirs = bench.stranger()
    network = theirs.make_network()
    with pytest.raises(NameTaken, match=bench.prefix):
        bench.engine.create_network(bench.network_spec("10.214.255.240/28"))
    assert theirs.see_network() == network
    assert bench.engine.observe(bench.owner).networks == ()


def test_making_a_network_twice_is_making_it_once(bench: Bench) -> None:
    network = bench.make_network()
    bench.engine.create_network(bench.network_spec(network.subnet))
    assert bench.engine.observe(bench.owner).networks == (network,)
    assert bench.network_spec().labels.items() <= network.labels.items()


def test_removing_what_is_gone_counts_as_done(bench: Bench) -> None:
    network = bench.make_network()
    id = bench.run(bench.spec(SLEEP))
    bench.engine.remove_container(id)
    bench.engine.remove_network(network.id)
    for again in (
        bench.engine.remove_container,
        bench.engine.stop_container,
        bench.engine.kill_container,
    ):
        again(id)
    bench.engine.remove_network(network.id)
    seen = bench.engine.observe(bench.owner)
    assert (seen.containers, seen.networks) == ((), ())


def test_stopping_what_has_ended_counts_as_done(bench: Bench) -> None:
    spec = bench.spec("pass")
    id = bench.run(spec)
    bench.wait_exit(spec)
    bench.engine.stop_container(id)
    bench.engine.kill_container(id)
    assert bench.see(spec).exit_code == 0


def test_starting_what_is_gone_is_an_error_for_a_retry(bench: Bench) -> None:
    id = bench.create(bench.spec(SLEEP))
    bench.engine.remove_container(id)
    with pytest.raises(EngineError) as caught:
        bench.engine.start_container(id)
    assert not isinstance(caught.value, StartFailed)


def test_sigterm_reaches_a_program_that_has_no_handler(bench: Bench) -> None:
    spec = bench.spec(SLEEP)
    id = bench.run(spec)
    bench.wait_line(id, "ready")
    started = time.monotonic()
    bench.engine.stop_container(id)
    assert time.monotonic() - started < 2, "stop must not wait for the end"
    assert bench.wait_exit(spec, timeout_seconds=5).exit_code == 128 + signal.SIGTERM


def test_a_program_may_take_its_time_to_end_well(bench: Bench) -> None:
    code = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(7))\nprint('ready')\ntime.sleep(600)"
    spec = bench.spec(code)
    id = bench.run(spec)
    bench.wait_line(id, "ready")
    bench.engine.stop_container(id)
    assert bench.wait_exit(spec, timeout_seconds=5).exit_code == 7


def test_removal_is_prompt_whatever_the_program_does(bench: Bench) -> None:
    spec = bench.spec(IGNORE_TERM)
    id = bench.run(spec)
    bench.wait_line(id, "ready")
    started = time.monotonic()
    bench.engine.remove_container(id)
    assert bench.find(spec) is None
    assert time.monotonic() - started < 5


def test_removing_and_stopping_may_meet_the_end_at_any_moment(bench: Bench) -> None:
    def live(number: int) -> None:
        spec = bench.spec(f"import time; time.sleep({number / 50})", name=f"node-{number}")
        id = bench.run(spec)
        bench.engine.stop_container(id)
        bench.engine.remove_container(id)
        assert bench.find(spec) is None

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(live, range(16)))


def test_values_arrive_as_they_were_written(bench: Bench) -> None:
    env = {
        "PLAIN": "1",
        "LINES": "a\nb\n",
        "QUOTES": """it's "quoted" \\ """,
        "EQUALS": "a=b=c",
        "DOLLAR": "$HOME ${X} $(Y)",
        "SNOW": "☃ ü",
        "EMPTY": "",
    }
    code = f"import os; print(ascii([os.environ.get(name) for name in {list(env)!r}]))"
    assert bench.output(code, env=env) == [ascii(list(env.values()))]


def test_labels_come_back_as_they_were_given(bench: Bench) -> None:
    odd = {
        "example.com/empty": "",
        "example.com/text": "a=b, c\n\"d\" 'e' ü",
        labels.POD: "node-0",
        labels.ATTEMPT: "3",
    }
    spec = bench.spec(SLEEP, labels=bench.labels(**odd))
    bench.create(spec)
    seen = bench.see(spec)
    assert spec.labels.items() <= seen.labels.items()
    assert (seen.pod, seen.attempt) == ("node-0", 3)


def test_an_owner_sees_only_its_own(bench: Bench) -> None:
    theirs = bench.stranger()
    ours, foreign = bench.spec(SLEEP, name="ours"), theirs.spec(SLEEP, name="theirs")
    bench.create(ours)
    theirs.create(foreign)
    network = bench.make_network()
    assert [each.name for each in bench.engine.observe(bench.owner).containers] == [ours.name]
    assert [each.name for each in theirs.engine.observe(theirs.owner).containers] == [foreign.name]
    assert bench.engine.observe(bench.owner).networks == (network,)
    assert theirs.engine.observe(theirs.owner).networks == ()


def test_owners_are_found_by_their_store(bench: Bench) -> None:
    theirs = bench.stranger()
    bench.create(bench.spec(SLEEP))
    theirs.make_network()
    expected = {Owner(owner, "default", "job") for owner in (bench.owner, theirs.owner)}
    assert bench.engine.find_owners(bench.store) == expected
    assert bench.engine.find_owners("no-such-store") == frozenset()


def test_eight_threads_may_use_it_at_once(bench: Bench) -> None:
    def live(number: int) -> int | None:
        spec = bench.spec(f"raise SystemExit({number})", name=f"node-{number}")
        id = bench.run(spec)
        code = bench.wait_exit(spec, timeout_seconds=60).exit_code
        bench.engine.remove_container(id)
        return code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(live, range(8))) == list(range(8))
    assert bench.engine.observe(bench.owner).containers == ()


@pytest.mark.needs("mounts")
def test_the_working_directory_is_made_if_need_be(bench: Bench) -> None:
    assert bench.output("import os; print(os.getcwd())", working_dir="/some/where") == ["/some/where"]


@pytest.mark.needs("users")
def test_the_user_is_the_one_asked_for(bench: Bench) -> None:
    assert bench.output("import os; print(os.getuid(), os.getgid())", user="1234:5678") == ["1234 5678"]


@pytest.mark.needs("users")
def test_processes_are_in_the_groups_asked_for(bench: Bench) -> None:
    groups = bench.output("import os; print(sorted(os.getgroups()))", user="1234:5678", groups=(42, 777))
    assert groups in (["[42, 777]"], ["[42, 777, 5678]"])


@pytest.mark.needs("users")
def test_a_user_the_image_has_not_never_starts(bench: Bench) -> None:
    with pytest.raises(StartFailed, match="numeric") as caught:
        bench.run(bench.spec(SLEEP, user="no-such-user"))
    assert caught.value.exit_code == 128


LOOK_AT_PRIVILEGES = """
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(status["CapEff"], status["NoNewPrivs"])
try: open("/made", "w").close(); print("writable")
except OSError as error: print(error.errno)
"""
NO_CAPABILITY, TWO_CAPABILITIES = "0" * 16, f"{1 << 0 | 1 << 1:016x}"  # as linux/capability.h numbers them
PRIVILEGES = {
    "none at all": (
        Privileges(no_new_privileges=True, read_only_root=True, dropped=("ALL",)),
        NO_CAPABILITY,
        "1",
        "30",
    ),
    "only two": (Privileges(added=("CHOWN", "DAC_OVERRIDE"), dropped=("ALL",)), TWO_CAPABILITIES, "0", "writable"),
}


@pytest.mark.needs("users")
@pytest.mark.parametrize(("privileges", "capabilities", "no_new", "root"), PRIVILEGES.values(), ids=PRIVILEGES)
def test_privileges_are_those_asked_for(
    bench: Bench, privileges: Privileges, capabilities: str, no_new: str, root: str
) -> None:
    seen = bench.output(LOOK_AT_PRIVILEGES, privileges=privileges)
    assert seen == [f"{capabilities} {no_new}", root]


@pytest.mark.needs("users")
@pytest.mark.parametrize(("unconfined", "filtered"), [(False, True), (True, False)])
def test_system_calls_are_filtered_unless_it_is_unwanted(bench: Bench, unconfined: bool, filtered: bool) -> None:
    code = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('Seccomp:')][0])"
    assert (bench.output(code, privileges=Privileges(unconfined=unconfined)) == ["2"]) is filtered


@pytest.mark.needs("users")
def test_a_gpu_that_is_not_there_never_starts(bench: Bench) -> None:
    with pytest.raises(StartFailed, match="nvidia-container-toolkit") as caught:
        bench.run(bench.spec(SLEEP, limits=Limits(gpus=1, gpu_resource="nvidia.com/gpu")))
    assert caught.value.exit_code == 128


@pytest.mark.needs("mounts")
def test_mounts_are_writable_or_not(bench: Bench) -> None:
    code = (
        "import pathlib\npathlib.Path('/rw/made').write_text('here')\nprint(pathlib.Path('/ro/made').read_text())\n"
        "try: pathlib.Path('/ro/more').touch()\nexcept OSError as error: print(error.errno)"
    )
    mounts = (Mount(str(bench.shared), "/rw"), Mount(str(bench.shared), "/ro", read_only=True))
    assert bench.output(code, mounts=mounts) == ["here", "30"]
    assert (bench.shared / "made").read_text() == "here"


@pytest.mark.needs("mounts")
def test_a_mount_s_missing_source_is_an_error_and_not_made(bench: Bench) -> None:
    missing = bench.shared / "missing"
    with pytest.raises(EngineError, match="create the directory"):
        bench.engine.create_container(bench.spec(SLEEP, mounts=(Mount(str(missing), "/data"),)))
    assert not missing.exists()


@pytest.mark.needs("limits")
def test_limits_are_seen_from_inside(bench: Bench) -> None:
    code = (
        "import os\n"
        "def read(*names):\n"
        "    return next(open(name).read().split() for name in names if os.path.exists(name))\n"
        "root = '/sys/fs/cgroup'\n"
        "print(read(f'{root}/memory/memory.limit_in_bytes', f'{root}/memory.max')[0])\n"
        "print(read(f'{root}/cpu/cpu.cfs_quota_us', f'{root}/cpu.max')[0])"
    )
    assert bench.output(code, limits=Limits(cpus=0.5, memory_bytes=96 * MEBIBYTE)) == [str(96 * MEBIBYTE), "50000"]


@pytest.mark.needs("shm")
def test_shared_memory_has_the_size_asked_for(bench: Bench) -> None:
    code = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize)"
    assert bench.output(code, limits=Limits(shm_bytes=200 * MEBIBYTE)) == [str(200 * MEBIBYTE)]


@pytest.mark.needs("images")
def test_more_cpus_than_there_are_is_no_error(bench: Bench) -> None:
    assert bench.output("print('ran')", limits=Limits(cpus=4096)) == ["ran"]


@pytest.mark.needs("oom")
def test_running_out_of_memory_is_told(bench: Bench) -> None:
    spec = bench.spec("x = bytearray(1 << 30)", limits=Limits(memory_bytes=32 * MEBIBYTE))
    bench.run(spec)
    ended = bench.wait_exit(spec)
    assert (ended.exit_code, ended.oom_killed) == (137, True)


@pytest.mark.needs("images")
def test_an_image_is_here_or_missing(bench: Bench) -> None:
    spec = bench.spec(SLEEP)
    assert bench.engine.find_image(spec.image)
    assert bench.engine.find_image("localhost/no-such-image:1") is None
    with pytest.raises(ImageMissing, match="no-such-image"):
        bench.engine.create_container(bench.stranger().spec(SLEEP, image="localhost/no-such-image:1"))


@pytest.mark.needs("images")
def test_an_image_that_cannot_be_had_says_why(bench: Bench) -> None:
    with pytest.raises(PullFailed, match=r"refused|registry"):
        bench.engine.pull_image("localhost:1/no/such-image:1", lambda *_: None)


@pytest.mark.needs("addresses")
def test_nodes_have_their_addresses_and_names_at_once(bench: Bench) -> None:
    network = bench.make_network()
    first, second = addresses_of(network.subnet)
    hosts = ((first, ("node-a", "node-a.job", "node-a.job.ns.svc.cluster.local")), (second, ("node-b", "node-b.job")))
    serve = (
        "import socket\ns = socket.create_server(('0.0.0.0', 29500))\nprint(socket.gethostname(), flush=True)\n"
        "c, peer = s.accept(); print(peer[0], c.recv(99).decode())"
    )
    call = (
        "import socket, time\n"
        "print([socket.gethostbyname(n) for n in ('node-a', 'node-a.job.ns.svc.cluster.local', 'node-b.job')])\n"
        "for _ in range(200):\n"
        "    try: s = socket.create_connection(('node-a.job', 29500)); break\n"
        "    except OSError: time.sleep(0.05)\n"
        "s.send(b'hello')"
    )
    nodes = [
        bench.spec(code, name=name, network=network.name, address=address, aliases=(name,), hosts=hosts, hostname=name)
        for code, name, address in ((call, "node-b", second), (serve, "node-a", first))
    ]
    ids = [bench.run(node) for node in nodes]
    assert [bench.wait_exit(node).exit_code for node in nodes] == [0, 0]
    assert bench.read(ids[0]) == [str([first, first, second])]
    assert bench.read(ids[1]) == ["node-a", f"{second} hello"]
    assert bench.see(nodes[0]).networks == {network.name}


def addresses_of(subnet: str) -> tuple[str, str]:
    """Return the addresses of ranks 0 and 1."""
    block = ip_network(subnet)
    return str(block[2]), str(block[3])


@pytest.mark.needs("addresses")
def test_a_subnet_that_is_in_use_is_told(bench: Bench) -> None:
    network = bench.make_network()
    assert network.subnet in bench.engine.find_subnets()
    with pytest.raises(SubnetTaken):
        bench.engine.create_network(bench.network_spec(network.subnet, name="other"))


@pytest.mark.needs("addresses")
def test_a_container_whose_network_is_gone_can_be_made_again(bench: Bench) -> None:
    network = bench.make_network()
    address, _ = addresses_of(network.subnet)
    spec = bench.spec("print('ran')", network=network.name, address=address)
    bench.engine.remove_container(bench.create(spec))
    bench.engine.remove_network(network.id)
    with pytest.raises(EngineError, match=r"made again"):
        bench.engine.create_container(spec)
    bench.engine.create_network(bench.network_spec(network.subnet))
    id = bench.run(spec)
    assert bench.wait_exit(spec).exit_code == 0
    assert bench.read(id) == ["ran"]
    wait_for(lambda: bench.see(spec).networks == {network.name}, "the attachment")


@pytest.mark.needs("loses-networks")
def test_a_container_that_lost_its_network_before_it_started_can_use_the_new_one(bench: Bench) -> None:
    network = bench.make_network()
    spec = bench.spec("print('ran')", network=network.name, address=addresses_of(network.subnet)[0])
    id = bench.create(spec)
    bench.engine.remove_network(network.id)
    with pytest.raises(EngineError, match="not found") as caught:
        bench.engine.start_container(id)
    assert not isinstance(caught.value, StartFailed)
    assert bench.see(spec).exit_code is None, "the job is not to blame"
    bench.engine.create_network(bench.network_spec(network.subnet))
    bench.engine.start_container(id)
    assert bench.wait_exit(spec).exit_code == 0


@pytest.mark.needs("images")
def test_an_image_can_be_made_from_a_file_system(bench: Bench) -> None:
    name, broken = f"localhost/trainlet-contract:{bench.prefix}", f"localhost/trainlet-broken:{bench.prefix}"
    with pytest.raises(EngineError, match="trainlet-broken"):
        bench.engine.import_image(broken, iter([b"no tar file"] * 1000))
    assert bench.engine.find_image(broken) is None
    assert bench.engine.find_image(name) is None
    bench.engine.import_image(name, iter([build_tar()]))
    with closing(docker.APIClient(get_url(bench.kind))) as client:  # what has no verb of ours; Podman knows it too
        assert bench.engine.find_image(name)
        bench.create(bench.spec(image=name, command=("/program",)))
        bench.sweep()
        client.remove_image(name)


def build_tar() -> bytes:
    """Return a file system with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("program")
        entry.size, entry.mode = 2, 0o755
        tar.addfile(entry, io.BytesIO(b"#!"))
    return buffer.getvalue()
