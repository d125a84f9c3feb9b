"""The token by which a job's training code may report its progress: derived, never stored, good for one job alone.

A token says which uid it was made for, so that a genuine one is told from a false one when its job is gone.
"""

import base64
import hashlib
import hmac


def build_token(secret: bytes, namespace: str, name: str, uid: str) -> str:
    """Return the token of a job; the same whenever it is asked for."""
    return f"{uid}.{_sign(secret, namespace, name, uid)}"


def find_token_uid(secret: bytes, namespace: str, name: str, token: str) -> str | None:
    """Return the uid that a token was made for, or None if it is not one of ours for a job of this name."""
    uid, _, signature = token.rpartition(".")
    expected = _sign(secret, namespace, name, uid)
    return uid if hmac.compare_digest(signature.encode(), expected.encode()) else None


def _sign(secret: bytes, namespace: str, name: str, uid: str) -> str:
    digest = hmac.digest(secret, f"{namespace}/{name}/{uid}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
