"""What a command line names: KIND NAME..., KIND/NAME... or, where only jobs are meant, NAME."""

from collections.abc import Sequence

from trainlet.cli.resources import KINDS, TRAIN_JOBS, Kind
from trainlet.kube.errors import ApiError, UsageError
from trainlet.settings import Settings


def parse_target(words: Sequence[str]) -> tuple[Kind, list[str]]:
    """Return the kind and the names of `KIND [NAME...]` or `KIND/NAME...`. Raises UsageError."""
    if "/" not in words[0]:
        if any("/" in word for word in words[1:]):
            raise UsageError("KIND NAME and KIND/NAME are mixed", remedy="write one or the other")
        return find_kind(words[0]), list(words[1:])
    pairs = [word.partition("/") for word in words]
    kinds = {find_kind(kind) for kind, _, _ in pairs}
    names = [name for _, _, name in pairs]
    if len(kinds) > 1 or not all(names):
        raise UsageError("each word must be KIND/NAME of one kind", where=" ".join(words), remedy="call it once a kind")
    return kinds.pop(), names


def parse_job_name(word: str) -> str:
    """Return the name of `NAME` or `tj/NAME`. Raises UsageError."""
    kind, slash, name = word.rpartition("/")
    if slash and find_kind(kind) is not TRAIN_JOBS:
        raise UsageError(f"{word!r} is not a TrainJob", remedy="give a TrainJob's name")
    return name


def find_kind(word: str) -> Kind:
    """Return the kind of this name, short name or full name. Raises UsageError."""
    for kind in KINDS:
        if word.lower() in kind.words:
            return kind
    known = ", ".join(f"{kind.plural} ({kind.short})" for kind in KINDS)
    raise UsageError(f"there is no kind {word!r}", remedy=f"use one of {known}")


def build_not_found(kind: Kind, names: Sequence[str], namespace: str | None, settings: Settings) -> ApiError:
    """Return the error for objects that are not there."""
    quoted = ", ".join(f'"{name}"' for name in names)
    return ApiError(
        f"{kind.full_plural} {quoted} not found",
        code=404,
        reason="NotFound",
        where=f"namespace {namespace}, as {settings.status_path} says" if kind.is_namespaced else "",
        remedy=f"trainlet get {kind.short}{' -A' if kind.is_namespaced else ''} shows what there is",
    )
