"""Many files -> their outcomes, judged by several processes: what a file says of itself takes no other's time.

Only what documents need of each other is shared: runtimes are given to every process, and where two documents
have one name nobody but a single process, which sees them both, can say which of them keeps it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainlet.cli.inputs import Input
from trainlet.kube.meta import ObjectKey

if TYPE_CHECKING:
    from trainlet.cli.reading import Verdict
    from trainlet.registry import Registry

#: Fewer files are judged sooner than processes are started.
MANY = 100
#: A process is given so many files at a time, that none is long at work when the others are done.
_CHUNK = 50
#: More runtimes than this are not worth to be judged by every process.
_FEW_RUNTIMES = 20


@dataclass(frozen=True)
class Outcome:
    """What is told of one verdict: lines for people or a machine's form. `key` is None for what has no name."""

    key: ObjectKey | None
    is_accepted: bool
    written: Any


#: What writes an outcome down; it runs where the verdict was made.
Write = Callable[["Verdict"], Outcome]


def judge_side_by_side(inputs: Sequence[Input], registry: "Registry", write: Write) -> list[Outcome] | None:
    """Return the outcomes in file order, or None where one process has to judge all."""
    from trainlet.loading import RUNTIME_MARK

    runtimes = [each for each in inputs if RUNTIME_MARK in each.data]
    if len(runtimes) > _FEW_RUNTIMES or not _may_fork():
        return None
    import multiprocessing  # few calls need it, and all would wait for it

    chunks = [inputs[start : start + _CHUNK] for start in range(0, len(inputs), _CHUNK)]
    global _work  # what a forked process is born with need not be sent to it
    _work = _Work(chunks, runtimes, registry, write)
    with multiprocessing.get_context("fork").Pool(min(len(chunks), _count_cores())) as pool:
        outcomes = [outcome for each in pool.imap(_judge_chunk, range(len(chunks))) for outcome in each]
    keys = [outcome.key for outcome in outcomes if outcome.key is not None]
    return outcomes if len(keys) == len(set(keys)) else None


@dataclass(frozen=True)
class _Work:
    chunks: Sequence[Sequence[Input]]
    runtimes: Sequence[Input]
    registry: "Registry"
    write: Write


_work: _Work


def _judge_chunk(number: int) -> list[Outcome]:
    from trainlet.cli.admission import admit_inputs
    from trainlet.cli.reading import parse_inputs

    chunk = _work.chunks[number]
    mine = {each.name for each in chunk}
    guests = [each for each in _work.runtimes if each.name not in mine]
    verdicts = admit_inputs(parse_inputs([*chunk, *guests]), _work.registry, {})
    return [_work.write(verdict) for verdict in verdicts if verdict.input.name in mine]


def _may_fork() -> bool:
    # Elsewhere a forked process may not use the system's libraries.
    return sys.platform == "linux" and _count_cores() > 1


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
