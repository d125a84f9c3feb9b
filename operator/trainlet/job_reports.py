"""What admission and passes write into a job's report, each leaving what the other said. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from trainlet.admission.admit import Admitted
from trainlet.admission.support import build_portability
from trainlet.kube.conditions import set_condition
from trainlet.kube.errors import ApiError
from trainlet.kube.merge import find, put, upsert
from trainlet.kube.meta import JSON
from trainlet.planning.report import Phase

#: What admission says, and no pass may.
_OF_ADMISSION = ("source", "warnings", "portability", "errors")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document came from: a file (absolute) and its place in it.

    `digest` is of a file that holds nothing else; as long as it is the same, the document is.
    """

    file: str
    document: int
    digest: str = field(default="", compare=False)

    def write(self) -> JSON:
        """Return it as reports have it."""
        return {"file": self.file, "document": self.document, **({"digest": self.digest} if self.digest else {})}


def read_source(told: JSON | None) -> Source | None:
    """Return what a report says of where its job came from."""
    return Source(str(told["file"]), int(told["document"]), str(told.get("digest", ""))) if told else None


def build_digest(data: bytes, namespace: str) -> str:
    """Return the digest of a file whose documents are in this namespace if they name none."""
    return f"sha256:{hashlib.sha256(namespace.encode() + bytes(1) + data).hexdigest()}"


def tell_accepted(report: JSON, source: Source, admitted: Admitted, now: datetime) -> JSON:
    """Return the report of a job that was admitted; what was told of it holds until something else is asked of it."""
    outdated = ("errors",) if admitted.portability is None else ("errors", "warnings", "portability")
    status = {k: v for k, v in (report.get("status") or {}).items() if k not in outdated}
    told = (True, "Admitted", "the manifest was admitted")
    status["conditions"] = set_condition(status.get("conditions") or [], "Accepted", *told, now)
    if status.get("phase", Phase.REJECTED) == Phase.REJECTED:
        status["phase"] = str(Phase.PENDING)
    status["source"] = source.write()
    if admitted.warnings:
        status["warnings"] = list(admitted.warnings)
    if admitted.portability is not None:
        status["portability"] = build_portability(admitted.portability)
    return {**report, "status": status}


def tell_rejected(report: JSON, source: Source, error: ApiError, errors: Sequence[JSON], now: datetime) -> JSON:
    """Return the report of a job whose file is refused; what is refused is to be read again, so it has no digest."""
    conditions = find(report, "status", "conditions") or []
    status = {
        "phase": str(Phase.REJECTED),
        **(report.get("status") or {}),
        "conditions": set_condition(conditions, "Accepted", False, error.reason, str(error), now),
        "source": replace(source, digest="").write(),
        "errors": list(errors),
    }
    return {**report, "status": status}


def merge_report(report: JSON, current: Mapping[str, Any], engine: JSON) -> JSON:
    """Return a pass's report over the one that is stored; what admission said of the file stays as it is now."""
    before = current.get("status") or {}
    told = [c for c in report["status"]["conditions"] if c["type"] != "Accepted"]
    kept = {k: before[k] for k in _OF_ADMISSION if k in before}
    conditions = upsert(before.get("conditions") or [], told, "type")
    return {**report, "status": {**report["status"], "conditions": conditions, "engine": engine, **kept}}


def tell_problem(report: JSON, reason: str, message: str, now: datetime) -> JSON:
    """Return the report of a job of which nothing can be known just now."""
    conditions = find(report, "status", "conditions") or []
    return put(report, ("status", "conditions"), set_condition(conditions, "Running", False, reason, message, now))
