"""What the engine's list does not tell of containers: their open ports, and the last lines of those that ended."""

from trainlet.engine.base import Engine
from trainlet.kube.errors import EngineError
from trainlet.planning.observed import ContainerState, Observed
from trainlet.planning.scene import Needs

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


def find_listening(engine: Engine, observed: Observed, needs: Needs) -> dict[str, frozenset[int]]:
    """Return the ports on which the containers listen that are to be asked, by their ids."""
    running = [c for c in observed.containers if c.pod in needs.probed and c.state is ContainerState.RUNNING]
    found = {container.id: engine.find_ports(container.id) for container in running}
    return {id: ports for id, ports in found.items() if ports is not None}
