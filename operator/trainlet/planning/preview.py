"""What would be made of a TrainJob where nothing of it is yet, without an engine: for people and for tests.

Decides nothing: everything comes from the functions that the loop uses, with the first subnet of the pool as if
it were free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trainlet.kube.errors import UsageError
from trainlet.kube.meta import JSON
from trainlet.planning.addresses import find_free_subnets
from trainlet.planning.containers import Site, build_network, get_image, preview_container
from trainlet.planning.jobset import build_objects
from trainlet.planning.objects import HIDDEN
from trainlet.planning.observed import ImageState, Observed, ObservedImage, ObservedNetwork
from trainlet.planning.options import Options
from trainlet.planning.plan import CreateContainer, Plan
from trainlet.planning.pods import build_pod
from trainlet.planning.reconcile import reconcile
from trainlet.planning.records import PodRecord, build_record
from trainlet.planning.scene import Case, Scene, look
from trainlet.planning.slots import Slot
from trainlet.planning.specs import ContainerSpec, NetworkSpec

#: What stands for the uid of a job that was never stored.
NO_UID = "00000000-0000-0000-0000-000000000000"
#: What only an API server adds to a pod.
_SERVER_METADATA = ("uid", "creationTimestamp")


@dataclass(frozen=True)
class Preview:
    """All that a job becomes. `containers` and `pods` are in the order of the slots.

    `plan`: all that the first passes would do, up to where something has to run first.
    """

    jobset: JSON
    objects: tuple[JSON, ...]
    pods: tuple[JSON, ...]
    containers: tuple[ContainerSpec, ...]
    network: NetworkSpec
    plan: Plan


def build_preview(
    job: JSON, runtime: JSON, pool: str, now: datetime, options: Options, stored: Sequence[JSON] = ()
) -> Preview:
    """Return what a stored job would become, with these ConfigMaps, Secrets and claims in its namespace.

    Raises UsageError for a pool that is too small for it.
    """
    case = Case(job, runtime, objects=tuple(stored))
    scene = look(case, Observed(), now, options)
    network = _place(build_network(scene.job, scene.slots, options), pool)
    assert network.subnet is not None
    seen = ObservedNetwork(network.name, network.name, network.labels, network.subnet)
    site = scene.build_site(seen)
    records = [build_record(slot, now) for slot in scene.slots]
    containers = [
        preview_container(site, slot, member, record).with_hash()
        for slot, record in zip(scene.slots, records, strict=True)
        for member in slot.members
    ]
    specs = {spec.name: spec for spec in containers}
    pods = [_build_pod(scene, site, slot, record, specs) for slot, record in zip(scene.slots, records, strict=True)]
    plan = tuple(
        replace(action, spec=specs[action.target]) if isinstance(action, CreateContainer) else action
        for action in _plan(case, scene, seen, now, options)
    )
    objects = tuple(map(_hide, build_objects(scene.job, runtime, options.secret, options.features)))
    return Preview(scene.jobset_wire, objects, tuple(pods), tuple(containers), network, plan)


def _hide(document: JSON) -> JSON:
    """Return an object without what only its readers may know."""
    return {**document, "data": dict.fromkeys(document["data"], HIDDEN)} if document["kind"] == "Secret" else document


def _place(network: NetworkSpec, pool: str) -> NetworkSpec:
    subnet = next(find_free_subnets(pool, network.hosts, ()), None)
    if subnet is None:
        what = f"the pool is too small for {network.hosts} nodes"
        raise UsageError(what, where=f"pool {pool}", remedy="give a larger one with --network-pool")
    return replace(network, subnet=subnet)


def _build_pod(scene: Scene, site: Site, slot: Slot, record: PodRecord, specs: Mapping[str, ContainerSpec]) -> JSON:
    pod = build_pod(scene.job, slot, record, site.address(slot))
    metadata = {key: value for key, value in pod["metadata"].items() if key not in _SERVER_METADATA}
    mine = {member.name: specs[member.container_name] for member in slot.members}
    resolved = {
        kind: [_resolve(container, mine[container["name"]]) for container in pod["spec"][kind]]
        for kind in ("initContainers", "containers")
        if kind in pod["spec"]
    }
    return {
        "apiVersion": pod["apiVersion"],
        "kind": pod["kind"],
        "metadata": metadata,
        "spec": {**pod["spec"], **resolved},
    }


def _resolve(container: JSON, spec: ContainerSpec) -> JSON:
    """Put values for the template's own env entries; one that is missing stays as it is."""
    if "env" not in container:
        return container
    env = [
        {"name": entry["name"], "value": spec.env[entry["name"]]} if entry["name"] in spec.env else entry
        for entry in container["env"]
    ]
    return {**container, "env": env}


def _plan(case: Case, scene: Scene, network: ObservedNetwork, now: datetime, options: Options) -> Plan:
    """Plan the passes over an empty engine: the network first, then the images, then what runs."""
    networks = (network,)
    names = {get_image(slot, member, options) for slot in scene.slots for member in slot.members}
    images = {name: ObservedImage(ImageState.PRESENT, pulled_at=now) for name in names}
    passes = (Observed(), Observed(networks=networks), Observed(networks=networks, images=images))
    return tuple(action for observed in passes for action in reconcile(case, observed, now, options).plan)
