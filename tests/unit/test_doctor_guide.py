"""docs/troubleshooting.md and what the program says are one: every check, every explained error, word for word."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from builders import UID
from manifests import build_manifest
from trainlet.cli.doctor import _render
from trainlet.doctor.checks import CHECKS
from trainlet.doctor.machine import Machine
from trainlet.engine import explain
from trainlet.engine.base import Owner
from trainlet.engine.probe import Attempt
from trainlet.planning import diagnosis
from trees import DOCKER, OK, OWN_PODMAN, PODMAN, StillEngine, Tree, run

GUIDE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
LIST = re.compile(r"^- (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```text\n(.+?)\n```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^### (.+) \(`(.+)`\)$", re.MULTILINE)

#: What the guides of the two container backends list as trouble, and the check that finds it.
TROUBLES = {
    "Docker daemon not running": "sockets",
    "Permission denied on the socket": "sockets",
    "GPU not available in a container": "gpu",
    "Containers not removed": "leftovers",
    "Network conflicts": "name conflicts",
    "Podman service not running": "podman service",
    "Socket not found": "sockets",
    "Permission denied (rootless): user namespaces": "user namespaces",
    "Permission denied (rootless): subordinate ids": "subordinate ids",
    "Containers do not find each other by name": "container dns",
}

ROOTLESS = StillEngine("podman", OWN_PODMAN)
ROUTE = "Iface Destination ...\ntun0 0000000A 0 0 0 0 0 000000FF 0 0 0\n"
OWNER = Owner(UID, "default", "mnist")


GPU = {"vendor": "0x10de", "class": "0x030200"}
NO_GPU = 'could not select device driver "" with capabilities: [[gpu]]'
TODAY = datetime(2026, 1, 2, tzinfo=UTC)
NO_DNS = {"/v4.0.0/libpod/networks/json": [{"name": "mnist-net", "dns_enabled": False}]}
NETAVARK = {"/usr/lib/podman/netavark": "", "/usr/lib/podman/aardvark-dns": ""}
GONE = {
    "/containers/json": [{"Id": "c1", "Labels": {"trainlet.dev/store": "4f1d0aa81c37"}}],
    "/containers/c1/json": {"Mounts": [{"Destination": "/workspace", "Source": "/old/jobs/workspaces/default/mnist"}]},
}
CACHE: dict[str, Any] = {"cache_dir": Path("/")}


def look(tree: Tree, files: dict[str, str] | None = None, replies: dict[str, Any] | None = None, **how: Any) -> Machine:
    """Return a machine with these files and an engine that says this."""
    for path, text in (files or {}).items():
        tree.write(path, text)
    tree.replies = replies or {}
    return tree.look(how.pop("engine", StillEngine()), **how)


def fail_to_reach(runtime: str, url: str, error: OSError, system: str = "Linux") -> Callable[[Tree], Machine]:
    """Return how a machine is made whose engine cannot be reached."""
    reason, remedy = explain.explain_unreachable(error, runtime, system)
    attempt = Attempt(runtime, url, ok=False, error=reason, remedy=remedy)
    return lambda tree: look(tree, engine=None, attempts=[attempt], complaint="no container engine answers; tried were")


def with_driver(tree: Tree, **how: Any) -> Machine:
    tree.install("nvidia-smi")
    return look(tree, {"/dev/nvidiactl": ""}, **how)


def conflict(tree: Tree) -> Machine:
    tree.write("jobs/mnist.yaml", yaml.safe_dump(build_manifest()))
    return look(tree, replies={"/networks/mnist-net": {"Labels": {"com.docker.compose.project": "shop"}}})


def without_podman_service(tree: Tree) -> Machine:
    tree.install("podman")
    complaint = "no container engine answers; tried were\n  podman  its service: did not come up: newuidmap: not found"
    return look(tree, engine=None, complaint=complaint)


def behind_firewall(tree: Tree) -> Machine:
    tree.install("iptables", "#!/bin/sh\necho '-P INPUT DROP'\n")
    return look(tree, settings={"status_port": 8443})


def of_another_user(tree: Tree) -> Machine:
    (tree.root / "cache").mkdir(mode=0o700)
    return look(tree, engine=ROOTLESS, settings={"workspace_dir": Path("/"), "cache_dir": tree.root / "cache"})


#: A machine in trouble for each text in the guide.
MACHINES: list[tuple[str, Callable[[Tree], Machine]]] = [
    ("engine", fail_to_reach("docker", DOCKER, ConnectionRefusedError(111, ""))),
    ("sockets", fail_to_reach("docker", DOCKER, ConnectionRefusedError(111, ""))),
    ("sockets", fail_to_reach("docker", DOCKER, PermissionError(13, ""))),
    ("sockets", fail_to_reach("podman", PODMAN, PermissionError(13, ""))),
    ("sockets", fail_to_reach("podman", OWN_PODMAN, FileNotFoundError(2, ""))),
    ("sockets", fail_to_reach("podman", "unix:///tmp/podman/api.sock", ConnectionRefusedError(111, ""), "Darwin")),
    ("podman service", without_podman_service),
    ("gpu", lambda tree: look(tree, {f"/sys/bus/pci/devices/0/{k}": v for k, v in GPU.items()})),
    ("gpu", lambda tree: with_driver(tree)),
    ("gpu", lambda tree: with_driver(tree, engine=StillEngine("podman", PODMAN))),
    ("cgroups", lambda tree: look(tree, {"/sys/fs/cgroup/memory/tasks": ""}, engine=ROOTLESS)),
    ("cgroups", lambda tree: look(tree, {"/sys/fs/cgroup/cgroup.controllers": ""}, engine=ROOTLESS)),
    *(
        ("user namespaces", partial(look, files={path: text}, engine=ROOTLESS))
        for path, text in (
            ("/proc/sys/user/max_user_namespaces", "0"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        )
    ),
    ("subordinate ids", lambda tree: look(tree, engine=ROOTLESS)),
    ("container dns", lambda tree: look(tree, engine=StillEngine("podman", PODMAN))),
    ("container dns", lambda tree: look(tree, NETAVARK, NO_DNS, engine=StillEngine("podman", PODMAN))),
    ("name server", lambda tree: look(tree)),
    ("name server", lambda tree: look(tree, {"/etc/resolv.conf": "nameserver 127.0.0.1"})),
    ("container init", lambda tree: look(tree, engine=StillEngine("podman", PODMAN))),
    ("address pool", lambda tree: look(tree, engine=StillEngine(subnets=frozenset({"10.213.0.0/16"})))),
    ("address pool", lambda tree: look(tree, {"/proc/net/route": ROUTE})),
    ("firewall", behind_firewall),
    ("inotify", lambda tree: look(tree, {"/proc/sys/fs/inotify/max_user_watches": "100"})),
    ("open files", lambda tree: look(tree, {"/proc/self/limits": "Max open files  256  4096  files"})),
    ("shared memory", lambda tree: look(tree, replies={"/info": {"MemTotal": 2 << 30}}, get_shm_bytes=lambda: 8 << 30)),
    ("clock", lambda tree: look(tree, replies={"/info": {"SystemTime": "2026-01-01T23:00:00Z"}}, now=lambda: TODAY)),
    ("disk", lambda tree: look(tree, settings=CACHE, get_free_bytes=lambda _: 1 << 30)),
    ("mounts", of_another_user),
    ("directory", lambda tree: look(tree, {"/file": ""}, settings={"status_dir": tree.root / "file" / "status"})),
    ("operator", lambda tree: look(tree)),
    ("leftovers", lambda tree: look(tree, engine=StillEngine(owners=frozenset({OWNER})))),
    ("leftovers", lambda tree: look(tree, replies=GONE)),
    ("name conflicts", conflict),
]


def render(root: Path) -> Iterator[str]:
    """Yield what doctor prints of each machine that is not well, with the paths as if it were this one."""
    for number, (check, build) in enumerate(MACHINES):
        place = root / str(number)
        place.mkdir()
        bad = [each for each in run(check, build(Tree(place))) if each.level is not OK]
        assert bad, f"{check} finds nothing wrong with machine {number}"
        text = "\n".join(_render([(check, each) for each in bad]))
        yield text.replace(f"{place}/", "/").replace(str(place), "/")


#: What `describe`, `events` and the operator's log say of two of them.
ERRORS = [
    str(explain.build_name_taken("docker", "network", "mnist-net", DOCKER, {"com.docker.compose.project": "shop"})),
    str(
        explain.build_start_error(
            explain.Refused("start container mnist-node-0", status=500, text=NO_GPU, where=DOCKER)
        )
    ),
]


def test_what_is_printed_is_in_the_guide_and_nothing_else() -> None:
    # Not pytest's tmp_path, which its user alone may enter.
    with TemporaryDirectory(prefix="trainlet-") as name:
        Path(name).chmod(0o755)
        assert set(BLOCK.findall(GUIDE)) == {*render(Path(name)), *ERRORS}


def test_every_check_has_an_entry_and_every_entry_a_check() -> None:
    assert {check for _, check in HEADING.findall(GUIDE)} == set(CHECKS)
    assert {check for check, _ in MACHINES} == set(CHECKS)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_users_know_as_trouble_has_an_entry_of_its_own(trouble: str) -> None:
    assert (trouble, TROUBLES[trouble]) in HEADING.findall(GUIDE)


def read_list(heading: str) -> list[str]:
    """Return the items of the list below a heading of the guide."""
    _, _, section = GUIDE.partition(f"\n## {heading}\n")
    assert section, f"no section {heading}"
    return LIST.findall(section.partition("\n## ")[0])


def list_remedies(rows: Iterable[str]) -> set[str]:
    return {row.replace("{name}", "NAME") for row in rows}


REMEDIES = {
    "What an engine refuses": [
        *(failure.remedy for _, failure in explain._START_FAILURES),
        *(remedy for _, remedy in explain._REMEDIES),
    ],
    "What a registry refuses": [remedy for _, remedy in explain._PULL_REMEDIES],
    "What training dies of": [*(row.remedy for row in diagnosis._ROWS), *diagnosis._CODES.values(), diagnosis._MEMORY],
}


@pytest.mark.parametrize("heading", REMEDIES)
def test_every_explained_error_is_in_the_guide_once_and_nothing_else(heading: str) -> None:
    assert sorted(read_list(heading)) == sorted(list_remedies(REMEDIES[heading]))
