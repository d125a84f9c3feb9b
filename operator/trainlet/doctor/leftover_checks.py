"""Checks of what jobs left, or will not get, on the engine."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainlet.apis.jobset import JobSet
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.doctor.machine import Finding, Machine, fail, ok, warn
from trainlet.documents.scan import scan_directory
from trainlet.documents.status_dir import StatusDir, StoredJob, read_objects
from trainlet.engine.base import Owner
from trainlet.engine.explain import describe_holder
from trainlet.kube.merge import find
from trainlet.kube.meta import ObjectKey, get_metadata
from trainlet.planning import labels
from trainlet.planning.slots import build_slots
from trainlet.planning.status import is_finished
from trainlet.settings import Settings

#: Where a thing is asked for by its name, where its labels are in the answer, and how it is removed.
_KINDS = {
    "container": ("/containers/{}/json", ("Config", "Labels"), "rm -f"),
    "network": ("/networks/{}", ("Labels",), "network rm"),
}
_WORKSPACE = "/workspace"
#: Where Docker Desktop shows this machine's directories to its own.
_SHARED = "/host_mnt"


def check_leftovers(machine: Machine) -> Iterator[Finding]:
    """Say what is on the engine of jobs that are not known any more, or are finished."""
    if machine.engine is None:
        return
    stored = {_get_uid(job): job for job in StatusDir(machine.settings.status_path).read_jobs() if job.job}
    owners = machine.engine.find_owners(machine.settings.store_id)
    found = [f for owner in sorted(owners, key=_get_order) for f in _judge_owner(machine, owner, stored.get(owner.uid))]
    found += _judge_strangers(machine)
    yield from found or [ok("nothing is left on the engine of jobs that are gone")]


def _judge_owner(machine: Machine, owner: Owner, stored: StoredJob | None) -> Iterator[Finding]:
    name = f"{owner.namespace}/{owner.name}"
    by_hand = _describe_removal(machine, f"{labels.OWNER_UID}={owner.uid}")
    if stored is None:
        message = f"containers or networks of {name}, which is not known here any more, are left"
        yield warn(message, f"start the operator, which removes them{by_hand}")
    elif machine.settings.auto_remove and is_finished((stored.job or {}).get("status") or {}):
        remedy = f"start the operator without --no-auto-remove, which removes them; or delete the job{by_hand}"
        yield warn(f"containers or networks of {name}, which is finished, are left", remedy)


def _describe_removal(machine: Machine, label: str) -> str:
    return "" if machine.runtime == "process" else f"; by hand: {_build_removal(machine.runtime, label)}"


def _build_removal(engine: str, label: str) -> str:
    chosen = f"--filter label={label}"
    return f"`{engine} rm -f $({engine} ps -aq {chosen}); {engine} network rm $({engine} network ls -q {chosen})`"


def _judge_strangers(machine: Machine) -> Iterator[Finding]:
    """Judge what other directories' jobs have: their containers tell by their mounts where those are, or were."""
    if not machine.runs_containers_here:
        return  # another machine's directories are not to be seen from here
    workspaces: dict[str, str] = {}
    for row in machine.ask("/containers/json", label=labels.STORE) or ():
        store = row["Labels"][labels.STORE]
        workspaces[store] = workspaces.get(store) or _find_workspaces(machine, row["Id"])
    for row in machine.ask("/networks", label=labels.STORE) or ():
        workspaces.setdefault(row["Labels"][labels.STORE], "")
    for store, directory in sorted(workspaces.items()):
        if store != machine.settings.store_id and (not directory or _is_gone(machine.path(directory))):
            yield _describe_strangers(machine, store, directory)


def _find_workspaces(machine: Machine, container: str) -> str:
    """Return the directory that a container's workspace is in, with those of all namespaces; empty without one."""
    mounts = find(machine.ask(f"/containers/{container}/json"), "Mounts") or ()
    sources = (str(each.get("Source")) for each in mounts if each.get("Destination") == _WORKSPACE)
    return next((source.removeprefix(_SHARED).rsplit("/", 2)[0] for source in sources), "")


def _is_gone(directory: Path) -> bool:
    """Tell whether it is known that there is none; what may not be looked at is not gone."""
    try:
        directory.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _describe_strangers(machine: Machine, store: str, directory: str) -> Finding:
    removal = _build_removal(machine.runtime, f"{labels.STORE}={store}")
    if directory:
        return warn(f"containers or networks of jobs of {directory}, which is gone, are left", removal)
    message = f"containers or networks of jobs of another directory (store {store}) have no workspace"
    return warn(message, f"if that directory is gone: {removal}")


def check_conflicts(machine: Machine) -> Iterator[Finding]:
    """Say which names that the directory's jobs need on the engine are somebody else's."""
    if not machine.is_askable:
        return
    is_clear = True
    for key in sorted(_list_manifests(machine.settings)):
        for kind, name in _list_names(machine.settings, key):
            found = _find_labels(machine, kind, name)
            if found is not None and found.get(labels.STORE) != machine.settings.store_id:
                is_clear = False
                remove = f"{machine.runtime} {_KINDS[kind][2]} {name}"
                message = f"the {kind} {name} that {key} needs exists and belongs to {describe_holder(found)}"
                yield fail(message, f"remove it (`{remove}`) or rename the job")
    if is_clear:
        yield ok("no name that the directory's jobs need is taken")


def _find_labels(machine: Machine, kind: str, name: str) -> Mapping[str, Any] | None:
    path, place, _ = _KINDS[kind]
    body = machine.ask(path.format(name))
    return None if body is None else find(body, *place) or {}


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
