"""The program that fetches data sets and models: as a process, against a real server with TLS and hostile archives."""

import ast
import gzip
import hashlib
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

import trainlet.initializer
from trainlet.initializer.content import Content
from trainlet.initializer.fetch import main
from trainlet.initializer.messages import FetchError, show_bytes
from trainlet.initializer.place import Place
from trainlet.initializer.program import build_program
from trainlet.initializer.unpack import unpack
from waiting import wait_for

PYTHON = sys.executable
BODY = bytes(range(256)) * 4000
TIMEOUT_SECONDS = 60.0


# The world: an authority, a server, the program


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and a server's certificate from it; both as files."""

    certificate: Path
    server: Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    directory = tmp_path_factory.mktemp("authority")
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = sign("authority", root_key, "authority", root_key, is_authority=True)
    leaf = sign("localhost", key, "authority", root_key, is_authority=False)
    pem, raw = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "root.pem").write_bytes(root.public_bytes(pem))
    secret = key.private_bytes(pem, raw, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(secret + leaf.public_bytes(pem))
    return Authority(directory / "root.pem", directory / "server.pem")


def sign(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> x509.Certificate:
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
    now = datetime.now(UTC)
    usage = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "key_encipherment"), False)
    signs = {"key_cert_sign": is_authority, "crl_sign": is_authority, "encipher_only": False, "decipher_only": False}
    return (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        # Python takes no certificate without these from 3.13 on.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage, **signs), critical=True)
        .sign(by, hashes.SHA256())
    )


@dataclass
class Answer:
    """What the server says once, in the place of the page; a body shorter than `length` ends in the middle."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    gate: threading.Event | None = None


@dataclass
class Site:
    """A server's pages by path, the answers it gives before them, and the requests it got."""

    pages: dict[str, bytes] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    has_validators: bool = True
    port: int = 0

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        site.requests.append((self.path, dict(self.headers.items())))
        answer = site.answers.pop(0) if site.answers else self.build_answer(site)
        site.statuses.append(answer.status)
        self.close_connection = True
        with suppress(OSError):
            self.give(answer)

    def build_answer(self, site: Site) -> Answer:
        body = site.pages.get(self.path.partition("?")[0])
        if body is None:
            return Answer(404)
        headers = {"ETag": build_etag(body)} if site.has_validators else {}
        if self.headers.get("If-None-Match") == headers.get("ETag", "none"):
            return Answer(304, headers=headers)
        wanted = self.headers.get("Range")
        if wanted is None or self.headers.get("If-Range") != headers.get("ETag"):
            return Answer(200, body, headers)
        first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if first >= len(body):
            return Answer(416, headers={"Content-Range": f"bytes */{len(body)}"})
        part = f"bytes {first}-{len(body) - 1}/{len(body)}"
        return Answer(206, body[first:], {**headers, "Content-Range": part})

    def give(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()
        if answer.gate is not None:
            answer.gate.wait(TIMEOUT_SECONDS)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes many at once, and lets each make its handshake in a thread of its own."""

    request_queue_size = 64

    def __init__(self, site: Site, context: ssl.SSLContext) -> None:
        self.site, self.context = site, context
        super().__init__(("127.0.0.1", 0), Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


@contextmanager
def serving(site: Site, authority: Authority) -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    with Server(site, context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        site.port = server.server_port
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site(authority: Authority) -> Iterator[Site]:
    with serving(Site({"/data.bin": BODY}), authority) as site:
        yield site


def build_etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:12]}"'


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "fetch.pyz"
    path.write_bytes(build_program())
    return path


class Bench:
    """One workspace and one cache, in which the program is started."""

    def __init__(self, root: Path, program: Path, certificate: Path) -> None:
        self.root, self._program, self.certificate = root, program, certificate
        self.cache, self.target = root / "cache", root / "workspace" / "dataset"
        self.target.parent.mkdir()

    def start(self, source: str, *options: str, target: Path | None = None) -> "subprocess.Popen[str]":
        where = str(target or self.target)
        return subprocess.Popen(
            [PYTHON, "-I", "-S", "-W", "error", str(self._program), source, where, "--backoff", "0.01", *options],
            env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(self.certificate)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, source: str, *options: str, target: Path | None = None) -> tuple[int, str]:
        """Run inside of this process, which saves most of the time; return the status and all that is printed."""
        output, umask = io.StringIO(), os.umask(0)
        os.umask(umask)
        try:
            with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
                patch.setenv("SSL_CERT_FILE", str(self.certificate))
                for name in ("http_proxy", "https_proxy", "all_proxy"):
                    patch.delenv(name, raising=False)
                    patch.delenv(name.upper(), raising=False)
                code = main([source, str(target or self.target), "--backoff", "0.01", *options])
        finally:
            os.umask(umask)
        return code, output.getvalue()

    def fetch(self, source: str, *options: str, target: Path | None = None) -> str:
        """Run with the cache, and well."""
        code, output = self.run(source, "--cache", str(self.cache), *options, target=target)
        assert code == 0, output
        return output

    def refuse(self, source: str, *options: str) -> str:
        """Run with the cache, and badly; return the error, which is one line."""
        code, output = self.run(source, "--cache", str(self.cache), *options)
        *_, last = output.splitlines()
        assert (code, last.startswith("error: ")) == (1, True), output
        assert "Traceback" not in output
        return last

    def another(self, name: str) -> Path:
        return self.root / name / "dataset"

    def read(self, target: Path | None = None) -> dict[str, bytes]:
        """Return all files that were fetched but the marker."""
        root = target or self.target
        files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        assert files.pop(".trainlet-source")
        return files


@pytest.fixture
def bench(tmp_path: Path, program: Path, authority: Authority) -> Bench:
    return Bench(tmp_path, program, authority.certificate)


# The program itself


MODULES = sorted(Path(trainlet.initializer.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_module_is_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_the_program_is_the_same_each_time_and_holds_nothing_of_the_operator() -> None:
    assert build_program() == build_program()
    with zipfile.ZipFile(io.BytesIO(build_program())) as archive:
        names = set(archive.namelist())
        text = b"".join(archive.read(name) for name in names)
    assert names == {"__main__.py"} | {f"initializer/{path.name}" for path in MODULES if path.name != "program.py"}
    assert b"import trainlet" not in text
    assert b"from trainlet" not in text


def test_a_size_is_written_as_people_read_it() -> None:
    assert [show_bytes(size) for size in (0, 1023, 1024, 1536 << 10, 1 << 30, 5 << 40, 5 << 50)] == [
        *("0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "1.0 GiB", "5.0 TiB", "5120.0 TiB")
    ]


def test_the_packed_program_runs_without_anything_else(bench: Bench) -> None:
    with bench.start("file:///no/such/file") as program:
        output, _ = program.communicate(timeout=TIMEOUT_SECONDS)
    assert (program.returncode, output.count("\n")) == (1, 1), output
    assert output.startswith("error: there is no such file or directory (file:///no/such/file): ")


# Over the network


def test_a_file_is_fetched_under_its_name(site: Site, bench: Bench) -> None:
    output = bench.fetch(site.url("/data.bin"))
    digest = hashlib.sha256(BODY).hexdigest()
    assert bench.read() == {"data.bin": BODY}
    assert output == f"fetched {site.url('/data.bin')}: 1 file, 1000.0 KiB in {bench.target} (sha256-{digest})\n"
    assert [path.name for path in bench.target.parent.iterdir()] == ["dataset"]
    assert (bench.cache / "blobs" / f"sha256-{digest}").read_bytes() == BODY


def test_a_finished_target_is_found_without_asking(site: Site, bench: Bench) -> None:
    bench.fetch(site.url("/data.bin"))
    inode = bench.target.stat().st_ino
    assert "already" in bench.fetch(site.url("/data.bin"))
    assert len(site.requests) == 1
    assert bench.target.stat().st_ino == inode


def test_without_a_cache_it_is_fetched_all_the_same(site: Site, bench: Bench) -> None:
    assert bench.run(site.url("/data.bin"))[0] == 0
    assert bench.read() == {"data.bin": BODY}
    assert [path.name for path in bench.target.parent.iterdir()] == ["dataset"]


def test_a_cache_that_cannot_be_written_is_done_without(site: Site, bench: Bench) -> None:
    bench.cache.write_text("no directory")
    assert "warning: the cache cannot be used" in bench.fetch(site.url("/data.bin"))
    assert bench.read() == {"data.bin": BODY}


def test_what_is_in_the_cache_is_asked_for_again_and_not_sent_again(site: Site, bench: Bench) -> None:
    bench.fetch(site.url("/data.bin"))
    bench.fetch(site.url("/data.bin"), target=bench.another("second"))
    assert site.statuses == [200, 304]
    assert site.requests[1][1]["If-None-Match"] == build_etag(BODY)
    assert bench.read(bench.another("second")) == {"data.bin": BODY}


def test_a_date_is_a_validator_too(site: Site, bench: Bench) -> None:
    date = "Mon, 02 Mar 2026 10:00:00 GMT"
    site.answers += [Answer(200, BODY, {"Last-Modified": date}), Answer(304)]
    bench.fetch(site.url("/data.bin"))
    bench.fetch(site.url("/data.bin"), target=bench.another("second"))
    assert site.requests[1][1]["If-Modified-Since"] == date
    assert bench.read(bench.another("second")) == {"data.bin": BODY}


def test_what_changed_is_fetched_anew(site: Site, bench: Bench) -> None:
    bench.fetch(site.url("/data.bin"))
    site.pages["/data.bin"] = b"new"
    bench.fetch(site.url("/data.bin"), target=bench.another("second"))
    assert bench.read(bench.another("second")) == {"data.bin": b"new"}


def test_a_damaged_copy_is_not_used(site: Site, bench: Bench) -> None:
    bench.fetch(site.url("/data.bin"))
    (blob,) = (bench.cache / "blobs").iterdir()
    blob.write_bytes(BODY[:-1] + b"x")
    assert "is damaged" in bench.fetch(site.url("/data.bin"), target=bench.another("second"))
    assert bench.read(bench.another("second")) == {"data.bin": BODY}
    assert site.statuses == [200, 200]


def test_offline_the_copy_is_used(bench: Bench, authority: Authority) -> None:
    with serving(Site({"/data.bin": BODY}), authority) as site:
        bench.fetch(site.url("/data.bin"))
    output = bench.fetch(site.url("/data.bin"), target=bench.another("second"))
    assert [line for line in output.splitlines() if line.startswith("warning:")] == [
        f"warning: {site.url('/data.bin')} cannot be reached ([Errno 111] Connection refused): "
        "what was fetched before is used"
    ]
    assert bench.read(bench.another("second")) == {"data.bin": BODY}


def test_offline_without_a_copy_it_is_told_after_five_tries(bench: Bench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        code, output = bench.run(f"https://127.0.0.1:{unused.getsockname()[1]}/data.bin")
    assert code == 1
    assert output.count("trying again") == 4
    assert "check the network, the proxy and the server" in output.splitlines()[-1]


@pytest.mark.parametrize("has_validators", [True, False])
def test_ten_at_once_download_once(site: Site, bench: Bench, has_validators: bool) -> None:
    site.has_validators = has_validators
    headers = {"ETag": build_etag(BODY)} if has_validators else {}
    gate = threading.Event()
    # The answer ends when nine wait for it, so that each of them has begun before.
    site.answers.append(Answer(200, BODY[:1], headers, length=len(BODY), gate=gate))
    url, targets = site.url("/data.bin"), [bench.another(f"job-{number}") for number in range(10)]
    programs = [bench.start(url, "--cache", str(bench.cache), target=target) for target in targets]
    try:
        waiting = threading.Semaphore(0)
        outputs: list[str] = []

        def read(program: "subprocess.Popen[str]") -> None:
            assert program.stdout is not None
            lines = []
            for line in program.stdout:
                lines.append(line)
                if "waiting for it" in line:
                    waiting.release()
            outputs.append("".join(lines))

        threads = [threading.Thread(target=read, args=(program,)) for program in programs]
        for thread in threads:
            thread.start()
        assert all(waiting.acquire(timeout=TIMEOUT_SECONDS) for _ in range(9))
        gate.set()
        assert [program.wait(TIMEOUT_SECONDS) for program in programs] == [0] * 10
        for thread in threads:
            thread.join()
    finally:
        gate.set()
        for program in programs:
            program.kill()
            program.wait()
            assert program.stdout is not None
            program.stdout.close()
    assert all(bench.read(target) == {"data.bin": BODY} for target in targets)
    # The first was cut off after its first byte, and asked for the rest.
    assert site.statuses == [200, 206 if has_validators else 200]


def test_who_trusts_other_authorities_does_not_fetch_for_the_rest(site: Site, bench: Bench) -> None:
    bench.fetch(site.url("/data.bin"))
    more = bench.root / "more.pem"
    more.write_bytes(bench.certificate.read_bytes() * 2)
    bench.certificate = more
    bench.fetch(site.url("/data.bin"), target=bench.another("second"))
    assert site.statuses == [200, 200]


RETRIED = {
    "a broken server": [Answer(500), Answer(502), Answer(503), Answer(504)],
    "one that is asked too often": [Answer(429, headers={"Retry-After": "0"}), Answer(429)],
    "a body that ends early": [Answer(200, BODY[:1000], length=len(BODY))],
    "another part than was asked for": [
        Answer(200, BODY[:1000], {"ETag": '"x"'}, length=len(BODY)),
        Answer(206, BODY[500:], {"Content-Range": f"bytes 500-{len(BODY) - 1}/{len(BODY)}"}),
    ],
    "a part that is not there": [
        Answer(200, BODY[:1000], {"ETag": '"x"'}, length=len(BODY)),
        Answer(416, headers={"Content-Range": "bytes */10"}),
    ],
}


@pytest.mark.parametrize("answers", RETRIED.values(), ids=RETRIED)
def test_what_may_pass_is_tried_again(site: Site, bench: Bench, answers: list[Answer]) -> None:
    site.answers += answers
    output = bench.fetch(site.url("/data.bin"))
    assert output.count("trying again") == len(answers)
    assert bench.read() == {"data.bin": BODY}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(503), "the server answered 503 Service Unavailable"),
        (Answer(200, BODY[:1000], length=len(BODY)), f"the connection ended after 1000 of {len(BODY)} bytes"),
    ],
    ids=["busy", "truncated"],
)
def test_five_tries_are_all(site: Site, bench: Bench, answer: Answer, words: str) -> None:
    site.answers += [answer] * 9
    assert words in bench.refuse(site.url("/data.bin"))
    assert len(site.requests) == 5
    assert not bench.target.exists()
    assert list((bench.cache / "blobs").iterdir()) == []


def test_the_rest_of_a_download_is_asked_for(site: Site, bench: Bench) -> None:
    etag = build_etag(BODY)
    site.answers.append(Answer(200, BODY[:1000], {"ETag": etag}, length=len(BODY)))
    bench.fetch(site.url("/data.bin"))
    headers = site.requests[1][1]
    assert (headers["Range"], headers["If-Range"]) == ("bytes=1000-", etag)
    assert site.statuses == [200, 206]
    assert bench.read() == {"data.bin": BODY}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": 'W/"weak"'},
        {"Last-Modified": "Mon, 02 Mar 2026 10:00:00 GMT", "Date": "Mon, 02 Mar 2026 10:00:00 GMT"},
    ],
    ids=["no validator", "a weak one", "a date in whose second it may have changed again"],
)
def test_without_a_strong_validator_it_begins_anew(site: Site, bench: Bench, headers: dict[str, str]) -> None:
    site.answers.append(Answer(200, BODY[:1000], headers, length=len(BODY)))
    bench.fetch(site.url("/data.bin"))
    assert "Range" not in site.requests[1][1]
    assert bench.read() == {"data.bin": BODY}


def test_a_date_that_is_past_is_a_strong_validator(site: Site, bench: Bench) -> None:
    modified = "Mon, 02 Mar 2026 10:00:00 GMT"
    headers = {"Last-Modified": modified, "Date": "Mon, 02 Mar 2026 10:00:05 GMT"}
    site.answers.append(Answer(200, BODY[:1000], headers, length=len(BODY)))
    bench.fetch(site.url("/data.bin"))
    assert site.requests[1][1]["If-Range"] == modified
    assert bench.read() == {"data.bin": BODY}


def test_a_rest_of_something_else_is_not_put_to_the_beginning(site: Site, bench: Bench) -> None:
    site.answers.append(Answer(200, b"old" * 99, {"ETag": '"old"'}, length=len(BODY)))
    bench.fetch(site.url("/data.bin"))
    assert "Range" in site.requests[1][1]
    assert bench.read() == {"data.bin": BODY}


def test_killed_in_the_middle_of_a_download_it_goes_on_there(site: Site, bench: Bench) -> None:
    gate = threading.Event()
    half = len(BODY) // 2
    site.answers.append(Answer(200, BODY[:half], {"ETag": build_etag(BODY)}, length=len(BODY), gate=gate))
    with bench.start(site.url("/data.bin"), "--cache", str(bench.cache)) as program:
        try:
            parts = bench.cache / "parts"
            wait_for(lambda: any(path.stat().st_size > 1000 for path in parts.glob("*")), "a part", TIMEOUT_SECONDS)
        finally:
            program.kill()
            gate.set()
    assert not bench.target.exists()
    bench.fetch(site.url("/data.bin"))
    assert site.statuses == [200, 206]
    assert bench.read() == {"data.bin": BODY}
    assert [path.name for path in bench.target.parent.iterdir()] == ["dataset"]


def test_killed_after_the_last_byte_it_does_not_fetch_it_again(site: Site, bench: Bench) -> None:
    site.answers += [Answer(200, BODY[:1000], {"ETag": build_etag(BODY)}, length=len(BODY)), *[Answer(404)] * 1]
    bench.refuse(site.url("/data.bin"))
    (part,) = (path for path in (bench.cache / "parts").iterdir() if path.suffix == "")
    part.write_bytes(BODY)
    bench.fetch(site.url("/data.bin"))
    assert site.statuses == [200, 404, 416]
    assert bench.read() == {"data.bin": BODY}
    bench.fetch(site.url("/data.bin"), target=bench.another("second"))
    assert site.statuses[-1] == 304


def test_killed_in_the_middle_of_writing_it_begins_clean(bench: Bench) -> None:
    source = bench.root / "large"
    with source.open("wb") as file:
        file.truncate(256 << 20)
    with bench.start(source.as_uri(), "--progress", "0") as program:
        assert program.stdout is not None
        assert "written" in program.stdout.readline()
        program.kill()
    assert program.returncode == -9
    assert not bench.target.exists()
    (bench.target.parent / ".dataset.fetch" / "content" / "left").write_text("of the first try")
    source.write_bytes(b"small")
    assert bench.run(source.as_uri())[0] == 0
    assert bench.read() == {"large": b"small"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Site, bench: Bench, status: int) -> None:
    site.answers.append(Answer(status, headers={"Location": "/data.bin?signed=1"}))
    bench.fetch(site.url("/dataset.csv"))
    assert bench.read() == {"dataset.csv": BODY}


ELSEWHERE = {
    "http": ("http://127.0.0.1:1/data.bin", "http:// is not fetched"),
    "ftp": ("ftp://127.0.0.1/data.bin", "ftp:// is not fetched"),
    "a file": ("file:///etc/hostname", "file"),
    "a login": ("https://user:secret@127.0.0.1/", "a login in a URL is not used"),
}


@pytest.mark.parametrize(("location", "words"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_redirects_to_elsewhere_are_not_followed(site: Site, bench: Bench, location: str, words: str) -> None:
    site.answers.append(Answer(302, headers={"Location": location}))
    error = bench.refuse(site.url("/data.bin"))
    assert words in error
    assert "secret" not in error
    assert not bench.target.exists()


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "use a URL that needs none"), (403, "who may read it"), (404, "check the URL")]
)
def test_an_answer_that_will_not_change_is_told_at_once(site: Site, bench: Bench, status: int, remedy: str) -> None:
    site.answers.append(Answer(status))
    error = bench.refuse(site.url("/data.bin?token=secret"))
    assert f"the server answered {status}" in error
    assert error.endswith(remedy)
    assert "secret" not in error
    assert len(site.requests) == 1


def test_a_server_that_nobody_vouches_for_is_not_believed(site: Site, bench: Bench) -> None:
    bench.certificate = bench.root / "none.pem"
    error = bench.refuse(site.url("/data.bin"))
    assert "certificate is not trusted" in error
    assert "SSL_CERT_FILE" in error
    assert site.requests == []


def test_a_secret_in_a_url_is_not_written_down(site: Site, bench: Bench) -> None:
    output = bench.fetch(site.url("/data.bin?token=hunter2"))
    assert "hunter2" not in output
    written = [path.read_bytes() for path in bench.root.rglob("*") if path.is_file()]
    assert not any(b"hunter2" in text for text in written)


def test_progress_is_told(site: Site, bench: Bench) -> None:
    output = bench.fetch(site.url("/data.bin"), "--progress", "0")
    assert f"fetched of {site.url('/data.bin')}: 1000.0 KiB of 1000.0 KiB\n" in output


def test_a_download_has_a_largest_size(site: Site, bench: Bench) -> None:
    assert "larger than 1000 bytes" in bench.refuse(site.url("/data.bin"), "--max-bytes", "1000")


BAD_SOURCES = {
    "http": ("http://127.0.0.1/data", "http:// is not fetched"),
    "upstream's": ("hf://org/name", "hf:// is not fetched"),
    "no scheme": ("/data", "the source has no scheme"),
    "no host": ("https:///data", "names no host"),
    "a bad port": ("https://h:x/data", "that is no URL"),
    "half an address": ("https://[::1/data", "that is no URI"),
    "another machine's file": ("file://data/mnist", "that is no absolute path of this machine"),
    "a relative file": ("file:data", "that is no absolute path of this machine"),
    "a question": ("file:///data?x", "%3F"),
    "Zstandard": ("https://127.0.0.1/data.tar.zst", "Zstandard archives cannot be unpacked"),
    "no such file": ("file:///no/such/file", "there is no such file or directory"),
}


@pytest.mark.parametrize(("source", "words"), BAD_SOURCES.values(), ids=BAD_SOURCES)
def test_what_is_not_fetched(bench: Bench, source: str, words: str) -> None:
    assert words in bench.refuse(source)
    assert not bench.target.exists()


# Files and directories


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "a tree"
    (root / "train").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "train" / "1.bin").write_bytes(b"one")
    (root / "train" / "x.log").write_bytes(b"log")
    (root / "run.sh").write_bytes(b"#!")
    (root / "run.sh").chmod(0o700)
    (root / "train" / "link").symlink_to("../run.sh")
    return root


def test_a_directory_is_copied(bench: Bench, tree: Path) -> None:
    bench.fetch(tree.as_uri())
    assert bench.read() == {"train/1.bin": b"one", "train/x.log": b"log", "run.sh": b"#!", "train/link": b"#!"}
    assert (bench.target / "empty").is_dir()
    assert os.readlink(bench.target / "train" / "link") == "../run.sh"  # noqa: PTH115
    assert oct((bench.target / "run.sh").stat().st_mode & 0o777) == "0o755"
    assert oct((bench.target / "train" / "1.bin").stat().st_mode & 0o777) == "0o644"


def test_a_source_is_looked_for_where_it_is_seen(bench: Bench, tree: Path) -> None:
    bench.fetch("file:///data/mnist.bin", "--at", str(tree / "train" / "1.bin"))
    assert bench.read() == {"mnist.bin": b"one"}
    assert json.loads((bench.target / ".trainlet-source").read_text())["source"] == "file:///data/mnist.bin"


def test_what_is_no_file_and_what_leads_out_is_left_out(bench: Bench, tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "out").symlink_to(bench.root)
    (tree / "up").symlink_to("../..")
    (tree / "nowhere").symlink_to("nothing")
    (tree / "self").symlink_to("self")
    output = bench.fetch(tree.as_uri(), "--ignore", "train/*")
    assert set(bench.read()) == {"run.sh"}
    left = [line.split('"')[1] for line in output.splitlines() if line.startswith("warning:")]
    assert set(left) == {"pipe", "out", "up", "nowhere", "self"}


def test_a_directory_that_was_fetched_before_is_a_source_like_any_other(bench: Bench, tree: Path) -> None:
    bench.fetch(tree.as_uri())
    assert ": 3 files" in bench.fetch(bench.target.as_uri(), target=bench.another("second"))
    assert bench.read(bench.another("second")) == bench.read()


PATTERNS = {
    "nothing": ("", {"a.log", "b.txt", "logs/a.log", "logs/deep/b.txt"}),
    "an ending, however deep": ("*.log", {"b.txt", "logs/deep/b.txt"}),
    "several": (" *.log , b.txt", {"logs/deep/b.txt"}),
    "a directory": ("logs/", {"a.log", "b.txt"}),
    "all": ("*", set()),
    "one": ("logs/deep/b.txt,", {"a.log", "b.txt", "logs/a.log"}),
}


@pytest.mark.parametrize("is_archive", [False, True], ids=["directory", "archive"])
@pytest.mark.parametrize(("patterns", "left"), PATTERNS.values(), ids=PATTERNS)
def test_patterns_are_left_out(bench: Bench, patterns: str, left: set[str], is_archive: bool) -> None:
    source = bench.root / "source"
    for name in ("a.log", "b.txt", "logs/a.log", "logs/deep/b.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    if is_archive:
        with tarfile.open(bench.root / "source.tar", "w") as archive:
            archive.add(source, ".")
        source = bench.root / "source.tar"
    bench.fetch(source.as_uri(), "--ignore", patterns)
    assert set(bench.read()) == left


# TARGET


def test_somebody_elses_files_are_not_touched(bench: Bench, tree: Path) -> None:
    bench.target.mkdir()
    (bench.target / "mine").write_text("precious")
    assert "the target holds files that were not fetched" in bench.refuse(tree.as_uri())
    assert (bench.target / "mine").read_text() == "precious"


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to(path.parent)], ids=["file", "link"])
def test_a_target_must_be_a_directory(bench: Bench, tree: Path, make: Callable[[Path], None]) -> None:
    make(bench.target)
    assert "the target is no directory" in bench.refuse(tree.as_uri())


def test_a_target_that_cannot_be_made_is_told(bench: Bench, tree: Path) -> None:
    bench.target.parent.rmdir()
    bench.target.parent.touch()
    assert str(bench.target.parent) in bench.refuse(tree.as_uri())


def test_an_empty_target_is_filled_and_another_source_takes_its_place(bench: Bench, tree: Path) -> None:
    bench.target.mkdir()
    bench.fetch(tree.as_uri())
    bench.fetch((tree / "run.sh").as_uri())
    assert bench.read() == {"run.sh": b"#!"}
    bench.fetch(tree.as_uri(), "--ignore", "*.log")
    assert set(bench.read()) == {"train/1.bin", "run.sh", "train/link"}
    assert [path.name for path in bench.target.parent.iterdir()] == ["dataset"]


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A target that is a mount, to which nothing can be renamed from outside."""
    target = tmp_path / "dataset"
    target.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    return target


def test_a_target_that_is_a_mount_is_filled_from_inside(mounted: Path) -> None:
    for number in ("1", "2"):
        place = Place(mounted)
        assert place.find_digest(number) is None
        place.prepare()
        (place.content / number).mkdir()
        place.publish({"key": number, "digest": "d"})
        place.clean()
        assert {path.name for path in mounted.iterdir()} == {number, ".trainlet-source"}
        assert Place(mounted).find_digest(number) == "d"


def test_a_mount_that_was_half_filled_is_filled_anew(mounted: Path) -> None:
    place = Place(mounted)
    place.prepare()
    (place.work / "moving").touch()
    (mounted / "moved").touch()
    (mounted / ".trainlet-source").write_text('{"key": "1", "digest": "d"}')
    assert place.find_digest("1") is None
    place.prepare()
    place.publish({"key": "1", "digest": "d"})
    place.clean()
    assert {path.name for path in mounted.iterdir()} == {".trainlet-source"}


# Archives


Entry = tuple[str, str, bytes]
FILE, DIRECTORY, LINK, COPY, DEVICE = "file", "directory", "link", "copy", "device"
TAR_TYPES = {
    FILE: tarfile.REGTYPE,
    DIRECTORY: tarfile.DIRTYPE,
    LINK: tarfile.SYMTYPE,
    COPY: tarfile.LNKTYPE,
    DEVICE: tarfile.CHRTYPE,
}
ZIP_MODES = {FILE: 0o100755, DIRECTORY: 0o040755, LINK: 0o120777, DEVICE: 0o020644}


def pack_tar(*entries: Entry, mode: str = "w", form: int = tarfile.GNU_FORMAT) -> bytes:
    """Return an archive of entries (kind, name, content or link)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for kind, name, content in entries:
            member = tarfile.TarInfo(name)
            member.type, member.mode = TAR_TYPES[kind], 0o755
            if kind in (LINK, COPY):
                member.linkname = content.decode()
            member.size = len(content) if kind == FILE else 0
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def pack_zip(*entries: Entry) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, name, content in entries:
            member = zipfile.ZipInfo(f"{name}/" if kind == DIRECTORY else name)
            member.create_system, member.external_attr = 3, ZIP_MODES[kind] << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


GOOD = (
    (DIRECTORY, "set/empty", b""),
    (FILE, "./set/1.bin", b"one"),
    (FILE, "set//long" + "x" * 120, b"long"),
    (LINK, "set/link", b"./1.bin"),
    (LINK, "directory", b"set"),
    (FILE, "set/1.bin", b"one, again"),
)
PACKED = {
    "data.tar": pack_tar(*GOOD),
    "data.TAR.GZ": pack_tar(*GOOD, mode="w:gz"),
    "data.tgz": pack_tar(*GOOD, mode="w:gz", form=tarfile.PAX_FORMAT),
    "data.tar.bz2": pack_tar(*GOOD, mode="w:bz2"),
    "data.tar.xz": pack_tar(*GOOD, mode="w:xz"),
    "data.zip": pack_zip(*GOOD[:5]),
}


@pytest.mark.parametrize("name", PACKED)
def test_archives_are_unpacked(bench: Bench, site: Site, name: str) -> None:
    site.pages[f"/{name}"] = PACKED[name]
    bench.fetch(site.url(f"/{name}"))
    one = b"one" if name == "data.zip" else b"one, again"
    inside = {"1.bin": one, "link": one, "long" + "x" * 120: b"long"}
    assert bench.read() == {f"set/{key}": content for key, content in inside.items()}
    assert (bench.target / "directory" / "empty").is_dir()
    assert os.access(bench.target / "set" / "1.bin", os.X_OK)


def test_what_an_archive_calls_a_hard_link_is_a_copy(bench: Bench) -> None:
    source = bench.root / "data.tar"
    source.write_bytes(pack_tar((FILE, "a", b"one"), (COPY, "d/b", b"a"), (COPY, "a", b"a"), (COPY, "c", b"./a")))
    bench.fetch(source.as_uri())
    assert bench.read() == {"a": b"one", "d/b": b"one", "c": b"one"}


def test_other_packed_files_are_left_packed(bench: Bench) -> None:
    source = bench.root / "labels.gz"
    source.write_bytes(gzip.compress(b"labels"))
    bench.fetch(source.as_uri())
    assert gzip.decompress(bench.read()["labels.gz"]) == b"labels"


def build_header(**fields: Any) -> bytes:
    member = tarfile.TarInfo("x")
    for name, value in fields.items():
        setattr(member, name, value)
    return member.tobuf(tarfile.GNU_FORMAT)


def encrypt(packed: bytes) -> bytes:
    """Set the flag of encryption in both headers of the only member."""
    changed, central = bytearray(packed), packed.index(b"PK\1\2")
    changed[6] |= 1
    changed[central + 8] |= 1
    return bytes(changed)


def flip(packed: bytes, place: int) -> bytes:
    return packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :]


OUT, DAMAGED, LARGE = "leads out", "the archive is damaged", "larger than is taken of one of its size"
PLAIN = pack_tar((FILE, "a", b"1" * 600), (FILE, "b", b"2" * 600))
HOSTILE = {
    "up": ("tar", pack_tar((FILE, "../evil", b"")), OUT),
    "up on a detour": ("tar", pack_tar((FILE, "a/../../evil", b"")), OUT),
    "up within": ("tar", pack_tar((FILE, "a/../evil", b"")), OUT),
    "an absolute name": ("tar", pack_tar((FILE, "/tmp/evil", b"")), OUT),
    "a directory outside": ("tar", pack_tar((DIRECTORY, "../evil", b"")), OUT),
    "a link to an absolute name": ("tar", pack_tar((LINK, "a", b"/etc/passwd")), OUT),
    "a link up": ("tar", pack_tar((LINK, "d/a", b"../../evil")), OUT),
    "a link named out": ("tar", pack_tar((LINK, "../evil", b"a")), OUT),
    "a file through a link": ("tar", pack_tar((LINK, "a", b"/tmp"), (FILE, "a/evil", b"")), OUT),
    "a file through a link that stays": (
        "tar",
        pack_tar((DIRECTORY, "d", b""), (LINK, "a", b"d"), (FILE, "a/evil", b"")),
        "is a link and a directory",
    ),
    "links that lead out together": (
        "tar",
        pack_tar((DIRECTORY, "d", b""), (LINK, "d/up", b".."), (LINK, "out", b"d/up/..")),
        OUT,
    ),
    "a link behind a link": (
        "tar",
        pack_tar((DIRECTORY, "d", b""), (LINK, "a", b"d"), (LINK, "a/b", b"x")),
        "lies behind a link",
    ),
    "a hard link out": ("tar", pack_tar((COPY, "a", b"../evil")), OUT),
    "a hard link to nothing": ("tar", pack_tar((COPY, "a", b"b")), "is not there"),
    "a hard link to a link": ("tar", pack_tar((LINK, "b", b"c"), (COPY, "a", b"b")), "is not there"),
    "a device": ("tar", pack_tar((DEVICE, "null", b"")), "is a device"),
    "a zip up": ("zip", pack_zip((FILE, "../evil", b"")), OUT),
    "a zip with an absolute name": ("zip", pack_zip((FILE, "/tmp/evil", b"")), OUT),
    "a zip with a link out": ("zip", pack_zip((LINK, "a", b"../../evil")), OUT),
    "a zip with a device": ("zip", pack_zip((DEVICE, "null", b"")), "is a device"),
    "a zip with a NUL in a link": ("zip", pack_zip((LINK, "a", b"b\0c")), OUT),
    "an encrypted zip": ("zip", encrypt(pack_zip((FILE, "a", b"text"))), "encrypted"),
    "a zip bomb": ("zip", pack_zip((FILE, "a", bytes(80 << 20))), LARGE),
    "a tar bomb": ("tar.gz", pack_tar((FILE, "a", bytes(80 << 20)), mode="w:gz"), LARGE),
    "a hard link bomb": (
        "tar.gz",
        pack_tar((FILE, "a", bytes(8 << 20)), *((COPY, f"b{n}", b"a") for n in range(10)), mode="w:gz"),
        LARGE,
    ),
    "a header that fills the memory": ("tar", build_header(type=tarfile.XHDTYPE, size=1 << 33), "size 8589934592"),
    "a long name that fills the memory": (
        "tar",
        build_header(type=tarfile.GNUTYPE_LONGNAME, size=1 << 33),
        "size 8589934592",
    ),
    "a negative size": ("tar", build_header(size=-512) + bytes(1024), DAMAGED),
    "no archive": ("tar", b"<html>", DAMAGED),
    "no zip": ("zip", b"<html>", DAMAGED),
    "an empty file": ("tar.gz", b"", DAMAGED),
    "a tar without its end": ("tar", PLAIN[:1536], DAMAGED),
    "a tar cut in a file": ("tar", PLAIN[:2100], DAMAGED),
    "a tar cut in a header": ("tar", PLAIN[:1800], DAMAGED),
    "a tar with damage in the middle": ("tar", PLAIN[:1536] + b"x" * 512 + PLAIN[2048:], DAMAGED),
    "a compressed tar cut": ("tar.gz", gzip.compress(os.urandom(5000) + PLAIN)[:5050], DAMAGED),
    "a zip with another byte": ("zip", flip(pack_zip((FILE, "a", b"text")), 33), DAMAGED),
}


@pytest.mark.parametrize(("kind", "packed", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_do_no_harm(bench: Bench, kind: str, packed: bytes, words: str) -> None:
    source = bench.root / f"data.{kind}"
    source.write_bytes(packed)
    error = bench.refuse(source.as_uri())
    assert words in error
    assert not bench.target.exists()
    assert not list(bench.root.rglob("evil"))
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("pack", [pack_tar, pack_zip])
def test_empty_entries_are_not_free(bench: Bench, pack: Callable[..., bytes]) -> None:
    kind = "tar" if pack is pack_tar else "zip"
    source = bench.root / f"data.{kind}"
    source.write_bytes(pack(*((DIRECTORY, f"{number}", b"") for number in range(2000))))
    assert LARGE in bench.refuse(source.as_uri(), "--max-bytes", "1000000")


def test_a_name_cannot_break_the_error(bench: Bench) -> None:
    source = bench.root / "data.tar"
    source.write_bytes(pack_tar((FILE, "../a\nerror: \x1b[31m", b"")))
    error = bench.refuse(source.as_uri())
    assert r'"../a\nerror: \u001b[31m"' in error


PARTS = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=4).map("/".join)
ENTRIES = st.tuples(st.sampled_from([FILE, DIRECTORY, LINK, COPY]), PARTS, PARTS.map(str.encode))


@given(entries=st.lists(ENTRIES, max_size=8))
def test_no_archive_writes_or_leads_out(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "work" / "content"
    root.mkdir(parents=True)
    source = outside / "data.tar"
    source.write_bytes(pack_tar(*((kind, name or "x", content) for kind, name, content in entries)))
    content = Content(root, "", 1 << 20, 60.0)
    with suppress(FetchError, OSError):
        unpack(source, "tar", content, 100)
        content.finish()
        links = [path for path in root.rglob("*") if path.is_symlink()]
        assert all(link.resolve(strict=True).is_relative_to(root) for link in links)
    assert {path.relative_to(outside).as_posix() for path in outside.glob("*")} == {"work", "data.tar"}
    assert list((outside / "work").iterdir()) == [root]
