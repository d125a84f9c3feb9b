"""The status server's certificates: what clients check, what is kept, and when it is made anew."""

import multiprocessing
import socket
import ssl
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from trainlet.kube.errors import TrainletError
from trainlet.server.credentials import SERVICE, Credentials, build_context, load_credentials

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
FILES = ("authority.pem", "server.pem")


def read_server(credentials: Credentials) -> x509.Certificate:
    return x509.load_pem_x509_certificate(
        credentials.server_file.read_bytes().partition(b"-----END PRIVATE KEY-----")[2]
    )


def build_client(credentials: Credentials) -> ssl.SSLContext:
    """Return a client as strict as Python is from 3.13 on."""
    context = ssl.create_default_context(cadata=credentials.authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Return the TLS version that both agree on. Raises ssl.SSLError."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, client.wrap_socket(ours, server_hostname=name) as wrapped:
            return wrapped.version()
    finally:
        thread.join()


@pytest.mark.parametrize("name", [SERVICE, f"{SERVICE}.cluster.local", "localhost", "127.0.0.1"])
def test_clients_trust_the_server_under_its_names(tmp_path: Path, name: str) -> None:
    credentials = load_credentials(tmp_path, NOW)
    assert shake_hands(build_context(credentials), build_client(credentials), name) == "TLSv1.3"


def test_no_other_name_is_the_server_s(tmp_path: Path) -> None:
    credentials = load_credentials(tmp_path, NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'kubernetes\.default\.svc'"):
        shake_hands(build_context(credentials), build_client(credentials), "kubernetes.default.svc")


def test_another_directory_s_authority_is_another(tmp_path: Path) -> None:
    one, other = load_credentials(tmp_path / "one", NOW), load_credentials(tmp_path / "other", NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate"):
        shake_hands(build_context(one), build_client(other), SERVICE)


def test_versions_below_tls_1_2_are_refused(tmp_path: Path) -> None:
    assert build_context(load_credentials(tmp_path, NOW)).minimum_version is ssl.TLSVersion.TLSv1_2


def test_keys_are_their_owner_s_alone(tmp_path: Path) -> None:
    load_credentials(tmp_path / "keys", NOW)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
    assert modes == dict.fromkeys((*FILES, "lock"), 0o600)


def test_the_authority_s_key_is_not_the_server_s_to_show(tmp_path: Path) -> None:
    credentials = load_credentials(tmp_path, NOW)
    assert credentials.authority.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE KEY" not in credentials.authority
    assert credentials.authority not in credentials.server_file.read_text()


@pytest.mark.parametrize(
    ("later", "changed"),
    [
        (timedelta(), ()),
        (334 * DAY, ()),
        (336 * DAY, ("server.pem",)),
        (400 * DAY, ("server.pem",)),
        (3600 * DAY, ("server.pem",)),
        (3621 * DAY, FILES),
        (-2 * DAY, FILES),  # the clock was wrong when they were made
    ],
    ids=lambda value: value.days if isinstance(value, timedelta) else "+".join(value) or "nothing",
)
def test_what_has_less_than_thirty_days_is_made_anew(
    tmp_path: Path, later: timedelta, changed: tuple[str, ...]
) -> None:
    load_credentials(tmp_path, NOW)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    load_credentials(tmp_path, NOW + later)
    assert tuple(name for name in FILES if (tmp_path / name).read_bytes() != before[name]) == changed


def test_who_has_the_authority_trusts_the_next_certificate(tmp_path: Path) -> None:
    first = load_credentials(tmp_path, NOW - 350 * DAY)
    client, old = build_client(first), read_server(first)
    second = load_credentials(tmp_path, NOW)
    assert read_server(second).serial_number != old.serial_number
    assert shake_hands(build_context(second), client, SERVICE) == "TLSv1.3"


KEY_END = b"-----END PRIVATE KEY-----\n"
#: How a file may be damaged, given what it and another directory's file of the name hold.
DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda _whole, _other: b"",
    "cut": lambda whole, _other: whole[: len(whole) // 2],
    "no text": lambda _whole, _other: bytes(range(256)),
    "without its key": lambda whole, _other: whole.partition(KEY_END)[2],
    "without its certificate": lambda whole, _other: whole.partition(KEY_END)[0] + KEY_END,
    "another's certificate": lambda whole, other: whole.partition(KEY_END)[0] + KEY_END + other.partition(KEY_END)[2],
    "another's": lambda _whole, other: other,
}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_used_is_made_anew(tmp_path: Path, name: str, how: str) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    load_credentials(here, NOW)
    load_credentials(elsewhere, NOW)
    (here / name).write_bytes(DAMAGES[how]((here / name).read_bytes(), (elsewhere / name).read_bytes()))
    credentials = load_credentials(here, NOW)
    assert shake_hands(build_context(credentials), build_client(credentials), SERVICE) == "TLSv1.3"
    assert load_credentials(here, NOW) == credentials


def test_processes_that_come_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        loaded = pool.starmap(load_credentials, [(tmp_path, NOW)] * 8, chunksize=1)
    assert set(loaded) == {load_credentials(tmp_path, NOW)}


def test_where_they_cannot_be_kept_the_user_is_told(tmp_path: Path) -> None:
    (tmp_path / "server.pem").mkdir()
    with pytest.raises(TrainletError, match=r"cannot keep keys and secrets: Is a directory \(.*\): make the directory"):
        load_credentials(tmp_path, NOW)
