"""The pod slots of a JobSet: who they are on a cluster and what they are called here."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from trainlet.apis.batch_v1 import JobSpec
from trainlet.apis.core_v1 import Container
from trainlet.apis.jobset import JobSet, ReplicatedJob
from trainlet.kube.meta import ObjectKey
from trainlet.planning import labels
from trainlet.planning.runtime import NODE_CONTAINER

#: No name of a cluster has one, so that no two containers get one name.
_SEPARATOR = "_"


class Role(StrEnum):
    """What a container is in its pod. SIDECAR: an init container that goes on beside the main ones."""

    SANDBOX = "sandbox"
    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"


@dataclass(frozen=True)
class Member:
    """One container of a slot's pod. `name` is its name in the pod, `container_name` the one on the engine.

    `step` is what people call it: the pod's own step is that of the container that does its work.
    """

    container: Container
    role: Role
    container_name: str
    step: str

    @property
    def name(self) -> str:
        """The container's name in its pod."""
        return self.container.name


@dataclass(frozen=True)
class Slot:
    """One index of one Job of the JobSet. `number` counts all slots of the JobSet and fixes the address.

    `sandbox_image` is what holds the namespaces that containers of one pod share; empty where there are none.
    """

    owner: ObjectKey
    jobset: JobSet
    replicated_job: ReplicatedJob
    job_index: int
    index: int
    number: int
    sandbox_image: str = ""

    @property
    def job_name(self) -> str:
        """The batch Job's name on a cluster."""
        return f"{self.owner.name}-{self.replicated_job.name}-{self.job_index}"

    @property
    def hostname(self) -> str:
        """The pod's host name on a cluster; stable over restarts, so it is also the slot's own name."""
        return f"{self.job_name}-{self.index}"

    @property
    def step(self) -> str:
        """What people call it: `node-0`, `dataset-initializer`."""
        name = self.replicated_job.name
        if self.ancestor.endswith("-initializer") and self.job_spec.parallelism == 1:
            return name
        return f"{name}-{self.index}" if self.replicated_job.replicas == 1 else self._flat_name

    @property
    def container_name(self) -> str:
        """The container's name on the engine."""
        return f"{labels.prefix_of(self.owner)}-{self._flat_name}"

    @property
    def subdomain(self) -> str:
        """The name under which a cluster's DNS has the slots of the JobSet."""
        return self.jobset.spec.network.subdomain or self.owner.name

    @property
    def ancestor(self) -> str:
        """The TrainJob step that the slot serves, or an empty text."""
        return self.replicated_job.template.metadata.labels.get(labels.ANCESTOR_STEP, "")

    @property
    def job_spec(self) -> JobSpec:
        """The spec of the slot's Job."""
        return self.replicated_job.template.spec

    @property
    def container(self) -> Container:
        """The container that does the slot's work: the one called `node`, else the first."""
        containers = self.job_spec.template.spec.containers
        return next((c for c in containers if c.name == NODE_CONTAINER), containers[0])

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The containers of the pod in the order in which they begin; a sandbox first, where several share it."""
        pod = self.job_spec.template.spec
        inits = [(c, Role.SIDECAR if c.restart_policy == "Always" else Role.INIT) for c in pod.init_containers]
        members = [*inits, *((container, Role.MAIN) for container in pod.containers)]
        if self.sandbox_image and len(members) > 1:
            members.insert(0, (Container(name=labels.SANDBOX, image=self.sandbox_image), Role.SANDBOX))
        return tuple(self._build_member(container, role) for container, role in members)

    @property
    def has_sandbox(self) -> bool:
        """Whether the containers of the pod share the namespaces of one that holds them."""
        return self.members[0].role is Role.SANDBOX

    @property
    def makes_new_pods(self) -> bool:
        """Whether a failed pod is replaced by a new one, and none of its main containers restarted in place."""
        return self.job_spec.template.spec.restart_policy == "Never"

    def _build_member(self, container: Container, role: Role) -> Member:
        if container.name == self.container.name:
            return Member(container, role, self.container_name, self.step)
        name = f"{self.container_name}{_SEPARATOR}{container.name}"
        return Member(container, role, name, f"{self.step}.{container.name}")

    @property
    def _flat_name(self) -> str:
        rjob = self.replicated_job
        return f"{rjob.name}-{self.index}" if rjob.replicas == 1 else f"{rjob.name}-{self.job_index}-{self.index}"


def build_slots(owner: ObjectKey, jobset: JobSet, sandbox_image: str = "") -> tuple[Slot, ...]:
    """Return the slots of a job in the order of its template, replicas and indexes."""
    places = [
        (rjob, job_index, index)
        for rjob in jobset.spec.replicated_jobs
        for job_index in range(rjob.replicas)
        for index in range(rjob.template.spec.parallelism)
    ]
    return tuple(
        Slot(owner, jobset, *place, number=number, sandbox_image=sandbox_image) for number, place in enumerate(places)
    )
