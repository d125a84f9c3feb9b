"""A stored job -> where it stands and why, in words for people: what `get`, `describe` and `wait` say alike."""

from dataclasses import dataclass

from trainlet.cli.resources import Resource
from trainlet.kube.conditions import find_condition, is_true
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, get_metadata

REJECTED = "Rejected"
COMPLETE, FAILED, UNKNOWN = "Complete", "Failed", "Unknown"
#: Why an operator cannot tell how a job is (controller/reconciler.py).
_CANNOT_ASK = frozenset({"EngineUnavailable", "EngineRefused"})


@dataclass(frozen=True)
class Explanation:
    """Why something is as it is."""

    reason: str = ""
    message: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.reason and self.message else self.reason or self.message


def get_conditions(job: Resource) -> list[JSON]:
    """Return the TrainJob's conditions, then those that only the report has."""
    upstream = find(job.wire, "status", "conditions") or [] if job.wire.get("kind") == "TrainJob" else []
    return [*upstream, *(job.report.get("conditions") or [])]


def get_phase(job: Resource) -> str:
    """Return where the job stands, in one word."""
    if get_metadata(job.wire).get("deletionTimestamp"):
        return "Terminating"
    if is_unknown(job):
        return UNKNOWN
    return str(job.report.get("phase") or UNKNOWN)


def is_unknown(job: Resource) -> bool:
    """Tell whether its engine cannot be asked how a job is that had not ended; what is written is how it was before."""
    condition = find_condition(get_conditions(job), "Running") or {}
    return condition.get("reason") in _CANNOT_ASK and not get_end(job)


def get_end(job: Resource) -> str:
    """Return the condition that the job ended with, or an empty text."""
    conditions = get_conditions(job)
    return next((end for end in (FAILED, COMPLETE) if is_true(conditions, end)), "")


def is_rejected(job: Resource) -> bool:
    """Tell whether the file as it is now was refused; an earlier version of the job may still run."""
    condition = find_condition(get_conditions(job), "Accepted")
    return condition is not None and condition.get("status") == "False"


def explain_state(job: Resource) -> Explanation:
    """Return the most telling of: a refused file, an engine that is away, the root cause, a waiting node, the end."""
    conditions = get_conditions(job)
    if is_rejected(job):
        return _read(find_condition(conditions, "Accepted"))
    if is_unknown(job):
        return _read(find_condition(conditions, "Running"))
    if job.report.get("rootCause"):
        return Explanation(str(job.report["rootCause"].get("reason", "")), describe_root_cause(job))
    waiting = [part for part in list_parts(job) if part.get("state") == "waiting" and part.get("reason")]
    if waiting:
        return Explanation(waiting[0]["reason"], f"{waiting[0]['step']}: {waiting[0].get('message') or 'waiting'}")
    ended = get_end(job)
    return _read(find_condition(conditions, ended or "Suspended") or find_condition(conditions, "Running"))


def list_parts(job: Resource) -> list[JSON]:
    """Return the containers that the job's nodes are, each with its `step`; most nodes are one."""
    nodes = job.report.get("nodes") or []
    return [part for node in nodes for part in node.get("containers") or [{**node, "step": node.get("name", "")}]]


def describe_state(job: Resource) -> str:
    """Return the job's phase and, if there is more to say, why."""
    why = str(explain_state(job))
    return f"{get_phase(job)}; {why}" if why else get_phase(job)


def describe_root_cause(job: Resource) -> str:
    """Return which node failed first and how, or an empty text."""
    cause = job.report.get("rootCause")
    if not cause:
        return ""
    message = f": {cause['message']}" if cause.get("message") else ""
    where = f"{cause.get('node')}.{cause['container']}" if cause.get("container") else cause.get("node")
    return f"{where} ended with exit code {cause.get('exitCode')} ({cause.get('reason')}){message}"


def describe_errors(job: Resource) -> list[str]:
    """Return what is wrong with the job's file, one line an error, each with its place."""
    source = str(find(job.report, "source", "file") or "")
    return [_describe_error(error, source) for error in job.report.get("errors") or []]


def _describe_error(error: JSON, source: str) -> str:
    place = ":".join(
        str(part) for part in (error.get("file") or source, error.get("line"), error.get("column")) if part
    )
    text = ": ".join(str(error[key]) for key in ("path", "type", "detail") if error.get(key))
    return f"{place}: {text}" if place else text


def describe_file_error(entry: JSON) -> list[str]:
    """Return what is wrong with a file that yields no object, one line an error."""
    return [_describe_error(error, str(entry.get("file", ""))) for error in entry.get("errors") or []]


def _read(condition: JSON | None) -> Explanation:
    condition = condition or {}
    return Explanation(str(condition.get("reason", "")), str(condition.get("message", "")))
