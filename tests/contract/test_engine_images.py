"""Images from real registries: logins, progress, what an image is said to be, and what is wrong with it."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
import pytest

from engines import IMAGE, EngineKind, get_url, open_engine
from registries import LOGIN, PrivateRegistry, build_image, open_for_plain_http, serve_private, serve_slowly
from trainlet.controller.images import ImageKeeper
from trainlet.engine import images
from trainlet.engine.base import Engine, PullFailed
from trainlet.engine.registry_login import LoginFiles
from trainlet.kube.errors import EngineError
from trainlet.planning.events import Note
from trainlet.planning.observed import ImageState
from trainlet.planning.pull_secrets import Login
from waiting import wait_for

pytestmark = pytest.mark.needs("images")

WRONG = Login(LOGIN.username, "wrong")
OTHERS = {"amd64": "arm64"}
Step = tuple[str, int | None, int | None]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[PrivateRegistry]:
    """A registry that wants a login."""
    (tmp_path / "registry").mkdir()
    with serve_private(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def engine(kind: EngineKind) -> Iterator[Engine]:
    """An engine that takes registries of this machine without TLS."""
    with (
        TemporaryDirectory(prefix="trainlet-") as name,
        open_for_plain_http(kind, Path(name)) as url,
        closing(open_engine(kind, Path(name), url)) as engine,
    ):
        yield engine


@pytest.fixture
def sweep(kind: EngineKind) -> Iterator[list[str]]:
    """Names of images that are removed in the end; what has no verb of ours Podman knows in Docker's way too."""
    names: list[str] = []
    yield names
    with closing(docker.APIClient(get_url(kind))) as client:
        for name in names:
            with suppress(docker.errors.ImageNotFound):
                client.remove_image(client.inspect_image(name)["Id"], force=True)  # with all its names and digests


def write_login(directory: Path, host: str) -> dict[str, str]:
    """Write a login file, and return what tells Docker's and Podman's users where it is."""
    auth = base64.b64encode(f"{LOGIN.username}:{LOGIN.password}".encode()).decode()
    path = directory / "config.json"
    path.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(directory), "REGISTRY_AUTH_FILE": str(path)}


def get_now() -> datetime:
    return datetime.now(UTC)


def pull(engine: Engine, image: str, login: Login | None = None) -> list[Step]:
    steps: list[Step] = []
    engine.pull_image(image, lambda *step: steps.append(step), login)
    return steps


def test_a_good_login_gets_the_image_and_the_registry_s_digest(
    engine: Engine, registry: PrivateRegistry, sweep: list[str]
) -> None:
    image = build_image([os.urandom(1000), os.urandom(1000)])
    name = registry.push("team/train", image)
    sweep.append(name)
    assert engine.find_image(name) is None
    steps = pull(engine, name, LOGIN)
    assert "2 of 2 layers" in steps[-1][0] or "3 of 3 layers" in steps[-1][0], steps  # Podman counts the config
    facts = engine.find_image(name)
    assert facts is not None
    assert facts.digest == f"{name.removesuffix(':1')}@{image.digest}"
    assert facts.reference == facts.digest
    assert (facts.os, facts.architecture) == ("linux", "amd64")
    assert engine.find_image(facts.digest) == facts, "what is recorded names the image"
    engine.pull_image(facts.digest, lambda *_: None, LOGIN)


def test_a_pull_gets_what_the_tag_means_now(engine: Engine, registry: PrivateRegistry, sweep: list[str]) -> None:
    for _ in range(2):
        image = build_image([os.urandom(1000)])
        name = registry.push("team/train", image)
        sweep.append(name)
        pull(engine, name, LOGIN)
        facts = engine.find_image(name)
        assert facts is not None
        sweep.append(facts.id)
        assert facts.digest.endswith(image.digest)


@pytest.mark.parametrize("login", [WRONG, None], ids=["wrong", "anonymous"])
def test_another_is_refused_with_the_registry_s_words(
    engine: Engine, registry: PrivateRegistry, login: Login | None
) -> None:
    name = registry.push("team/train", build_image([os.urandom(1000)]))
    with pytest.raises(PullFailed, match=r"unauthorized|no basic auth credentials") as caught:
        pull(engine, name, login)
    assert "log in to the registry" in caught.value.remedy
    assert "wrong" not in str(caught.value)
    assert engine.find_image(name) is None


def test_a_login_file_is_used_and_a_job_s_wrong_login_is_tried_before_it(
    engine: Engine, kind: EngineKind, registry: PrivateRegistry, sweep: list[str], tmp_path: Path
) -> None:
    name = registry.push("team/train", build_image([os.urandom(1000)]))
    sweep.append(name)
    environ = write_login(tmp_path, registry.host)
    told: list[Note] = []
    logins = LoginFiles(kind.runtime, environ, tmp_path)
    keeper = ImageKeeper(engine, get_now, lambda _, note: told.append(note), logins.find)
    keeper.start_pull(name, (WRONG,))
    wait_for(lambda: {"Pulled", "Failed"} & {note.reason for note in told}, "the end of the pull", 60)
    found = keeper.look({name: (WRONG,)})[name]
    assert found.state is ImageState.PRESENT, found.message


def test_a_job_whose_login_is_refused_waits_and_another_is_not_held(
    engine: Engine, registry: PrivateRegistry, sweep: list[str]
) -> None:
    name = registry.push("team/train", build_image([os.urandom(1000)]))
    sweep.append(name)
    told: list[Note] = []
    keeper = ImageKeeper(engine, get_now, lambda _, note: told.append(note))
    keeper.start_pull(name, (WRONG,))
    wait_for(lambda: any(note.reason == "Failed" for note in told), "the refusal", 60)
    refused = keeper.look({name: (WRONG,)})[name]
    assert refused.state is ImageState.FAILED
    assert refused.retry_at is not None
    assert "unauthorized" in refused.message
    assert keeper.look({name: (LOGIN,)})[name].state is ImageState.ABSENT
    keeper.start_pull(name, (LOGIN,))
    wait_for(lambda: any(note.reason == "Pulled" for note in told), "the image", 60)
    assert keeper.look({name: (LOGIN,)})[name].state is ImageState.PRESENT
    assert LOGIN.password not in str(told)
    assert WRONG.password not in str(told)


def test_a_pull_that_goes_on_tells_how_far_it_is(engine: Engine, sweep: list[str]) -> None:
    with serve_slowly(build_image([os.urandom(4 << 20), os.urandom(1000)])) as registry:
        name = f"{registry.host}/slow:1"
        sweep.append(name)
        told: list[Note] = []
        keeper = ImageKeeper(engine, get_now, lambda _, note: told.append(note))
        keeper.start_pull(name)
        wait_for(lambda: " of 4 MB" in keeper.look({name: ()})[name].message, "bytes", 20)
        found = keeper.look({name: ()})[name]
        assert found.state is ImageState.PULLING
        assert found.moved_at is not None
        assert "layers, " in found.message
        registry.gate.set()
        wait_for(lambda: keeper.look({name: ()})[name].state is ImageState.PRESENT, "the image", 60)


def test_a_pull_that_says_nothing_is_ended(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PULL_SILENCE_SECONDS", 2.0)
    with (
        serve_slowly(build_image([os.urandom(1 << 20)])) as registry,
        pytest.raises(EngineError, match="said nothing for 2 s") as caught,
    ):
        pull(engine, f"{registry.host}/silent:1")
    assert not isinstance(caught.value, PullFailed), "no other login would help"


def test_an_image_for_another_processor_is_warned_of(
    engine: Engine, registry: PrivateRegistry, sweep: list[str]
) -> None:
    machine = engine.find_facts().architecture
    other = OTHERS.get(machine, "amd64")
    name = registry.push("team/foreign", build_image([os.urandom(1000)], other))
    sweep.append(name)
    with suppress(PullFailed):  # some engines see it themselves
        pull(engine, name, LOGIN)
    facts = engine.find_image(name)
    assert facts is not None
    assert facts.architecture == other
    told: list[Note] = []
    keeper = ImageKeeper(engine, get_now, lambda _, note: told.append(note))
    keeper.look({name: ()})
    keeper.look({name: ()})
    [note] = told
    assert (note.type, note.reason) == ("Warning", "ImageArchitecture")
    assert f"built for {other}, and this machine is {machine}" in note.message


def test_an_image_of_this_machine_has_an_id_and_is_not_warned_of(engine: Engine) -> None:
    facts = engine.find_image(IMAGE)
    assert facts is not None
    assert facts.id.startswith("sha256:")
    assert "sha256:" in facts.reference
    told: list[Note] = []
    ImageKeeper(engine, get_now, lambda _, note: told.append(note)).look({IMAGE: ()})
    assert told == []
