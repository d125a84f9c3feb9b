"""The table of all checks, in the order in which they are told, and how they are run."""

from collections.abc import Callable, Iterator

from trainlet.doctor import directory_checks, engine_checks, kernel_checks
from trainlet.doctor.machine import Finding, Machine, fail
from trainlet.kube.errors import TrainletError

Check = Callable[[Machine], Iterator[Finding]]

#: A check that does not apply to the machine finds nothing.
CHECKS: dict[str, Check] = {
    "engine": engine_checks.check_engine,
    "sockets": engine_checks.check_sockets,
    "podman service": engine_checks.check_podman_service,
    "gpu": engine_checks.check_gpu,
    "cgroups": kernel_checks.check_cgroups,
    "user namespaces": kernel_checks.check_user_namespaces,
    "subordinate ids": kernel_checks.check_subordinate_ids,
    "container dns": engine_checks.check_names,
    "container init": engine_checks.check_init,
    "address pool": engine_checks.check_pool,
    "inotify": kernel_checks.check_inotify,
    "disk": kernel_checks.check_disk,
    "directory": directory_checks.check_directory,
    "operator": directory_checks.check_operator,
    "leftovers": directory_checks.check_leftovers,
    "name conflicts": directory_checks.check_conflicts,
}


def examine(machine: Machine) -> Iterator[tuple[str, Finding]]:
    """Run all checks and yield what each finds under its name; one that cannot be made does not stop the others."""
    for name, check in CHECKS.items():
        try:
            for finding in check(machine):
                yield name, finding
        except TrainletError as error:
            yield name, fail(f"this cannot be checked: {error.what}", error.remedy)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            yield name, fail(f"this cannot be checked: {error.strerror}{where}", "make it readable for this user")
