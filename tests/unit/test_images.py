"""Images are pulled once at a time, beside the passes, and what could not be had is tried again later."""

from datetime import timedelta

import pytest

from builders import StillClock
from scripted_engine import ScriptedEngine
from trainlet.controller.images import FIRST_BACKOFF_SECONDS, FRESH, MAX_BACKOFF_SECONDS, ImageKeeper, Want
from trainlet.planning.events import Note
from trainlet.planning.observed import ImageFacts, ImageState, ObservedImage
from trainlet.planning.pull_secrets import Login
from waiting import wait_for

IMAGE = "registry.example/train:1"
STALE, TEAM, OWN = Login("stale", "tulip"), Login("team", "dahlia"), Login("own", "orchid")


class Place:
    """A keeper with its engine, and what it told."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.engine = ScriptedEngine(self.clock)
        self.told: list[tuple[Want, Note]] = []
        self.own_logins: tuple[Login, ...] = ()
        self.keeper = ImageKeeper(
            self.engine,
            self.clock,
            lambda want, note: self.told.append((want, note)),
            lambda _: self.own_logins,
            at_once=2,
        )

    def look(self, *logins: Login) -> ObservedImage:
        return self.keeper.look({IMAGE: logins})[IMAGE]

    def pull(self, *logins: Login) -> ObservedImage:
        """Pull and wait for the end."""
        before = self.reasons().count("Pulled") + self.reasons().count("Failed")
        self.keeper.start_pull(IMAGE, logins)
        wait_for(
            lambda: self.reasons().count("Pulled") + self.reasons().count("Failed") > before, "the end of the pull"
        )
        return self.look(*logins)

    def reasons(self) -> list[str]:
        return [note.reason for _, note in self.told]

    def seconds_until_retry(self) -> float:
        retry_at = self.look().retry_at
        assert retry_at is not None
        return (retry_at - self.clock()).total_seconds()


@pytest.fixture
def place() -> Place:
    return Place()


def test_what_is_on_the_engine_is_present_and_else_absent(place: Place) -> None:
    assert place.look() == ObservedImage(ImageState.ABSENT)
    place.engine.images.add(IMAGE)
    assert place.look() == ObservedImage(ImageState.PRESENT, facts=ImageFacts())


def test_a_pull_is_seen_while_it_goes_on_and_when_it_is_done(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    place.engine.pull_gate.clear()
    place.keeper.start_pull(IMAGE)
    wait_for(lambda: "half" in place.look().message, "progress")
    message = f'pulling image "{IMAGE}": half of it, 1 of 2 MB'
    assert place.look() == ObservedImage(ImageState.PULLING, message, moved_at=place.clock())
    place.engine.pull_gate.set()
    wait_for(lambda: place.look().state is ImageState.PRESENT, "the image")
    assert place.look() == ObservedImage(ImageState.PRESENT, pulled_at=place.clock(), facts=ImageFacts())
    wait_for(lambda: "Pulled" in place.reasons(), "the news of it")
    assert {want for want, _ in place.told} == {Want(IMAGE)}


def test_many_who_ask_share_one_pull(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    place.engine.pull_gate.clear()
    for _ in range(5):
        place.keeper.start_pull(IMAGE)
    place.engine.pull_gate.set()
    wait_for(lambda: "Pulled" in place.reasons(), "the end of the pull")
    assert place.reasons().count("Pulled") == 1


def test_what_cannot_be_had_says_why_and_waits_longer_each_time(place: Place) -> None:
    delays = []
    for _ in range(9):
        image = place.pull()
        assert (image.state, image.message) == (ImageState.FAILED, f"no image {IMAGE}: push it")
        delays.append(place.seconds_until_retry())
        place.clock.advance(delays[-1])
    assert delays[:3] == [FIRST_BACKOFF_SECONDS, 2 * FIRST_BACKOFF_SECONDS, 4 * FIRST_BACKOFF_SECONDS]
    assert delays[-1] == MAX_BACKOFF_SECONDS
    assert place.told[-1] == (
        Want(IMAGE),
        Note("Warning", "Failed", f'Failed to pull image "{IMAGE}": no image {IMAGE}: push it'),
    )


def test_an_image_that_came_another_way_is_present_though_its_pull_failed(place: Place) -> None:
    place.pull()
    place.engine.images.add(IMAGE)
    assert place.look().state is ImageState.PRESENT


def test_a_failed_refresh_leaves_the_image_present_and_says_when_to_try_again(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    pulled_at = place.pull().pulled_at
    place.clock.advance(60)
    place.engine.registry.clear()
    image = place.pull()
    assert (image.state, image.pulled_at) == (ImageState.PRESENT, pulled_at)
    assert image.retry_at == place.clock() + timedelta(seconds=FIRST_BACKOFF_SECONDS)
    assert image.message == f"no image {IMAGE}: push it"


def test_success_ends_the_back_off(place: Place) -> None:
    place.pull()
    place.pull()
    place.engine.registry.add(IMAGE)
    assert place.pull() == ObservedImage(ImageState.PRESENT, pulled_at=place.clock(), facts=ImageFacts())
    place.engine.registry.clear()
    place.engine.images.clear()
    place.clock.advance(1)
    place.pull()
    assert place.seconds_until_retry() == FIRST_BACKOFF_SECONDS


def test_an_image_that_was_pulled_and_then_removed_is_absent(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    place.pull()
    place.engine.images.clear()
    place.clock.advance(FRESH.total_seconds())
    assert place.look().state is ImageState.ABSENT


def test_an_image_that_is_here_is_asked_for_once_in_a_while(place: Place) -> None:
    place.engine.images.add(IMAGE)
    looks = [place.look() for _ in range(3)]
    assert {look.state for look in looks} == {ImageState.PRESENT}
    asked = place.engine.calls
    for seconds in (FRESH.total_seconds(), -60):  # a clock that was set back makes nothing fresh for longer
        place.clock.advance(seconds)
        place.look()
        place.look()
        asked += 1
        assert place.engine.calls == asked


def test_an_image_that_is_not_here_is_asked_for_at_every_look(place: Place) -> None:
    place.look()
    place.engine.images.add(IMAGE)
    assert place.look().state is ImageState.PRESENT


def test_each_image_has_a_story_of_its_own(place: Place) -> None:
    place.pull()
    place.engine.images.add("other")
    found = place.keeper.look({IMAGE: (), "other": (), "third": ()})
    assert {name: image.state for name, image in found.items()} == {
        IMAGE: "failed",
        "other": "present",
        "third": "absent",
    }


def test_a_job_s_logins_are_tried_then_the_user_s_and_nobody_s_only_without_any(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    place.own_logins, place.engine.login = (OWN,), OWN
    assert place.pull(STALE, TEAM).state is ImageState.PRESENT
    assert place.engine.tried == [STALE, TEAM, OWN]
    place.engine.tried.clear()
    place.own_logins, place.engine.login = (), None
    place.pull()
    assert place.engine.tried == [None]


def test_of_several_refusals_the_first_is_told_and_no_password_is(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    place.engine.login = OWN
    image = place.pull(STALE, TEAM)
    assert image.message == f"image {IMAGE} is not for {STALE.username}"
    shown = f"{image} {place.told} {place.keeper._pulls}"
    assert not any(each.password in shown for each in (STALE, TEAM, OWN))


def test_what_one_job_s_logins_cannot_get_another_s_may(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    place.engine.login = TEAM
    assert place.pull(STALE).state is ImageState.FAILED
    assert place.look(TEAM) == ObservedImage(ImageState.ABSENT, logins=(TEAM,))
    assert place.pull(TEAM).state is ImageState.PRESENT
    assert place.look(STALE).state is ImageState.PRESENT, "what is on the engine is there for every job"


def test_so_many_are_pulled_at_once_and_the_others_wait_for_their_turn(place: Place) -> None:
    names = [f"image:{number}" for number in range(4)]
    place.engine.registry |= set(names)
    place.engine.pull_gate.clear()
    for name in names:
        place.keeper.start_pull(name)
    wait_for(
        lambda: sum("half" in each.message for each in place.keeper.look(dict.fromkeys(names, ())).values()) == 2,
        "two pulls",
    )
    found = place.keeper.look(dict.fromkeys(names, ()))
    assert [found[name].message for name in names[2:]] == [
        f'pulling image "{name}": waiting for a free download' for name in names[2:]
    ]
    assert {each.state for each in found.values()} == {ImageState.PULLING}
    place.engine.pull_gate.set()
    wait_for(
        lambda: {each.state for each in place.keeper.look(dict.fromkeys(names, ())).values()} == {ImageState.PRESENT},
        "all images",
    )


def test_one_that_cannot_be_had_gives_its_place_to_the_next(place: Place) -> None:
    place.engine.registry.add("good")
    for name in ("bad:1", "bad:2", "good"):
        place.keeper.start_pull(name)
    wait_for(lambda: place.keeper.look({"good": ()})["good"].state is ImageState.PRESENT, "the good one")


@pytest.mark.parametrize(("architecture", "warned"), [("arm64", 1), ("amd64", 0), ("", 0)])
def test_an_image_for_another_processor_is_warned_of_once(place: Place, architecture: str, warned: int) -> None:
    place.engine.images.add(IMAGE)
    place.engine.image_architecture = architecture
    for _ in range(3):
        assert place.look().state is ImageState.PRESENT
        assert bool(place.look().problem) is bool(warned)
    assert place.reasons() == ["ImageArchitecture"] * warned
