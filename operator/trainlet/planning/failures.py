"""An action that failed -> what the slots it was for now wait for, in a kubelet's words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

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
from trainlet.planning.slots import Slot

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
    mine = [s.hostname for s in slots if for_all or s.container_name == failure.action.target]
    mine = [name for name in mine if name in records]
    if isinstance(failure.action, KeepLogs | RemoveContainer | StopContainer):
        return {name: before[name] for name in mine}
    reason = _REASONS.get(type(failure.action))
    return {name: _note(failure, reason, records[name], now) for name in mine} if reason else {}


def _note(failure: Failure, reason: str, record: PodRecord, now: datetime) -> PodRecord:
    if record.termination is not None or record.running:
        return record
    if failure.exit_code is not None:
        return record.terminate(Termination(failure.exit_code, "StartError", failure.message, None, now))
    return replace(record, waiting=Waiting(reason, failure.message))
