"""When a running container is ready: its `tcpSocket` readiness probe, judged by the ports on which it listens.

Other probes are not asked: such a container is ready when it runs, as one without any.
"""

from datetime import datetime, timedelta

from trainlet.apis.core_v1 import Container, Probe
from trainlet.planning.records import PodRecord
from trainlet.planning.slots import Slot

#: How often a container that is not ready yet is looked at; a kubelet would wait for the probe's period.
LOOK_SECONDS = 1.0


def find_probed_port(container: Container) -> int | None:
    """Return the port that must be listened on, or None for a container that is ready when it runs."""
    probe = container.readiness_probe
    if probe is None or probe.tcp_socket is None:
        return None
    port = probe.tcp_socket.port
    if isinstance(port, int):
        return port
    return next((p.container_port for p in container.ports if p.name == port), None)


def is_ready(slot: Slot, record: PodRecord, ports: frozenset[int] | None, now: datetime) -> bool:
    """Tell whether a running container is ready; `ports` None: nobody can tell, so that it runs must do."""
    port, probe = find_probed_port(slot.container), slot.container.readiness_probe
    if port is None or probe is None or ports is None:
        return True
    return port in ports and (record.ready or now >= _get_first_look(probe, record))


def get_next_look(slot: Slot, record: PodRecord, now: datetime) -> datetime | None:
    """Return when a running container's port is to be looked at again, or None."""
    port, probe = find_probed_port(slot.container), slot.container.readiness_probe
    if port is None or probe is None or not record.running:
        return None
    if record.ready:
        return now + timedelta(seconds=probe.period_seconds)
    return max(_get_first_look(probe, record), now + timedelta(seconds=LOOK_SECONDS))


def _get_first_look(probe: Probe, record: PodRecord) -> datetime:
    assert record.started_at is not None
    return record.started_at + timedelta(seconds=probe.initial_delay_seconds)
