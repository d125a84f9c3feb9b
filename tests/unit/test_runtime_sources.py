"""Runtime sources: what may be one, what the network and GitHub do to them, and the copies on disk."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_site import COMMIT, PATH, Reply, Site, build_text, make_authority, serving
from trainlet.documents.parse import MAX_BYTES
from trainlet.kube.errors import UsageError
from trainlet.runtime_sources.address import (
    GitHub,
    GitHubAddress,
    LocalAddress,
    SourceError,
    WebAddress,
    parse_address,
)
from trainlet.runtime_sources.copies import Copies, Copy, File
from trainlet.runtime_sources.follower import SourceFollower
from trainlet.runtime_sources.github import MOST_FILES, hash_blob
from trainlet.runtime_sources.offers import Asking, Offer, RuntimeSources
from trainlet.runtime_sources.web import Web
from waiting import wait_for

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
LATER = "d" * 40
TRAINER = "github://kubeflow/trainer"


# The world


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the tests' own authority, as a file."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def site(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with serving(authority) as site:
        yield site


@dataclass
class Shelf:
    """A directory of copies, a clock, and the sources of a site."""

    directory: Path
    site: Site
    token: str = ""
    time: datetime = NOW

    @property
    def copies(self) -> Copies:
        return Copies(self.directory)

    def open(self, *given: str, **options: bool) -> RuntimeSources:
        github = GitHub(f"{self.site.root}/api", f"{self.site.root}/raw", self.token)
        return RuntimeSources(given, self.copies, github, lambda: self.time, **options)

    def read(self, source: str, asking: Asking = Asking.WHEN_OLD, **options: bool) -> Offer:
        """Return what one source offers; what it asked the site for is then in the site's `requests`."""
        self.site.requests.clear()
        offer, built_in = self.open(source, **options).read(asking)
        assert (offer.source, built_in.source) == (source, "builtin")
        return offer


@pytest.fixture
def shelf(tmp_path: Path, site: Site) -> Shelf:
    return Shelf(tmp_path / "sources", site)


def list_names(offer: Offer) -> list[str]:
    return [file.name for file in offer.files]


# What may be a source

ADDRESSES = {
    "github://kubeflow/trainer": GitHubAddress("kubeflow", "trainer", PATH),
    "github://kubeflow/trainer/": GitHubAddress("kubeflow", "trainer", PATH),
    "github://my-org/my.repo/a/b": GitHubAddress("my-org", "my.repo", "a/b"),
    "github://o/r@v2.1": GitHubAddress("o", "r", PATH, "v2.1"),
    "github://o/r@v2.1/x.yaml": GitHubAddress("o", "r", "x.yaml", "v2.1"),
    "github://o/r@feature%2Fx/a%20b": GitHubAddress("o", "r", "a b", "feature/x"),
    "https://example.org/a.yaml?x=1": WebAddress("https://example.org/a.yaml?x=1"),
    "/": LocalAddress(Path("/")),
    "file:///": LocalAddress(Path("/")),
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=ADDRESSES)
def test_what_is_a_source(text: str, address: object) -> None:
    assert parse_address(text) == address


NO_SOURCES = {
    "http://example.org/a.yaml": "http:// is not taken",
    "ftp://example.org/a.yaml": "ftp:// is no source of runtimes",
    "https:///a.yaml": "the URL names no host",
    "https://me:secret@example.org/a.yaml": "a login in a URL is not used",
    "https://example.org:port/a.yaml": "Port could not be cast",
    "github://kubeflow": "that names no repository",
    "github://a/b/../../c": "a part of it is empty, . or ..",
    "github://a/../c": "a part of it is empty, . or ..",
    "github://a/b@..%2Fx": "a part of it is empty, . or ..",
    "github://a/b//c": "a part of it is empty, . or ..",
    "/no/such/file": "no such file or directory",
    "file:///no/such/file": "no such file or directory",
}


@pytest.mark.parametrize(("text", "what"), NO_SOURCES.items(), ids=NO_SOURCES)
def test_what_is_none_is_wrong_usage(text: str, what: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_address(text)
    assert str(refusal.value).startswith(what)
    assert f"(--runtime-source {text}): " in str(refusal.value)


def test_http_is_taken_from_who_asks_for_it() -> None:
    assert parse_address("http://example.org/a.yaml", allow_http=True) == WebAddress("http://example.org/a.yaml")


# The network

TROUBLES: dict[str, tuple[Reply, str]] = {
    "not found": (Reply(404), "the server answered 404 Not Found: check the URL"),
    "for others only": (Reply(401), "the server answered 401 Unauthorized: the server wants a login"),
    "a broken server": (Reply(503), "the server answered 503 Service Unavailable: it is asked again later"),
    "a page for people": (Reply(200, b"<html>hello"), "there is no runtime in it: give a source with a runtime"),
    "no YAML": (Reply(200, b"kind: TrainingRuntime\na: [\n"), " is not YAML: "),
    "no runtime": (Reply(200, b"kind: Pod\n"), "there is no runtime in it"),
    "too large": (Reply(200, b"#" * (MAX_BYTES + 1)), f"it has more than {MAX_BYTES} bytes"),
    "a part of it": (Reply(200, b"kind: Cl", length=90), "the connection ended after 8 of 90 bytes"),
    "a redirect to http": (Reply(302, headers={"Location": "http://127.0.0.1/x"}), "the server leads to http://"),
    "a redirect to a file": (Reply(302, headers={"Location": "file:///etc/passwd"}), "the server answered 302 "),
    "a redirect with a login": (Reply(302, headers={"Location": "https://a:b@127.0.0.1/"}), "that is no URL: a login"),
    "a circle": (Reply(302, headers={"Location": "/x.yaml"}), "the server answered 302 "),
}


@pytest.mark.parametrize(("reply", "what"), TROUBLES.values(), ids=TROUBLES)
def test_what_cannot_be_used_is_explained_and_replaces_no_copy(shelf: Shelf, reply: Reply, what: str) -> None:
    url = shelf.site.root + "/x.yaml"
    shelf.site.replies["/x.yaml"] = reply
    offer = shelf.read(url)
    assert (offer.files, offer.checked) == ((), None)
    assert what in offer.problem
    shelf.site.give("/x.yaml", build_text())
    good = shelf.read(url)
    shelf.site.replies["/x.yaml"] = reply
    shelf.time += timedelta(days=3)
    offer = shelf.read(url)
    assert (offer.files, offer.checked) == (good.files, NOW)
    assert offer.problem.endswith("; the copy of 2026-11-20T10:00:00Z is used, 72 hours old")


def test_redirects_are_followed_but_not_for_long(shelf: Shelf) -> None:
    for number in range(7):
        shelf.site.replies[f"/{number}"] = Reply(302, headers={"Location": f"/{number + 1}"})
    shelf.site.give("/7", build_text())
    assert shelf.read(f"{shelf.site.root}/2").problem == ""
    assert "302" in shelf.read(f"{shelf.site.root}/1").problem


def test_an_authority_that_nobody_knows_is_told_with_what_to_do(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = shelf.site.give("/x.yaml", build_text())
    assert shelf.read(url).problem == ""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    problem = shelf.read(url, Asking.ALWAYS).problem
    assert problem.startswith("the server's certificate is not trusted: ")
    assert "SSL_CERT_FILE" in problem


def test_a_name_that_cannot_be_resolved_is_told(shelf: Shelf) -> None:
    problem = shelf.read("https://host.invalid/x.yaml").problem
    assert problem.startswith("the name host.invalid cannot be resolved: check the network")


def test_a_source_ends_in_time(site: Site) -> None:
    url, ticks = site.give("/x.yaml", build_text()), iter((0.0, 50.0, 70.0))
    web = Web(clock=lambda: next(ticks))
    with pytest.raises(SourceError, match="the source takes too long"):
        web.get(url, {}, MAX_BYTES)


def test_http_works_for_who_takes_it_and_may_lead_to_https(shelf: Shelf) -> None:
    secure = shelf.site.give("/x.yaml", build_text())
    with serving(None) as plain:
        plain.replies["/x.yaml"] = Reply(302, headers={"Location": secure})
        plain.give("/y.yaml", build_text())
        for path in ("/x.yaml", "/y.yaml"):
            assert shelf.read(plain.root + path, allow_http=True).problem == ""
        shelf.site.replies["/back"] = Reply(302, headers={"Location": f"{plain.root}/y.yaml"})
        assert "leads to http://" in shelf.read(f"{shelf.site.root}/back", allow_http=True).problem


# GitHub

FILES = {
    f"{PATH}/torch.yaml": build_text(),
    f"{PATH}/torchtune/llama.yaml": build_text("llama"),
    f"{PATH}/kustomization.yaml": "resources: [torch.yaml]\n",
    f"{PATH}/README.md": "# TrainingRuntime",
}


def test_a_repository_without_a_path_gives_upstreams_runtimes(shelf: Shelf) -> None:
    shelf.site.give_repository(FILES)
    offer = shelf.read(TRAINER)
    assert offer.problem == ""
    assert list_names(offer) == [f"{TRAINER}/{PATH}/torch.yaml", f"{TRAINER}/{PATH}/torchtune/llama.yaml"]
    assert [file.data.decode() for file in offer.files] == [build_text(), build_text("llama")]
    assert shelf.site.paths == [
        "/api/repos/kubeflow/trainer/commits/HEAD",
        f"/api/repos/kubeflow/trainer/contents/manifests/base?ref={COMMIT}",
        f"/api/repos/kubeflow/trainer/git/trees/{'e' * 40}?recursive=1",
        f"/raw/kubeflow/trainer/{COMMIT}/{PATH}/torch.yaml",
        f"/raw/kubeflow/trainer/{COMMIT}/{PATH}/torchtune/llama.yaml",
    ]
    assert not [headers for _, headers in shelf.site.requests if "Authorization" in headers]


def test_a_path_may_be_one_file_and_a_ref_may_be_named(shelf: Shelf) -> None:
    shelf.site.give_repository({"own.yaml": build_text("own")}, name="my/repo")
    for source in ("github://my/repo/own.yaml", "github://my/repo@v2.1/own.yaml"):
        offer = shelf.read(source)
        assert (offer.problem, list_names(offer)) == ("", [source])


def test_a_file_may_be_given_by_the_name_that_is_shown(shelf: Shelf) -> None:
    shelf.site.give_repository(FILES)
    name = list_names(shelf.read(TRAINER))[0]
    parent = [{"name": "torch.yaml", "type": "file", "sha": hash_blob(build_text().encode())}]
    shelf.site.give(f"/api/repos/kubeflow/trainer/contents/{PATH}?ref={COMMIT}", json.dumps(parent))
    assert list_names(shelf.read(name)) == [name]


def test_an_unchanged_commit_is_one_request(shelf: Shelf) -> None:
    shelf.site.give_repository(FILES)
    first = shelf.read(TRAINER)
    shelf.time += timedelta(hours=25)
    second = shelf.read(TRAINER)
    assert (second.files, second.checked, len(shelf.site.requests)) == (first.files, shelf.time, 1)


def test_of_a_new_commit_only_what_changed_is_fetched(shelf: Shelf) -> None:
    shelf.site.give_repository(FILES)
    shelf.read(TRAINER)
    shelf.site.give_repository({**FILES, f"{PATH}/torch.yaml": build_text(image="image:2")}, LATER)
    offer = shelf.read(TRAINER, Asking.ALWAYS)
    assert b"image:2" in offer.files[0].data
    assert shelf.site.paths[3:] == [f"/raw/kubeflow/trainer/{LATER}/{PATH}/torch.yaml"]


def test_a_token_goes_to_the_api_alone_and_stays_there(shelf: Shelf, authority: Path) -> None:
    shelf.token = "very-secret"
    shelf.site.give_repository(FILES)
    with serving(authority) as elsewhere:
        path = f"/api/repos/kubeflow/trainer/contents/{PATH}/torch.yaml?ref={COMMIT}"
        url = elsewhere.give("/moved", build_text())
        shelf.site.replies[path] = Reply(302, headers={"Location": url})
        assert shelf.read(TRAINER).problem == ""
        assert [headers.get("Authorization") for _, headers in elsewhere.requests] == [None]
    sent = {path.split("/")[1] for path, headers in shelf.site.requests if "Authorization" in headers}
    assert sent == {"api"} == {path.split("/")[1] for path in shelf.site.paths}
    assert "very-secret" not in repr(GitHub(token="very-secret"))
    assert not [path for path in shelf.directory.iterdir() if b"very-secret" in path.read_bytes()]


LIMIT = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1763632800"}
REFUSALS: dict[str, tuple[Reply, str, str]] = {
    "the limit": (Reply(403, headers=LIMIT), "", "until 2025-11-20T10:00:00Z: wait until then, or set GITHUB_TOKEN"),
    "the limit of a token": (Reply(429, headers=LIMIT), "t", "until 2025-11-20T10:00:00Z: wait until then"),
    "a limit for ever": (Reply(403, headers={**LIMIT, "X-RateLimit-Reset": "9" * 40}), "", "answered 403 Forbidden"),
    "a pause": (Reply(403, headers={"Retry-After": "60"}), "t", "GitHub takes no more requests from here for 60 s"),
    "forbidden": (Reply(403), "t", "the server answered 403 Forbidden"),
    "a bad token": (Reply(401), "t", "GitHub does not take the token: correct GITHUB_TOKEN, or unset it"),
    "no repository": (Reply(404), "", "GitHub shows no kubeflow/trainer with that ref and path: correct it; if it is "),
    "no ref": (Reply(422), "", "GitHub knows no HEAD of kubeflow/trainer: correct the ref"),
    "no network": (Reply(502), "", "the server answered 502 Bad Gateway: it is asked again later"),
}


@pytest.mark.parametrize(("reply", "token", "what"), REFUSALS.values(), ids=REFUSALS)
def test_what_github_means_is_told(shelf: Shelf, reply: Reply, token: str, what: str) -> None:
    shelf.token = token
    shelf.site.replies["/api/repos/kubeflow/trainer/commits/HEAD"] = reply
    assert what in shelf.read(TRAINER).problem


def test_more_of_what_github_may_say(shelf: Shelf) -> None:
    api = "/api/repos/kubeflow/trainer"
    shelf.site.give_repository(FILES)
    shelf.site.give(f"/raw/kubeflow/trainer/{COMMIT}/{PATH}/torch.yaml", "something else")
    assert "the file is not what GitHub says it is" in shelf.read(TRAINER).problem
    many = [{"path": f"{n}.yaml", "type": "blob", "mode": "100644", "sha": "0" * 40} for n in range(MOST_FILES + 1)]
    shelf.site.give(f"{api}/git/trees/{'e' * 40}?recursive=1", json.dumps({"tree": many}))
    assert f"there are more than {MOST_FILES} manifests" in shelf.read(TRAINER).problem
    for page in ("<html>", "[1]", "{}", '{"tree": 1}', "[" * 100_000):
        shelf.site.give(f"{api}/contents/manifests/base?ref={COMMIT}", page)
        assert "GitHub's answer cannot be understood" in shelf.read(TRAINER).problem
    for entries in ([], [{"name": "runtimes", "type": "dir"}], [{"name": 1}]):
        shelf.site.give(f"{api}/contents/manifests/base?ref={COMMIT}", json.dumps(entries))
        assert shelf.read(TRAINER).problem.startswith(("there is no ", "GitHub shows no "))
    shelf.site.give(f"{api}/contents/manifests/base?ref={COMMIT}", "[]")
    assert f"there is no {PATH} in kubeflow/trainer" in shelf.read(TRAINER).problem
    shelf.site.give(f"{api}/commits/HEAD", "<html>Log in to this network")
    assert "GitHub's answer cannot be understood" in shelf.read(TRAINER).problem


def test_links_of_a_repository_are_not_followed(shelf: Shelf) -> None:
    shelf.site.give_repository(FILES)
    tree = [{"path": "link.yaml", "type": "blob", "mode": "120000", "sha": "0" * 40}]
    shelf.site.give(f"/api/repos/kubeflow/trainer/git/trees/{'e' * 40}?recursive=1", json.dumps({"tree": tree}))
    assert shelf.read(TRAINER).problem.startswith("there is no runtime in it")
    assert len(shelf.site.requests) == 3


# Copies

OLD, FUTURE = timedelta(hours=24), timedelta(seconds=-1)
#: How old the copy is, what is done to the page, what is asked, whether a request is made -> image, age of the copy.
CACHING: dict[str, tuple[timedelta, str, Asking, bool, str, bool]] = {
    "fresh": (timedelta(hours=23), "change", Asking.WHEN_OLD, False, "image:1", False),
    "fresh, but asked": (timedelta(hours=1), "change", Asking.ALWAYS, True, "image:2", True),
    "old and unchanged": (OLD, "keep", Asking.WHEN_OLD, True, "image:1", True),
    "old and changed": (OLD, "change", Asking.WHEN_OLD, True, "image:2", True),
    "old, but not to be asked": (OLD, "change", Asking.NEVER, False, "image:1", False),
    "from the future": (FUTURE, "change", Asking.WHEN_OLD, True, "image:2", True),
    "old and gone": (OLD, "remove", Asking.WHEN_OLD, True, "image:1", False),
}


@pytest.mark.parametrize("case", CACHING.values(), ids=CACHING)
def test_a_copy_is_used_for_a_day_and_then_only_as_the_server_says(
    shelf: Shelf, case: tuple[timedelta, str, Asking, bool, str, bool]
) -> None:
    age, change, asking, is_asked, image, is_new = case
    url = shelf.site.give("/x.yaml", build_text())
    assert shelf.read(url).checked == NOW
    shelf.time += age
    if change == "change":
        shelf.site.give("/x.yaml", build_text(image="image:2"))
    elif change == "remove":
        del shelf.site.replies["/x.yaml"]
    offer = shelf.read(url, asking)
    assert bool(shelf.site.requests) == is_asked
    assert image.encode() in offer.files[0].data
    assert offer.checked == (shelf.time if is_new else NOW)
    assert bool(offer.problem) == (change == "remove")
    if is_asked:
        assert "If-None-Match" in shelf.site.requests[0][1]


def test_without_a_network_a_copy_is_used_and_without_a_copy_the_source_is_named(shelf: Shelf) -> None:
    url = shelf.site.give("/x.yaml", build_text())
    assert shelf.read(url, Asking.NEVER) == Offer(url)
    shelf.site.is_up = False
    offer = shelf.read(url)
    assert (offer.files, offer.problem.partition(":")[0]) == ((), "Remote end closed connection without response")
    shelf.site.is_up = True
    files = shelf.read(url).files
    shelf.site.is_up, shelf.time = False, NOW + timedelta(days=2)
    offer = shelf.read(url)
    assert (offer.files, offer.checked) == (files, NOW)
    assert offer.problem.endswith("is used, 48 hours old")


def test_a_damaged_copy_is_fetched_again(shelf: Shelf) -> None:
    url = shelf.site.give("/x.yaml", build_text())
    good = shelf.read(url)
    [path] = shelf.directory.iterdir()
    text = path.read_text()
    damages = (text[: len(text) // 2], "", "[]", "{}", text.replace("image:1", "image:9"), text.replace("2026", "2027"))
    for damage in damages:
        path.write_text(damage)
        assert shelf.copies.find(url) is None
        assert shelf.read(url) == good
        assert "If-None-Match" not in shelf.site.requests[0][1]
    assert (shelf.directory.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_copy_that_cannot_be_kept_stops_nothing(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    shelf.directory.write_text("a file where the directory should be")
    url = shelf.site.give("/x.yaml", build_text())
    offer = shelf.read(url)
    assert (len(offer.files), offer.problem) == (1, "")
    assert "cannot keep a copy of runtime source" in caplog.text


@given(st.lists(st.tuples(st.text(), st.binary()), max_size=4), st.dictionaries(st.text(), st.text(), max_size=2))
def test_what_is_kept_is_found_whatever_it_is(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], conditions: dict[str, str]
) -> None:
    copies = Copies(tmp_path_factory.mktemp("copies"))
    copy = Copy(tuple(File(*each) for each in files), NOW, conditions)
    copies.keep("a", copy)
    assert (copies.find("a"), copies.find("b")) == (copy, None)


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from trainlet.runtime_sources.copies import Copies, Copy, File
copies = Copies(Path(sys.argv[1]))
for number in range(100):
    copies.keep("a", Copy((File(sys.argv[2], sys.argv[2].encode() * 50_000),), datetime.now(UTC), {}))
"""


def test_two_processes_never_see_half_a_copy(tmp_path: Path) -> None:
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "s"), name], env=environ) for name in "xy"
    ]
    copies, seen = Copies(tmp_path / "s"), []
    wait_for(lambda: copies.find("a"), "the first copy", 30)
    while not seen or any(writer.poll() is None for writer in writers):
        seen.append(copies.find("a"))
    assert [writer.returncode for writer in writers] == [0, 0]
    assert all(copy and copy.files[0].data == copy.files[0].name.encode() * 50_000 for copy in seen)
    assert [path.suffix for path in (tmp_path / "s").iterdir()] == [".json"]


# Following


def test_a_source_that_changes_gives_the_new_runtime_and_one_that_breaks_keeps_the_old(shelf: Shelf) -> None:
    url, taken = shelf.site.give("/x.yaml", build_text()), []
    follower = SourceFollower(shelf.open(url), taken.append, level=logging.WARNING, first_seconds=0.0)
    follower.look()
    follower.look()
    shelf.time += timedelta(days=1)
    shelf.site.give("/x.yaml", build_text(image="image:2"))
    follower.look()
    shelf.time += timedelta(days=1)
    shelf.site.give("/x.yaml", "nothing")
    follower.look()
    assert [b"image:2" in offers[0].files[0].data for offers in taken] == [False, True]
