"""What of an object's metadata only servers and controllers keep: it is no part of the manifest that people write.

A manifest may hold some of it all the same, from `kubectl get -o yaml`: that counts when the object is made.
"""

from collections.abc import Mapping
from typing import Any

from trainlet.kube.meta import JSON, get_metadata

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KOPF = ("kopf.zalando.org/", "kopf.dev/")
#: What is set by servers alone.
SERVER_FIELDS = (
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
    *("deletionGracePeriodSeconds", "managedFields", "selfLink"),
)
#: What clients set too, through the API.
_KEPT_FIELDS = ("finalizers", "generateName")


def strip(document: JSON) -> JSON:
    """Return an object as people write it: without its status and what is kept beside."""
    bare = {k: v for k, v in document.items() if k != "status"}
    if not isinstance(document.get("metadata"), dict):
        return bare
    metadata = {k: v for k, v in get_metadata(document).items() if k not in (*SERVER_FIELDS, *_KEPT_FIELDS)}
    if isinstance(notes := metadata.get("annotations"), dict) and any(map(_is_kept, notes)):
        metadata["annotations"] = {k: v for k, v in notes.items() if not _is_kept(k)}
        if not metadata["annotations"]:
            del metadata["annotations"]
    return {**bare, "metadata": metadata}


def find_kept(metadata: Mapping[str, Any]) -> JSON:
    """Return what is kept of an object's metadata beside what the server itself says, empty if that is nothing."""
    written = metadata.get("annotations")
    notes = {k: v for k, v in written.items() if _is_kept(k)} if isinstance(written, dict) else {}
    kept = {name: metadata[name] for name in (*_KEPT_FIELDS, "managedFields") if metadata.get(name)}
    return {**kept, **({"annotations": notes} if notes else {})}


def keep(document: JSON, before: Mapping[str, Any]) -> JSON:
    """Return an object as a manifest has it, with what is kept of its metadata `before` in place of its own."""
    kept, bare = find_kept(before), strip(document)
    if not kept:
        return bare
    metadata = {**get_metadata(bare), **kept}
    if notes := {**(get_metadata(bare).get("annotations") or {}), **kept.get("annotations", {})}:
        metadata["annotations"] = notes
    return {**bare, "metadata": metadata}


def _is_kept(annotation: str) -> bool:
    return annotation == LAST_APPLIED or annotation.startswith(_KOPF)
