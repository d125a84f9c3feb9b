"""What the guard lets go at once, what it keeps for a while, and for how long."""

import math
from dataclasses import dataclass, field

import pytest

from trainlet.controller.deletions import Absence, DeletionGuard
from trainlet.documents.scan import Identity
from trainlet.kube.meta import ObjectKey

HOME: Identity = (1, 100)
REPLACED: Identity = (1, 200)
ELSEWHERE: Identity = (2, 300)
GRACE = 30.0


def build_key(number: int) -> ObjectKey:
    return ObjectKey("TrainJob", "default", f"job-{number:02}")


def build_keys(*numbers: int) -> frozenset[ObjectKey]:
    return frozenset(map(build_key, numbers))


@dataclass
class Story:
    """A guard, a clock, and so many known jobs, all of which run."""

    count: int = 12
    grace_seconds: float = GRACE
    time: float = 1000.0
    notice: str = ""
    recheck_seconds: float = math.inf
    known: set[ObjectKey] = field(default_factory=set)
    finished: set[ObjectKey] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.guard = DeletionGuard(self.grace_seconds, lambda: self.time)
        self.known = set(build_keys(*range(self.count)))

    def look(self, *missing: int, root: Identity = HOME, patience: float = 0.0, fresh: bool = False) -> list[int]:
        """Look at the directory without these jobs' files, and return which are deleted."""
        absences = {key: Absence(patience, fresh) for key in build_keys(*missing) & self.known}
        verdict = self.guard.judge(self.known - absences.keys(), absences, self.known - self.finished, root)
        self.notice, self.recheck_seconds = verdict.notice, verdict.recheck_seconds
        self.known -= verdict.due
        return sorted(int(key.name[-2:]) for key in verdict.due)

    def after(self, seconds: float) -> "Story":
        self.time += seconds
        return self


# How many at once

MASSES = {
    "one": (12, [0], True),
    "half": (12, range(6), True),
    "more than half": (12, range(7), False),
    "all": (12, range(12), False),
    "more than half of ten": (10, range(6), False),
    "all of nine": (9, range(9), True),
    "the only one": (1, [0], True),
}


@pytest.mark.parametrize(("count", "missing", "goes"), MASSES.values(), ids=MASSES)
def test_how_many_may_go_at_once(count: int, missing: list[int], goes: bool) -> None:
    story = Story(count)
    story.look()
    assert story.look(*missing) == (list(missing) if goes else [])
    assert (story.notice == "") is goes


def test_jobs_that_do_not_run_do_not_count() -> None:
    story = Story(20)
    story.finished = set(build_keys(*range(11)))
    story.look()
    assert story.look(*range(20)) == list(range(20)), "nine run"
    story = Story(20)
    story.finished = set(build_keys(*range(10)))
    story.look()
    assert story.look(*range(15)) == list(range(15)), "ten run, half of them are missing"
    story = Story(20)
    story.finished = set(build_keys(*range(10)))
    story.look()
    assert story.look(*range(16)) == [], "ten run, six of them are missing: the finished ones stay too"


def test_a_mass_is_let_go_when_the_grace_is_over() -> None:
    story = Story()
    story.look()
    assert story.look(*range(12)) == []
    assert "12 manifests are missing" in story.notice
    assert "nothing is deleted for 30 s" in story.notice
    assert story.recheck_seconds == GRACE
    assert story.after(29.9).look(*range(12)) == []
    assert story.recheck_seconds == pytest.approx(0.1)
    assert story.after(0.1).look(*range(12)) == list(range(12))
    assert (story.notice, story.recheck_seconds) == ("", math.inf)


def test_a_mass_that_is_back_is_forgotten() -> None:
    story = Story()
    story.look()
    assert story.look(*range(12)) == []
    assert story.after(20).look() == []
    assert story.notice == ""
    assert story.after(20).look(*range(12)) == [], "its grace begins anew"
    assert story.after(29).look(*range(12)) == []


def test_what_is_left_of_a_mass_keeps_its_grace() -> None:
    story = Story()
    story.look()
    story.look(*range(12))
    assert story.after(10).look(3) == [], "the others are back"
    story.finished = set(build_keys(4, 5, 6))
    assert story.after(10).look(3) == [], "fewer run"
    assert story.after(10).look(3) == [3]


def test_what_goes_missing_beside_a_mass_has_a_grace_of_its_own() -> None:
    story = Story()
    story.look()
    story.look(*range(7))
    assert story.after(10).look(*range(8)) == []
    assert story.after(20).look(*range(8)) == list(range(7))
    assert story.after(9).look(*range(8)) == []
    assert story.after(1).look(*range(8)) == [7]


def test_without_a_grace_all_may_go_at_once() -> None:
    story = Story(grace_seconds=0)
    story.look()
    assert story.look(*range(12)) == list(range(12))


def test_the_count_that_is_told_only_grows() -> None:
    story = Story()
    story.look()
    story.look(*range(8))
    first = story.notice
    story.look(*range(6))
    assert story.notice == first
    story.look(*range(9))
    assert story.notice == first.replace("8 manifests", "9 manifests")
    story.look()
    story.look(*range(7))
    assert story.notice == first.replace("8 manifests", "7 manifests"), "another mass"


# Another directory in the place

ROOTS = {
    "the same": (HOME, True, ""),
    "another directory": (REPLACED, False, "this is another directory than before, without 1 of the manifests"),
    "another file system": (ELSEWHERE, False, "another file system is mounted here than before, without 1 of the"),
}


@pytest.mark.parametrize(("root", "goes", "notice"), ROOTS.values(), ids=ROOTS)
def test_what_another_directory_lacks(root: Identity, goes: bool, notice: str) -> None:
    story = Story(3)
    story.look()
    assert story.look(1, root=root) == ([1] if goes else [])
    assert story.notice.startswith(notice)


def test_what_a_replaced_directory_lacks_goes_when_the_grace_is_over() -> None:
    story = Story(3)
    story.look()
    assert story.look(1, 2, root=REPLACED) == []
    assert story.after(29).look(1, 2, root=REPLACED) == []
    assert story.after(1).look(1, 2, root=REPLACED) == [1, 2]


def test_a_replaced_directory_is_the_directory_from_then_on() -> None:
    story = Story(3)
    story.look()
    assert story.look(1, root=REPLACED) == []
    assert story.look(root=REPLACED) == []
    assert story.notice == ""
    assert story.look(1, root=REPLACED) == [1]


def test_a_file_that_was_seen_in_the_new_directory_may_go_at_once_beside_others_that_were_not() -> None:
    story = Story(3)
    story.look()
    story.look(1, root=REPLACED)
    assert story.look(1, 2, root=REPLACED) == [2]


def test_what_another_file_system_lacks_is_kept_for_as_long_as_that_is_so() -> None:
    story = Story(3)
    story.look()
    assert story.look(0, 1, 2, root=ELSEWHERE) == []
    assert story.recheck_seconds == math.inf
    assert story.after(1e6).look(0, 1, 2, root=ELSEWHERE) == []
    assert story.look() == []
    assert story.notice == ""
    assert story.look(0) == [0], "what is deleted at home goes"


def test_what_is_still_missing_when_the_file_system_is_back_is_judged_as_new() -> None:
    story = Story()
    story.look()
    story.look(*range(12), root=ELSEWHERE)
    assert story.after(1e6).look(*range(12)) == []
    assert story.after(29).look(*range(12)) == []
    assert story.after(1).look(*range(12)) == list(range(12))


def test_the_weightiest_reason_is_told() -> None:
    story = Story()
    story.look()
    story.look(*range(1, 12), root=ELSEWHERE)
    assert "another file system" in story.notice
    story.look(*range(12), root=ELSEWHERE)
    assert "another file system" in story.notice


def test_before_a_job_was_ever_seen_only_their_number_counts() -> None:
    assert Story(3).look(0, 1, 2, root=REPLACED) == [0, 1, 2]
    assert Story(12).look(*range(12), root=REPLACED) == []


# Editors


def test_what_is_away_for_a_moment_is_kept_and_nothing_is_told() -> None:
    story = Story(3)
    story.look()
    assert story.look(0, patience=0.25) == []
    assert (story.notice, story.recheck_seconds) == ("", 0.25)
    assert story.after(0.2).look(patience=0.25) == []
    assert story.after(0.2).look(0, patience=0.25) == [], "away once more"
    assert story.after(0.25).look(0, patience=0.25) == [0]


def test_the_moment_begins_again_when_the_file_is_written_again() -> None:
    story = Story(3)
    story.look()
    for _ in range(5):
        assert story.after(0.9).look(0, patience=1.0, fresh=True) == []
    assert story.after(0.9).look(0, patience=1.0) == []
    assert story.after(0.1).look(0, patience=1.0) == [0]


def test_what_goes_missing_bit_by_bit_is_a_mass_all_the_same() -> None:
    story = Story()
    story.look()
    assert story.look(*range(4), patience=0.25) == []
    assert story.after(0.1).look(*range(8), patience=0.25) == []
    assert "8 manifests" in story.notice
    assert story.after(25).look(*range(8), patience=0.25) == []
