"""Slot + network -> ContainerSpec: what a kubelet would do with the pod, in an engine's terms."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.kube.quantity import parse_quantity
from trainlet.planning import initializers, labels
from trainlet.planning.addresses import get_address, get_gateway
from trainlet.planning.environment import (
    MASTER_PORT,
    add_defaults,
    build_fields,
    build_rendezvous,
    expand,
    localize,
    localize_environment,
    resolve_environment,
)
from trainlet.planning.initializers import rewrite
from trainlet.planning.jobset import build_objects
from trainlet.planning.observed import ObservedNetwork
from trainlet.planning.options import Options
from trainlet.planning.pods import build_pod_annotations, build_pod_labels, get_pod_name
from trainlet.planning.policies import status
from trainlet.planning.records import PodRecord
from trainlet.planning.runtime import TRAINER, count_gpus, find_gpu_resource
from trainlet.planning.slots import Slot
from trainlet.planning.specs import ContainerSpec, Limits, Mount, NetworkSpec, Privileges
from trainlet.planning.status_token import build_token
from trainlet.planning.volumes import Objects, build_storage, read_objects

WORKSPACE = "/workspace"


@dataclass(frozen=True)
class Site:
    """Where a job's containers go: all its slots, its network, the operator's options, and the job's snapshot."""

    job: TrainJob
    slots: Sequence[Slot]
    network: ObservedNetwork
    options: Options
    runtime: JSON

    @cached_property
    def objects(self) -> Objects:
        """What volumes may hold; keys take a moment to derive, and only a new container needs them."""
        job, options = self.job, self.options
        objects = build_objects(job, self.runtime, options.secret, options.features)
        metadata = job.metadata
        token = build_token(options.secret, metadata.namespace, metadata.name, metadata.uid)
        return read_objects(objects, {status.get_audience(job): token})

    def address(self, slot: Slot) -> str:
        """Return the slot's fixed address."""
        return get_address(self.network, slot.number)


def build_network(job: TrainJob, slots: Sequence[Slot], options: Options) -> NetworkSpec:
    """Return the network of a job, with the labels that the Kubeflow SDK reads."""
    return NetworkSpec(
        name=labels.network_name(job.key),
        hosts=len(slots),
        labels={
            **build_owner_labels(job, options),
            labels.SDK_RUNTIME: job.spec.runtime_ref.name,
        },
    )


def get_workspace(job: TrainJob, options: Options) -> str:
    """Return the job's directory on the host."""
    return f"{options.workspace_dir}/{job.metadata.namespace}/{job.metadata.name}"


def build_container(site: Site, slot: Slot, record: PodRecord) -> ContainerSpec:
    """Return the container of a slot at the attempt that its record says."""
    container, pod = slot.container, slot.job_spec.template.spec
    environment = _build_environment(site, slot, record)
    storage = build_storage(slot, site.objects)
    spec = ContainerSpec(
        name=slot.container_name,
        image=container.image,
        command=_expand_all(container.command, environment),
        args=_expand_all(container.args, environment),
        env=environment,
        labels=_build_labels(site, slot, record),
        mounts=(*storage.mounts, *_mount_workspace(site, slot)),
        volumes=storage.volumes,
        tmpfs=storage.tmpfs,
        files=storage.files,
        limits=_build_limits(slot, site.options),
        privileges=_build_privileges(slot),
        user=_build_user(slot),
        groups=_build_groups(slot),
        working_dir=container.working_dir,
        hostname=slot.hostname[:63],
        network=site.network.name,
        address=site.address(slot),
        stop_timeout_seconds=pod.termination_grace_period_seconds,
    )
    if site.options.initializer is not None:
        spec = rewrite(spec, container, slot.ancestor, site.options.initializer)
    return _localize(spec, site) if site.network.is_shared_address else _name_peers(spec, site, slot)


def get_image(slot: Slot, options: Options) -> str:
    """Return the image that the container of a slot is made from."""
    if options.initializer is None:
        return slot.container.image
    return initializers.get_image(slot.container, slot.ancestor, options.initializer)


def _build_environment(site: Site, slot: Slot, record: PodRecord) -> dict[str, str]:
    job = site.job
    fields = build_fields(
        {
            "labels": build_pod_labels(slot, record.restart),
            "annotations": build_pod_annotations(slot, record.restart),
        },
        {
            "metadata.name": get_pod_name(slot, record),
            "metadata.namespace": job.metadata.namespace,
            "status.podIP": site.address(slot),
        },
    )
    environment = resolve_environment(slot.container.env, fields)
    environment = add_defaults(environment, {"JOB_COMPLETION_INDEX": str(slot.index)})
    if slot.ancestor != TRAINER:
        return environment
    first = next(s for s in site.slots if s.job_name == slot.job_name)
    world_size = sum(s.job_name == slot.job_name for s in site.slots)
    port = site.network.port or MASTER_PORT
    return add_defaults(environment, build_rendezvous(slot.index, world_size, site.address(first), port))


def build_owner_labels(job: TrainJob, options: Options) -> dict[str, str]:
    """Return the labels of everything that is made for a job."""
    return {
        labels.JOB_NAME: job.metadata.name,
        labels.SDK_JOB_NAME: job.metadata.name,
        labels.OWNER_UID: job.metadata.uid,
        labels.NAMESPACE: job.metadata.namespace,
        labels.STORE: options.store,
    }


def _build_labels(site: Site, slot: Slot, record: PodRecord) -> dict[str, str]:
    return {
        **build_pod_labels(slot, record.restart),
        **build_owner_labels(site.job, site.options),
        labels.SDK_STEP: slot.step,
        labels.SDK_NETWORK: site.network.name,
        labels.NETWORK: site.network.id,
        labels.POD: slot.hostname,
        labels.ATTEMPT: str(record.attempt),
    }


def _mount_workspace(site: Site, slot: Slot) -> tuple[Mount, ...]:
    """Mount the job's directory, unless the pod has something else in its place."""
    if any(mount.mount_path.rstrip("/") == WORKSPACE for mount in slot.container.volume_mounts):
        return ()
    return (Mount(get_workspace(site.job, site.options), WORKSPACE),)


def _build_limits(slot: Slot, options: Options) -> Limits:
    resources = slot.container.resources
    cpu, memory = resources.limits.get("cpu"), resources.limits.get("memory")
    memory_bytes = None if memory is None else int(parse_quantity(memory))
    gpus = count_gpus(resources)
    return Limits(
        cpus=None if cpu is None else float(parse_quantity(cpu)),
        memory_bytes=memory_bytes,
        # The engines' 64 MB are too few for PyTorch's data loaders. A tmpfs takes only what is written.
        shm_bytes=memory_bytes or options.default_shm_bytes,
        gpus=gpus,
        gpu_resource=(find_gpu_resource({**resources.requests, **resources.limits}) or "") if gpus else "",
    )


def _build_privileges(slot: Slot) -> Privileges:
    own = slot.container.security_context
    return Privileges(
        privileged=own.privileged,
        no_new_privileges=not own.allow_privilege_escalation,
        read_only_root=own.read_only_root_filesystem,
        added=tuple(own.capabilities.add),
        dropped=tuple(own.capabilities.drop),
    )


def _build_user(slot: Slot) -> str | None:
    pod, own = slot.job_spec.template.spec.security_context, slot.container.security_context
    user = own.run_as_user if own.run_as_user is not None else pod.run_as_user
    group = own.run_as_group if own.run_as_group is not None else pod.run_as_group
    if user is None:
        return None
    return str(user) if group is None else f"{user}:{group}"


def _build_groups(slot: Slot) -> tuple[int, ...]:
    """Return the groups beside the user's own: the pod's, and the one that its files belong to."""
    pod = slot.job_spec.template.spec.security_context
    files = () if pod.fs_group is None else (pod.fs_group,)
    return tuple(dict.fromkeys((*files, *pod.supplemental_groups)))


def _expand_all(words: list[str] | None, environment: dict[str, str]) -> tuple[str, ...] | None:
    # An empty list means what an absent one does: the image's own (server-side apply drops it upstream).
    return tuple(expand(word, environment) for word in words) if words else None


def _names_of(site: Site, slot: Slot) -> tuple[str, ...]:
    """Return the names a cluster's DNS has for the slot, longest first, and the bare host name."""
    name = f"{slot.hostname}.{slot.subdomain}"
    namespaced = f"{name}.{site.job.metadata.namespace}"
    return (f"{namespaced}.svc.cluster.local", f"{namespaced}.svc", namespaced, name, slot.hostname)


def _name_peers(spec: ContainerSpec, site: Site, slot: Slot) -> ContainerSpec:
    hosts = tuple((site.address(peer), _names_of(site, peer)) for peer in site.slots)
    if site.options.features.status_port is not None:
        hosts = (*hosts, (site.options.host_address or get_gateway(site.network), status.HOST_NAMES))
    return replace(spec, aliases=_names_of(site, slot), hosts=hosts)


def _localize(spec: ContainerSpec, site: Site) -> ContainerSpec:
    port = site.network.port or MASTER_PORT
    # Not the bare host name: a cluster does not resolve it either, and it may be part of any other text.
    names = {name: site.address(peer) for peer in site.slots for name in _names_of(site, peer)[:-1]}
    names |= dict.fromkeys(status.HOST_NAMES, get_address(site.network, 0))

    def words(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if values is None else tuple(localize(value, names, port) for value in values)

    return replace(
        spec,
        command=words(spec.command),
        args=words(spec.args),
        env=localize_environment(spec.env, names, port),
    )
