"""What only the server says of objects: who they are, since when, and who owns their fields.

Jobs have it in their status documents. Of runtimes, ConfigMaps, Secrets and claims it is kept in small documents of
its own, beside what else their manifests do not say; only a running operator, once it has seen all, writes any.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from trainlet.admission.core_kinds import OBJECT_KINDS, SECRET
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.kept import LAST_APPLIED, find_kept, keep
from trainlet.kube.meta import JSON, ObjectKey, format_time, get_metadata
from trainlet.kube.ownership import UPDATE, Owner, read_owners, track_update, write_owners

#: Who owns the fields that somebody changed in a manifest.
DIRECTORY = "trainlet"
_KNOWN = ("name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp")


class KeptObjects:
    """Keeps metadata by key. Whoever calls holds the registry's lock."""

    def __init__(
        self, status_dir: StatusDir, clock: Callable[[], datetime], get_schema: Callable[[ObjectKey], JSON]
    ) -> None:
        self._status_dir, self._clock, self._get_schema = status_dir, clock, get_schema
        self._known: dict[ObjectKey, JSON] = {}
        self._intended: dict[ObjectKey, JSON] = {}
        self._is_open = False

    def read(self) -> None:
        """Take up what an earlier run left."""
        for kept in self._status_dir.read_kept():
            known = get_metadata(kept)
            key = ObjectKey(str(kept.get("kind")), str(known.get("namespace", "")), str(known.get("name", "")))
            self._known[key] = known

    def settle(self, stored: Mapping[ObjectKey, JSON]) -> None:
        """Take these for all objects there are, and from now on write what is new. Raises TrainletError."""
        self._is_open = True
        for key in self._known.keys() - stored.keys():
            self.forget(key)
        for key, document in stored.items():
            self.write(key, document)

    def find(self, key: ObjectKey) -> JSON:
        """Return what is known of an object, empty if nothing is."""
        return self._known.get(key, {})

    @contextmanager
    def intending(self, key: ObjectKey, metadata: JSON) -> Iterator[None]:
        """What is read of an object's manifest in this block has this metadata beside it, in place of what it had."""
        self._intended[key] = metadata
        try:
            yield
        finally:
            del self._intended[key]

    def complete(self, key: ObjectKey, manifest: JSON, old: JSON | None) -> JSON:
        """Return a manifest with what is kept beside it, for admission."""
        before = self._intended.get(key) or get_metadata(old or {}) or self.find(key)
        return keep(manifest, before) if before else manifest

    def finish(self, key: ObjectKey, document: JSON, old: JSON | None, adoptable: str | None = None) -> JSON:
        """Add what only the server says, and the status there was; a new object may be that of an earlier uid."""
        before = get_metadata(old or {}) or self.find(key)
        is_same = old is None or old.get("spec") == document.get("spec")
        generation = {"generation": int(before.get("generation", 1)) + (not is_same)}
        metadata = {
            **get_metadata(document),
            "uid": before.get("uid") or adoptable or str(uuid.uuid4()),
            **({} if key.kind in OBJECT_KINDS else generation),
            "creationTimestamp": before.get("creationTimestamp") or format_time(self._clock()),
            **find_deletion({"metadata": before}),
            **self._find_owners(key, document, old),
        }
        finished = {**document, "metadata": metadata}
        return {**finished, "status": old["status"]} if old and "status" in old else finished

    def _find_owners(self, key: ObjectKey, document: JSON, old: JSON | None) -> JSON:
        """Return who owns which field; of an object that nobody has written through the API nobody is told."""
        if (intended := self._intended.get(key)) is not None:
            return {name: intended[name] for name in ("managedFields",) if intended.get(name)}
        managed = get_metadata(old or {}).get("managedFields") or self.find(key).get("managedFields")
        if not managed or old is None:
            return {"managedFields": managed} if managed else {}
        before = {name: value for name, value in old.items() if name != "status"}
        owner, now = Owner(DIRECTORY, UPDATE), format_time(self._clock())
        owners = track_update(before, document, read_owners(managed), owner, self._get_schema(key), now)
        return {"managedFields": write_owners(owners)}

    def write(self, key: ObjectKey, stored: JSON) -> None:
        """Keep what the manifest of an object that is no job does not say. Raises TrainletError."""
        metadata = get_metadata(stored)
        kept = find_kept(metadata)
        if key.kind == SECRET and LAST_APPLIED in kept.get("annotations", {}):  # it repeats the data
            kept["annotations"] = {k: v for k, v in kept["annotations"].items() if k != LAST_APPLIED}
        known = {name: metadata[name] for name in _KNOWN if name in metadata} | {k: v for k, v in kept.items() if v}
        if self._is_open and key.kind != TRAIN_JOB and self._known.get(key) != known:
            self._status_dir.write_kept(key, [{"kind": key.kind, "metadata": known}])
            self._known[key] = known

    def forget(self, key: ObjectKey) -> None:
        """Forget an object. Raises TrainletError."""
        if self._known.pop(key, None) is not None and self._is_open:
            self._status_dir.write_kept(key, ())


def find_deletion(stored: JSON) -> JSON:
    """Return the part of an object's metadata that no write takes back."""
    return {name: value for name, value in get_metadata(stored).items() if name == "deletionTimestamp"}
