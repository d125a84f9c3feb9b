"""One pass: observe, decide, act, write down. The pure core decides; everything here only carries it out."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from trainlet.controller.devices import DeviceKeeper
from trainlet.controller.engine_source import EngineSource
from trainlet.controller.executor import Executor
from trainlet.controller.hooks import Hooks
from trainlet.controller.images import ImageKeeper
from trainlet.controller.inline_status import write_inline_status
from trainlet.controller.inspection import find_targets, read_tail
from trainlet.controller.prober import Prober
from trainlet.engine.base import Engine, EngineUnavailable
from trainlet.kube.errors import ApiError, EngineError, TrainletError
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning.device_ledger import Request
from trainlet.planning.events import WARNING, Note, build_notes
from trainlet.planning.observed import ContainerState, Observed, ObservedContainer
from trainlet.planning.options import Options
from trainlet.planning.plan import CreateContainer, Failure, Plan, StopContainer
from trainlet.planning.reconcile import Decision, Draft, build_teardown, conclude, reconcile
from trainlet.planning.scene import Case, Needs, build_request, find_untold_ends, is_ours, survey
from trainlet.planning.status import is_finished
from trainlet.registry import Registry

#: The kind of keys for owners that nobody knows any more; their name is a uid.
OWNER = "Owner"
#: Longest time between two looks at a job that is not finished: events may get lost.
RESYNC_SECONDS = 30.0
_MAX_EVENT_LENGTH = 950
NOT_OURS = "spec.managedBy names another controller, so nothing is done with the job here"


@dataclass(frozen=True)
class Reconciler:
    """Reconciles the jobs of one registry on one engine."""

    registry: Registry
    engine: Engine
    executor: Executor
    images: ImageKeeper
    engine_source: EngineSource
    options: Options
    devices: DeviceKeeper
    prober: Prober
    hooks: Hooks
    clock: Callable[[], datetime]
    inline_status: bool = False

    def reconcile(self, key: ObjectKey) -> float | None:
        """Make one pass over a key; return seconds until the next, None for the next event.

        Raises TrainletError when the pass has to be tried again with back-off.
        """
        if key.kind == OWNER:
            after = self._tear_down(key, self.engine.observe(key.name))
            if after is None:
                self.devices.forget(key.name)
            return after
        try:
            case = self.registry.get_case(key)
            if case is None:
                self.prober.look(key, {})
                return None
            if not is_ours(case):
                self.registry.report_problem(key, "ManagedElsewhere", NOT_OURS)
                return None
            needs = survey(case, self.options)
            observed = self._observe(key, case, needs)
            if (elsewhere := self._find_other_engine(case, observed)) is not None:
                self.registry.report_problem(key, "OtherEngine", elsewhere)
                self._withdraw(key, case.job)
                return None
            devices = self.devices.ask(build_request(case, needs), observed.containers)
            observed = replace(observed, devices=devices)
            draft = reconcile(case, observed, self.clock(), self.options)
        except ApiError as error:
            return self._give_up(key, error)
        except EngineError as error:
            self.registry.report_problem(key, _name_trouble(error), str(error))
            raise
        decision, failures = self._carry_out(key, case, draft)
        if decision.gone:
            self.registry.forget(key)
            self.devices.forget(str(find(case.job, "metadata", "uid")))
            return None
        if draft.plan and not failures:
            return 0
        self._write_inline(key, decision)
        if failures:
            raise _summarize(failures)
        delay = self._get_delay(case.job, decision.status or {}, decision.due, observed)
        if delay is None:
            self.registry.rest(key)
        return delay

    def _carry_out(self, key: ObjectKey, case: Case, draft: Draft) -> tuple[Decision, list[Failure]]:
        """Do what was planned and store what is true then: on disk before the next step of a plan, or at its end."""
        if find(case.job, "metadata", "deletionTimestamp") is None:
            if draft.plan:
                self.registry.write_owed(key)  # who cannot write down what was done does no more, and may be killed
        elif any(isinstance(action, StopContainer) for action in draft.plan):
            with suppress(TrainletError):  # on a full disk too a job may be deleted; what is owed is tried again
                self.registry.write_owed(key)
        failures = self.executor.execute(key, draft.plan, self._find_ban(case, draft.plan))
        decision, notes = conclude(draft, failures), build_notes(draft, failures)
        goes_on = bool(draft.plan) and not failures
        self.registry.record(key, decision, notes, self._describe_engine(), is_interim=goes_on)
        return decision, failures

    def _write_inline(self, key: ObjectKey, decision: Decision) -> None:
        if self.inline_status and decision.status and (source := self.registry.find_source(key)):
            stored = self.registry.store.get(key) or {}  # training code may have reported during the pass
            write_inline_status(Path(source.file), key, stored.get("status") or decision.status)

    def _find_ban(self, case: Case, plan: Plan) -> str:
        """Return why no pod of the job may be made: settings, and what was stored, may not be as they were admitted."""
        if not any(isinstance(action, CreateContainer) for action in plan):
            return ""
        return ", ".join(map(str, self.registry.find_pod_violations(case)))

    def _observe(self, key: ObjectKey, case: Case, needs: Needs) -> Observed:
        self.engine_source.check()
        uid = str(find(case.job, "metadata", "uid"))
        observed = self.engine.observe(uid, with_volumes=needs.has_volumes)
        untold = {c.id for c in find_untold_ends(case, observed)}
        return replace(
            observed,
            containers=tuple(self._look_at(c, is_news=c.id in untold) for c in observed.containers),
            images=self.images.look(needs.images),
            health=self.prober.look(key, find_targets(observed, needs)),
            starting=self.hooks.starting,
        )

    def _look_at(self, container: ObservedContainer, *, is_news: bool) -> ObservedContainer:
        """Return a container with what the engine's list does not tell of its end."""
        disrupted = container.disrupted or self.engine_source.is_disrupted(container)
        container = replace(container, disrupted=disrupted)
        if not is_news or container.exit_code in (0, None) or container.state is not ContainerState.EXITED:
            return container
        return replace(container, log=read_tail(self.engine, container.id))

    def _find_other_engine(self, case: Case, observed: Observed) -> str | None:
        """Return what to say of a job whose nodes are on another engine: started here too, it would run twice."""
        known = find(case.report, "status", "engine")
        started = any(find(pod, "status", "startTime") for pod in case.pods)
        if not started or observed.containers or observed.networks or known in (None, self._describe_engine()):
            return None
        if is_finished(case.job.get("status") or {}):
            return None
        return (
            f"the job's nodes are on {known['name']} at {known['endpoint']}, and this operator works on "
            f"{self.engine.name} at {self.engine.endpoint}: run trainlet with that engine"
        )

    def _get_delay(self, job: JSON, status: JSON, due: datetime | None, observed: Observed) -> float | None:
        if due is not None:
            return min(RESYNC_SECONDS, max(0.0, (due - self.clock()).total_seconds()))
        # Of a suspended job that has nothing on the engine no event can get lost.
        is_still = bool(job["spec"].get("suspend")) and not (observed.containers or observed.networks)
        return None if is_finished(status) or is_still else RESYNC_SECONDS

    def _give_up(self, key: ObjectKey, error: ApiError) -> float | None:
        """Tell that the job cannot be built, as upstream does; a deleted one goes all the same."""
        job = self.registry.store.get(key)
        if find(job, "metadata", "deletionTimestamp") is not None:
            observed = self.engine.observe(str(find(job, "metadata", "uid")))
            if (after := self._tear_down(key, observed)) is not None:
                return after
            self.registry.forget(key)
            self.devices.forget(str(find(job, "metadata", "uid")))
            return None
        text = str(error)
        cut = text if len(text) <= _MAX_EVENT_LENGTH else f"{text[:_MAX_EVENT_LENGTH]} ..."
        message = f"TrainJob resources reconciliation failed: {cut}"
        self.registry.note(key, Note(WARNING, "TrainJobResourcesCreationFailed", message))
        if job is not None:
            self._withdraw(key, job)
        raise error

    def _withdraw(self, key: ObjectKey, job: JSON) -> None:
        """Ask for no GPUs and of no health any more for a job that nothing is done about; what runs keeps its own."""
        uid = str(find(job, "metadata", "uid"))
        self.devices.ask(Request(key, uid, since=""), self.engine.observe(uid).containers)
        self.prober.look(key, {})

    def _tear_down(self, key: ObjectKey, observed: Observed) -> float | None:
        plan = build_teardown(observed, "its job is not known any more")
        failures = self.executor.execute(key, plan)
        if failures:
            raise _summarize(failures)
        return 0 if plan else None

    def _describe_engine(self) -> JSON:
        return {"name": self.engine.name, "endpoint": self.engine.endpoint}


def _name_trouble(error: EngineError) -> str:
    """Return why a job cannot be looked at, as its report's condition says it (cli/explain.py)."""
    return "EngineUnavailable" if isinstance(error, EngineUnavailable) else "EngineRefused"


def _summarize(failures: Sequence[Failure]) -> EngineError:
    first = failures[0]
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return EngineError(f"{type(first.action).__name__} {first.action.target} failed{more}: {first.message}")
