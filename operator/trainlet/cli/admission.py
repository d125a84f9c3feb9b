"""Parsed files of a command line -> what admission says of each document, by the operator's rules. Writes nothing.

Documents of one call see each other, as in file_source.py: runtimes are admitted first, and of two documents
with one name the first keeps it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trainlet.admission.admit import Admitted
from trainlet.apis.trainer import TRAIN_JOB, TrainJob
from trainlet.cli.inputs import Input, read_inputs
from trainlet.cli.reading import Verdict, parse_inputs
from trainlet.kube.errors import ApiError, FieldError, UsageError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.loading import build_registry, load_directory
from trainlet.planning.jobset import build_jobset
from trainlet.registry import Registry
from trainlet.settings import Settings

IGNORED = "not a kind that trainlet knows: ignored"


def open_registry(settings: Settings, inputs: Iterable[Input] = ()) -> Registry:
    """Return a registry with all runtimes that the operator would know, except those that `inputs` define."""
    registry = build_registry(settings)
    load_directory(registry, settings, frozenset(each.path for each in inputs if each.path))
    return registry


def admit_inputs(parsed: Sequence[Verdict], registry: Registry, stored: Mapping[ObjectKey, JSON]) -> list[Verdict]:
    """Admit every document in file order, each as an update of the stored object of its name if there is one."""
    verdicts = _claim_names([_identify(verdict, registry) for verdict in parsed])
    nearer = dict(stored)
    judged: dict[int, Verdict] = {}
    for place in sorted(range(len(verdicts)), key=lambda place: _is_job(verdicts[place])):
        judged[place] = verdict = _judge(verdicts[place], registry, stored, nearer)
        if verdict.admitted:
            nearer[verdict.admitted.key] = verdict.admitted.document
    return [judged[place] for place in range(len(verdicts))]


def read_stored(path: str, registry: Registry, settings: Settings) -> dict[ObjectKey, JSON]:
    """Return the objects of a file as a cluster would have them. Raises UsageError for what it would not have."""
    stored: dict[ObjectKey, JSON] = {}
    for verdict in admit_inputs(parse_inputs(read_inputs([path], settings)), registry, {}):
        if verdict.admitted is None:
            error = verdict.errors[0]
            where = f"{path}:{error.line}:{error.column}"
            raise UsageError(f"this cannot be stored: {error}", where=where, remedy="give what was admitted")
        stored[verdict.admitted.key] = _count_as_running(verdict.admitted.document, registry, stored)
    return stored


def _count_as_running(document: JSON, registry: Registry, stored: Mapping[ObjectKey, JSON]) -> JSON:
    """Return a job as it is on a cluster while it runs; whatever else, and one that is suspended, as it is."""
    if document["kind"] != TRAIN_JOB or document["spec"].get("suspend"):
        return document
    job = TrainJob.of(document)
    key = job.spec.runtime_ref.key(job.metadata.namespace)
    jobset = build_jobset(job, stored.get(key) or registry.store.get(key) or {})
    counts = {"ready": 1, "active": 1, "succeeded": 0, "failed": 0, "suspended": 0}
    jobs = [{"name": job["name"], **counts} for job in find(jobset, "spec", "replicatedJobs") or []]
    return {**document, "status": {"jobsStatus": jobs}}


def _identify(verdict: Verdict, registry: Registry) -> Verdict:
    if verdict.errors:
        return verdict
    if registry.is_foreign(verdict.value):
        return _ignore(verdict)
    try:
        return replace(verdict, key=registry.identify(verdict.value))
    except ApiError as error:
        return verdict.refuse(error.list_causes())


def _ignore(verdict: Verdict) -> Verdict:
    """Accept what the operator passes over, as a directory may hold manifests for others too."""
    metadata = get_metadata(verdict.value)
    words = (verdict.value["kind"], metadata.get("namespace") or "", metadata.get("name") or "")
    return replace(verdict, admitted=Admitted(ObjectKey(*map(str, words)), verdict.value, (IGNORED,)))


def _claim_names(verdicts: Sequence[Verdict]) -> list[Verdict]:
    owners: dict[ObjectKey, Verdict] = {}
    claimed = []
    for verdict in verdicts:
        owner = owners.setdefault(verdict.key, verdict) if verdict.key and verdict.key.name else verdict
        claimed.append(verdict if owner is verdict else _refuse_name(verdict, owner))
    return claimed


def _refuse_name(verdict: Verdict, owner: Verdict) -> Verdict:
    name = get_metadata(verdict.value).get("name")
    detail = f"{owner.key} is already defined in {owner.input.name}, line {owner.line}: rename one of them"
    return verdict.refuse([FieldError("metadata.name", "Duplicate value", detail, name, stage="parse")])


def _is_job(verdict: Verdict) -> bool:
    return verdict.key is not None and verdict.key.kind == TRAIN_JOB


def _judge(
    verdict: Verdict, registry: Registry, stored: Mapping[ObjectKey, JSON], nearer: Mapping[ObjectKey, JSON]
) -> Verdict:
    if verdict.errors or verdict.key is None:
        return verdict
    try:
        return replace(verdict, admitted=registry.judge(verdict.value, stored.get(verdict.key), nearer))
    except ApiError as error:
        return verdict.refuse(error.list_causes(), error.remedy)
