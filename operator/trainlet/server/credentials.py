"""The certificates that the status server shows: made by an authority of our own, kept on disk, renewed in time.

The authority outlives the server's certificate many times over: a container that runs for months has got the
authority's once, as a file, and goes on to trust what it signs.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trainlet.documents.secret import build_private_error, lock_private
from trainlet.documents.write import write_atomic

#: The name that upstream's service has in a cluster (kubeflow/trainer manifests/base/manager); jobs know no other.
SERVICE = "kubeflow-trainer-controller-manager.kubeflow-system.svc"
DNS_NAMES = (SERVICE, f"{SERVICE}.cluster.local", "localhost")
ADDRESSES = (IPv4Address("127.0.0.1"),)

_AUTHORITY_LIFE, _SERVER_LIFE = timedelta(days=3650), timedelta(days=365)
_RENEWED_BEFORE = timedelta(days=30)
#: For a container in a virtual machine whose clock is behind.
_SKEW = timedelta(days=1)
_CERTIFICATE_START = b"-----BEGIN CERTIFICATE-----"


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


def load_credentials(directory: Path, now: datetime) -> Credentials:
    """Return the directory's credentials; what is not there, damaged or about to expire is made. Raises TrainletError.

    Keys are readable for their owner alone. To ask again is to renew when it is time.
    """
    server_file = directory / "server.pem"
    with lock_private(directory):
        try:
            authority = _load(directory / "authority.pem", lambda pair: _is_current(pair, now)) or _keep(
                directory / "authority.pem", _build_authority(now)
            )
            if _load(server_file, lambda pair: _is_current(pair, now) and _is_server_of(pair, authority)) is None:
                _keep(server_file, _build_server(authority, now))
        except OSError as error:
            raise build_private_error(error, directory) from None
    return Credentials(authority.certificate_pem, server_file)


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


def _is_server_of(pair: _Pair, authority: _Pair) -> bool:
    try:
        pair.certificate.verify_directly_issued_by(authority.certificate)
        names = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return set(names) == set(_build_names())


def _build_authority(now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trainlet status authority")])
    builder = (
        _begin(name, name, key, now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_build_usage(signs_certificates=True), critical=True)
    )
    return _Pair(key, builder.sign(key, hashes.SHA256()))


def _build_server(authority: _Pair, now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trainlet status server")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _begin(name, authority.certificate.subject, key, now, _SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_build_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_build_names()), critical=False)
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


def _build_names() -> list[x509.GeneralName]:
    return [*map(x509.DNSName, DNS_NAMES), *map(x509.IPAddress, ADDRESSES)]


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
