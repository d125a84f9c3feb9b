"""Asks containers how they are, beside the reconcile passes: every probe at its period, from a few threads.

What a pass sees of it are values (planning/probes.py). One thread keeps the times; a few ask, so that an answer that
does not come keeps one of them busy for its timeout and no more.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from trainlet.controller.calls import CallPool
from trainlet.controller.handlers import Handlers, Place
from trainlet.engine.base import Engine
from trainlet.kube.meta import ObjectKey
from trainlet.planning.probes import NEW, Answer, Health, Kind, Probes, Tallies, begin, judge, list_asked

log = logging.getLogger(__name__)

#: A few more than an engine answers well at once: most of the time is spent waiting for containers.
ASKERS = 8


@dataclass(frozen=True)
class Target:
    """A running container that is to be asked. `known` is what was found out of it before, by whomever."""

    place: Place
    probes: Probes
    started_at: datetime
    known: Health = NEW


@dataclass(eq=False)
class _Patient:
    """One container that is asked; changed only under the prober's lock. `asked` are the probes that have a time."""

    owner: ObjectKey
    target: Target
    tallies: Tallies
    asked: set[Kind] = field(default_factory=set)
    is_gone: bool = False

    @property
    def health(self) -> Health:
        return judge(self.tallies)


@dataclass(frozen=True, order=True)
class _Visit:
    """When a container is asked next; `number` only makes the order total."""

    due: float
    number: int
    patient: _Patient = field(compare=False)
    kind: Kind = field(compare=False)


class Prober:
    """Knows the health of every container that passes ask for. `wake` is called with the owner when one changes.

    `monotonic` tells the seconds by which probes are timed. Without `start` nobody asks but `ask_due`.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        wake: Callable[[ObjectKey], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handlers, self._clock, self._wake, self._monotonic = Handlers(engine), clock, wake, monotonic
        self._changed = threading.Condition()
        self._patients: dict[ObjectKey, dict[str, _Patient]] = {}
        self._visits: list[_Visit] = []
        self._numbers = itertools.count()
        self._is_closed = False
        self._pool = CallPool(ASKERS, "prober")
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)

    def start(self) -> None:
        """Begin to ask in the background."""
        self._thread.start()

    def look(self, owner: ObjectKey, wanted: Mapping[str, Target]) -> dict[str, Health]:
        """Return how the owner's containers are, by their ids; from now on these are asked, and no others of it."""
        with self._changed:
            before = self._patients.pop(owner, {})
            patients = {id: before.get(id) or self._admit(owner, target) for id, target in wanted.items()}
            for id in before.keys() - wanted.keys():
                before[id].is_gone = True
            if patients:
                self._patients[owner] = patients
            return {id: patient.health for id, patient in patients.items()}

    def ask_due(self, submit: Callable[..., object]) -> float | None:
        """Hand out what is due by `submit(function, *arguments)`; return the seconds until more is, None for never."""
        with self._changed:
            while self._visits and self._visits[0].due <= self._monotonic():
                visit = heapq.heappop(self._visits)
                if not (visit.patient.is_gone or self._is_closed):
                    submit(self._visit, visit.patient, visit.kind)
            return max(0.0, self._visits[0].due - self._monotonic()) if self._visits else None

    def close(self) -> None:
        """Ask nobody any more; a question that is being asked is not waited for."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        with self._changed:
            while not self._is_closed:
                self._changed.wait(self.ask_due(self._pool.submit))

    def _admit(self, owner: ObjectKey, target: Target) -> _Patient:
        patient = _Patient(owner, target, begin(target.probes, target.known))
        self._plan_visits(patient)
        return patient

    def _plan_visits(self, patient: _Patient) -> None:
        """Give every probe that is to be asked and has no time yet its first: when its initial delay is over."""
        age = max(0.0, (self._clock() - patient.target.started_at).total_seconds())
        for kind in list_asked(patient.tallies) - patient.asked:
            patient.asked.add(kind)
            wait = max(0.0, patient.target.probes[kind].initial_delay_seconds - age)
            self._plan(patient, kind, self._monotonic() + wait)

    def _plan(self, patient: _Patient, kind: Kind, due: float) -> None:
        heapq.heappush(self._visits, _Visit(due, next(self._numbers), patient, kind))
        self._changed.notify()

    def _visit(self, patient: _Patient, kind: Kind) -> None:
        """Ask once and note the answer."""
        begun, probe = self._monotonic(), patient.target.probes[kind]
        try:
            answer = self._handlers.ask(patient.target.place, probe, probe.timeout_seconds)
        except Exception:
            log.exception("container %s: its probe ended in a bug", patient.target.place.id)
            answer = Answer(None, "got no answer")
        with self._changed:
            if patient.is_gone or self._is_closed:
                return
            before = patient.health
            patient.tallies = {**patient.tallies, kind: patient.tallies[kind].count(answer, probe)}
            if kind in list_asked(patient.tallies):
                self._plan(patient, kind, max(begun + probe.period_seconds, self._monotonic()))
            self._plan_visits(patient)
            has_changed = patient.health != before
        if has_changed:
            self._wake(patient.owner)
