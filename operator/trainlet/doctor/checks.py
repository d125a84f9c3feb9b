"""The table of all checks, in the order in which they are told, and how they are run."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

from trainlet.doctor import (
    directory_checks,
    engine_checks,
    gpu_checks,
    kernel_checks,
    leftover_checks,
    network_checks,
    storage_checks,
)
from trainlet.doctor.machine import Finding, Machine, fail
from trainlet.kube.errors import TrainletError

Check = Callable[[Machine], Iterator[Finding]]

#: How long all checks may take, which are made at once.
TIMEOUT_SECONDS = 20.0

#: A check that does not apply to the machine finds nothing.
CHECKS: dict[str, Check] = {
    "engine": engine_checks.check_engine,
    "sockets": engine_checks.check_sockets,
    "podman service": engine_checks.check_podman_service,
    "gpu": gpu_checks.check_gpu,
    "cgroups": kernel_checks.check_cgroups,
    "user namespaces": kernel_checks.check_user_namespaces,
    "subordinate ids": kernel_checks.check_subordinate_ids,
    "container dns": network_checks.check_names,
    "name server": network_checks.check_name_server,
    "container init": engine_checks.check_init,
    "address pool": network_checks.check_pool,
    "firewall": network_checks.check_firewall,
    "inotify": kernel_checks.check_inotify,
    "open files": kernel_checks.check_open_files,
    "shared memory": storage_checks.check_shared_memory,
    "clock": engine_checks.check_clock,
    "disk": storage_checks.check_disk,
    "mounts": storage_checks.check_mounts,
    "directory": directory_checks.check_directory,
    "operator": directory_checks.check_operator,
    "leftovers": leftover_checks.check_leftovers,
    "name conflicts": leftover_checks.check_conflicts,
}


def examine(machine: Machine, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[tuple[str, Finding]]:
    """Make all checks at once and yield what each finds under its name; one that cannot be made stops no other."""
    deadline = time.monotonic() + timeout_seconds
    results = {name: _begin(check, machine) for name, check in CHECKS.items()}
    for name, result in results.items():
        for finding in _await(result, deadline):
            yield name, finding


def _begin(check: Check, machine: Machine) -> SimpleQueue[list[Finding]]:
    result: SimpleQueue[list[Finding]] = SimpleQueue()
    # A daemon, so that a check that hangs does not keep the program from ending.
    threading.Thread(target=lambda: result.put(_make(check, machine)), daemon=True).start()
    return result


def _await(result: SimpleQueue[list[Finding]], deadline: float) -> list[Finding]:
    try:
        return result.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        return [fail("this cannot be checked: it takes too long", "see whether the engine or a file system hangs")]


def _make(check: Check, machine: Machine) -> list[Finding]:
    """Return what a check finds, and last why it got no further."""
    found: list[Finding] = []
    try:
        for finding in check(machine):
            found.append(finding)
    except Exception as error:  # a bug in one check must not hide what others find
        found.append(_explain(error))
    return found


def _explain(error: Exception) -> Finding:
    if isinstance(error, TrainletError):
        return fail(f"this cannot be checked: {error.what}", error.remedy)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return fail(f"this cannot be checked: {error.strerror or error}{where}", "make it readable for this user")
    return fail(f"this cannot be checked: {type(error).__name__}: {error}", "this is a bug of trainlet: report it")
