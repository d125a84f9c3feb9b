"""Verdicts of admission -> lines for people, GitHub's annotations, and the list that `validate -o json` promises."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainlet.cli.reading import Verdict
from trainlet.documents.locate import write_errors
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON, get_metadata

#: What a file with a Secret in it holds, however it is written.
_SECRET_MARK = re.compile(rb"\bSecret\b")
#: A longer line is cut around the caret: one-line JSON has only one.
_LONGEST_LINE = 160

#: Workflow commands take these as their own signs; a property's value also ends at the second kind.
_ESCAPES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY_ESCAPES = _ESCAPES | str.maketrans({":": "%3A", ",": "%2C"})


@dataclass(frozen=True)
class Palette:
    """How the parts of a line look: numbers of SGR attributes, separated by `;`. Empty leaves the text as it is."""

    place: str = ""
    error: str = ""
    warning: str = ""
    caret: str = ""
    hint: str = ""


PLAIN = Palette()
COLORFUL = Palette(place="1", error="31", warning="33", caret="32", hint="36")


def choose_palette(wish: str, environ: Mapping[str, str], *, is_terminal: bool) -> Palette:
    """Return the palette for a wish of `auto`, `always` or `never`; `auto` heeds NO_COLOR and poor terminals."""
    is_able = is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return COLORFUL if wish == "always" or (wish == "auto" and is_able) else PLAIN


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


def render_verdict(verdict: Verdict, palette: Palette = PLAIN) -> list[str]:
    """Return one line for what is accepted, with its warnings; for what is refused each error under its place."""
    if verdict.admitted is None:
        errors = [line for error in verdict.errors for line in _render_error(verdict, error, palette)]
        return [*errors, *([f"{_paint(palette.hint, 'hint:')} {verdict.remedy}"] if verdict.remedy else [])]
    name = verdict.input.name
    place, word = _paint(palette.place, f"{name}:{verdict.line}:1:"), _paint(palette.warning, "warning:")
    warnings = [f"{place} {word} {warning}" for warning in verdict.admitted.warnings]
    return [f"{_paint(palette.place, f'{name}:')} {verdict.admitted.key} accepted", *warnings]


def render_refusals(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the lines about what is refused, and nothing about the rest."""
    return [line for verdict in verdicts if verdict.admitted is None for line in render_verdict(verdict)]


def write_annotations(verdict: Verdict) -> list[str]:
    """Return a verdict as the workflow commands by which GitHub marks lines; none if there is nothing to mark."""
    warnings = verdict.admitted.warnings if verdict.admitted else ()
    errors = [
        _write_command("error", verdict, str(error), line=error.line, col=error.column, title=error.type)
        for error in verdict.errors
    ]
    return [*errors, *(_write_command("warning", verdict, text, line=verdict.line, col=1) for text in warnings)]


def _write_command(command: str, verdict: Verdict, message: str, **properties: object) -> str:
    given = {"file": verdict.input.name, **properties}
    listed = ",".join(f"{key}={str(value or 1).translate(_PROPERTY_ESCAPES)}" for key, value in given.items())
    return f"::{command} {listed}::{message.translate(_ESCAPES)}"


def _render_error(verdict: Verdict, error: FieldError, palette: Palette) -> Iterator[str]:
    line, column = error.line or 1, error.column or 1
    # What is wrong stands out, why it is wrong is to be read.
    subject = f"{error.path}: {error.type}" if error.path else str(error)
    words = _paint(palette.error, subject) + str(error).removeprefix(subject)
    yield f"{_paint(palette.place, f'{verdict.input.name}:{line}:{column}:')} {words}"
    text = "" if _may_hold_secret(verdict) else verdict.input.get_line(line)
    if text.strip():
        start = max(0, column - _LONGEST_LINE // 2)
        yield f"    {text[start : start + _LONGEST_LINE]}"
        # Tabs are kept, so that the caret stands below its column however wide a tab is shown.
        indent = "".join(c if c == "\t" else " " for c in text[start : column - 1])
        yield f"    {indent}{_paint(palette.caret, '^')}"


def _may_hold_secret(verdict: Verdict) -> bool:
    """Tell whether a line of the document may be a part of a Secret, which is not to be shown."""
    kind = verdict.value.get("kind")
    return kind == "Secret" or (kind is None and _SECRET_MARK.search(verdict.input.data) is not None)


def _paint(attributes: str, text: str) -> str:
    return f"\x1b[{attributes}m{text}\x1b[0m" if attributes else text
