"""`trainlet demo`: a training run from nothing, shown live on a terminal and line by line in a pipe."""

import argparse
import logging
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from trainlet.cli.demo_view import View, open_view
from trainlet.cli.explain import COMPLETE, FAILED, describe_root_cause, explain_state, get_end, is_rejected
from trainlet.cli.options import add_operator_options, build_converter, read_settings
from trainlet.cli.resources import Resource, read_job
from trainlet.demo.progress import Progress, build_progress
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine
from trainlet.kube.errors import UsageError
from trainlet.kube.meta import get_metadata
from trainlet.logs.lines import KeptLogs
from trainlet.logs.reader import LogReader
from trainlet.settings import Settings, get_surroundings

#: That of the demo's manifest.
NAMESPACE = "default"

_MOST_NODES = 16
_LAST_LINES = 10
_LOG_FILE = "operator.log"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        "--nodes", type=build_converter(_parse_nodes), default=2, metavar="N", help="how many nodes (default: 2)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the directory; one given with --dir is always kept")
    add_operator_options(parser, ("container_runtime", "container_host", "network_pool"))


def _parse_nodes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_NODES:
        raise ValueError(f"{text!r} is not a number from 1 to {_MOST_NODES}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Train, show it, and tell what came of it."""
    given = getattr(args, "dir", None)
    directory, is_kept = _make_directory(given), args.keep or given is not None
    # So that a demo that is told to end also clears up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        watcher = _train(read_settings(args), directory, args.nodes)
        is_kept = is_kept or not watcher.is_good
        return _tell(watcher, directory, is_kept=is_kept)
    finally:
        if not is_kept:
            shutil.rmtree(directory, ignore_errors=True)


def _make_directory(given: Path | None) -> Path:
    """Make the directory to work in. Raises UsageError for one that holds files: the operator would act on them."""
    if given is None:
        return Path(tempfile.mkdtemp(prefix="trainlet-demo-")).resolve()
    directory = given.expanduser().resolve()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not any(directory.iterdir()):
            return directory
        problem = "the directory is not empty"
    except OSError as error:
        problem = f"cannot use the directory: {error.strerror}"
    raise UsageError(problem, where=str(directory), remedy="give one that is empty, or not there yet")


def _train(given: Settings, directory: Path, nodes: int) -> "Watcher":
    # Loading an operator takes half a second, which `--help` need not wait for.
    from trainlet.demo.run import build_demo_settings, build_manifest, open_stage, run_demo

    settings = build_demo_settings(given, directory)
    with _logging_to(directory / _LOG_FILE):
        stage = open_stage(given, get_surroundings(), _say)
        with closing(stage.engine):
            _say(f"training on {nodes} nodes, {stage.engine.name} at {stage.engine.endpoint}")
            # A name of its own: another demo, or a job of the user's, may be on the same engine.
            watcher = Watcher(settings, stage.engine, f"digits-{secrets.token_hex(2)}", open_view())
            run_demo(stage.engine, settings, build_manifest(stage, watcher.name, nodes), watcher.look)
    return watcher


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Write the operator's log into a file, where it does not disturb the table."""
    logger, handler = logging.getLogger("trainlet"), logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


class Watcher:
    """Looks at the job as any reader does, at its status document and its logs, and shows it."""

    def __init__(self, settings: Settings, engine: Engine, name: str, view: View) -> None:
        self._settings, self._engine, self.name, self._view = settings, engine, name, view
        self.job: Resource | None = None
        self.lines: Mapping[str, Sequence[str]] = {}
        self.progress = Progress()

    @property
    def is_good(self) -> bool:
        """Whether the job is complete, with a model that was measured."""
        return self.job is not None and get_end(self.job) == COMPLETE and self.progress.accuracy is not None

    def look(self) -> bool:
        """Show how it is now, and tell whether it has come to an end."""
        job = read_job(self._settings, NAMESPACE, self.name)
        if job is None:
            return False
        nodes = job.report.get("nodes") or []
        self.job, self.lines = job, self._read_lines(job, [node["name"] for node in nodes])
        self.progress = build_progress(nodes, self.lines)
        self._view.show(self.progress)
        return bool(get_end(job)) or is_rejected(job)

    def _read_lines(self, job: Resource, steps: Sequence[str]) -> dict[str, list[str]]:
        uid = str(get_metadata(job.wire).get("uid", ""))
        kept = KeptLogs(StatusDir(self._settings.status_path), NAMESPACE, self.name)
        reader = LogReader(self._engine, uid, kept, tail=None, since=None)
        lines: dict[str, list[str]] = {step: [] for step in steps}
        for step, line in reader.read_present(steps):
            lines[step].append(line.text)
        return lines


def _tell(watcher: Watcher, directory: Path, *, is_kept: bool) -> int:
    """Tell what came of it and where it is; return the exit status."""
    if watcher.is_good:
        print(f"\ntest accuracy {watcher.progress.accuracy} %\n")
    else:
        sys.stdout.flush()
        print("\n".join(_explain(watcher)), file=sys.stderr)
    document = StatusDir(directory / "status").job_path(NAMESPACE, watcher.name)
    if document.exists():
        print(document.read_text(encoding="utf-8"))
    print("\n".join(_describe_files(directory, watcher.name, is_kept=is_kept)), flush=True)
    return 0 if watcher.is_good else 1


def _explain(watcher: Watcher) -> list[str]:
    """Return why it failed, and the last lines of the node that failed first."""
    job = watcher.job
    if job is None:
        return [f"error: the operator has not taken up the job: see {_LOG_FILE}"]
    verdict = "the job failed" if get_end(job) == FAILED else "the job did not come to its end"
    cause = job.report.get("rootCause") or {}
    lines = watcher.lines.get(cause.get("node", ""), ())[-_LAST_LINES:]
    end = "its log ends with" if lines else f"see {_LOG_FILE}"
    return [
        f"error: {verdict} ({describe_root_cause(job) or explain_state(job)}): {end}",
        *(f"  {one}" for one in lines),
    ]


def _describe_files(directory: Path, name: str, *, is_kept: bool) -> Iterator[str]:
    where = f"--dir {shlex.quote(str(directory))}"
    if is_kept:
        yield f"{directory} holds the TrainJob, its status, events and logs, the model and {_LOG_FILE}; look at it with"
    else:
        name, where = "NAME", "--dir DIR"
        yield "The files are removed now. With `trainlet demo --dir DIR` they stay, and can be looked at with"
    yield f"  trainlet get trainjobs {where}"
    yield f"  trainlet describe trainjob {name} {where}"
    yield f"  trainlet logs {name} {where}"
