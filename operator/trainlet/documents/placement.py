"""How the manifest of an object is called that comes without a file of its own."""

from collections.abc import Iterator

from trainlet.kube.digests import hash_text
from trainlet.kube.meta import DEFAULT_NAMESPACE, ObjectKey

#: A file's name may have 255 bytes, a temporary one's too.
_LONGEST = 200


def name_manifest(key: ObjectKey) -> str:
    """Return the usual name: KIND-NAME.yaml, or KIND-NS-NAME.yaml."""
    prefix = f"{key.namespace}-" if key.namespace not in ("", DEFAULT_NAMESPACE) else ""
    stem = f"{key.kind.lower()}-{prefix}{key.name}"
    if len(stem) > _LONGEST:
        stem = f"{stem[:_LONGEST]}-{hash_text(stem)[:16]}"
    return f"{stem}.yaml"


def list_names(key: ObjectKey) -> Iterator[str]:
    """Yield the usual name, and what to take where others have it."""
    usual = name_manifest(key)
    yield usual
    yield from (f"{usual.removesuffix('.yaml')}-{number}.yaml" for number in range(2, 100))
