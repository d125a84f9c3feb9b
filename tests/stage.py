"""A pod on its stage: what its containers are made of, with the ConfigMaps and Secrets that stand beside its job."""

import base64
from dataclasses import dataclass, field, replace
from functools import cached_property

from builders import NOW, build_job, build_runtime
from trainlet.kube.meta import JSON
from trainlet.planning.containers import Site, build_container
from trainlet.planning.observed import Observed
from trainlet.planning.options import Options
from trainlet.planning.records import PodRecord, build_record
from trainlet.planning.scene import Case, look
from trainlet.planning.slots import Member, Slot
from trainlet.planning.specs import ContainerSpec, VolumeSpec
from trainlet.planning.volumes import build_volumes
from worlds import SANDBOX_IMAGE, build_network

OPTIONS = Options(sandbox_image=SANDBOX_IMAGE)


@dataclass(frozen=True)
class Stage:
    """The first pod of a job."""

    runtime: JSON = field(default_factory=build_runtime)
    objects: tuple[JSON, ...] = ()
    options: Options = OPTIONS
    job: JSON = field(default_factory=build_job)

    @cached_property
    def site(self) -> Site:
        """Where its containers go."""
        return look(Case(self.job, self.runtime, objects=self.objects), Observed(), NOW, self.options).build_site(
            build_network()
        )

    @property
    def slot(self) -> Slot:
        """Its slot."""
        return self.site.slots[0]

    @property
    def record(self) -> PodRecord:
        """What is known of it at the start."""
        return build_record(self.slot, NOW)

    def member(self, name: str) -> Member:
        """Return one of its containers; `POD` is the sandbox."""
        return next(member for member in self.slot.members if member.name == name)

    def spec(self, name: str = "node", record: PodRecord | None = None) -> ContainerSpec:
        """Return what one of its containers is made of. Raises ConfigError."""
        return build_container(self.site, self.slot, self.member(name), record or self.record)

    def volumes(self, name: str = "node", record: PodRecord | None = None) -> tuple[VolumeSpec, ...]:
        """Return the volumes that one of its containers needs. Raises ConfigError."""
        member = self.member(name)
        return build_volumes(self.site.build_pod(self.slot, record or self.record, member), member)


def set_stage(container: JSON | None = None, *objects: JSON, others: list[JSON] | None = None, **pod: object) -> Stage:
    """Return the stage of a pod with its container `node`, others beside it, and further fields."""
    return Stage(build_runtime(container=container, pod=pod, more_containers=others), objects)


def restart(record: PodRecord, restart: int | None = None) -> PodRecord:
    """Return the record at the next start of all containers; in a later restart of the JobSet if one is given."""
    return replace(record.begin_anew(NOW), restart=record.restart if restart is None else restart)


def build_config_map(name: str, **data: str) -> JSON:
    """Return a ConfigMap as it is stored."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def build_secret(name: str, **data: str | bytes) -> JSON:
    """Return a Secret as it is stored."""
    encoded = {key: base64.b64encode(v.encode() if isinstance(v, str) else v).decode() for key, v in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}
