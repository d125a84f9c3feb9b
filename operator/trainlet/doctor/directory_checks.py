"""Checks of the watched directory and of what its jobs left, or will not get, on the engine."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from trainlet.apis.jobset import JobSet
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.doctor.machine import Finding, Machine, fail, ok, warn
from trainlet.documents.scan import scan_directory
from trainlet.documents.status_dir import StatusDir, StoredJob, read_objects
from trainlet.engine.base import Owner
from trainlet.engine.lookup import find_labels
from trainlet.kube.meta import ObjectKey, get_metadata
from trainlet.planning import labels
from trainlet.planning.slots import build_slots
from trainlet.planning.status import is_finished
from trainlet.settings import Settings


def check_directory(machine: Machine) -> Iterator[Finding]:
    """Say whether manifests can be read and status documents written."""
    settings = machine.settings
    if not settings.dir.is_dir():
        yield fail(f"there is no directory {settings.dir}", "make it, or give another with --dir")
        return
    if os.access(settings.dir, os.R_OK | os.X_OK):
        yield ok(f"{settings.dir} can be read")
    else:
        yield fail(f"{settings.dir} cannot be read", "let this user read and enter the directory")
    for path, flag in ((settings.status_path, "--status-dir"), (settings.workspace_path, "--workspace-dir")):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            yield ok(f"{path} can be written")
        else:
            yield fail(f"{path} cannot be written", f"make {existing} writable, or give another with {flag}")


def check_operator(machine: Machine) -> Iterator[Finding]:
    """Say whether an operator works on the directory."""
    directory = machine.settings.dir
    holder = _find_holder(machine.settings.status_path / ".lock")
    if holder is not None:
        yield ok(f"an operator works on {directory} (process {holder})")
    else:
        yield warn(f"no operator works on {directory}", f"start it: trainlet run {directory}")


def _find_holder(path: Path) -> str | None:
    """Return the process that holds the lock, or None."""
    try:
        file = path.open(encoding="utf-8")
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None


def check_leftovers(machine: Machine) -> Iterator[Finding]:
    """Say what is on the engine of jobs that are not known any more, or are finished."""
    if machine.engine is None:
        return
    stored = {_get_uid(job): job for job in StatusDir(machine.settings.status_path).read_jobs() if job.job}
    owners = machine.engine.find_owners(machine.settings.store_id)
    found = [f for owner in sorted(owners, key=_get_order) for f in _judge_owner(machine, owner, stored.get(owner.uid))]
    yield from found or [ok("nothing is left on the engine of jobs that are gone")]


def _judge_owner(machine: Machine, owner: Owner, stored: StoredJob | None) -> Iterator[Finding]:
    name = f"{owner.namespace}/{owner.name}"
    if stored is None:
        remedy = f"start the operator, which removes them{_describe_removal(machine, owner)}"
        yield warn(f"containers or networks of {name}, which is not known here any more, are left", remedy)
    elif machine.settings.auto_remove and is_finished((stored.job or {}).get("status") or {}):
        remedy = "start the operator without --no-auto-remove, which removes them; or delete the job"
        yield warn(f"containers or networks of {name}, which is finished, are left", remedy)


def _describe_removal(machine: Machine, owner: Owner) -> str:
    if machine.runtime == "process":
        return ""
    engine, label = machine.runtime, f"--filter label={labels.OWNER_UID}={owner.uid}"
    return (
        f"; by hand: {engine} rm -f $({engine} ps -aq {label}); {engine} network rm $({engine} network ls -q {label})"
    )


def check_conflicts(machine: Machine) -> Iterator[Finding]:
    """Say which names that the directory's jobs need on the engine are somebody else's."""
    engine = machine.engine
    if engine is None or not engine.endpoint.startswith(("unix:", "tcp:", "http:")):
        return
    is_clear = True
    for key in sorted(_list_manifests(machine.settings)):
        for kind, name in _list_names(machine.settings, key):
            found = find_labels(engine.name, engine.endpoint, kind, name)
            if found is not None and found.get(labels.STORE) != machine.settings.store_id:
                is_clear = False
                remove = f"{engine.name} {'network rm' if kind == 'network' else 'rm -f'} {name}"
                message = f"the {kind} {name} that {key} needs exists and is not trainlet's for this directory"
                yield fail(message, f"remove it (`{remove}`) or rename the job")
    if is_clear:
        yield ok("no name that the directory's jobs need is taken")


def _list_manifests(settings: Settings) -> set[ObjectKey]:
    """Return the TrainJobs that the directory's files name, admitted or not."""
    if not settings.dir.is_dir():
        return set()
    files = scan_directory(settings.dir, frozenset({settings.status_path, settings.workspace_path})).files
    metadata = [get_metadata(o) for path in files for o in read_objects(path) if o.get("kind") == TRAIN_JOB]
    return {
        ObjectKey(TRAIN_JOB, str(each.get("namespace") or settings.namespace), str(each["name"]))
        for each in metadata
        if each.get("name")
    }


def _list_names(settings: Settings, key: ObjectKey) -> Iterator[tuple[str, str]]:
    """Yield what an unfinished job needs: its network, and its containers once its JobSet is known."""
    status_dir = StatusDir(settings.status_path)
    stored = status_dir.read_job(key.namespace, key.name)
    if stored and is_finished((stored.job or {}).get("status") or {}):
        return
    yield "network", labels.network_name(key)
    for jobset in status_dir.read_part(key.namespace, key.name, "jobset"):
        for slot in build_slots(key, JobSet.of(jobset)):
            yield "container", slot.container_name


def _get_uid(stored: StoredJob) -> str:
    return str(get_metadata(stored.job or {}).get("uid"))


def _get_order(owner: Owner) -> tuple[str, str, str]:
    return owner.namespace, owner.name, owner.uid
