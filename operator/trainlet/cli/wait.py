"""`trainlet wait NAME --for=condition=Complete`: returns when it is so, or as soon as it can no longer become so."""

import argparse
import time
from dataclasses import dataclass

from trainlet.cli.explain import (
    COMPLETE,
    describe_errors,
    describe_root_cause,
    describe_state,
    explain_state,
    get_conditions,
    get_end,
    is_rejected,
)
from trainlet.cli.manifests import find_manifest
from trainlet.cli.options import build_converter, read_settings
from trainlet.cli.resources import TRAIN_JOBS, Resource, read_job
from trainlet.cli.targets import build_not_found, parse_job_name
from trainlet.cli.watch import wait_until
from trainlet.kube.errors import ApiError
from trainlet.settings import Settings, parse_duration


@dataclass(frozen=True)
class Goal:
    """What is awaited: a condition with a status, or with an empty type that the job is gone."""

    type: str = ""
    status: str = "True"

    def __str__(self) -> str:
        if not self.type:
            return "delete"
        return self.type if self.status == "True" else f"{self.type}={self.status}"

    def is_met(self, job: Resource | None) -> bool:
        """Tell whether it is so; names are compared without regard to case, as kubectl does."""
        if not self.type or job is None:
            return not self.type and job is None
        found = [c for c in get_conditions(job) if str(c.get("type", "")).lower() == self.type.lower()]
        return any(str(condition.get("status", "")).lower() == self.status.lower() for condition in found)


def parse_goal(text: str) -> Goal:
    """Return the goal of `--for`. Raises argparse.ArgumentTypeError."""
    match text.split("="):
        case ["delete"]:
            return Goal()
        case ["condition", type] if type:
            return Goal(type)
        case ["condition", type, status] if type and status:
            return Goal(type, status)
    raise argparse.ArgumentTypeError(f"{text!r} is neither condition=TYPE[=STATUS] nor delete")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a TrainJob's name")
    parser.add_argument(
        "--for",
        dest="goal",
        type=parse_goal,
        default=Goal(COMPLETE),
        metavar="GOAL",
        help="condition=Complete (the default), condition=TYPE=STATUS or delete",
    )
    parser.add_argument(
        "--timeout",
        type=build_converter(parse_duration),
        default=30.0,
        metavar="DURATION",
        help="how long (default 30s); 0: look once",
    )


def run(args: argparse.Namespace) -> int:
    """Wait for each of the named jobs, all within one timeout."""
    settings = read_settings(args)
    deadline = time.monotonic() + args.timeout
    for name in map(parse_job_name, args.names):
        left = max(0.0, deadline - time.monotonic())
        if not wait_until(_Check(settings, name, args.goal), left):
            raise _build_timeout(settings, name, args.goal, args.timeout)
        print(f"{TRAIN_JOBS.full_singular}/{name} condition met", flush=True)
    return 0


class _Check:
    """Looks at one job again and again."""

    def __init__(self, settings: Settings, name: str, goal: Goal) -> None:
        self._settings, self._name, self._goal = settings, name, goal
        self._is_expected = False

    def __call__(self) -> bool:
        """Tell whether the goal is met. Raises ApiError when it never will be."""
        job = read_job(self._settings, self._settings.namespace, self._name)
        if self._goal.is_met(job):
            return True
        if job is None:
            self._expect()
        elif self._goal.type:
            _refuse_if_hopeless(job, self._goal)
        return False

    def _expect(self) -> None:
        """Be content with a job the operator has not seen yet, but not with one that nobody asked for."""
        namespace = self._settings.namespace
        if not self._is_expected and find_manifest(self._settings, TRAIN_JOBS, namespace, self._name) is None:
            raise build_not_found(TRAIN_JOBS, [self._name], namespace, self._settings)
        self._is_expected = True


def _refuse_if_hopeless(job: Resource, goal: Goal) -> None:
    name = f"{job.namespace}/{job.name}"
    if job.wire.get("kind") != TRAIN_JOBS.kind and is_rejected(job):
        errors = describe_errors(job) or [str(explain_state(job))]
        raise _build_refusal(f"trainjob {name} was rejected: {'; '.join(errors)}", f"describe tj {job.name}")
    ended = get_end(job)
    if not ended:
        return
    why = describe_root_cause(job) or str(explain_state(job))
    if ended == COMPLETE:
        raise _build_refusal(f"trainjob {name} is complete and will never be {goal}", f"get tj {job.name} -o wide")
    raise _build_refusal(f"trainjob {name} failed: {why}", f"describe tj {job.name}")


def _build_refusal(what: str, verb: str) -> ApiError:
    return ApiError(what, code=409, reason="Conflict", remedy=f"see trainlet {verb}")


def _build_timeout(settings: Settings, name: str, goal: Goal, timeout_seconds: float) -> ApiError:
    job = read_job(settings, settings.namespace, name)
    state = f"it is {describe_state(job)}" if job else "the operator has not taken it up"
    return ApiError(
        f"timed out after {timeout_seconds:g}s waiting for {goal} of trainjob {settings.namespace}/{name}",
        code=504,
        reason="Timeout",
        where=state,
        remedy="give a longer --timeout",
    )
