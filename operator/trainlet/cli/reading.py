"""Files of a command line -> their documents, or why there are none. Loads nothing that a broken file does not need."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainlet.cli.inputs import Input
from trainlet.documents.locate import locate
from trainlet.documents.parse import Document, ParseError, parse_documents
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON, ObjectKey

if TYPE_CHECKING:
    from trainlet.admission.admit import Admitted


@dataclass(frozen=True)
class Verdict:
    """What admission says of one document, or of a file that yields none (then `document` is None).

    `key` is None for what names no object of ours; `remedy` says what can be done about all the errors.
    """

    input: Input
    document: Document | None = None
    key: ObjectKey | None = None
    admitted: "Admitted | None" = None
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

    def refuse(self, errors: Iterable[FieldError], remedy: str = "") -> "Verdict":
        """Return the verdict with these errors, located in the document."""
        assert self.document is not None
        return replace(self, errors=tuple(locate(errors, self.document)), remedy=remedy)


def parse_inputs(inputs: Sequence[Input]) -> list[Verdict]:
    """Return a verdict, not yet made, for every document, and a refusal for every file that cannot be read."""
    return [verdict for each in inputs for verdict in _parse(each)]


def _parse(source: Input) -> Iterator[Verdict]:
    if source.problem:
        error = FieldError("", "Invalid value", source.problem, stage="parse", line=1, column=1)
        yield Verdict(source, errors=(error,))
        return
    try:
        documents = parse_documents(source.data)
    except ParseError as error:
        yield Verdict(source, errors=(error.to_field_error(),))
        return
    for document in documents:
        verdict = Verdict(source, document)
        if isinstance(document.value, dict):
            yield verdict
        else:
            yield verdict.refuse([FieldError("", "Invalid value", "this document is not a mapping", stage="parse")])
