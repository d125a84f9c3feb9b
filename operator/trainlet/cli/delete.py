"""`trainlet delete KIND NAME`: takes the object's document out of the watched directory; the operator does the rest."""

import argparse
import fcntl
import shutil
from pathlib import Path

from trainlet.cli.manifests import find_manifest, get_manifest
from trainlet.cli.options import add_operator_options, build_converter, read_settings
from trainlet.cli.resources import EVENTS, PODS, TRAIN_JOBS, Kind, find_workspace, read_job
from trainlet.cli.targets import build_not_found, parse_target
from trainlet.cli.watch import wait_until
from trainlet.documents.edit import remove_document, rewrite_file
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import ApiError, TrainletError, UsageError
from trainlet.settings import Settings, parse_duration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        "target", nargs="+", metavar="KIND NAME", help="tj, tr, ctr, cm, secret or pvc, and names; or KIND/NAME"
    )
    parser.add_argument("--wait", action="store_true", help="wait until the operator has removed all of a job")
    parser.add_argument("--workspace", action="store_true", help="then remove the job's workspace directory too")
    parser.add_argument(
        "--timeout",
        type=build_converter(parse_duration),
        default=60.0,
        metavar="DURATION",
        help="how long (default 60s)",
    )
    add_operator_options(parser, ("workspace_dir",))


def run(args: argparse.Namespace) -> int:
    """Delete the named objects. Nothing is removed if one of them is not there."""
    settings = read_settings(args)
    kind, names = parse_target(args.target)
    is_waiting = args.wait or args.workspace
    _check_call(kind, names, is_waiting=is_waiting)
    for name in names:
        _check_deletable(settings, kind, name, is_waiting=is_waiting)
    if is_waiting and any(_is_known(settings, name) for name in names):
        _check_operator(settings)
    for name in names:
        workspace = _find_workspace(settings, name)  # before the job is gone, and what it tells with it
        _remove_manifest(settings, kind, name)
        if is_waiting:
            _wait_until_gone(settings, name, args.timeout)
        if args.workspace:
            _remove_workspace(workspace)
    return 0


def _check_call(kind: Kind, names: list[str], *, is_waiting: bool) -> None:
    if kind in (PODS, EVENTS):
        raise UsageError(f"{kind.plural} have no manifest", remedy="delete the TrainJob they belong to")
    if not names:
        raise UsageError("which one is not said", where="trainlet delete", remedy=f"write {kind.short} NAME")
    if is_waiting and kind is not TRAIN_JOBS:
        raise UsageError("--wait and --workspace are for TrainJobs", remedy="leave them out")


def _is_known(settings: Settings, name: str) -> bool:
    job = read_job(settings, settings.namespace, name)
    return job is not None or find_manifest(settings, TRAIN_JOBS, settings.namespace, name) is not None


def _check_deletable(settings: Settings, kind: Kind, name: str, *, is_waiting: bool) -> None:
    """Refuse a name without a manifest, unless there is still something of it to wait for or to remove."""
    if find_manifest(settings, kind, settings.namespace, name) is not None:
        return
    is_left = is_waiting and _find_workspace(settings, name).is_dir()
    if kind is TRAIN_JOBS and (is_left or (is_waiting and read_job(settings, settings.namespace, name))):
        return
    if kind is not TRAIN_JOBS or read_job(settings, settings.namespace, name):
        get_manifest(settings, kind, settings.namespace, name)
    raise build_not_found(kind, [name], settings.namespace, settings)


def _check_operator(settings: Settings) -> None:
    if not is_operator_running(settings.status_path):
        raise ApiError(
            "nothing was removed, because no operator is running to remove the job's containers first",
            code=409,
            reason="Conflict",
            where=str(settings.status_path),
            remedy="start trainlet run, or leave out --wait and --workspace",
        )


def is_operator_running(status_path: Path) -> bool:
    """Tell whether an operator holds this status directory."""
    try:
        with (status_path / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _remove_manifest(settings: Settings, kind: Kind, name: str) -> None:
    manifest = find_manifest(settings, kind, settings.namespace, name)
    if manifest is None:
        return
    if manifest.is_alone:
        manifest.path.unlink()
    else:
        rewrite_file(manifest.path, lambda text: remove_document(text, manifest.index))
    print(f'{kind.full_singular} "{name}" deleted', flush=True)


def _wait_until_gone(settings: Settings, name: str, timeout_seconds: float) -> None:
    path = StatusDir(settings.status_path).job_path(settings.namespace, name)
    if not wait_until(lambda: not path.exists(), timeout_seconds):
        raise ApiError(
            f"trainjob {settings.namespace}/{name} is not gone after {timeout_seconds:g}s",
            code=504,
            reason="Timeout",
            where=str(path),
            remedy="its containers may still be stopping: call it again with a longer --timeout",
        )


def _find_workspace(settings: Settings, name: str) -> Path:
    return find_workspace(read_job(settings, settings.namespace, name), settings, settings.namespace, name)


def _remove_workspace(path: Path) -> None:
    if not path.is_dir():
        return
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise TrainletError(
            f"cannot remove the workspace: {error.strerror}",
            where=str(error.filename or path),
            remedy="its files may belong to the user of the container: remove it as that user",
        ) from None
    print(f"workspace {path} removed")
