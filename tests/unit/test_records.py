"""What is remembered of a slot, and that it survives the way through a Pod's wire form."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW
from trainlet.kube.meta import JSON
from trainlet.planning.options import Options
from trainlet.planning.pods import build_pod, get_pod_name
from trainlet.planning.records import (
    ContainerRecord,
    PodRecord,
    Termination,
    Waiting,
    build_record,
    get_phase,
    read_record,
)
from worlds import build_pod_record, build_world

WORLD = build_world()
SLOT = build_world(
    {
        "pod": {
            "initContainers": [
                {"name": "first", "image": "image:1"},
                {"name": "beside", "image": "image:1", "restartPolicy": "Always"},
            ],
        },
        "more_containers": [{"name": "other", "image": "image:1"}],
    },
    Options(sandbox_image="pause:1"),
).slot("node-0")
FAILED = Termination(1, "Error", "", NOW, NOW + timedelta(seconds=3))
SUCCEEDED = replace(FAILED, exit_code=0, reason="Completed")
STOPPED = replace(SUCCEEDED, counted=False)

TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
TEXTS = st.text(max_size=20)
TERMINATIONS = st.builds(
    Termination, st.integers(0, 255), TEXTS, TEXTS, st.none() | TIMES, TIMES, counted=st.booleans()
)


@st.composite
def draw_parts(draw: Any) -> ContainerRecord:
    """Return what may be remembered of a container."""
    end = draw(st.none() | TERMINATIONS)
    return ContainerRecord(
        attempt=draw(st.integers(0, 99)),
        started_at=draw(st.none() | TIMES) if end is None else end.started_at,
        started=draw(st.booleans()),
        ready=draw(st.booleans()),
        stopping_since=(stopping := draw(st.none() | TIMES)),
        asked=stopping is not None and draw(st.booleans()),
        termination=end,
        previous=None if end is not None else draw(st.none() | TERMINATIONS),
        waiting=draw(st.none() | st.builds(Waiting, TEXTS, TEXTS)),
    )


PARTS = draw_parts()


@st.composite
def draw_pods(draw: Any) -> PodRecord:
    """Return what may be remembered of a slot with containers of every role."""
    containers = {member.name: replace(draw(PARTS), role=member.role) for member in SLOT.members}
    return PodRecord(
        draw(TIMES),
        failures=draw(st.integers(0, 99)),
        given_up=draw(st.booleans()),
        deleted_at=draw(st.none() | TIMES),
        first_attempt=draw(st.integers(0, 9)),
        containers=containers,
    )


def describe(record: PodRecord) -> list[str]:
    """Return the roles of a record's containers."""
    return [str(container.role) for container in record.containers.values()]


def write(record: PodRecord) -> JSON:
    slot = SLOT if len(record.containers) > 1 else WORLD.slot("node-0")
    return build_pod(WORLD.look().job, slot, record, "10.213.0.2")


@given(draw_pods())
def test_every_record_comes_back_from_its_pod(pod: PodRecord) -> None:
    """What a container waits for is told while it waits; all else that is remembered comes back."""
    back = read_record(SLOT, write(pod))
    for name, record in pod.containers.items():
        assert replace(back.containers[name], waiting=None) == replace(record, waiting=None)
        if record.termination is None and record.started_at is None:
            assert back.containers[name].waiting == (record.waiting or Waiting("PodInitializing"))
    assert replace(back, containers={}) == replace(pod, containers={})
    assert write(back) == write(pod)


def test_a_pod_has_a_container_of_every_role() -> None:
    assert describe(build_record(SLOT, NOW)) == ["sandbox", "init", "sidecar", "main", "main"]


@given(PARTS)
def test_a_container_that_goes_on_begins_anew(record: ContainerRecord) -> None:
    later = record.begin(record.attempt + 1)
    assert later.attempt == record.attempt + 1
    assert (later.termination, later.started_at, later.stopping_since) == (None, None, None)
    assert later.previous == (record.termination or record.previous)


ENDS = [
    # how it ended -> succeeded, counts as a failure
    (FAILED, False, 1),
    (SUCCEEDED, True, 0),
    (STOPPED, False, 0),
    (replace(FAILED, counted=False), False, 0),
]


@pytest.mark.parametrize(("end", "succeeded", "has_failed"), ENDS)
def test_only_a_counted_end_with_another_code_than_0_is_a_failure(
    end: Termination, succeeded: bool, has_failed: int
) -> None:
    record = ContainerRecord(started_at=NOW, stopping_since=NOW, waiting=Waiting("X")).terminate(end)
    assert (record.succeeded, record.has_failed, record.running) == (succeeded, bool(has_failed), False)
    assert (record.stopping_since, record.waiting) == (None, None)


def test_a_failure_is_ignored_once() -> None:
    record = ContainerRecord().terminate(FAILED).ignore("Disrupted")
    assert record.termination == replace(FAILED, counted=False, reason="Disrupted")
    assert record.ignore() == record


@pytest.mark.parametrize("end", [SUCCEEDED, STOPPED])
def test_what_did_not_fail_is_not_ignored(end: Termination) -> None:
    record = ContainerRecord().terminate(end)
    assert record.ignore() == record


PHASES = [
    (build_pod_record(NOW), "Pending"),
    (build_pod_record(NOW, waiting=Waiting("ErrImagePull")), "Pending"),
    (build_pod_record(NOW, started_at=NOW), "Running"),
    (build_pod_record(NOW, termination=SUCCEEDED), "Succeeded"),
    (build_pod_record(NOW, termination=FAILED), "Running"),
    (build_pod_record(NOW, termination=FAILED).begin_anew(NOW), "Running"),
]


@pytest.mark.parametrize(("record", "phase"), PHASES)
def test_a_pod_that_waits_for_its_restart_is_running(record: PodRecord, phase: str) -> None:
    assert get_phase(record) == phase
    assert write(record)["status"]["phase"] == phase


def test_the_last_failure_outlives_the_success_after_it() -> None:
    record = ContainerRecord().terminate(FAILED).begin(1).terminate(SUCCEEDED)
    assert record.last_failure == FAILED
    assert ContainerRecord().last_failure is None


def test_a_pod_says_what_a_kubelet_would() -> None:
    record = build_pod_record(
        NOW,
        attempt=1,
        started_at=NOW,
        started=True,
        ready=True,
        previous=FAILED,
        image_id=f"image@sha256:{0:064}",
    )
    assert write(record)["status"] == {
        "phase": "Running",
        "podIP": "10.213.0.2",
        "podIPs": [{"ip": "10.213.0.2"}],
        "startTime": "2026-01-02T03:04:05.000000Z",
        "containerStatuses": [
            {
                "name": "node",
                "image": "image:1",
                "imageID": f"image@sha256:{0:064}",
                "restartCount": 1,
                "ready": True,
                "started": True,
                "trainlet.dev/attempt": 1,
                "state": {"running": {"startedAt": "2026-01-02T03:04:05.000000Z"}},
                "lastState": {
                    "terminated": {
                        "exitCode": 1,
                        "reason": "Error",
                        "startedAt": "2026-01-02T03:04:05.000000Z",
                        "finishedAt": "2026-01-02T03:04:08.000000Z",
                    }
                },
            }
        ],
    }


def test_a_pod_that_is_asked_to_end_has_a_deletion_time() -> None:
    metadata = write(build_pod_record(NOW, started_at=NOW, stopping_since=NOW))["metadata"]
    assert metadata["deletionTimestamp"] == "2026-01-02T03:04:05.000000Z"


@pytest.mark.parametrize(("policy", "is_new_pod"), [("OnFailure", False), ("Never", True)])
def test_only_with_never_an_attempt_is_a_new_pod(policy: str, is_new_pod: bool) -> None:
    world = build_world({"pod": {"restartPolicy": policy}})
    names = [get_pod_name(world.slot("node-0"), build_pod_record(NOW, attempt=n)) for n in (0, 1)]
    assert (names[0] != names[1]) is is_new_pod
    assert all(name.startswith("mnist-node-0-0-") and len(name) == len("mnist-node-0-0-abcde") for name in names)
