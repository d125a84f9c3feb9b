"""What there is to say of the images a job asks for: how far they are, and whether this machine can run them."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from trainlet.planning.observed import ImageFacts, ImageState, ObservedImage

#: The condition of a TrainJobReport that tells whether a job's images are here.
IMAGES_PULLED = "ImagesPulled"
#: A download that got nothing for so long stands still.
STALLED_AFTER = timedelta(seconds=60)

_PULLED, _PULLING, _STALLED, _BACK_OFF, _MISSING = "Pulled", "Pulling", "Stalled", "BackOff", "Missing"
#: The kernel's words for a program that is not for this machine. In an image without a shell tini and catatonit, the
#: engines' inits, say something else: that there is no shell to try it with.
_FOREIGN = re.compile(r"exec format error|\bexec \S+ failed: No such file|failed to exec pid1", re.IGNORECASE)
#: What a job hears of first when its images stand differently.
_WORST_FIRST = (_BACK_OFF, _STALLED, _MISSING, _PULLING)


def build_pull_condition(images: Mapping[str, ObservedImage], now: datetime) -> tuple[bool, str, str] | None:
    """Return status, reason and message of the condition; None for a job that asks for no image any more."""
    if not images:
        return None
    told = [_describe(name, image, now) for name, image in sorted(images.items())]
    for reason in _WORST_FIRST:
        if messages := [message for each, message in told if each == reason]:
            return False, reason, "; ".join(messages)
    return True, _PULLED, f"all images are on this engine ({len(images)})"


def explain_architecture(image: str, facts: ImageFacts, machine: str) -> str:
    """Return what is wrong with running the image on a machine of this architecture, or nothing.

    No reason to hold it: the machine may emulate the image's processor.
    """
    if not machine or not facts.architecture or facts.architecture == machine:
        return ""
    platform = f"linux/{machine}"
    return (
        f'image "{image}" is built for {facts.architecture}, and this machine is {machine}: without emulation its '
        f"programs end with exec format error; take an image for {platform} "
        f"(`docker pull --platform {platform} {image}`, or the same with podman)"
    )


def find_architecture_problem(lines: Iterable[str], images: Mapping[str, ObservedImage]) -> str:
    """Return what is wrong with an image, if a node's last lines say that its program is for another processor."""
    if not any(map(_FOREIGN.search, lines)):
        return ""
    return next((image.problem for _, image in sorted(images.items()) if image.problem), "")


def _describe(name: str, image: ObservedImage, now: datetime) -> tuple[str, str]:
    if image.state is ImageState.PRESENT:
        return _PULLED, ""
    if image.state is ImageState.ABSENT:
        return _MISSING, f'image "{name}" is not on this engine'
    if image.state is ImageState.FAILED:
        return _BACK_OFF, image.message
    if image.moved_at is not None and now >= image.moved_at + STALLED_AFTER:
        return _STALLED, f"{image.message}, and nothing came for {int((now - image.moved_at).total_seconds())} s"
    return _PULLING, image.message
