"""What becomes of the fields of a job and its runtime, beside what the plainest ones have."""

from builders import build_job, build_runtime
from trainlet.admission.portability import Finding, Stance
from trainlet.admission.support import find_portability
from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning.jobset import build_jobset

JOBSET = "spec.template.spec"
RJOB = f"{JOBSET}.replicatedJobs[0]"
BATCH_JOB = f"{RJOB}.template.spec"
POD = f"{BATCH_JOB}.template.spec"
CONTAINER = f"{POD}.containers[0]"
H, E, N, R = Stance.HONOURED, Stance.EMULATED, Stance.NO_EFFECT, Stance.REFUSED
#: What is set, and the stance of every path that is told because of it.
Row = tuple[JSON, dict[str, Stance]]


def judge(job: JSON, runtime: JSON) -> list[Finding]:
    """Return what is found of a job."""
    view = TrainJob.of(job)
    return list(find_portability(job, view, runtime, build_jobset(view, runtime)))


def tell(job: JSON, runtime: JSON) -> dict[str, Stance]:
    """Return the stances by path, but for the paths of the plainest job and runtime."""
    findings = judge(job, runtime)
    assert len({finding.path for finding in findings}) == len(findings), "a path is told once"
    plain = {finding.path for finding in judge(build_job(), build_runtime())}
    return {finding.path: finding.stance for finding in findings if finding.path not in plain}


def put_under(start: str, stances: dict[str, Stance]) -> dict[str, Stance]:
    """Return the stances with this before their paths; an empty one is the start itself."""
    return {f"{start}.{path}" if path else start: stance for path, stance in stances.items()}
