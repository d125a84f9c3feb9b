"""What stands for a text that is too long, or not to be told."""


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text, 64 hexadecimal digits."""
    import hashlib  # loads OpenSSL, and those who only read names need none

    return hashlib.sha256(text.encode()).hexdigest()
