"""One pass: observe, decide, act, write down. The pure core decides; everything here only carries it out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trainlet.controller.engine_source import EngineSource
from trainlet.controller.executor import Executor
from trainlet.controller.images import ImageKeeper
from trainlet.engine.base import Engine, EngineUnavailable
from trainlet.kube.errors import ApiError, EngineError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning.events import WARNING, Note, build_notes
from trainlet.planning.observed import Observed
from trainlet.planning.options import Options
from trainlet.planning.plan import Failure
from trainlet.planning.reconcile import Case, build_teardown, conclude, reconcile
from trainlet.planning.status import is_finished
from trainlet.registry import Registry

#: The kind of keys for owners that nobody knows any more; their name is a uid.
OWNER = "Owner"
#: Longest time between two looks at a job that is not finished: events may get lost.
RESYNC_SECONDS = 30.0
_MAX_EVENT_LENGTH = 950


@dataclass(frozen=True)
class Reconciler:
    """Reconciles the jobs of one registry on one engine."""

    registry: Registry
    engine: Engine
    executor: Executor
    images: ImageKeeper
    engine_source: EngineSource
    options: Options
    clock: Callable[[], datetime]

    def reconcile(self, key: ObjectKey) -> float | None:
        """Make one pass over a key; return seconds until the next, None for the next event.

        Raises TrainletError when the pass has to be tried again with back-off.
        """
        if key.kind == OWNER:
            return self._tear_down(key, self.engine.observe(key.name))
        try:
            case = self.registry.get_case(key)
            if case is None:
                return None
            observed = self._observe(case)
            draft = reconcile(case, observed, self.clock(), self.options)
        except ApiError as error:
            return self._give_up(key, error)
        except EngineUnavailable as error:
            self.registry.report_problem(key, "EngineUnavailable", str(error))
            raise
        failures = self.executor.execute(key, draft.plan)
        decision = conclude(draft, failures)
        self.registry.record(key, decision, build_notes(draft, failures), self._describe_engine())
        if decision.gone:
            self.registry.forget(key)
            return None
        if failures:
            raise _summarize(failures)
        return 0 if draft.plan else self._get_delay(decision.status or {}, decision.due)

    def _observe(self, case: Case) -> Observed:
        uid = str(find(case.job, "metadata", "uid"))
        observed = self.engine.observe(uid)
        containers = tuple(
            replace(c, disrupted=True) if self.engine_source.is_disrupted(c) else c for c in observed.containers
        )
        images = {} if is_finished(case.job.get("status") or {}) else self.images.look(_find_images(case))
        return replace(observed, containers=containers, images=images)

    def _get_delay(self, status: JSON, due: datetime | None) -> float | None:
        if due is not None:
            return min(RESYNC_SECONDS, max(0.0, (due - self.clock()).total_seconds()))
        return None if is_finished(status) else RESYNC_SECONDS

    def _give_up(self, key: ObjectKey, error: ApiError) -> float | None:
        """Tell that the job cannot be built, as upstream does; a deleted one goes all the same."""
        job = self.registry.store.get(key)
        if find(job, "metadata", "deletionTimestamp") is not None:
            observed = self.engine.observe(str(find(job, "metadata", "uid")))
            if (after := self._tear_down(key, observed)) is not None:
                return after
            self.registry.forget(key)
            return None
        text = str(error)
        cut = text if len(text) <= _MAX_EVENT_LENGTH else f"{text[:_MAX_EVENT_LENGTH]} ..."
        message = f"TrainJob resources reconciliation failed: {cut}"
        self.registry.warn(key, Note(WARNING, "TrainJobResourcesCreationFailed", message))
        raise error

    def _tear_down(self, key: ObjectKey, observed: Observed) -> float | None:
        plan = build_teardown(observed, "its job is not known any more")
        failures = self.executor.execute(key, plan)
        if failures:
            raise _summarize(failures)
        return 0 if plan else None

    def _describe_engine(self) -> JSON:
        return {"name": self.engine.name, "endpoint": self.engine.endpoint}


def _find_images(case: Case) -> set[str]:
    """Return the images that the job's nodes use."""
    images = set()
    trainer = find(case.job, "spec", "trainer", "image")
    for rjob in find(case.runtime, "spec", "template", "spec", "replicatedJobs") or []:
        for container in find(rjob, "template", "spec", "template", "spec", "containers") or []:
            images.add(str(container.get("image", "")))
    if trainer:
        images.add(str(trainer))
    return images


def _summarize(failures: Sequence[Failure]) -> EngineError:
    first = failures[0]
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return EngineError(f"{type(first.action).__name__} {first.action.target} failed{more}: {first.message}")
