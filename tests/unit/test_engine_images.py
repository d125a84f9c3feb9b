"""What engines say of images, of pulls and of logins, as values."""

import json
from base64 import urlsafe_b64decode

import pytest

from trainlet.engine.images import PullTally, build_login_header, read_architecture, read_image
from trainlet.planning.observed import ImageFacts
from trainlet.planning.pull_secrets import Login

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.mark.parametrize(
    ("image", "row", "facts"),
    [
        ("x:1", {"Id": A}, ImageFacts(A)),
        ("x:1", {"Id": "a" * 64, "RepoDigests": None}, ImageFacts(A)),
        ("x:1", {"Id": A, "RepoDigests": [f"x@{B}"]}, ImageFacts(A, f"docker.io/library/x@{B}")),
        (
            "r.example/x:1",
            {"Id": A, "RepoDigests": [f"s.example/x@{A}", f"r.example/x@{B}"]},
            ImageFacts(A, f"r.example/x@{B}"),
        ),
        ("r.example/x", {"Id": A, "RepoDigests": [f"s.example/x@{B}"]}, ImageFacts(A, f"s.example/x@{B}")),
        ("x", {"Id": A, "Os": "linux", "Architecture": "arm64"}, ImageFacts(A, "", "linux", "arm64")),
    ],
)
def test_an_image_is_read(image: str, row: dict[str, object], facts: ImageFacts) -> None:
    assert read_image(image, row) == facts
    assert facts.reference == (facts.digest or facts.id)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("amd64", "amd64"), ("riscv64", "riscv64"), (None, ""), ("", "")],
)
def test_a_processor_has_the_name_that_images_give_it(name: str | None, architecture: str) -> None:
    assert read_architecture(name) == architecture


@pytest.mark.parametrize(
    ("login", "body"),
    [
        (Login("ann", "rosé ~?"), {"serveraddress": "r.example:5000", "username": "ann", "password": "rosé ~?"}),
        (Login(identity_token="t"), {"serveraddress": "r.example:5000", "identitytoken": "t"}),
    ],
)
def test_a_login_is_handed_over_in_a_header(login: Login, body: dict[str, str]) -> None:
    header = build_login_header("r.example:5000/team/x:1", login)
    assert json.loads(urlsafe_b64decode(header["X-Registry-Auth"])) == body
    assert build_login_header("r.example:5000/team/x:1", None) == {}


def test_progress_adds_up_the_layers() -> None:
    tally = PullTally()

    def say(status: str, id: str = "", current: int = 0, total: int = 0) -> tuple[str, int | None, int | None]:
        detail = {"current": current, "total": total} if total else {}
        return tally.read({"status": status, "id": id, "progressDetail": detail})

    assert say("Pulling from library/x", "1") == ("Pulling from library/x", None, None)
    assert say("Already exists", "0") == ("1 of 1 layers", None, None)
    say("Pulling fs layer", "a")
    assert say("Pulling fs layer", "b") == ("1 of 3 layers", None, None)
    assert say("Downloading", "a", 10, 100) == ("1 of 3 layers", 10, 100)
    assert say("Downloading", "b", 5, 50) == ("1 of 3 layers", 15, 150)
    assert say("Retrying in 5 seconds", "b") == ("1 of 3 layers", 15, 150)
    assert say("Download complete", "a") == ("2 of 3 layers", 105, 150)
    assert say("Extracting", "a", 64 << 20, 99 << 20) == ("2 of 3 layers, unpacking a 64 MB", 105, 150)
    assert say("Pull complete", "b") == ("3 of 3 layers", 150, 150)
    assert say("Digest: sha256:00") == ("3 of 3 layers", 150, 150)


def test_progress_without_sizes_counts_layers_alone() -> None:
    tally = PullTally()
    tally.read({"status": "Extracting", "id": "a", "progressDetail": {"current": 3, "units": "s"}})
    assert tally.read({"status": "Pulling fs layer", "id": "b"}) == ("1 of 2 layers", None, None)
