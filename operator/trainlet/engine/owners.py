"""Whose a container, network or volume is, by its labels. Knows no engine."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from trainlet.engine.base import Owner
from trainlet.kube.meta import DEFAULT_NAMESPACE
from trainlet.planning import labels
from trainlet.planning.specs import ContainerSpec


def has_owner(found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Tell whether what was found belongs to the owner that `wanted` names."""
    owner = wanted.get(labels.OWNER_UID)
    return owner is not None and (found or {}).get(labels.OWNER_UID) == owner


def is_same_volume(found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Tell whether a volume that was found is the one wanted.

    A job's own is known by the job. One that outlives jobs is known by its store; made by hand, it has no labels.
    """
    found = found or {}
    if labels.OWNER_UID in wanted:
        return has_owner(found, wanted)
    return labels.OWNER_UID not in found and found.get(labels.STORE, wanted.get(labels.STORE)) == wanted.get(
        labels.STORE
    )


def is_made_for(found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Tell whether what was found was made for the store that `wanted` names."""
    store = wanted.get(labels.STORE)
    return store is not None and (found or {}).get(labels.STORE) == store


def is_ours(found: Mapping[str, str] | None, spec: ContainerSpec) -> bool:
    """Tell whether what was found is what an earlier try at this very spec has made."""
    hashes = ((found or {}).get(labels.SPEC_HASH), spec.labels.get(labels.SPEC_HASH))
    return has_owner(found, spec.labels) and hashes[0] == hashes[1]


def read_owners(found: Iterable[Mapping[str, str] | None]) -> frozenset[Owner]:
    """Return the jobs that these labels speak of."""
    return frozenset(
        Owner(each[labels.OWNER_UID], each.get(labels.NAMESPACE, DEFAULT_NAMESPACE), each.get(labels.JOB_NAME, ""))
        for each in found
        if each and labels.OWNER_UID in each
    )


class KnownNetworks:
    """The networks that were seen last: a name's ID for creating containers, an ID's owner for events.

    Only a memory that saves requests. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[str, str]] = {}

    def replace(self, owner_uid: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Note all networks that this owner has."""
        with self._lock:
            others = {id: entry for id, entry in self._seen.items() if entry[0] != owner_uid}
            self._seen = others | {row["Id"]: (owner_uid, row["Name"]) for row in rows}

    def add(self, id: str, owner_uid: str, name: str) -> None:
        """Note one network that was just made."""
        with self._lock:
            self._seen[id] = (owner_uid, name)

    def discard(self, id: str) -> None:
        """Forget one that is gone."""
        with self._lock:
            self._seen.pop(id, None)

    def find(self, owner_uid: str, name: str) -> str | None:
        """Return the ID of the owner's network of this name."""
        with self._lock:
            return next((id for id, entry in self._seen.items() if entry == (owner_uid, name)), None)

    def find_owner(self, id: str) -> str | None:
        """Return whose network this is."""
        with self._lock:
            return self._seen.get(id, (None,))[0]
