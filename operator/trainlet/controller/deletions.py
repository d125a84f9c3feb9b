"""When an object whose manifest is missing is deleted, and when it is rather kept for a while.

To delete a job ends its training, and a missing file is often an accident: an editor saves, a disk is not
mounted, a checkout goes on. Knows no files and no clock of its own.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum

from trainlet.documents.scan import Identity
from trainlet.kube.meta import ObjectKey

#: Of fewer running jobs it is usual that most go at once.
FEWEST_FOR_MASS = 10


class Hold(IntEnum):
    """Why an object is kept although its manifest is missing, the weightiest last."""

    NONE = 0
    MASS = 1
    REPLACED = 2
    ELSEWHERE = 3


_WAIT = (
    ": nothing is deleted for {grace:g} s (--deletion-grace); put the files back to keep the jobs,"
    " or wait to have them deleted"
)
_NOTICES = {
    Hold.NONE: "",
    Hold.MASS: "{count} manifests are missing all at once, those of most running jobs among them" + _WAIT,
    Hold.REPLACED: "this is another directory than before, without {count} of the manifests known" + _WAIT,
    Hold.ELSEWHERE: "another file system is mounted here than before, without {count} of the manifests known: their"
    " objects are kept; mount the former one again, or restart trainlet to have them deleted",
}


@dataclass(frozen=True)
class Absence:
    """How long a manifest must be missing to be taken for deleted; `is_fresh` if its file was written just now."""

    patience_seconds: float = 0.0
    is_fresh: bool = False


@dataclass(frozen=True)
class Verdict:
    """What to delete now, what to tell of the rest (empty for nothing), and when more may be due."""

    due: frozenset[ObjectKey] = frozenset()
    notice: str = ""
    recheck_seconds: float = math.inf


@dataclass(frozen=True)
class _Missing:
    since: float
    hold: Hold
    due: float


class DeletionGuard:
    """Remembers what is missing since when, and in which directory everything was last seen."""

    def __init__(self, grace_seconds: float, monotonic: Callable[[], float]) -> None:
        self._grace_seconds, self._monotonic = grace_seconds, monotonic
        self._homes: dict[ObjectKey, Identity] = {}
        self._missing: dict[ObjectKey, _Missing] = {}
        self._told = (Hold.NONE, 0)

    def judge(
        self,
        present: Collection[ObjectKey],
        missing: Mapping[ObjectKey, Absence],
        running: Collection[ObjectKey],
        root: Identity,
    ) -> Verdict:
        """Judge one look at the directory, which is `root`; what is due is deleted by the caller.

        `present` may leave out what was present before in the same directory.
        """
        now = self._monotonic()
        self._homes.update(dict.fromkeys(present, root))
        is_mass = len(running) >= FEWEST_FOR_MASS and 2 * len(missing.keys() & set(running)) > len(running)
        judged = {key: self._judge(key, absence, root, is_mass, now) for key, absence in missing.items()}
        due = frozenset(key for key, each in judged.items() if each.due <= now)
        self._missing = {key: each for key, each in judged.items() if key not in due}
        for key in due:
            self._homes.pop(key, None)
        earliest = min((each.due for each in self._missing.values()), default=math.inf)
        return Verdict(due, self._tell(), earliest - now)

    def _judge(self, key: ObjectKey, absence: Absence, root: Identity, is_mass: bool, now: float) -> _Missing:
        before = self._missing.get(key)
        home = self._homes.get(key, root)
        if home[0] != root[0]:
            return _Missing(now, Hold.ELSEWHERE, math.inf)
        if before is not None and before.hold in (Hold.MASS, Hold.REPLACED):
            return before  # also when the others are back or finished: it is still missing by the same accident
        goes_on = before is not None and before.hold is Hold.NONE and not absence.is_fresh
        since = before.since if before is not None and goes_on else now
        hold = Hold.REPLACED if home != root else Hold.MASS if is_mass else Hold.NONE
        return _Missing(since, hold, since + (absence.patience_seconds if hold is Hold.NONE else self._grace_seconds))

    def _tell(self) -> str:
        """Return the notice, with the most that were held: that some are back is no news."""
        hold = max((each.hold for each in self._missing.values()), default=Hold.NONE)
        count = sum(each.hold is hold for each in self._missing.values())
        if hold is not self._told[0] or count > self._told[1]:
            self._told = (hold, count)
        return _NOTICES[hold].format(count=self._told[1], grace=self._grace_seconds)
