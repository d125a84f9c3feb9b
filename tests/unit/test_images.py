"""Images are pulled once at a time, beside the passes, and what could not be had is tried again later."""

from datetime import timedelta

import pytest

from builders import StillClock
from scripted_engine import ScriptedEngine
from trainlet.controller.images import FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, ImageKeeper
from trainlet.planning.events import Note
from trainlet.planning.observed import ImageState, ObservedImage
from waiting import wait_for

IMAGE = "registry.example/train:1"


class Place:
    """A keeper with its engine, and what it told."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.engine = ScriptedEngine(self.clock)
        self.told: list[tuple[str, Note]] = []
        self.keeper = ImageKeeper(self.engine, self.clock, lambda image, note: self.told.append((image, note)))

    def look(self) -> ObservedImage:
        return self.keeper.look([IMAGE])[IMAGE]

    def pull(self) -> ObservedImage:
        """Pull and wait for the end."""
        before = self.reasons().count("Pulled") + self.reasons().count("Failed")
        self.keeper.start_pull(IMAGE)
        wait_for(
            lambda: self.reasons().count("Pulled") + self.reasons().count("Failed") > before, "the end of the pull"
        )
        return self.look()

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
    assert place.look() == ObservedImage(ImageState.PRESENT)


def test_a_pull_is_seen_while_it_goes_on_and_when_it_is_done(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    place.engine.pull_gate.clear()
    place.keeper.start_pull(IMAGE)
    wait_for(lambda: "half" in place.look().message, "progress")
    assert place.look() == ObservedImage(ImageState.PULLING, f'pulling image "{IMAGE}": half of it 1 of 2 MB')
    place.engine.pull_gate.set()
    wait_for(lambda: place.look().state is ImageState.PRESENT, "the image")
    assert place.look() == ObservedImage(ImageState.PRESENT, pulled_at=place.clock())
    wait_for(lambda: "Pulled" in place.reasons(), "the news of it")
    assert {image for image, _ in place.told} == {IMAGE}


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
        IMAGE,
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
    assert place.pull() == ObservedImage(ImageState.PRESENT, pulled_at=place.clock())
    place.engine.registry.clear()
    place.engine.images.clear()
    place.clock.advance(1)
    place.pull()
    assert place.seconds_until_retry() == FIRST_BACKOFF_SECONDS


def test_an_image_that_was_pulled_and_then_removed_is_absent(place: Place) -> None:
    place.engine.registry.add(IMAGE)
    place.pull()
    place.engine.images.clear()
    assert place.look().state is ImageState.ABSENT


def test_each_image_has_a_story_of_its_own(place: Place) -> None:
    place.pull()
    place.engine.images.add("other")
    found = place.keeper.look([IMAGE, "other", "third"])
    assert {name: image.state for name, image in found.items()} == {
        IMAGE: "failed",
        "other": "present",
        "third": "absent",
    }
