"""What the engine's list does not tell: which containers are to be asked how they are, and last lines of logs."""

from dataclasses import replace

from trainlet.controller.handlers import Place
from trainlet.controller.prober import Target
from trainlet.engine.base import Engine
from trainlet.kube.errors import EngineError
from trainlet.planning.addresses import get_address
from trainlet.planning.labels import is_part
from trainlet.planning.observed import ContainerState, Observed
from trainlet.planning.probes import NEW, Question, SizeCheck
from trainlet.planning.scene import Needs, find_network

#: How much of a log is kept beside a failure; a line is cut, as some print a whole tensor.
TAIL_LINES = 20
LONGEST_LINE = 300


def read_tail(engine: Engine, id: str) -> tuple[str, ...]:
    """Return the last lines of a container's log; none if they cannot be had, which is no reason to wait."""
    try:
        lines = [line.text.rstrip()[:LONGEST_LINE] for line in engine.read_logs(id, tail=TAIL_LINES)]
    except EngineError:
        return ()
    return tuple(line for line in lines if line)


def find_targets(observed: Observed, needs: Needs) -> dict[str, Target]:
    """Return the running containers that are to be asked how they are, by their ids."""
    network = find_network(observed)
    targets: dict[str, Target] = {}
    for container in observed.containers:
        probed = needs.probed.get((container.pod, container.container))
        if probed is None or container.state is not ContainerState.RUNNING or container.started_at is None:
            continue
        is_known = (container.restart, container.attempt) == (probed.restart, probed.attempt)
        place = Place(container.id, get_address(network, probed.number) if network is not None else None)
        known = probed.known if is_known else NEW
        probes = {kind: _look_up(probe, observed) for kind, probe in probed.probes.items()}
        targets[container.id] = Target(place, probes, container.started_at, known)
    return targets


def _look_up(question: Question, observed: Observed) -> Question:
    """Name the engine's volumes to a question about them."""
    if not isinstance(question, SizeCheck):
        return question
    names = [volume.name for volume in observed.volumes]
    found = (tuple(name for name in names if is_part(name, limit.prefix)) for limit in question.limits)
    limits = zip(question.limits, found, strict=True)
    return replace(question, limits=tuple(replace(limit, seen=seen) for limit, seen in limits))
