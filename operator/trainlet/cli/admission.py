"""Files of a command line -> what admission says of each document, by the operator's own rules. Writes nothing.

Documents of one call see each other, as in file_source.py: runtimes are admitted first, and of two documents
with one name the first keeps it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trainlet.admission.admit import Admitted
from trainlet.apis.trainer import TRAIN_JOB, TrainJob
from trainlet.cli.inputs import Input, read_inputs
from trainlet.documents.locate import locate
from trainlet.documents.parse import Document, ParseError, parse_documents
from trainlet.kube.errors import ApiError, FieldError, UsageError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.manager import build_registry, load_directory
from trainlet.planning.jobset import build_jobset
from trainlet.registry import Registry, describe_errors
from trainlet.settings import Settings

IGNORED = "not a kind that trainlet knows: ignored"


@dataclass(frozen=True)
class Verdict:
    """What admission says of one document, or of a file that yields none (then `document` is None).

    `key` is None for what names no object of ours; `remedy` says what can be done about all the errors.
    """

    input: Input
    document: Document | None = None
    key: ObjectKey | None = None
    admitted: Admitted | None = None
    errors: tuple[FieldError, ...] = ()
    remedy: str = ""

    @property
    def value(self) -> JSON:
        """The document as it is written; empty if it is no mapping."""
        value = self.document.value if self.document else None
        return value if isinstance(value, dict) else {}

    @property
    def line(self) -> int:
        """Where the document begins, or where the file stops to be readable."""
        return self.document.line if self.document else (self.errors[0].line or 1)


def open_registry(settings: Settings, inputs: Iterable[Input] = ()) -> Registry:
    """Return a registry with all runtimes that the operator would know, except those that `inputs` define."""
    registry = build_registry(settings)
    load_directory(registry, settings, frozenset(each.path for each in inputs if each.path))
    return registry


def admit_inputs(inputs: Sequence[Input], registry: Registry, stored: Mapping[ObjectKey, JSON]) -> list[Verdict]:
    """Admit every document in file order, each as an update of the stored object of its name if there is one."""
    verdicts = _claim_names([verdict for each in inputs for verdict in _parse(each, registry)])
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
    for verdict in admit_inputs(read_inputs([path], settings), registry, {}):
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


def _parse(source: Input, registry: Registry) -> list[Verdict]:
    if source.problem:
        return [_refuse_file(source, FieldError("", "Invalid value", source.problem, stage="parse", line=1, column=1))]
    try:
        documents = parse_documents(source.data)
    except ParseError as error:
        return [_refuse_file(source, error.to_field_error())]
    return [_identify(source, document, registry) for document in documents]


def _refuse_file(source: Input, error: FieldError) -> Verdict:
    return Verdict(source, errors=(error,))


def _identify(source: Input, document: Document, registry: Registry) -> Verdict:
    verdict = Verdict(source, document)
    if not isinstance(document.value, dict):
        return _refuse(verdict, [FieldError("", "Invalid value", "this document is not a mapping", stage="parse")])
    if registry.is_foreign(document.value):
        return _ignore(verdict)
    try:
        return replace(verdict, key=registry.identify(document.value))
    except ApiError as error:
        return _refuse(verdict, describe_errors(error))


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
    return _refuse(verdict, [FieldError("metadata.name", "Duplicate value", detail, name, stage="parse")])


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
        return _refuse(verdict, describe_errors(error), error.remedy)


def _refuse(verdict: Verdict, errors: Iterable[FieldError], remedy: str = "") -> Verdict:
    assert verdict.document is not None
    return replace(verdict, errors=tuple(locate(errors, verdict.document)), remedy=remedy)
