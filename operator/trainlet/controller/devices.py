"""Keeps the ledger of the machine's GPUs for all jobs, and wakes those who wait. It decides nothing itself."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.engine.base import Engine
from trainlet.kube.meta import ObjectKey
from trainlet.planning.device_ledger import Ledger, Request
from trainlet.planning.devices import UNMANAGED, Allotment, Inventory
from trainlet.planning.observed import ObservedContainer

#: How long an inventory is believed that has too few.
REREAD_SECONDS = 60.0


class DeviceKeeper:
    """Gives GPUs to jobs, one job at a time. Nothing is asked of the machine or the engine before a job wants some.

    `read_inventory` may return None: the engine's GPUs cannot be known. `list_requests` tells what all jobs of the
    store want, so that a restarted operator goes on with the same queue. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        store: str,
        read_inventory: Callable[[], Inventory | None],
        list_requests: Callable[[], Iterable[Request]],
        wake: Callable[[ObjectKey], None],
        clock: Callable[[], float],
    ) -> None:
        self._engine, self._store = engine, store
        self._read_inventory, self._list_requests = read_inventory, list_requests
        self._wake, self._clock = wake, clock
        # Processes see all GPUs of the machine, so those of every job are told which are theirs.
        self._hides_others = engine.name == "process"
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._reread_at: float | None = None

    def ask(self, request: Request, containers: Sequence[ObservedContainer]) -> Allotment:
        """Return the GPUs of a job now; `containers` are all that it has. Raises EngineError."""
        with self._lock:
            if self._reread_at is None and not (request.wishes or self._hides_others):
                return Allotment()
            if self._reread_at is None:
                self._open()
            if self._ledger is None:
                return UNMANAGED
            allotment = self._serve(self._ledger, request, containers)
            if allotment.shortage is not None and allotment.shortage.is_final and self._reread():
                allotment = self._serve(self._ledger, request, containers)
            return replace(allotment, hides_others=self._hides_others and any(self._ledger.inventory.values()))

    def forget(self, uid: str) -> None:
        """Take back what a job has, because it is gone or nothing can be done about it."""
        with self._lock:
            if self._ledger is not None:
                self._move_on(self._ledger, self._ledger.forget(uid))

    def _open(self) -> None:
        """Take stock: the machine, what the engine's containers say, and what all jobs want, in their order."""
        inventory = self._read_inventory()
        if inventory is not None:
            ledger, seen = Ledger(inventory), {}
            for owner in self._engine.find_owners(self._store):
                seen[owner.uid] = self._engine.observe(owner.uid).containers
                ledger = ledger.adopt(ObjectKey(TRAIN_JOB, owner.namespace, owner.name), owner.uid, seen[owner.uid])
            for request in sorted(self._list_requests(), key=lambda each: each.turn):
                ledger, _ = ledger.serve(request, seen.get(request.uid, ()))
            self._ledger = ledger
        self._reread_at = self._clock() + REREAD_SECONDS

    def _reread(self) -> bool:
        """Look at the machine again, if that was long ago: a driver may have been installed."""
        assert self._ledger is not None
        if self._reread_at is None or self._clock() < self._reread_at:
            return False
        self._reread_at = self._clock() + REREAD_SECONDS
        inventory = self._read_inventory()
        if inventory is None or inventory == self._ledger.inventory:
            return False
        self._ledger = replace(self._ledger, inventory=inventory)
        self._wake_all()
        return True

    def _serve(self, ledger: Ledger, request: Request, containers: Sequence[ObservedContainer]) -> Allotment:
        after, allotment = ledger.serve(request, containers)
        self._move_on(ledger, after)
        return allotment

    def _move_on(self, before: Ledger, after: Ledger) -> None:
        self._ledger = after
        if before.list_taken() - after.list_taken() or before.queue.keys() - after.queue.keys():
            self._wake_all()

    def _wake_all(self) -> None:
        assert self._ledger is not None
        for request in self._ledger.queue.values():
            self._wake(request.job)
