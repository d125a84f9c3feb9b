"""An action that failed -> what the slots it was for now wait for, in a kubelet's words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from trainlet.planning.lifecycle import end_container
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    CreateWorkspace,
    Failure,
    KeepLogs,
    RemoveContainer,
    StartContainer,
    StopContainer,
)
from trainlet.planning.records import PodRecord, Termination, Waiting
from trainlet.planning.slots import Member, Slot

_REASONS: dict[type[Action], str] = {
    CreateNetwork: "NetworkNotReady",
    CreateVolume: "VolumeNotReady",
    CreateWorkspace: "WorkspaceNotReady",
    CreateContainer: "CreateContainerError",
    StartContainer: "RunContainerError",
}


def note_failure(
    failure: Failure,
    slots: Sequence[Slot],
    records: Mapping[str, PodRecord],
    before: Mapping[str, PodRecord],
    now: datetime,
) -> dict[str, PodRecord]:
    """Return the changed records: those of the container that failed, or of all when it was for all.

    A slot whose old container is still there, because it or its log could not be taken away, has not begun
    the next attempt, and one that could not be asked to end was not: it is as it was `before` the plan.
    """
    for_all = isinstance(failure.action, CreateNetwork | CreateVolume | CreateWorkspace)
    changed: dict[str, PodRecord] = {}
    for slot in slots:
        for member in slot.members if slot.hostname in records else ():
            if for_all or member.container_name == failure.action.target:
                pod = changed.get(slot.hostname, records[slot.hostname])
                changed[slot.hostname] = _note(failure, slot, member, pod, before, now)
    return changed


def _note(
    failure: Failure, slot: Slot, member: Member, pod: PodRecord, before: Mapping[str, PodRecord], now: datetime
) -> PodRecord:
    record, reason = pod.containers[member.name], _REASONS.get(type(failure.action))
    if isinstance(failure.action, KeepLogs | RemoveContainer | StopContainer):
        return before[slot.hostname]
    if reason is None or record.termination is not None or record.running:
        return pod
    if failure.exit_code is not None:
        end = Termination(failure.exit_code, "StartError", failure.message, None, now)
        return end_container(slot, pod, member, end)
    return pod.put(member.name, replace(record, waiting=Waiting(reason, failure.message)))
