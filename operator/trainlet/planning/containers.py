"""Slot + network -> ContainerSpec: what a kubelet would do with the pod, in an engine's terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning import initializers, labels
from trainlet.planning.addresses import get_address, get_gateway
from trainlet.planning.devices import UNMANAGED, Allotment
from trainlet.planning.downward import Fields
from trainlet.planning.environment import (
    MASTER_PORT,
    add_defaults,
    build_rendezvous,
    expand,
    localize,
    localize_environment,
    resolve_environment,
)
from trainlet.planning.initializers import rewrite
from trainlet.planning.jobset import build_objects
from trainlet.planning.objects import Objects, read_objects
from trainlet.planning.observed import ObservedNetwork
from trainlet.planning.options import Options
from trainlet.planning.pods import build_pod_annotations, build_pod_labels, get_pod_name, get_pod_uid
from trainlet.planning.policies import status
from trainlet.planning.records import PodRecord
from trainlet.planning.resources import build_limits
from trainlet.planning.runtime import TRAINER
from trainlet.planning.slots import Member, Role, Slot
from trainlet.planning.specs import ContainerSpec, Dns, Limits, Mount, NetworkSpec, Privileges
from trainlet.planning.status_token import build_token
from trainlet.planning.volumes import Pod, build_storage

WORKSPACE = "/workspace"
#: Runtime classes that engines know by a name of their own; any other changes nothing on one machine.
RUNTIMES = {"nvidia": "nvidia"}
#: The one program of the sandbox image, which waits for its end.
SANDBOX_COMMAND = ("/pause",)


@dataclass(frozen=True)
class Site:
    """Where a job's containers go: all its slots, its network, the operator's options, and the job's snapshot.

    `stored` are the ConfigMaps, Secrets and claims of the job's namespace, `devices` the job's GPUs.
    """

    job: TrainJob
    slots: Sequence[Slot]
    network: ObservedNetwork
    options: Options
    runtime: JSON
    stored: Sequence[JSON] = ()
    devices: Allotment = UNMANAGED

    @cached_property
    def objects(self) -> Objects:
        """What containers may read; keys take a moment to derive, and only a new container needs them."""
        job, options = self.job, self.options
        built = build_objects(job, self.runtime, options.secret, options.features)
        metadata = job.metadata
        token = build_token(options.secret, metadata.namespace, metadata.name, metadata.uid)
        # What policies make comes last: no object of the directory may take its place.
        return read_objects(metadata.namespace, [*self.stored, *built], {status.get_audience(job): token})

    def build_pod(self, slot: Slot, record: PodRecord, member: Member, objects: Objects | None = None) -> Pod:
        """Return a pod of a slot as one of its containers sees it. Raises ConfigError."""
        objects = self.objects if objects is None else objects
        fields = _build_fields(self, slot, record, member)
        environment = {} if member.role is Role.SANDBOX else _build_environment(self, slot, member, fields, objects)
        return Pod(slot, record, objects, fields, environment, build_owner_labels(self.job, self.options), self.stored)

    def address(self, slot: Slot) -> str:
        """Return the slot's fixed address."""
        return get_address(self.network, slot.number)

    @cached_property
    def peers(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The address and the names of every slot."""
        return tuple((self.address(slot), _names_of(self, slot)) for slot in self.slots)


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


def build_container(site: Site, slot: Slot, member: Member, record: PodRecord) -> ContainerSpec:
    """Return a container of a slot at the attempt that its record says. Raises ConfigError."""
    spec = _build_container(site, slot, member, record, site.objects)
    return spec.with_hash(preview_container(site, slot, member, record) if site.objects.has_secrets else None)


def preview_container(site: Site, slot: Slot, member: Member, record: PodRecord) -> ContainerSpec:
    """Return a container with nothing secret in it, and without what is missing."""
    return _build_container(site, slot, member, record, site.objects.hide())


def _build_container(site: Site, slot: Slot, member: Member, record: PodRecord, objects: Objects) -> ContainerSpec:
    pod = site.build_pod(slot, record, member, objects)
    container, environment, storage = member.container, pod.environment, build_storage(pod, member)
    spec = ContainerSpec(
        name=member.container_name,
        image=container.image,
        command=SANDBOX_COMMAND if member.role is Role.SANDBOX else _expand_all(container.command, environment),
        args=_expand_all(container.args, environment),
        env=environment,
        labels=_build_labels(site, slot, member, record),
        mounts=(*storage.mounts, *_mount_workspace(site, member)),
        volumes=storage.volumes,
        tmpfs=storage.tmpfs,
        files=storage.files,
        limits=_build_limits(site, slot, member),
        privileges=_build_privileges(slot, member),
        user=_build_user(slot, member),
        owner_ids=_find_owner_ids(slot),
        groups=_build_groups(slot),
        working_dir=container.working_dir,
        hostname=slot.hostname[:63],
        is_joined=member.role is Role.SANDBOX,
        runtime=RUNTIMES.get(slot.job_spec.template.spec.runtime_class_name, ""),
        stop_timeout_seconds=slot.job_spec.template.spec.termination_grace_period_seconds,
    )
    if site.options.initializer is not None:
        spec = rewrite(spec, container, slot.ancestor, site.options.initializer)
    if site.network.is_shared_address:
        return _localize(replace(spec, network=site.network.name, address=site.address(slot)), site)
    if slot.has_sandbox and member.role is not Role.SANDBOX:
        shares = slot.job_spec.template.spec.share_process_namespace
        return replace(spec, joins=slot.members[0].container_name, joins_processes=shares)
    return _connect(spec, site, slot)


def get_image(slot: Slot, member: Member, options: Options) -> str:
    """Return the image that a container of a slot is made from."""
    if options.initializer is None:
        return member.container.image
    return initializers.get_image(member.container, slot.ancestor, options.initializer)


def _build_fields(site: Site, slot: Slot, record: PodRecord, member: Member) -> Fields:
    metadata, name = site.job.metadata, get_pod_name(slot, record)
    host = site.options.host_address or get_gateway(site.network)
    maps = {
        "labels": build_pod_labels(slot, record.restart),
        "annotations": build_pod_annotations(slot, record.restart),
    }
    plain = {
        "metadata.name": name,
        "metadata.namespace": metadata.namespace,
        "metadata.uid": get_pod_uid(metadata.uid, name),
        "spec.nodeName": site.options.node_name,
        "spec.serviceAccountName": slot.job_spec.template.spec.service_account_name,
        "status.hostIP": host,
        "status.hostIPs": host,
        "status.podIP": site.address(slot),
        "status.podIPs": site.address(slot),
    }
    others = {each.name: each.container for each in slot.members}
    return Fields(plain, maps, member.container, others, site.options.capacity)


def _build_environment(site: Site, slot: Slot, member: Member, fields: Fields, objects: Objects) -> dict[str, str]:
    environment = resolve_environment(member.container, fields, objects)
    environment = add_defaults(environment, {"JOB_COMPLETION_INDEX": str(slot.index)})
    if slot.ancestor != TRAINER or member.role is not Role.MAIN:
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


def _build_labels(site: Site, slot: Slot, member: Member, record: PodRecord) -> dict[str, str]:
    # The SDK takes every container with its labels for a node.
    mine = {labels.SDK_STEP: slot.step, labels.SDK_NETWORK: site.network.name}
    owner, devices = build_owner_labels(site.job, site.options), site.devices.describe(slot.hostname)
    if member.container_name != slot.container_name:
        mine, owner = {}, {key: value for key, value in owner.items() if key != labels.SDK_JOB_NAME}
    return {
        **build_pod_labels(slot, record.restart),
        **owner,
        **mine,
        labels.NETWORK: site.network.id,
        labels.POD: slot.hostname,
        labels.CONTAINER: member.name,
        labels.STEP: member.step,
        labels.ATTEMPT: str(record.containers[member.name].attempt),
        **({labels.DEVICES: devices} if devices else {}),
    }


def _mount_workspace(site: Site, member: Member) -> tuple[Mount, ...]:
    """Mount the job's directory, unless the container has something else in its place."""
    mounts = member.container.volume_mounts
    if member.role is Role.SANDBOX or any(mount.mount_path.rstrip("/") == WORKSPACE for mount in mounts):
        return ()
    return (Mount(get_workspace(site.job, site.options), WORKSPACE),)


def _build_limits(site: Site, slot: Slot, member: Member) -> Limits:
    limits = build_limits(member.container, site.options.limits, site.devices.find(slot.hostname, member.name))
    # Those of one pod share the sandbox's shared memory.
    return replace(limits, shm_bytes=None) if slot.has_sandbox and member.role is not Role.SANDBOX else limits


def _build_privileges(slot: Slot, member: Member) -> Privileges:
    pod, own = slot.job_spec.template.spec.security_context, member.container.security_context
    profile = own.seccomp_profile or pod.seccomp_profile
    return Privileges(
        privileged=own.privileged,
        no_new_privileges=not own.allow_privilege_escalation,
        read_only_root=own.read_only_root_filesystem,
        unconfined=profile is not None and profile.type == "Unconfined",
        added=tuple(own.capabilities.add),
        dropped=tuple(own.capabilities.drop),
    )


def _build_user(slot: Slot, member: Member) -> str | None:
    user, group = _get_ids(slot, member)
    if user is None:
        return None
    return str(user) if group is None else f"{user}:{group}"


def _get_ids(slot: Slot, member: Member) -> tuple[int | None, int | None]:
    """Return the user and group that a container is to run as, None for those of its image."""
    pod, own = slot.job_spec.template.spec.security_context, member.container.security_context
    user = own.run_as_user if own.run_as_user is not None else pod.run_as_user
    return user, own.run_as_group if own.run_as_group is not None else pod.run_as_group


def _find_owner_ids(slot: Slot) -> tuple[int, int] | None:
    """Return the one user, not root, that all containers of a pod run as; they share what their users are outside."""
    found = {_get_ids(slot, member) for member in slot.members if member.role is not Role.SANDBOX}
    user, group = next(iter(found))
    return (user, group or user) if len(found) == 1 and user else None


def _build_groups(slot: Slot) -> tuple[int, ...]:
    """Return the groups beside the user's own: the pod's, and the one that its files belong to."""
    pod = slot.job_spec.template.spec.security_context
    files = () if pod.fs_group is None else (pod.fs_group,)
    return tuple(dict.fromkeys((*files, *pod.supplemental_groups)))


def _expand_all(words: list[str] | None, environment: Mapping[str, str]) -> tuple[str, ...] | None:
    # An empty list means what an absent one does: the image's own (server-side apply drops it upstream).
    return tuple(expand(word, environment) for word in words) if words else None


def _names_of(site: Site, slot: Slot) -> tuple[str, ...]:
    """Return the names a cluster's DNS has for the slot, longest first, and the bare host name."""
    name = f"{slot.hostname}.{slot.subdomain}"
    namespaced = f"{name}.{site.job.metadata.namespace}"
    return (f"{namespaced}.svc.cluster.local", f"{namespaced}.svc", namespaced, name, slot.hostname)


def _connect(spec: ContainerSpec, site: Site, slot: Slot) -> ContainerSpec:
    """Put the container that has the pod's place in the job's network there, and name its peers."""
    aliases = [(each.ip, tuple(each.hostnames)) for each in slot.job_spec.template.spec.host_aliases]
    hosts = (*site.peers, *aliases)
    if site.options.features.status_port is not None:
        hosts = (*hosts, (site.options.host_address or get_gateway(site.network), status.HOST_NAMES))
    network, address = site.network.name, site.address(slot)
    dns = _build_dns(slot)
    return replace(spec, network=network, address=address, aliases=_names_of(site, slot), hosts=hosts, dns=dns)


def _build_dns(slot: Slot) -> Dns:
    given = slot.job_spec.template.spec.dns_config
    options = (option.name if option.value is None else f"{option.name}:{option.value}" for option in given.options)
    return Dns(tuple(given.nameservers), tuple(given.searches), tuple(options))


def _localize(spec: ContainerSpec, site: Site) -> ContainerSpec:
    port = site.network.port or MASTER_PORT
    # Not the bare host name: a cluster does not resolve it either, and it may be part of any other text.
    names = {name: address for address, known in site.peers for name in known[:-1]}
    names |= dict.fromkeys(status.HOST_NAMES, get_address(site.network, 0))

    def words(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if values is None else tuple(localize(value, names, port) for value in values)

    return replace(
        spec,
        command=words(spec.command),
        args=words(spec.args),
        env=localize_environment(spec.env, names, port),
    )
