"""A job's image comes from a registry that wants a login: the job's own, or the user's; what is wrong is said."""

import json
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import docker
import pytest
import yaml

from builders import build_runtime
from engines import KINDS
from registries import LOGIN, PrivateRegistry, build_image, open_for_plain_http, serve_private
from trainlet.kube.meta import JSON
from waiting import wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

#: A static program that does well with one argument.
PROGRAM, ARGUMENTS = Path("/usr/bin/tini-static"), ["/file-0", "--version"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[PrivateRegistry]:
    """A registry that wants a login."""
    with serve_private(tmp_path) as registry:
        yield registry


@pytest.fixture
def engine_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the engine takes registries of this machine without TLS."""
    kind = KINDS[request.node.callspec.params["world"]]
    with tempfile.TemporaryDirectory(prefix="trainlet-") as name, open_for_plain_http(kind, Path(name)) as url:
        yield url


@pytest.fixture
def private_image(registry: PrivateRegistry, world: World) -> Iterator[str]:
    """An image that is only there, and in the end not on the engine either."""
    name = registry.push("team/train", build_image([PROGRAM.read_bytes()]))
    yield name
    remove_image(world, name)


def remove_image(world: World, name: str) -> None:
    """Remove an image; what has no verb of ours Podman knows in Docker's way too."""
    world.close()
    with closing(docker.APIClient(world.url)) as client, suppress(docker.errors.ImageNotFound):
        client.remove_image(name, force=True)


def build_login_file(host: str, password: str) -> str:
    auth = b64encode(f"{LOGIN.username}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}})


def build_secret(host: str, password: str) -> JSON:
    data = b64encode(build_login_file(host, password).encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "registry", "namespace": "default"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": data},
    }


def build_job(image: str) -> JSON:
    job = build_train_job("job", 1, ARGUMENTS, trainer={"image": image})
    return {**job, "spec": {**job["spec"], "runtimeRef": {"name": "private"}}}


def get_reason(world: World) -> str | None:
    return next((node.get("reason") for node in world.nodes("job")), None)


def find_condition(world: World) -> JSON:
    conditions = world.report("job").get("conditions") or []
    return next((each for each in conditions if each["type"] == "ImagesPulled"), {})


def test_a_job_s_own_login(world: World, registry: PrivateRegistry, private_image: str) -> None:
    wrong = "not the word"
    pod = {"imagePullSecrets": [{"name": "registry"}]}
    world.drop(build_runtime("private", pod=pod))
    world.drop(build_job(private_image))
    world.start("--allow-unsafe-files")  # of a Secret that its file hides from nobody
    wait_for(lambda: get_reason(world) == "ImagePullBackOff", "the pull to be refused without a login", 30)
    world.drop(build_secret(registry.host, wrong), file="registry.yaml")
    wait_for(lambda: "unauthorized" in find_condition(world).get("message", ""), "the wrong login to be refused", 40)
    assert find_condition(world)["reason"] == "BackOff"
    world.drop(build_secret(registry.host, LOGIN.password), file="registry.yaml")
    world.wait_phase("job", "Complete", timeout_seconds=60)
    assert (find_condition(world)["status"], find_condition(world)["reason"]) == ("True", "Pulled")
    [pod, *_] = yaml.safe_load_all((world.jobs / "status" / "default" / "job" / "pods.yaml").read_text())
    [state] = pod["status"]["containerStatuses"]
    assert state["imageID"].startswith(f"{private_image.removesuffix(':1')}@sha256:")
    events = world.trainlet("events").stdout
    assert "FailedToRetrieveImagePullSecret" in events
    written = "".join(path.read_text() for path in (world.jobs / "status").rglob("*.yaml")) + world.log.read_text()
    assert LOGIN.password not in written
    assert wrong not in written


def test_the_user_s_login(
    world: World, registry: PrivateRegistry, private_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = world.base / "docker"
    directory.mkdir()
    (directory / "config.json").write_text(build_login_file(registry.host, LOGIN.password))
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))  # where Podman looks too, after its own
    world.drop(build_runtime("private"))
    world.drop(build_job(private_image))
    world.start()
    world.wait_phase("job", "Complete", timeout_seconds=60)


def test_an_image_for_another_processor(world: World, registry: PrivateRegistry) -> None:
    other = "amd64" if world.engine.find_facts().architecture == "arm64" else "arm64"
    name = registry.push("team/foreign", build_image([b"\x7fELF no program of this machine"], other))
    world.engine.pull_image(name, lambda *_: None, LOGIN)
    try:
        world.drop(build_runtime("private", job={"backoffLimit": 0}))
        world.drop(build_job(name))
        world.start()
        report = world.wait_phase("job", "Failed", timeout_seconds=60)
        assert f"built for {other}" in report["rootCause"]["remedy"], report
        assert "ImageArchitecture" in world.trainlet("events").stdout
    finally:
        remove_image(world, name)
