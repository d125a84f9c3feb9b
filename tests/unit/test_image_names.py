"""The parts of an image's name, and its full one."""

import pytest

from trainlet.planning.image_names import get_registry, get_repository, split_image


@pytest.mark.parametrize(
    ("image", "parts", "repository"),
    [
        ("python", ("python", "latest"), "docker.io/library/python"),
        ("python:3.12", ("python", "3.12"), "docker.io/library/python"),
        ("team/train:1", ("team/train", "1"), "docker.io/team/train"),
        ("docker.io/python", ("docker.io/python", "latest"), "docker.io/python"),
        ("index.docker.io/team/x", ("index.docker.io/team/x", "latest"), "docker.io/team/x"),
        ("localhost/train:1", ("localhost/train", "1"), "localhost/train"),
        ("localhost:5000/train", ("localhost:5000/train", "latest"), "localhost:5000/train"),
        ("r.example/a/b:1", ("r.example/a/b", "1"), "r.example/a/b"),
        ("r.example:5000/a@sha256:00", ("r.example:5000/a", "sha256:00"), "r.example:5000/a"),
        ("r.example/a:1@sha256:00", ("r.example/a", "sha256:00"), "r.example/a"),
    ],
)
def test_a_name_has_parts(image: str, parts: tuple[str, str], repository: str) -> None:
    assert split_image(image) == parts
    assert get_repository(image) == repository
    assert get_registry(image) == repository.partition("/")[0]
