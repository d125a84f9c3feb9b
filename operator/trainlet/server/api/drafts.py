"""What a write wants, before anything of it is stored: its fields, its owners, and how the object is going to be."""

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from trainlet.admission.core_kinds import OBJECT_KINDS
from trainlet.admission.structure import complete
from trainlet.kube.kept import SERVER_FIELDS
from trainlet.kube.meta import JSON, ObjectKey, format_time, get_metadata
from trainlet.kube.ownership import UPDATE, Owned, Owner, read_owners, track_update, write_owners
from trainlet.registry import Registry
from trainlet.server.api.bodies import prune, unknown_fields
from trainlet.server.api.types import Resource, Validation, WriteOptions

#: Of which generated names are made: no vowels, and nothing that looks like another (apimachinery util/rand).
_ALPHABET, _RANDOM_LENGTH, _LONGEST_NAME = "bcdfghjklmnpqrstvwxz2456789", 5, 63

#: What an API server leaves out of metadata.
_EMPTY: tuple[object, ...] = ({}, [], "", None)


@dataclass(frozen=True)
class Change:
    """One write: of what, from which state to which, and by whom; `owners` if that is settled already."""

    resource: Resource
    key: ObjectKey
    old: JSON | None
    new: JSON = field(repr=False)
    options: WriteOptions
    owners: Mapping[Owner, Owned] | None = None


def complete_name(body: JSON, is_taken: Callable[[JSON], bool]) -> JSON:
    """Return a new object with a whole name, if it only begins one."""
    metadata = get_metadata(body)
    begin = metadata.get("generateName")
    if metadata.get("name") or not isinstance(begin, str) or not begin:
        return body
    begin = begin[: _LONGEST_NAME - _RANDOM_LENGTH]
    while True:
        name = begin + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
        named = {**body, "metadata": {**metadata, "name": name}}
        if not is_taken(named):
            return named


@dataclass(frozen=True)
class Drafter:
    """Drafts what is going to be stored."""

    _registry: Registry
    _clock: Callable[[], datetime]

    def prune(self, change: Change) -> tuple[JSON, tuple[str, ...]]:
        """Return the object without fields that its kind does not have, and what is to be said of them."""
        metadata = {name: value for name, value in get_metadata(change.new).items() if value not in _EMPTY}
        document = {**{k: v for k, v in change.new.items() if k != "status"}, "metadata": metadata}
        completed, unknown = complete(document, self._registry.get_definition(change.key))
        fields = [error.path for error in unknown]
        if fields and change.options.validation is Validation.STRICT:
            raise unknown_fields(change.resource, fields)
        is_told = change.options.validation is Validation.WARN
        warnings = tuple(f'unknown field "{each}"' for each in fields) if is_told else ()
        return prune(document, completed), warnings

    def preview(self, change: Change, admitted: JSON) -> JSON:
        """Return the object as it is going to be stored."""
        old = change.old or {}
        before, now = get_metadata(old), format_time(self._clock())
        server = {name: before[name] for name in SERVER_FIELDS if name in before}
        if not server:
            server = {"uid": str(uuid.uuid4()), "creationTimestamp": now}
        if change.key.kind not in OBJECT_KINDS:
            same = not old or old.get("spec") == admitted.get("spec")
            server["generation"] = int(before.get("generation", 1)) + (not same)
        managed = self._track(change, admitted, now)
        metadata = {**get_metadata(admitted), **server, **({"managedFields": managed} if managed else {})}
        status = {"status": old["status"]} if "status" in old else {}
        return {**admitted, "metadata": metadata, **status}

    def _track(self, change: Change, admitted: JSON, now: str) -> list[JSON]:
        """Return who owns which field after a change; a client may set that too, but not to nothing at all."""
        if change.owners is not None:
            return write_owners(change.owners)
        before = get_metadata(change.old or {}).get("managedFields")
        owners = read_owners(get_metadata(change.new).get("managedFields") or before)
        old = {name: value for name, value in (change.old or {}).items() if name != "status"}
        owner = Owner(change.options.manager or "unknown", UPDATE)
        schema = self._registry.get_definition(change.key).schema
        return write_owners(track_update(old, admitted, owners, owner, schema, now))

    def track_status(self, change: Change, status: JSON) -> list[JSON]:
        """Return who owns which field after a write of a status."""
        if change.owners is not None:
            return write_owners(change.owners)
        old, now = change.old or {}, format_time(self._clock())
        owner = Owner(change.options.manager or "unknown", UPDATE, "status")
        before, after = ({"apiVersion": old.get("apiVersion"), "status": each} for each in (old.get("status"), status))
        known = read_owners(get_metadata(old).get("managedFields"))
        schema = self._registry.get_definition(change.key).schema
        return write_owners(track_update(before, after, known, owner, schema, now))
