"""Checks of the engines: where they answer, whether trainlet can use one, and whether it goes right."""

from collections.abc import Iterator
from datetime import datetime

from trainlet.doctor.machine import Finding, Machine, fail, ok, warn
from trainlet.engine.explain import NO_SOCKET, find_remedy

_LIBRARIES = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/lib/podman", "/usr/local/libexec/podman")
_INITS = (
    *(f"{directory}/catatonit" for directory in (*_LIBRARIES, "/usr/bin")),
    "/usr/bin/tini-static",
    "/usr/bin/tini",
    "/usr/libexec/docker/docker-init",
    "/usr/bin/docker-init",
)
_FAR_OFF_SECONDS = 60
_SET_CLOCK = "set both by a time server (`timedatectl set-ntp true`), or restart the engine's virtual machine"
_WITHOUT_CONTAINERS = "or do without containers: --container-runtime process"


def check_sockets(machine: Machine) -> Iterator[Finding]:
    """Say of every place where an engine may be whether one answers there."""
    for attempt in machine.attempts:
        if attempt.ok:
            yield ok(f"{attempt.runtime} {attempt.version} answers at {attempt.url}")
        elif attempt.error != NO_SOCKET:
            yield warn(f"{attempt.runtime} at {attempt.url}: {attempt.error}", attempt.remedy)
    for runtime in dict.fromkeys(attempt.runtime for attempt in machine.attempts):
        absent = [a for a in machine.attempts if a.runtime == runtime and a.error == NO_SOCKET]
        if not absent:
            continue
        message = f"no {runtime} socket at {', '.join(attempt.url for attempt in absent)}"
        yield ok(message) if machine.engine else warn(message, absent[0].remedy)


def check_engine(machine: Machine) -> Iterator[Finding]:
    """Say which engine trainlet uses."""
    if machine.engine is None:
        remedies = dict.fromkeys(attempt.remedy for attempt in machine.attempts if attempt.remedy)
        first_line = machine.complaint.partition("\n")[0]
        yield fail(first_line.partition(";")[0], "; ".join([*remedies, _WITHOUT_CONTAINERS]))
    elif machine.runtime == "process":
        yield warn("nodes run as processes, which isolates nothing", "start Docker or Podman for containers")
    else:
        yield ok(f"{machine.runtime} {machine.engine.ping()} at {machine.engine.endpoint} is used")


def check_podman_service(machine: Machine) -> Iterator[Finding]:
    """Say whether Podman can be reached, and why its service does not come up."""
    program = machine.find_program("podman")
    if program is None or machine.settings.container_runtime not in (None, "podman"):
        return
    if any(attempt.ok and attempt.runtime == "podman" for attempt in machine.attempts):
        yield ok("a podman service answers")
    elif machine.runtime == "podman":
        yield ok(f"no podman service was there; trainlet can start one with {program}")
    elif machine.engine is not None:
        yield ok(f"no podman service is there; {machine.runtime} is used")
    else:
        complaint = next(
            (" ".join(line.split()) for line in machine.complaint.splitlines() if "its service" in line), ""
        )
        usual = next(
            (a.remedy for a in machine.attempts if a.runtime == "podman" and a.remedy), "look at `podman info`"
        )
        yield fail(complaint or "podman is installed and its service does not answer", find_remedy(complaint) or usual)


def check_init(machine: Machine) -> Iterator[Finding]:
    """Say whether Podman has an init that passes signals on to the training."""
    if machine.runtime != "podman" or not machine.runs_containers_here:
        return
    found = next((path for path in _INITS if machine.path(path).exists()), None)
    if found:
        yield ok(f"containers get {found} as their init")
    else:
        yield warn("podman has no init for containers, so they may ignore SIGTERM", "install catatonit or tini")


def check_clock(machine: Machine) -> Iterator[Finding]:
    """Say whether the engine's clock is this machine's; a virtual machine's stands still while the machine sleeps."""
    told = machine.info.get("SystemTime")
    if not told:
        return
    seconds = abs((datetime.fromisoformat(told) - machine.now()).total_seconds())
    if seconds > _FAR_OFF_SECONDS:
        yield warn(f"the engine's clock is {seconds:.0f} s off this machine's", _SET_CLOCK)
    else:
        yield ok("the engine's clock is this machine's")
