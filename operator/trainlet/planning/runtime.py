"""TrainJob + runtime -> `Info`: one record between the runtime's template and the JobSet.

Follows kubeflow/trainer pkg/runtime/runtime.go and pkg/runtime/core/trainingruntime.go. A runtime here is
the job's snapshot of it: what the live runtime became since does not matter.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from trainlet.apis.core_v1 import Container, ResourceRequirements
from trainlet.apis.trainer import MpiPolicy, TrainJob
from trainlet.kube.merge import find, put, upsert
from trainlet.kube.meta import JSON
from trainlet.kube.quantity import round_up
from trainlet.planning import labels
from trainlet.planning.environment import MASTER_PORT
from trainlet.planning.patches import apply_patches

TRAINER = "trainer"
#: The container that the trainer's overrides go to, in the replicated job with ancestor `trainer`.
NODE_CONTAINER = "node"
#: The replicated job of MPI's and Flux's workers, whatever step it serves.
WORKERS = "node"
_TEMPLATE = ("template", "spec", "template")
_POD = (*_TEMPLATE, "spec")


@dataclass(frozen=True)
class PodSet:
    """One replicatedJob on its way to the JobSet: `count` pods, and the wire form of the replicatedJob."""

    name: str
    count: int
    wire: JSON

    @property
    def ancestor(self) -> str | None:
        """The step of the TrainJob that this replicatedJob serves."""
        ancestor = find(self.wire, "template", "metadata", "labels", labels.ANCESTOR_STEP)
        return str(ancestor) if ancestor is not None else None

    @property
    def containers(self) -> list[JSON]:
        """The wire containers of the pod template."""
        return find(self.wire, *_POD, "containers") or []

    @property
    def init_containers(self) -> list[JSON]:
        """The wire init containers of the pod template."""
        return find(self.wire, *_POD, "initContainers") or []

    def with_container(self, name: str, edit: Callable[[JSON], JSON]) -> "PodSet":
        """Return the pod set with the containers of this name edited."""
        containers = [edit(c) if c.get("name") == name else c for c in self.containers]
        return replace(self, wire=put(self.wire, (*_POD, "containers"), containers))

    def with_any_container(self, name: str, edit: Callable[[JSON], JSON]) -> "PodSet":
        """Return the pod set with the container of this name edited; an init container where there is no other."""
        if any(container.get("name") == name for container in self.containers):
            return self.with_container(name, edit)
        containers = [edit(c) if c.get("name") == name else c for c in self.init_containers]
        return replace(self, wire=put(self.wire, (*_POD, "initContainers"), containers))

    def with_every_container(self, edit: Callable[[JSON], JSON]) -> "PodSet":
        """Return the pod set with all containers edited, init containers not."""
        return replace(self, wire=put(self.wire, (*_POD, "containers"), list(map(edit, self.containers))))

    def with_init_container(self, container: JSON) -> "PodSet":
        """Return the pod set with one more init container, the last to run."""
        return replace(self, wire=put(self.wire, (*_POD, "initContainers"), [*self.init_containers, container]))

    def with_volumes(self, volumes: Iterable[JSON]) -> "PodSet":
        """Return the pod set with these volumes, in the place of those with their names."""
        merged = upsert(find(self.wire, *_POD, "volumes") or [], volumes)
        return replace(self, wire=put(self.wire, (*_POD, "volumes"), merged))

    def with_pod_metadata(self, kind: str, key: str, value: str) -> "PodSet":
        """Return the pod set with one more label or annotation on its pods; `kind` is the field's name."""
        given = find(self.wire, *_TEMPLATE, "metadata", kind) or {}
        return replace(self, wire=put(self.wire, (*_TEMPLATE, "metadata", kind), {**given, key: value}))


@dataclass(frozen=True)
class Info:
    """What policies work on. `template` is the runtime's, with the job's patches in it."""

    ml_policy: JSON
    pod_group_policy: JSON
    template: JSON
    pod_sets: tuple[PodSet, ...]

    @property
    def trainer(self) -> PodSet | None:
        """The first pod set that serves the trainer step."""
        return next((p for p in self.pod_sets if p.ancestor == TRAINER), None)

    @property
    def nodes(self) -> int:
        """The number of the trainer's pods; upstream counts one where no pod set serves that step."""
        return self.trainer.count if self.trainer else 1

    @property
    def originals(self) -> tuple[PodSet, ...]:
        """The pod sets as the runtime and the job's patches have them, before anything else of the job."""
        return tuple(_read_pod_set(rjob) for rjob in find(self.template, "spec", "replicatedJobs") or [])

    @property
    def launcher_is_node(self) -> bool:
        """Whether MPI's launcher trains too, so that its workers are nodes of the trainer like itself."""
        policy = self.ml_policy.get("mpi")
        return policy is not None and MpiPolicy.of(policy).run_launcher_as_node

    def find_pod_set(self, name: str) -> PodSet | None:
        """Return the pod set of the replicatedJob with this name."""
        return next((p for p in self.pod_sets if p.name == name), None)

    def with_trainer(self, edit: Callable[[PodSet], PodSet]) -> "Info":
        """Return the record with the first trainer pod set edited."""
        trainer = self.trainer
        return replace(self, pod_sets=tuple(edit(p) if p is trainer else p for p in self.pod_sets))

    def with_nodes(self, edit: Callable[[JSON], JSON], *, workers: bool = False) -> "Info":
        """Return the record with the node container of every trainer pod set edited.

        With `workers` also that of MPI's workers, where its launcher is one of the nodes.
        """

        def is_meant(pod_set: PodSet) -> bool:
            return pod_set.ancestor == TRAINER or (workers and pod_set.name == WORKERS and self.launcher_is_node)

        return self.with_pod_sets(lambda p: p.with_container(NODE_CONTAINER, edit) if is_meant(p) else p)

    def with_pod_sets(self, edit: Callable[[PodSet], PodSet]) -> "Info":
        """Return the record with every pod set edited."""
        return replace(self, pod_sets=tuple(map(edit, self.pod_sets)))


def build_info(job: TrainJob, runtime: JSON) -> Info:
    """Start the record: the job's patches, pod counts from the runtime, then the job's resources."""
    ml_policy = find(runtime, "spec", "mlPolicy")
    template = apply_patches(find(runtime, "spec", "template") or {}, job.spec.runtime_patches)
    replicated = find(template, "spec", "replicatedJobs") or []
    info = Info(
        ml_policy=ml_policy or {},
        pod_group_policy=find(runtime, "spec", "podGroupPolicy") or {},
        template=template,
        pod_sets=tuple(_start_pod_set(rjob, ml_policy) for rjob in replicated),
    )
    # A policy that says nothing is one all the same.
    return info if ml_policy is None else _merge_resources(job, info)


def add_settings(job: TrainJob, info: Info, environment: Sequence[JSON]) -> Info:
    """Add a policy's environment and the rendezvous port to the node container of the first trainer.

    The job's own entries win over the policy's, and those over the runtime's. A job without `spec.trainer`
    gets neither, as upstream.
    """
    if job.spec.trainer is None:
        return info

    def edit(container: JSON) -> JSON:
        edited = add_environment(container, environment, kept=get_trainer_names(job))
        return {**edited, "ports": _add_port(container.get("ports") or [])}

    return info.with_trainer(lambda pod_set: pod_set.with_container(NODE_CONTAINER, edit))


def add_environment(container: JSON, environment: Iterable[JSON], kept: Collection[str] = ()) -> JSON:
    """Return a container with this environment over its own, in place or at the end; `kept` names stay its own."""
    added = [entry for entry in environment if entry["name"] not in kept]
    return {**container, "env": upsert(container.get("env") or [], added)}


def add_mounts(container: JSON, mounts: Iterable[JSON]) -> JSON:
    """Return a container with these mounts, in the place of those at their paths."""
    return {**container, "volumeMounts": upsert(container.get("volumeMounts") or [], mounts, "mountPath")}


def get_trainer_names(job: TrainJob) -> frozenset[str]:
    """Return the names of the environment that the job gives its trainer; its values win over a policy's."""
    return frozenset(entry["name"] for entry in job.spec.trainer.env) if job.spec.trainer else frozenset()


def list_endpoints(job: TrainJob, info: Info, pod_set: PodSet) -> list[str]:
    """Return the names by which others reach the pods of a set: those of its first Job, as upstream."""
    name = job.metadata.name
    subdomain = find(info.template, "spec", "network", "subdomain") or name
    return [f"{name}-{pod_set.name}-0-{index}.{subdomain}" for index in range(pod_set.count)]


def get_leader(job: TrainJob) -> str:
    """Return the name that all nodes meet at; `node` and the subdomain are not the template's, as upstream."""
    return f"{job.metadata.name}-{NODE_CONTAINER}-0-0.{job.metadata.name}"


def get_node_resources(job: TrainJob, info: Info) -> ResourceRequirements:
    """Return what plugin arithmetic reads: the job's resources instead of, not merged with, the runtime's."""
    if job.spec.trainer is not None and job.spec.trainer.resources_per_node is not None:
        return ResourceRequirements.of(job.spec.trainer.resources_per_node)
    pod_set = next((p for p in info.pod_sets if p.name == NODE_CONTAINER or p.ancestor == TRAINER), None)
    containers = pod_set.containers if pod_set else []
    node = next((c for c in containers if c.get("name") == NODE_CONTAINER), None)
    return Container.of(node).resources if node else ResourceRequirements()


def count_gpus(resources: ResourceRequirements) -> int:
    """Return the GPUs a node asks for: the first resource named like one, from requests, else from limits."""
    for amounts in (resources.requests, resources.limits):
        name = find_gpu_resource(amounts)
        if name is not None and (count := round_up(amounts[name])) > 0:
            return count
    return 0


def find_gpu_resource(amounts: dict[str, str | int | float]) -> str | None:
    """Return the first resource whose name contains `gpu`, in any case (kubeflow/trainer pkg/runtime/runtime.go)."""
    return next((name for name in amounts if "gpu" in name.lower()), None)


def _read_pod_set(rjob: JSON) -> PodSet:
    return PodSet(str(rjob.get("name", "")), 1, rjob)


def _start_pod_set(rjob: JSON, ml_policy: JSON | None) -> PodSet:
    pod_set = _read_pod_set(rjob)
    if pod_set.ancestor == TRAINER and ml_policy is not None:
        count = ml_policy.get("numNodes")
    else:
        count = find(rjob, "template", "spec", "parallelism")
    return replace(pod_set, count=max(1, 1 if count is None else int(count)))


def _merge_resources(job: TrainJob, info: Info) -> Info:
    """Merge `resourcesPerNode` key by key into the nodes' containers; without an mlPolicy upstream does not."""
    trainer = job.spec.trainer
    if trainer is None or trainer.resources_per_node is None:
        return info
    wanted = trainer.resources_per_node

    def merge(container: JSON) -> JSON:
        resources = dict(container.get("resources") or {})
        for key in ("limits", "requests"):
            if wanted.get(key):
                resources[key] = {**(resources.get(key) or {}), **wanted[key]}
        if wanted.get("claims"):
            resources["claims"] = upsert(resources.get("claims") or [], wanted["claims"])
        return {**container, "resources": resources}

    return info.with_nodes(merge, workers=True)


def _add_port(ports: Sequence[JSON]) -> list[JSON]:
    """Put the rendezvous port in the place of itself or of a port without a name, as upstream, or at the end."""
    port: JSON = {"containerPort": MASTER_PORT}
    same = (n for n, p in enumerate(ports) if p.get("containerPort") == MASTER_PORT or p.get("name") is None)
    place = next(same, len(ports))
    return [*ports[:place], port, *ports[place + 1 :]]
