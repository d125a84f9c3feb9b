"""Which runtime wins: that of a given source, the default one, a manifest or the program; and what the verbs show."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders import build_runtime
from manifests import build_manifest
from runtime_site import PATH, Site, build_text, dump, make_authority, serving
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.loading import build_registry, follow_sources, take_offers
from trainlet.registry import Source
from trainlet.runtime_sources.address import GitHub
from trainlet.runtime_sources.copies import File
from trainlet.runtime_sources.offers import Offer
from trainlet.settings import build_settings, get_github
from waiting import running, wait_for

TORCH = ObjectKey("ClusterTrainingRuntime", "", "torch-distributed")
PROGRAM = [sys.executable, "-c", "import sys; from trainlet.cli.main import main; sys.exit(main())"]


# Which runtime wins


@dataclass
class House:
    """A watched directory with its settings, on a machine that has this site for GitHub."""

    root: Path
    site: Site

    def settings(self, *sources: str) -> Any:
        flags = {"dir": self.root / "jobs", "cache_dir": self.root / "cache", "runtime_source": sources or None}
        return build_settings(flags, {})

    def image(self, *sources: str) -> str:
        """Return the image of torch-distributed."""
        return find_image(build_registry(self.settings(*sources)).store.get(TORCH))

    def trainlet(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run the program in a process of its own."""
        command = [*PROGRAM, "--dir", str(self.root / "jobs"), *words]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=60)

    @property
    def environ(self) -> dict[str, str]:
        state = {"XDG_STATE_HOME": str(self.root / "state"), "PYTHONPATH": os.pathsep.join(["operator", *sys.path])}
        return {**os.environ, **state}

    def write(self, name: str, text: str) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)


def find_image(runtime: JSON | None) -> str:
    assert runtime is not None
    job = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]
    return str(job["template"]["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the tests' own authority, as a file."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def house(tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with serving(authority) as site:
        places = {"API": "api", "RAW": "raw"}
        for variable, path in places.items():
            monkeypatch.setenv(f"TRAINLET_GITHUB_{variable}", f"{site.root}/{path}")
        for variable in ("TRAINLET_GITHUB_TOKEN", "GITHUB_TOKEN", "TRAINLET_RUNTIME_SOURCE"):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in (("SSL_CERT_FILE", authority), ("TRAINLET_CACHE_DIR", tmp_path / "cache")):
            monkeypatch.setenv(variable, str(value))
        (tmp_path / "jobs").mkdir()
        yield House(tmp_path, site)


def test_a_built_in_runtime_is_always_found(house: House) -> None:
    """What the Kubeflow SDK has default images for: without any source a job still finds the runtime it names."""
    house.site.is_up = False
    missing = f"{house.site.root}/none.yaml"
    assert house.image() == house.image("builtin") == house.image(missing)
    assert house.image().startswith("pytorch/pytorch:")


def test_the_first_source_that_has_a_runtime_wins(house: House, caplog: pytest.LogCaptureFixture) -> None:
    first, second = (house.site.give(f"/{n}.yaml", build_text(image=f"image:{n}")) for n in (1, 2))
    local = house.write("local.yaml", build_text(image="image:local"))
    invalid = house.write("invalid.yaml", build_text(image="image:x").replace("numNodes", "numberOfNodes"))
    gone = f"{house.site.root}/gone.yaml"
    assert house.image(first, second) == "image:1"
    assert house.image(second, first) == "image:2"
    assert house.image(local, first) == "image:local"
    assert house.image("builtin", first).startswith("pytorch/pytorch:")
    caplog.clear()
    assert house.image(gone, second) == "image:2"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"runtime source {gone}: the server answered 404 Not Found: check the URL" in caplog.text
    caplog.clear()
    assert house.image(invalid, first) == "image:1"
    assert caplog.messages[0].startswith(f"{invalid}: ")


def test_within_a_source_the_first_file_wins(house: House) -> None:
    for name in ("b", "a"):
        house.write(f"many/{name}.yaml", dump(build_runtime(container={"image": name}), build_runtime("other")))
    assert house.image(str(house.root / "many")) == "a"


def test_what_is_no_runtime_is_not_taken_from_a_source(house: House) -> None:
    url = house.site.give("/x.yaml", dump(build_manifest("mine"), build_runtime("theirs")))
    registry = build_registry(house.settings(url))
    assert registry.list_jobs() == []
    assert registry.store.get(ObjectKey("ClusterTrainingRuntime", "", "theirs"))


def test_the_default_source_is_asked_by_nobody_but_its_follower(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.site.give_repository({f"{PATH}/torch.yaml": build_text(image="upstream:1")})
    settings = house.settings()
    registry = build_registry(settings)
    assert house.site.requests == []
    follower = follow_sources(registry, settings)
    follower.start()
    wait_for(lambda: find_image(registry.store.get(TORCH)) == "upstream:1", "the runtime of the default source")
    follower.stop()
    assert house.image() == "upstream:1", "the copy is used without asking"
    assert caplog.messages == []


def test_what_is_refused_of_the_default_source_is_told_to_those_who_ask(house: House) -> None:
    bad = build_text("bad").replace("numNodes", "numberOfNodes")
    house.site.give_repository({f"{PATH}/bad.yaml": bad, f"{PATH}/good.yaml": build_text("good")})
    asked = house.trainlet("runtimes", "--refresh")
    assert "good " in asked.stdout
    assert f"github://kubeflow/trainer/{PATH}/bad.yaml: " in asked.stderr
    job = house.write("job.yaml", dump(build_manifest("mine", runtime="good")))
    done = house.trainlet("validate", job)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_network_the_default_source_is_told_of_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trainlet")
    house.site.is_up = False
    follower = follow_sources(build_registry(house.settings()), house.settings())
    for _ in range(3):
        follower.look()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert caplog.messages[0].startswith("runtime source github://kubeflow/trainer: Remote end closed connection")
    house.site.is_up = True
    house.site.give_repository({f"{PATH}/torch.yaml": build_text()})
    follower.look()
    assert caplog.messages[1:] == ["runtime source github://kubeflow/trainer: it can be had again"]


def test_a_runtime_that_arrives_late_leaves_the_manifest_that_hides_it(house: House) -> None:
    registry = build_registry(house.settings())
    registry.apply(build_runtime(container={"image": "mine:1"}), Source("/jobs/mine.yaml", 0))
    take_offers(registry, [Offer("late", (File("late", build_text(image="late:1").encode()),))])
    assert find_image(registry.store.get(TORCH)) == "mine:1"
    registry.delete(TORCH)
    assert find_image(registry.store.get(TORCH)) == "late:1"


def test_the_settings_know_github_and_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRAINLET_GITHUB_API", "TRAINLET_GITHUB_RAW", "TRAINLET_GITHUB_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert get_github() == GitHub("https://api.github.com", "https://raw.githubusercontent.com", "")
    monkeypatch.setenv("GITHUB_TOKEN", "general")
    assert get_github().token == "general"
    monkeypatch.setenv("TRAINLET_GITHUB_TOKEN", "ours")
    monkeypatch.setenv("TRAINLET_GITHUB_API", "https://github.example.org/api/v3/")
    assert (get_github().token, get_github().api) == ("ours", "https://github.example.org/api/v3")


# What the verbs show


def test_runtimes_shows_where_each_is_from_and_how_old_its_copy_is(house: House) -> None:
    url = house.site.give("/own.yaml", build_text("own"))
    shown = house.trainlet("runtimes", "--runtime-source", url)
    header, *lines = shown.stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines}
    assert (shown.returncode, shown.stderr) == (0, "")
    assert header.split() == ["NAME", "KIND", "NAMESPACE", "FRAMEWORK", "SOURCE", "AGE"]
    assert rows["own"][:5] == ["own", "ClusterTrainingRuntime", "<none>", "<none>", url]
    assert rows["own"][5].endswith("s")
    assert len(rows["torch-distributed"]) == 5, "a file of this machine has no age"
    house.site.is_up = False
    again = house.trainlet("runtimes", "--runtime-source", url, "-o", "json")
    entry = next(each for each in json.loads(again.stdout) if each["name"] == "own")
    assert (entry["url"], entry["source"], bool(entry["checked"]), again.stderr) == (url, url, True, "")


def test_runtimes_says_which_sources_cannot_be_had(house: House) -> None:
    url = f"{house.site.root}/none.yaml"
    shown = house.trainlet("runtimes", "--runtime-source", url, "--runtime-source", "builtin")
    assert shown.returncode == 0
    assert shown.stderr == f"warning: runtime source {url}: the server answered 404 Not Found: check the URL\n"
    assert "torch-distributed " in shown.stdout


def test_refresh_asks_the_default_source_too(house: House) -> None:
    house.site.give_repository({f"{PATH}/own.yaml": build_text("own")})
    assert "own " not in house.trainlet("runtimes").stdout
    assert house.site.requests == []
    source = f"github://kubeflow/trainer/{PATH}/own.yaml"
    assert source in house.trainlet("runtimes", "--refresh").stdout
    assert source in house.trainlet("runtimes").stdout
    house.site.is_up = False
    assert "warning: runtime source github://kubeflow/trainer: " in house.trainlet("runtimes", "--refresh").stderr


@pytest.mark.parametrize("source", ["http://127.0.0.1/x.yaml", "ftp://x/y", "/no/such/file"])
def test_what_is_no_source_is_wrong_usage_everywhere(house: House, source: str) -> None:
    for verb in (["runtimes"], ["validate", "."]):
        done = house.trainlet(*verb, "--runtime-source", source)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"(--runtime-source {source}): " in done.stderr


def test_validate_finds_the_runtime_of_a_source(house: House) -> None:
    job = house.write("job.yaml", dump(build_manifest("mine", runtime="theirs")))
    assert house.trainlet("validate", job).returncode == 1
    url = house.site.give("/x.yaml", build_text("theirs"))
    done = house.trainlet("validate", "--runtime-source", url, job)
    assert (done.returncode, done.stderr) == (0, "")


# The operator

WORKER = {"image": "none:1", "command": [sys.executable, "-c", "print('hello')"]}


@contextmanager
def operating(house: House, *flags: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [*PROGRAM, "run", str(house.root / "jobs"), "--container-runtime", "process", *flags]
    path = house.root / "log"
    with path.open("wb") as log, running(command, env=house.environ, stdout=log, stderr=log) as operator:
        yield operator
        operator.send_signal(signal.SIGTERM)
        assert operator.wait(10) == 0, path.read_text()


def test_a_job_waits_for_the_runtime_of_the_default_source(house: House) -> None:
    runtime, gate = build_runtime("theirs", container=WORKER), threading.Event()
    house.site.give_repository({f"{PATH}/theirs.yaml": dump(runtime)})
    house.site.gate = gate
    house.write("jobs/job.yaml", dump(build_manifest("mine", runtime="theirs")))
    status = StatusDir(house.root / "jobs" / "status")

    def get_phase() -> str:
        job = status.read_job("default", "mine")
        return str(((job.report if job else None) or {}).get("status", {}).get("phase"))

    with operating(house):
        wait_for(lambda: get_phase() == "Rejected", "the operator to start without the network", 30)
        gate.set()
        wait_for(lambda: get_phase() == "Complete", "the job to end", 60)


def test_a_server_that_does_not_answer_does_not_keep_the_operator_from_its_end(house: House) -> None:
    house.site.gate = threading.Event()
    with operating(house):
        wait_for(lambda: house.site.requests, "the default source to be asked", 30)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    house.site.gate.set()
