"""A report says in one condition how the images of a job stand; an image for another processor is explained."""

from datetime import UTC, datetime, timedelta

import pytest

from trainlet.planning.observed import ImageFacts, ImageState, ObservedImage
from trainlet.planning.pulls import build_pull_condition, explain_architecture, find_architecture_problem

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HALF = 'pulling image "a": 3 of 7 layers, 210 of 900 MB'


def build(state: str, message: str = "", moved: float | None = None) -> ObservedImage:
    moved_at = None if moved is None else NOW - timedelta(seconds=moved)
    return ObservedImage(ImageState(state), message, moved_at=moved_at)


@pytest.mark.parametrize(
    ("images", "condition"),
    [
        ({}, None),
        ({"a": build("present")}, (True, "Pulled", "all images are on this engine (1)")),
        ({"a": build("present", "the last try failed")}, (True, "Pulled", "all images are on this engine (1)")),
        ({"a": build("absent")}, (False, "Missing", 'image "a" is not on this engine')),
        ({"a": build("pulling", HALF)}, (False, "Pulling", HALF)),
        ({"a": build("pulling", HALF, 59.9)}, (False, "Pulling", HALF)),
        ({"a": build("pulling", HALF, 60)}, (False, "Stalled", f"{HALF}, and nothing came for 60 s")),
        ({"a": build("failed", "no such image")}, (False, "BackOff", "no such image")),
        ({"a": build("pulling", HALF), "b": build("failed", "no such image")}, (False, "BackOff", "no such image")),
        ({"a": build("pulling", "one"), "b": build("pulling", "two")}, (False, "Pulling", "one; two")),
        ({"a": build("present"), "b": build("pulling", "two")}, (False, "Pulling", "two")),
    ],
)
def test_the_condition_is_that_of_the_image_that_is_worst_off(
    images: dict[str, ObservedImage], condition: tuple[bool, str, str] | None
) -> None:
    assert build_pull_condition(images, NOW) == condition


@pytest.mark.parametrize(
    ("built_for", "machine", "is_told"),
    [("arm64", "amd64", True), ("amd64", "amd64", False), ("", "amd64", False), ("arm64", "", False)],
)
def test_only_a_known_other_processor_is_told(built_for: str, machine: str, is_told: bool) -> None:
    told = explain_architecture("x:1", ImageFacts(architecture=built_for), machine)
    assert bool(told) is is_told
    if told:
        assert told.startswith('image "x:1" is built for arm64, and this machine is amd64')
        assert "--platform linux/amd64 x:1" in told


@pytest.mark.parametrize(
    ("line", "problem", "told"),
    [
        ("exec /train: exec format error", "it is for arm64", "it is for arm64"),
        ("[FATAL tini (7)] exec /train failed: Exec format error", "it is for arm64", "it is for arm64"),
        ("[FATAL tini (6)] exec /train failed: No such file or directory", "it is for arm64", "it is for arm64"),
        ("ERROR (catatonit:2): failed to exec pid1: Exec format error", "it is for arm64", "it is for arm64"),
        ("exec /train: exec format error", "", ""),
        ("killed", "it is for arm64", ""),
    ],
)
def test_a_node_that_met_another_processor_s_program_is_told_of_its_image(line: str, problem: str, told: str) -> None:
    images = {"a": ObservedImage(ImageState.PRESENT), "b": ObservedImage(ImageState.PRESENT, problem=problem)}
    assert find_architecture_problem(["before", line], images) == told
