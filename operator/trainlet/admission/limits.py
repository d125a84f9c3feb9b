"""How much of what is wrong with one document is said; a file of rubbish has a hundred thousand errors."""

from collections.abc import Iterable
from itertools import islice

from trainlet.kube.errors import FieldError

MOST_ERRORS = 100  # listed by one stage
MOST_COUNTED = 1000  # looked for: finding an error takes ten times as long as finding none


def list_first(errors: Iterable[FieldError]) -> list[FieldError]:
    """Return the first errors; the last one says how many more there are."""
    found = list(islice(errors, MOST_COUNTED))
    what = "or more errors" if len(found) == MOST_COUNTED else "more errors"
    return found[:MOST_ERRORS] + count_rest(len(found) - MOST_ERRORS, what)


def count_rest(count: int, what: str) -> list[FieldError]:
    """Return what stands at the end of a list of errors that leaves so many out."""
    return [FieldError("", "Too many", f"{count} {what} are not listed")] if count > 0 else []
