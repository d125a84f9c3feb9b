"""Verdicts of admission -> lines for people, and the list that `validate -o json` promises."""

from collections.abc import Iterator, Sequence

from trainlet.cli.admission import Verdict
from trainlet.documents.locate import write_errors
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON, get_metadata

#: A longer line is cut around the caret: one-line JSON has only one.
_LONGEST_LINE = 160


def write_verdict(verdict: Verdict) -> JSON:
    """Return the machine's form of a verdict."""
    metadata = get_metadata(verdict.value)
    return {
        "file": verdict.input.name,
        "document": verdict.document.index if verdict.document else 0,
        "line": verdict.line,
        "apiVersion": str(verdict.value.get("apiVersion") or ""),
        "kind": str(verdict.value.get("kind") or ""),
        "namespace": verdict.key.namespace if verdict.key else str(metadata.get("namespace") or ""),
        "name": verdict.key.name if verdict.key else str(metadata.get("name") or ""),
        "accepted": verdict.admitted is not None,
        "errors": write_errors(verdict.errors),
        "warnings": list(verdict.admitted.warnings) if verdict.admitted else [],
    }


def render_verdict(verdict: Verdict) -> list[str]:
    """Return one line for what is accepted, with its warnings; for what is refused each error under its place."""
    if verdict.admitted is None:
        return [line for error in verdict.errors for line in _render_error(verdict, error)]
    name = verdict.input.name
    warnings = [f"{name}:{verdict.line}:1: warning: {warning}" for warning in verdict.admitted.warnings]
    return [f"{name}: {verdict.admitted.key} accepted", *warnings]


def render_refusals(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the lines about what is refused, and nothing about the rest."""
    return [line for verdict in verdicts if verdict.admitted is None for line in render_verdict(verdict)]


def _render_error(verdict: Verdict, error: FieldError) -> Iterator[str]:
    line, column = error.line or 1, error.column or 1
    yield f"{verdict.input.name}:{line}:{column}: {error}"
    text = verdict.input.get_line(line)
    if text.strip():
        start = max(0, column - _LONGEST_LINE // 2)
        yield f"    {text[start : start + _LONGEST_LINE]}"
        # Tabs are kept, so that the caret stands below its column however wide a tab is shown.
        yield "    " + "".join(c if c == "\t" else " " for c in text[start : column - 1]) + "^"
