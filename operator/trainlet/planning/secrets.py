"""Keys of a job, derived and never drawn: whoever knows the store's secret gets the same bytes in every pass.

So nothing of them needs to be kept, and a restart of the operator changes none. `cryptography` takes a moment to
import, and only MPI and Flux need it: it is imported where it is used.
"""

from dataclasses import dataclass
from hashlib import sha256

#: How many points P-521 has (FIPS 186-5): a private key is a number from 1 to one less than this.
_P521_ORDER = 2**521 - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7
#: 64 bits more than a key has, so that taking the remainder favours no key (FIPS 186-5, A.2.1).
_SCALAR_BYTES = (521 + 64 + 7) // 8
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


@dataclass(frozen=True)
class KeyPair:
    """A key pair in the form that its program reads."""

    private: bytes
    public: bytes


def derive_ssh_keys(secret: bytes, uid: str) -> KeyPair:
    """Return a job's ECDSA key pair for SSH: PEM `EC PRIVATE KEY`, and a line of authorized_keys.

    `secret` is 32 random bytes that stay the same and are nobody else's to read.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    number = int.from_bytes(_stretch(secret, f"trainlet.dev/mpi-ssh-auth/{uid}", _SCALAR_BYTES))
    key = ec.derive_private_key(1 + number % (_P521_ORDER - 1), ec.SECP521R1())
    return KeyPair(
        private=key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        public=key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n",
    )


def derive_curve_keys(uid: str) -> KeyPair:
    """Return a job's CURVE key pair as ZeroMQ writes it, in Z85.

    Whoever knows the uid knows the key; that it depends on nothing else is upstream's (plugins/flux).
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    seed = sha256(uid.encode()).digest()
    public = X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return KeyPair(private=encode_z85(seed).encode(), public=encode_z85(public).encode())


def encode_z85(data: bytes) -> str:
    """Write bytes, a multiple of four, as Z85 (ZeroMQ RFC 32): four bytes are five digits of base 85."""
    words = [int.from_bytes(data[start : start + 4]) for start in range(0, len(data), 4)]
    return "".join(_Z85[word // 85**place % 85] for word in words for place in range(4, -1, -1))


def _stretch(secret: bytes, purpose: str, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt=None, info=purpose.encode()).derive(secret)
