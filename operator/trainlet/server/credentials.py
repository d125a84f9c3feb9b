"""The certificates that our servers show: made by an authority of our own, kept on disk, renewed in time.

The authority outlives the server's certificate many times over: a container that runs for months has got the
authority's once, as a file, and goes on to trust what it signs.
"""

import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trainlet.documents.secret import build_private_error, load_private, lock_private
from trainlet.documents.write import write_atomic
from trainlet.kube.errors import TrainletError

#: The name that upstream's service has in a cluster (kubeflow/trainer manifests/base/manager); jobs know no other.
SERVICE = "kubeflow-trainer-controller-manager.kubeflow-system.svc"
_AUTHORITY, _TOKEN = "authority.pem", "token"

_AUTHORITY_LIFE, _SERVER_LIFE = timedelta(days=3650), timedelta(days=365)
_RENEWED_BEFORE = timedelta(days=30)
#: For a container in a virtual machine whose clock is behind.
_SKEW = timedelta(days=1)
_LEAST_TOKEN = 16
_CERTIFICATE_START = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Identity:
    """A server's name, which is also that of its file, and the names and addresses that clients call it by."""

    name: str
    hosts: tuple[str, ...]


STATUS_SERVER = Identity("server", (SERVICE, f"{SERVICE}.cluster.local", "localhost", "127.0.0.1"))


@dataclass(frozen=True)
class Credentials:
    """What a server shows and what its clients need. `server_file` holds key and certificate."""

    authority: str
    server_file: Path

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let the context show the certificate at every later handshake."""
        context.load_cert_chain(self.server_file)


@dataclass(frozen=True)
class _Pair:
    """A private key and the certificate of its public one."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def to_pem(self) -> str:
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key.decode() + self.certificate_pem


def load_credentials(directory: Path, now: datetime, identity: Identity = STATUS_SERVER) -> Credentials:
    """Return a server's credentials; what is not there, damaged or about to expire is made. Raises TrainletError.

    Keys are readable for their owner alone. To ask again is to renew when it is time.
    """
    server_file, names = directory / f"{identity.name}.pem", _build_names(identity.hosts)
    with lock_private(directory):
        try:
            authority = _load(directory / _AUTHORITY, lambda pair: _is_current(pair, now)) or _keep(
                directory / _AUTHORITY, _build_authority(now)
            )
            if _load(server_file, lambda pair: _is_current(pair, now) and _is_server(pair, authority, names)) is None:
                _keep(server_file, _build_server(authority, now, names))
        except OSError as error:
            raise build_private_error(error, directory) from None
    return Credentials(authority.certificate_pem, server_file)


def load_token(directory: Path) -> str:
    """Return the token of the operator's owner, made when first asked for. Raises TrainletError."""
    return load_private(directory / _TOKEN, lambda: secrets.token_urlsafe(32), _parse_token)


def _parse_token(data: bytes, path: Path) -> str:
    token = data.decode("latin-1").strip()
    if len(token) < _LEAST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        remedy = "remove the file: another is made at the next start"
        raise TrainletError("the token is damaged or too short", where=str(path), remedy=remedy)
    return token


def build_context(credentials: Credentials) -> ssl.SSLContext:
    """Return a context for servers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    credentials.load_into(context)
    return context


def _load(path: Path, is_usable: Callable[[_Pair], bool]) -> _Pair | None:
    try:
        pair = _parse_pair(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return pair if is_usable(pair) else None


def _parse_pair(data: bytes) -> _Pair:
    """Raises ValueError."""
    key_pem, start, rest = data.partition(_CERTIFICATE_START)
    key = serialization.load_pem_private_key(key_pem, password=None)
    certificate = x509.load_pem_x509_certificate(start + rest)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("not the key of this certificate")
    return _Pair(key, certificate)


def _keep(path: Path, pair: _Pair) -> _Pair:
    write_atomic(path, pair.to_pem(), mode=0o600)
    return pair


def _is_current(pair: _Pair, now: datetime) -> bool:
    certificate = pair.certificate
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - _RENEWED_BEFORE


def _is_server(pair: _Pair, authority: _Pair, names: list[x509.GeneralName]) -> bool:
    try:
        pair.certificate.verify_directly_issued_by(authority.certificate)
        found = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return set(found) == set(names)


def _build_authority(now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trainlet authority")])
    builder = (
        _begin(name, name, key, now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_build_usage(signs_certificates=True), critical=True)
    )
    return _Pair(key, builder.sign(key, hashes.SHA256()))


def _build_server(authority: _Pair, now: datetime, names: list[x509.GeneralName]) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trainlet")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _begin(name, authority.certificate.subject, key, now, _SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_build_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
    )
    return _Pair(key, builder.sign(authority.key, hashes.SHA256()))


def _begin(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _build_names(hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    return [_build_name(host) for host in dict.fromkeys(hosts)]


def _build_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _build_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
