"""`trainlet kubeconfig`: how kubectl reaches this directory's operator, printed or put into the user's own file."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainlet.cli.options import read_settings
from trainlet.kube.errors import TrainletError, UsageError
from trainlet.kube.merge import upsert
from trainlet.kube.meta import JSON
from trainlet.settings import Settings, get_environ

#: The lists of a kubeconfig; what is in one list is called by its name from another.
_LISTS = ("clusters", "users", "contexts")
_EMPTY: JSON = {"apiVersion": "v1", "kind": "Config", "preferences": {}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        "--merge", action="store_true", help="put it into $KUBECONFIG or ~/.kube/config and make it the current one"
    )
    parser.add_argument(
        "--context", metavar="NAME", default="trainlet", help="what cluster, user and context are called"
    )


def run(args: argparse.Namespace) -> int:
    """Print or merge the kubeconfig."""
    from trainlet.documents.write import dump_documents, write_atomic

    settings = read_settings(args)
    own = rename(_read_own(settings), args.context, settings.namespace)
    if not args.merge:
        print(dump_documents([own]).removeprefix("---\n"), end="")
        return 0
    path = find_user_file(get_environ(), Path.home())
    try:
        write_atomic(path, dump_documents([merge(_read(path), own)]), mode=0o600)
    except OSError as error:
        what = f"cannot write the kubeconfig: {error.strerror or error}"
        raise TrainletError(what, where=str(path), remedy="make it writable, or set KUBECONFIG") from None
    print(f'context "{args.context}" is in {path} and is the current one')
    return 0


def find_user_file(environ: Mapping[str, str], home: Path) -> Path:
    """Return the file that kubectl would write to: of several in KUBECONFIG the first one that is there, else the last.

    A link is followed: what it leads to is replaced, and not the link.
    """
    named = [Path(each) for each in environ.get("KUBECONFIG", "").split(":") if each] or [home / ".kube" / "config"]
    return next((each for each in named if each.exists()), named[-1]).resolve()


def rename(kubeconfig: JSON, name: str, namespace: str) -> JSON:
    """Return our kubeconfig with its cluster, user and context under a name."""
    [cluster], [user], [context] = (kubeconfig[each] for each in _LISTS)
    inner = {**context["context"], "cluster": name, "user": name, "namespace": namespace}
    return {
        **kubeconfig,
        "clusters": [{**cluster, "name": name}],
        "users": [{**user, "name": name}],
        "contexts": [{"name": name, "context": inner}],
        "current-context": name,
    }


def merge(theirs: JSON, ours: JSON) -> JSON:
    """Return the user's kubeconfig with our entries in the place of those of their names, and our context current."""
    merged = {name: upsert(theirs.get(name) or [], ours[name]) for name in _LISTS}
    return {**_EMPTY, **theirs, **merged, "current-context": ours["current-context"]}


def _read_own(settings: Settings) -> JSON:
    path = settings.private_path / "kubeconfig"
    if not path.exists():
        remedy = "start it with trainlet run --listen 127.0.0.1:6443, or give its directory with --dir"
        raise UsageError("no operator has served its API on a port here", where=str(settings.dir), remedy=remedy)
    return _read(path)


def _read(path: Path) -> JSON:
    """Return the kubeconfig in a file, an empty one if it is not there. Raises TrainletError."""
    import yaml

    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no YAML"
        raise TrainletError(f"cannot read the kubeconfig: {reason}", where=str(path), remedy="mend it") from None
    lists = [document.get(each) or [] for each in _LISTS] if isinstance(document, dict) else [None]
    if not all(isinstance(each, list) for each in lists):
        raise TrainletError("the file is no kubeconfig", where=str(path), remedy="mend it, or set KUBECONFIG")
    return dict(document)
