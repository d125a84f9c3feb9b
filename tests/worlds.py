"""One job in the pure core's own terms: what is stored, what is seen, what time it is. No engine, no threads.

A `World` is a value; every method returns the next one. `step` makes a pass and carries its plan out at once and
without failures, so that a test tells a story: let two nodes start, let one exit, look at the plan. It refuses a
plan that no engine could carry out: a second container of a name, a start of what is not there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from builders import NOW, build_job, build_runtime
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.containers import build_container
from trainlet.planning.observed import (
    ContainerState,
    ImageState,
    Observed,
    ObservedContainer,
    ObservedImage,
    ObservedNetwork,
    ObservedVolume,
)
from trainlet.planning.options import Options
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    Failure,
    KeepLogs,
    KillContainer,
    PullImage,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    StartContainer,
    StopContainer,
    render_plan,
)
from trainlet.planning.reconcile import Decision, Draft, conclude, reconcile
from trainlet.planning.records import ContainerRecord, PodRecord, build_record, read_record
from trainlet.planning.scene import Case, Scene, look
from trainlet.planning.slots import Member, Slot
from trainlet.planning.specs import ContainerSpec

IMAGE, SANDBOX_IMAGE = "image:1", "pause:1"
SUBNET = "10.213.0.0/29"
_POD_FIELDS = frozenset({"created_at", "restart", "failures", "given_up"})
PRESENT = ObservedImage(ImageState.PRESENT)


@dataclass(frozen=True)
class World:
    """A job, all that is stored of it, and all that is seen of it."""

    job: JSON
    runtime: JSON
    options: Options = field(default_factory=Options)
    now: datetime = NOW
    pods: tuple[JSON, ...] = ()
    report: JSON | None = None
    jobset: JSON | None = None
    jobs: tuple[JSON, ...] = ()
    observed: Observed = field(default_factory=lambda: Observed(images={IMAGE: PRESENT, SANDBOX_IMAGE: PRESENT}))
    made: int = 0
    kept_volumes: frozenset[str] = frozenset()
    made_of: Mapping[str, ContainerSpec] = field(default_factory=dict, compare=False, repr=False)

    # The core's own answers

    @property
    def case(self) -> Case:
        """What is stored."""
        return Case(self.job, self.runtime, self.pods, self.report, self.jobset, self.jobs)

    def look(self) -> Scene:
        """Return the scene that a pass begins with."""
        return self._scene

    def draft(self) -> Draft:
        """Return the draft of a pass."""
        return self._draft

    @cached_property
    def _scene(self) -> Scene:
        return look(self.case, self.observed, self.now, self.options)

    @cached_property
    def _draft(self) -> Draft:
        return reconcile(self.case, self.observed, self.now, self.options)

    def decide(self, failures: Sequence[Failure] = ()) -> Decision:
        """Return the decision of a pass whose actions failed like this."""
        return conclude(self.draft(), failures)

    @property
    def plan(self) -> str:
        """The plan of the next pass as text, reasons left out."""
        return render_plan(tuple(replace(action, reason="") for action in self.draft().plan))

    # Passes

    def store(self, decision: Decision) -> "World":
        """Return the world with a decision written down."""
        job = {**self.job, "status": decision.status} if decision.status else self.job
        stored = {name: getattr(decision, name) for name in ("pods", "report", "jobset", "jobs")}
        return replace(self, job=job, **stored)

    def step(self) -> "World":
        """Make one pass and carry its plan out."""
        draft = self.draft()
        world = self
        for action in draft.plan:
            world = world.perform(action)
        return world.store(conclude(draft))

    def settle(self, passes: int = 8) -> "World":
        """Make passes at one instant until one has nothing to do and nothing to tell."""
        world = self
        for _ in range(passes):
            after = world.step()
            if not world.draft().plan and after == world:
                return world
            world = after
        raise AssertionError(f"no rest after {passes} passes, still: {world.plan}")

    def after(self, seconds: float) -> "World":
        """Return the world some time later."""
        return replace(self, now=self.now + timedelta(seconds=seconds))

    # What users do

    def edit(self, **spec: Any) -> "World":
        """Change fields of the job's spec."""
        return replace(self, job=put(self.job, ("spec",), {**self.job["spec"], **spec}))

    def delete(self) -> "World":
        """Mark the job as deleted."""
        return replace(self, job=put(self.job, ("metadata", "deletionTimestamp"), "2026-01-02T03:04:05Z"))

    # What happens to containers

    def exit(self, step: str, code: int, **fields: Any) -> "World":
        """Let the container of a step end now."""
        ended = {"state": ContainerState.EXITED, "exit_code": code, "finished_at": self.now, **fields}
        return self._replace(replace(self.container(step), **ended))

    def change(self, step: str, **fields: Any) -> "World":
        """Change what is seen of the container of a step."""
        return self._replace(replace(self.container(step), **fields))

    def lose(self, step: str) -> "World":
        """Take the container of a step away, by hand."""
        return self._drop(self.container(step))

    def see(self, *containers: ObservedContainer) -> "World":
        """Put further containers there."""
        return replace(self, observed=replace(self.observed, containers=(*self.observed.containers, *containers)))

    def lose_network(self) -> "World":
        """Take the network away, by hand, from under all containers."""
        containers = tuple(replace(c, networks=frozenset()) for c in self.observed.containers)
        return replace(self, observed=replace(self.observed, containers=containers, networks=()))

    def image(self, state: str, name: str = IMAGE, **fields: Any) -> "World":
        """Change what is seen of an image."""
        images = {**self.observed.images, name: ObservedImage(ImageState(state), **fields)}
        return replace(self, observed=replace(self.observed, images=images))

    # Looking

    def container(self, place: str) -> ObservedContainer:
        """Return the container of a step that does its work, or another of its pod: `node-0_sidecar`."""
        name = self.member(place).container_name
        return next(c for c in self.observed.containers if c.name == name)

    def member(self, place: str) -> Member:
        """Return one container of a step's pod."""
        step, _, name = place.partition("_")
        slot = self.slot(step)
        return next(each for each in slot.members if each.name == (name or slot.container.name))

    def slot(self, step: str) -> Slot:
        """Return the slot of a step."""
        return next(slot for slot in self.look().slots if slot.step == step)

    def record(self, step: str) -> PodRecord:
        """Return what is written of a step."""
        hostname = self.slot(step).hostname
        slot = self.slot(step)
        return next(read_record(slot, pod) for pod in self.pods if pod["spec"]["hostname"] == hostname)

    def part(self, step: str, container: str | None = None) -> ContainerRecord:
        """Return what is written of one container of a step, by itself of the one that does its work."""
        return self.record(step).containers[container or self.slot(step).container.name]

    def spec(self, step: str, record: PodRecord | None = None, container: str | None = None) -> ContainerSpec:
        """Return the container that the step is to have."""
        scene, slot = self.look(), self.slot(step)
        site = scene.build_site(scene.network or build_network())
        member = next(each for each in slot.members if each.name == (container or slot.container.name))
        return build_container(site, slot, member, record or build_record(slot, self.now))

    @property
    def status(self) -> JSON:
        """The TrainJob's status as stored."""
        status: JSON = self.job.get("status") or {}
        return status

    @property
    def conditions(self) -> list[tuple[str, str, str]]:
        """Type, status and reason of the stored conditions, in order."""
        return [(c["type"], c["status"], c["reason"]) for c in self.status.get("conditions") or []]

    @property
    def phase(self) -> str:
        """The phase as reported."""
        return str(find(self.report, "status", "phase"))

    # Carrying out

    def perform(self, action: Action) -> "World":
        """Carry one action out. Raises AssertionError for one that no engine could."""
        observed = self.observed
        match action:
            case CreateNetwork(spec=spec):
                assert not any(n.name == spec.name for n in observed.networks), f"{spec.name} is there already"
                network = ObservedNetwork(f"{spec.name}#{self.made}", spec.name, spec.labels, SUBNET)
                world = replace(self, observed=replace(observed, networks=(*observed.networks, network)))
                return replace(world, made=self.made + 1)
            case RemoveNetwork(id=id):
                assert not any(action.name in c.networks for c in observed.containers), f"{action.name} is in use"
                networks = tuple(n for n in observed.networks if n.id != id)
                return replace(self, observed=replace(observed, networks=networks))
            case CreateVolume(spec=volume):
                if labels.OWNER_UID not in volume.labels:
                    return replace(self, kept_volumes=self.kept_volumes | {volume.name})
                assert all(v.name != volume.name for v in observed.volumes), f"{volume.name} is there already"
                volumes = (*observed.volumes, ObservedVolume(volume.name, volume.labels))
                return replace(self, observed=replace(observed, volumes=volumes))
            case RemoveVolume(name=name):
                users = [c.name for c in observed.containers if name in self._list_mounted(c)]
                assert not users, f"{name} is in use by {users}"
                volumes = tuple(v for v in observed.volumes if v.name != name)
                return replace(self, observed=replace(observed, volumes=volumes))
            case PullImage(image=image):
                return self.image("pulling", image)
            case CreateContainer(spec=spec) if any(is_made_of(c, spec) for c in observed.containers):
                return self  # ours, from an earlier try
            case CreateContainer(spec=spec):
                assert not any(c.name == spec.name for c in observed.containers), f"{spec.name} is there already"
                id = f"{spec.name}#{self.made}"
                names = {volume.name for volume in observed.volumes} | self.kept_volumes
                missing = [mount.volume for mount in spec.volumes if mount.volume not in names]
                assert not missing, f"{spec.name} mounts {missing}, which are not there"
                self._check_joined(spec)
                made_of = {**self.made_of, id: spec}
                return replace(self.see(build_created(spec, id)), made=self.made + 1, made_of=made_of)
            case StartContainer(id=id):
                self._check_joined(self.made_of.get(self.get(id).id))
                running = {"state": ContainerState.RUNNING, "started_at": self.now}
                return self._replace(replace(self.get(id), **running))
            case StopContainer(id=id):
                self.get(id)
            case KillContainer(id=id):
                ended = {"state": ContainerState.EXITED, "exit_code": 137, "finished_at": self.now}
                return self._replace(replace(self.get(id), **ended))
            case KeepLogs(id=id):
                self.get(id)
            case RemoveContainer(id=id):
                specs = {c.name: self.made_of.get(c.id) for c in observed.containers}
                users = [name for name, spec in specs.items() if spec is not None and spec.joins == action.name]
                assert not users, f"{action.name} is joined by {users}"
                return self._drop(self.get(id))
        return self

    def get(self, id: str) -> ObservedContainer:
        """Return the container with this id or name."""
        found = [c for c in self.observed.containers if id in (c.id, c.name)]
        assert found, f"no container {id}"
        return found[0]

    def _check_joined(self, spec: ContainerSpec | None) -> None:
        if spec is not None and spec.joins:
            [joined] = [c for c in self.observed.containers if c.name == spec.joins] or [None]
            is_up = joined is not None and joined.state is ContainerState.RUNNING
            assert is_up, f"{spec.name} joins {spec.joins}, which does not run"

    def _list_mounted(self, container: ObservedContainer) -> list[str]:
        spec = self.made_of.get(container.id)
        return [mount.volume for mount in spec.volumes] if spec is not None else []

    def _replace(self, container: ObservedContainer) -> "World":
        containers = tuple(container if c.id == container.id else c for c in self.observed.containers)
        return replace(self, observed=replace(self.observed, containers=containers))

    def _drop(self, container: ObservedContainer) -> "World":
        containers = tuple(c for c in self.observed.containers if c.id != container.id)
        return replace(self, observed=replace(self.observed, containers=containers))


def build_world(
    runtime: Mapping[str, Any] | None = None, options: Options | None = None, name: str = "mnist", **spec: Any
) -> World:
    """Return a job that was just admitted; `runtime` holds keywords of its builder, others are of the job's spec."""
    return World(build_job(name, **spec), build_runtime(**(runtime or {})), options or Options())


def build_running(nodes: int = 2, **keywords: Any) -> World:
    """Return a job whose nodes all run, written down."""
    trainer = {**keywords.pop("trainer", {}), "numNodes": nodes}
    return build_world(trainer=trainer, **keywords).settle()


def build_pod_record(created_at: datetime, container: str = "node", **fields: Any) -> PodRecord:
    """Return the record of a pod with one container; keywords are fields of either."""
    return alter(PodRecord(created_at, containers={container: ContainerRecord()}), container, **fields)


def alter(pod: PodRecord, container: str = "node", **fields: Any) -> PodRecord:
    """Change fields of a pod's record and of one of its containers'."""
    of_pod = {name: value for name, value in fields.items() if name in _POD_FIELDS}
    of_container = {name: value for name, value in fields.items() if name not in _POD_FIELDS}
    return replace(pod.change(container, lambda record: replace(record, **of_container)), **of_pod)


def is_made_of(container: ObservedContainer, spec: ContainerSpec) -> bool:
    """Tell whether a container that was not started was made from this spec."""
    same = container.labels.get(labels.SPEC_HASH) == spec.labels[labels.SPEC_HASH]
    return same and container.name == spec.name and container.state is ContainerState.CREATED


def build_network(name: str = "mnist-net", subnet: str = SUBNET, **fields: Any) -> ObservedNetwork:
    """Return a network as it is seen."""
    return ObservedNetwork(f"{name}#0", name, {}, subnet, **fields)


def build_created(spec: ContainerSpec, id: str) -> ObservedContainer:
    """Return what is seen of a container right after it was made."""
    return ObservedContainer(
        id, spec.name, spec.labels, ContainerState.CREATED, networks=frozenset({spec.network} - {""})
    )
