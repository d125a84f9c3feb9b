"""What this version cannot do with a job, said at admission: never run half of what was asked.

The tables of portability say what becomes of each field. What training would miss is refused; what is done in another
way or not at all is warned of; all of it is the job's portability report.
"""

from collections.abc import Iterator, Sequence

from trainlet.admission.portability import Finding, Stance, Subject, walk
from trainlet.admission.portability_jobset import JOBSET_TEMPLATE, RUNTIME, TRAIN_JOB
from trainlet.apis.trainer import TrainJob
from trainlet.kube.errors import FieldError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, get_metadata

#: Policies that tell nodes of each other only where the job has a trainer.
_TELLING = frozenset({"torch", "jax", "xgboost"})
_WORDS = {Stance.EMULATED: "is emulated", Stance.NO_EFFECT: "has no effect"}
_MARKS = ("labels", "annotations")
_POD = ("template", "spec", "template", "spec")


def find_portability(document: JSON, job: TrainJob, runtime: JSON, jobset: JSON) -> tuple[Finding, ...]:
    """Return what becomes of each field of a job, its runtime and the JobSet that is built of both.

    `job` is the view of `document`. Paths are the job's or the runtime's, as no field is in both.
    """
    subject = Subject(job, runtime)
    own = {"metadata": _pick_marks(document), "spec": document.get("spec")}
    around = {key: value for key, value in (runtime.get("spec") or {}).items() if key != "template"}
    template = {"metadata": _pick_marks(jobset), "spec": jobset.get("spec")}
    return (
        *walk(own, TRAIN_JOB, "", subject),
        *walk(around, RUNTIME, "spec", subject),
        *walk(template, JOBSET_TEMPLATE, "spec.template", subject),
        *_find_empty(jobset),
    )


def find_unsupported(findings: Sequence[Finding]) -> list[FieldError]:
    """Return one error for everything the nodes would run without."""
    return [
        FieldError(f.path, "Forbidden", f"not supported by this version of trainlet: {f.text}", stage="webhook")
        for f in findings
        if f.stance is Stance.REFUSED
    ]


def find_unset(job: TrainJob, runtime: JSON) -> list[str]:
    """Return a warning if upstream tells the nodes nothing of each other, because the job has no trainer."""
    policy = find(runtime, "spec", "mlPolicy") or {}
    if job.spec.trainer is not None or int(policy.get("numNodes") or 1) < 2 or not _TELLING & policy.keys():
        return []
    return ["spec.trainer is not given, so the nodes are not told of each other: `trainer: {}` is enough"]


def build_warnings(findings: Sequence[Finding]) -> list[str]:
    """Return a warning for each field that is not honoured."""
    return [f"{f.path} {_WORDS[f.stance]}: {f.text}" for f in findings if f.stance in _WORDS]


def build_portability(findings: Sequence[Finding]) -> JSON:
    """Return the findings as a report has them."""
    honoured = [finding.path for finding in findings if finding.stance is Stance.HONOURED]
    told = {str(stance): _build_entries(findings, stance) for stance in _WORDS}
    return {str(Stance.HONOURED): honoured, **told}


def _build_entries(findings: Sequence[Finding], stance: Stance) -> list[JSON]:
    return [{"path": f.path, "message": f.text} for f in findings if f.stance is stance]


def _pick_marks(document: JSON) -> JSON:
    """Return what a person says in metadata: names and owners are the server's or the controller's."""
    return {key: value for key, value in get_metadata(document).items() if key in _MARKS}


def _find_empty(jobset: JSON) -> Iterator[Finding]:
    """Find pods without any container, which is not a field that is set."""
    for index, rjob in enumerate(find(jobset, "spec", "replicatedJobs") or []):
        if not find(rjob, *_POD, "containers"):
            path = f"spec.template.spec.replicatedJobs[{index}].{'.'.join(_POD)}.containers"
            remedy = "a replicated job that only a patch names has none; name one of the runtime"
            yield Finding(path, Stance.REFUSED, remedy)
