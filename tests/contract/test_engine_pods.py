"""What containers of one pod share on a real engine: a network, names, memory, and if they like their processes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainlet.engine import sandbox
from trainlet.kube.errors import EngineError
from trainlet.planning.observed import ContainerState
from trainlet.planning.specs import ContainerSpec, Dns, Limits, Mount, VolumeMount, VolumeSpec
from workbench import Bench

pytestmark = [pytest.mark.engine, pytest.mark.needs("images")]

MEBIBYTE = 1 << 20


def make_sandbox(bench: Bench, *volumes: VolumeMount, **fields: Any) -> ContainerSpec:
    """Start a container of the sandbox image on a network of its own, and return its spec."""
    if bench.engine.find_image(sandbox.IMAGE) is None:
        bench.engine.import_image(sandbox.IMAGE, sandbox.build_image(bench.engine.find_facts().architecture))
    network = bench.make_network()
    spec = bench.spec(
        name="pod",
        image=sandbox.IMAGE,
        command=("/pause",),
        network=network.name,
        hostname="the-pod",
        hosts=(("10.1.2.3", ("data.example",)),),
        limits=Limits(shm_bytes=96 * MEBIBYTE),
        volumes=volumes,
        is_joined=True,
        **fields,
    )
    bench.run(spec)
    return spec


def join(bench: Bench, pod: ContainerSpec, code: str, name: str, **fields: Any) -> ContainerSpec:
    """Return a container that runs this Python code in the pod."""
    return bench.spec(code, name=name, hostname=pod.hostname, joins=pod.name, **fields)


def run_in(bench: Bench, spec: ContainerSpec) -> list[str]:
    """Run a container to its good end and return what it wrote."""
    id = bench.run(spec)
    assert bench.wait_exit(spec).exit_code == 0, bench.read(id)
    return bench.read(id)


def test_the_sandbox_waits_until_it_is_asked_to_end(bench: Bench) -> None:
    pod = make_sandbox(bench)
    assert bench.see(pod).exit_code is None
    bench.engine.stop_container(pod.name)
    assert bench.wait_exit(pod).exit_code == 143


def test_they_share_a_network_and_its_names(bench: Bench) -> None:
    pod = make_sandbox(bench)
    serve = "import socket; s = socket.create_server(('127.0.0.1', 4000)); print('up'); s.accept()[0].sendall(b'hello')"
    id = bench.run(join(bench, pod, serve, "server"))
    bench.wait_line(id, "up")
    ask = (
        "import socket; print(socket.create_connection(('127.0.0.1', 4000)).recv(5).decode()); "
        "print(socket.gethostname(), socket.gethostbyname('data.example'))"
    )
    assert run_in(bench, join(bench, pod, ask, "client")) == ["hello", "the-pod 10.1.2.3"]


def test_they_share_memory_of_the_sandbox_s_size(bench: Bench) -> None:
    pod = make_sandbox(bench)
    assert run_in(bench, join(bench, pod, "open('/dev/shm/a', 'w').write('kept'); print('ok')", "first")) == ["ok"]
    look = "import os; s = os.statvfs('/dev/shm'); print(open('/dev/shm/a').read(), s.f_blocks * s.f_frsize >> 20)"
    assert run_in(bench, join(bench, pod, look, "second")) == ["kept 96"]


def test_a_volume_in_memory_keeps_what_it_holds_while_the_sandbox_has_it(bench: Bench) -> None:
    volume = VolumeSpec(f"{bench.prefix}-memory", bench.labels(), in_memory=True, size_bytes=5 * MEBIBYTE)
    bench.engine.create_volume(volume)
    pod = make_sandbox(bench, VolumeMount(volume.name, "/volumes/memory"))
    mine = (VolumeMount(volume.name, "/memory"),)
    write = "open('/memory/a', 'w').write('kept'); print('ok')"
    assert run_in(bench, join(bench, pod, write, "first", volumes=mine, user="1234")) == ["ok"]
    look = "import os; s = os.statvfs('/memory'); print(open('/memory/a').read(), s.f_blocks * s.f_frsize >> 20)"
    assert run_in(bench, join(bench, pod, look, "second", volumes=mine)) == ["kept 5"]


def test_a_volume_in_memory_belongs_to_its_group(bench: Bench) -> None:
    volume = VolumeSpec(f"{bench.prefix}-memory", bench.labels(), in_memory=True, group=2000)
    bench.engine.create_volume(volume)
    pod = make_sandbox(bench, VolumeMount(volume.name, "/volumes/memory"))
    look = "import os; its = os.stat('/memory'); print(oct(its.st_mode), its.st_gid)"
    mine = (VolumeMount(volume.name, "/memory"),)
    assert run_in(bench, join(bench, pod, look, "looker", volumes=mine)) == ["0o42777 2000"]


@pytest.mark.parametrize(("shared", "seen"), [(False, "False"), (True, "True")])
def test_they_see_each_other_s_processes_only_if_they_share_them(bench: Bench, shared: bool, seen: str) -> None:
    pod = make_sandbox(bench)
    look = (
        "import glob; names = {open(p).read().split('\\0')[0] for p in glob.glob('/proc/[0-9]*/cmdline')}; "
        "print('/pause' in names)"
    )
    assert run_in(bench, join(bench, pod, look, "looker", joins_processes=shared)) == [seen]


def test_a_container_of_a_pod_hears_that_it_is_to_end(bench: Bench) -> None:
    pod = make_sandbox(bench)
    for shared in (False, True):
        name = f"sleeper-{shared}".lower()
        spec = join(bench, pod, "import time; print('up'); time.sleep(600)", name, joins_processes=shared)
        id = bench.run(spec)
        bench.wait_line(id, "up")
        bench.engine.stop_container(id)
        assert bench.wait_exit(spec).exit_code == 143


def test_what_joins_a_container_that_has_ended_never_runs_without_it(bench: Bench) -> None:
    """Docker refuses to start it, Podman starts the other one again."""
    pod = make_sandbox(bench)
    bench.engine.kill_container(pod.name)
    bench.wait_exit(pod)
    late = join(bench, pod, "print('here')", "late")
    with suppress(EngineError):
        bench.run(late)
    is_up = bench.see(pod).state is ContainerState.RUNNING
    assert is_up is (bench.see(late).state is not ContainerState.CREATED)


def test_a_sandbox_goes_after_those_that_joined_it(bench: Bench) -> None:
    """Podman refuses to remove it before; whoever plans removals has to keep this order."""
    pod = make_sandbox(bench)
    id = bench.run(join(bench, pod, "import time; time.sleep(600)", "sleeper"))
    bench.engine.remove_container(id)
    bench.engine.remove_container(pod.name)
    assert bench.find(pod) is None


def test_the_same_container_of_a_pod_made_twice_is_one(bench: Bench) -> None:
    pod = make_sandbox(bench)
    spec = join(bench, pod, "print('once')", "twice")
    bench.engine.create_container(spec)
    bench.engine.create_container(replace(spec))
    assert run_in(bench, spec) == ["once"]


@pytest.mark.needs("owner-ids")
def test_what_the_container_s_user_writes_belongs_to_the_engine_s(bench: Bench) -> None:
    """Of a pod too, whose containers all are in the sandbox's user namespace."""
    engine_user = Path(bench.engine.endpoint.removeprefix("unix://")).stat().st_uid
    mounts = (Mount(str(bench.shared), "/workspace"),)
    fields: dict[str, Any] = {"user": "1000", "owner_ids": (1000, 1000), "mounts": mounts}
    assert bench.output("open('/workspace/alone', 'w'); import os; print(os.getuid())", **fields) == ["1000"]
    pod = make_sandbox(bench, owner_ids=(1000, 1000))
    assert run_in(bench, join(bench, pod, "open('/workspace/joined', 'w'); print('ok')", "member", **fields)) == ["ok"]
    assert {path.name: path.stat().st_uid for path in bench.shared.iterdir()} == dict.fromkeys(
        ("alone", "joined"), engine_user
    )


def test_resolvers_are_those_asked_for_too(bench: Bench) -> None:
    network = bench.make_network()
    code = "print([line.split() for line in open('/etc/resolv.conf') if line.split()[0] in ('search', 'options')])"
    dns = Dns((), ("lab.example",), ("ndots:3",))
    [seen] = bench.output(code, network=network.name, dns=dns)
    assert "lab.example" in seen
    assert "ndots:3" in seen


def test_containers_that_keep_their_user_s_ids_are_made_many_at_once(bench: Bench) -> None:
    fields: dict[str, Any] = {"user": "1000", "owner_ids": (1000, 1000)}
    specs = [bench.spec("import os; print(os.getuid())", name=f"node-{number}", **fields) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda spec: run_in(bench, spec), specs)) == [["1000"]] * len(specs)
