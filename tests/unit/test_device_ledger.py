"""GPUs are given at once, to one pod each, in the order in which jobs were created, and to nobody else meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trainlet.kube.meta import ObjectKey
from trainlet.planning import labels
from trainlet.planning.device_ledger import Ledger, Request
from trainlet.planning.devices import (
    UNMANAGED,
    Allotment,
    Given,
    Shortage,
    Wish,
    build_queue_condition,
    parse_devices,
)
from trainlet.planning.observed import ContainerState, ObservedContainer

NVIDIA, AMD = "nvidia.com/gpu", "amd.com/gpu"
FOUR = {NVIDIA: ("a", "b", "c", "d"), AMD: ("0",)}


def ask(name: str, *counts: int, since: str = "", resource: str = NVIDIA) -> Request:
    """Return the request of a job with a pod for each count."""
    wishes = {f"{name}-{index}": (Wish("node", resource, count),) for index, count in enumerate(counts)}
    return Request(ObjectKey("TrainJob", "default", name), f"uid-{name}", since or name, wishes)


def see(pod: str, text: str = "", state: ContainerState = ContainerState.RUNNING) -> ObservedContainer:
    """Return a container of a pod that says this of its devices."""
    label = {labels.DEVICES: text} if text else {}
    return ObservedContainer(pod, pod, {labels.POD: pod, **label}, state)


def names(allotment: Allotment) -> dict[str, tuple[str, ...]]:
    """Return the devices of each pod's node."""
    return {pod: devices["node"].devices for pod, devices in allotment.pods.items()}


# One job


def test_all_pods_of_a_job_get_their_own_at_once() -> None:
    _, allotment = Ledger(FOUR).serve(ask("x", 1, 2), [])
    assert names(allotment) == {"x-0": ("a",), "x-1": ("b", "c")}
    assert allotment.shortage is None
    assert allotment.pods["x-0"]["node"].resource == NVIDIA


def test_a_job_that_asks_again_has_what_it_had() -> None:
    ledger, first = Ledger(FOUR).serve(ask("x", 1, 2), [])
    assert ledger.serve(ask("x", 1, 2), []) == (ledger, first)


def test_what_was_given_stays_given_before_there_is_a_container() -> None:
    ledger, _ = Ledger(FOUR).serve(ask("x", 2), [])
    ledger, before = ledger.serve(ask("y", 1), [])
    assert names(before) == {"y-0": ("c",)}
    assert ledger.forget("uid-x").serve(ask("y", 1), [])[1] == before


SHARED = {
    "side by side": ((Wish("node", NVIDIA, 1), Wish("side", NVIDIA, 2)), {"node": ("a",), "side": ("b", "c")}),
    "one after another": (
        (Wish("init", NVIDIA, 2, borrows=True), Wish("node", NVIDIA, 1), Wish("side", NVIDIA, 2)),
        {"init": ("a", "b"), "node": ("a",), "side": ("b", "c")},
    ),
    "more before than later": (
        (Wish("init", NVIDIA, 3, borrows=True), Wish("node", NVIDIA, 1)),
        {"init": ("a", "b", "c"), "node": ("a",)},
    ),
    "of two vendors": ((Wish("node", AMD, 1), Wish("side", NVIDIA, 1)), {"node": ("0",), "side": ("a",)}),
}


@pytest.mark.parametrize(("wishes", "expected"), SHARED.values(), ids=SHARED)
def test_containers_of_a_pod(wishes: Sequence[Wish], expected: Mapping[str, tuple[str, ...]]) -> None:
    request = replace(ask("x"), wishes={"pod": wishes})
    ledger, allotment = Ledger(FOUR).serve(request, [])
    assert {name: given.devices for name, given in allotment.pods["pod"].items()} == expected
    assert parse_devices(allotment.describe("pod")) == allotment.pods["pod"]
    assert ledger.serve(request, [see("pod", allotment.describe("pod"))]) == (ledger, allotment)


# What a machine cannot give


NEVER = {
    "too many": (ask("x", 3, 2), "5 nvidia.com/gpu asked for at once and 4 can be given here: ask for fewer, "),
    "none there": (ask("x", 1, resource="intel.com/gpu"), "no intel.com/gpu can be given here (1 asked for): install "),
}


@pytest.mark.parametrize(("request_", "message"), NEVER.values(), ids=NEVER)
def test_more_than_the_machine_has_is_never_given_and_holds_nobody_back(request_: Request, message: str) -> None:
    ledger, allotment = Ledger(FOUR).serve(request_, [])
    assert (allotment.pods, ledger.queue, ledger.holders) == ({}, {}, {})
    shortage = allotment.shortage
    assert shortage is not None
    assert shortage.message.startswith(message)
    resource = shortage.resource
    waits = (shortage.reason, f"0/1 nodes are available: 1 Insufficient {resource}.")
    assert allotment.find_wait("x-0", request_.wishes["x-0"]) == waits
    assert waits[0] == "Unschedulable"
    assert build_queue_condition(shortage) == (False, "Unschedulable", shortage.message)


# The queue


def test_who_comes_later_waits_and_is_told_for_whom() -> None:
    ledger, _ = Ledger(FOUR).serve(ask("x", 3), [])
    ledger, late = ledger.serve(ask("y", 2), [])
    assert late == Allotment({}, Shortage(NVIDIA, wanted=2, free=1, total=4, holders=("default/x",)))
    assert late.shortage is not None
    assert build_queue_condition(late.shortage) == (
        True,
        "InsufficientResources",
        "2 nvidia.com/gpu asked for at once and 1 of 4 free: default/x in possession",
    )
    ledger, later = ledger.serve(ask("z", 1), [])
    assert later.shortage is not None
    assert later.shortage.message == (
        "1 nvidia.com/gpu asked for at once and 1 of 4 free: default/x in possession; default/y first in the queue"
    )


def test_a_large_job_at_the_head_holds_smaller_ones_back_only_for_what_it_waits_for() -> None:
    ledger, _ = Ledger(FOUR).serve(ask("a", 1), [])
    ledger, large = ledger.serve(ask("b", 4), [])
    ledger, small = ledger.serve(ask("c", 1), [])
    ledger, other = ledger.serve(ask("d", 1, resource=AMD), [])
    assert large.shortage is not None
    assert small.shortage is not None
    assert names(other) == {"d-0": ("0",)}
    ledger, large = ledger.forget("uid-a").serve(ask("b", 4), [])
    assert names(large) == {"b-0": ("a", "b", "c", "d")}


def test_an_earlier_job_goes_before_those_that_asked_before_it() -> None:
    ledger, _ = Ledger(FOUR).serve(ask("x", 4), [])
    ledger, _ = ledger.serve(ask("late", 1, since="2026-01-02T00:00:02Z"), [])
    ledger, _ = ledger.serve(ask("early", 4, since="2026-01-02T00:00:01Z"), [])
    ledger, late = ledger.forget("uid-x").serve(ask("late", 1, since="2026-01-02T00:00:02Z"), [])
    assert late.shortage is not None
    assert late.shortage.ahead == ("default/early",)


def test_who_wants_nothing_any_more_leaves_the_queue() -> None:
    ledger, _ = Ledger(FOUR).serve(ask("a", 4), [])
    ledger, _ = ledger.serve(ask("b", 1), [])
    ledger, _ = ledger.serve(ask("b"), [])
    assert ledger.queue == {}


# How long devices are held


def test_devices_stay_with_a_pod_until_it_is_over_and_its_containers_have_ended() -> None:
    ledger, allotment = Ledger(FOUR).serve(ask("x", 4), [])
    label = allotment.describe("x-0")
    ended, running = see("x-0", label, ContainerState.EXITED), see("x-0", label)
    for containers in ([], [running], [ended], [replace(running, state=ContainerState.CREATED)]):
        assert ledger.serve(ask("x", 4), containers) == (ledger, allotment)  # the pod is to run on
    assert ledger.serve(ask("x"), [running])[0].list_taken() == ledger.list_taken()
    assert ledger.serve(ask("x"), [ended])[0].list_taken() == set()


RESTARTS = {
    "it runs": (ContainerState.RUNNING, "node nvidia.com/gpu=c,d", ("c", "d")),
    "it ended": (ContainerState.EXITED, "node nvidia.com/gpu=c,d", ("c", "d")),
    "it runs on what is no more": (ContainerState.RUNNING, "node nvidia.com/gpu=x,y", ("x", "y")),
    "it ended on what is no more": (ContainerState.EXITED, "node nvidia.com/gpu=x,y", ("a", "b")),
    "it ended, and had another number": (ContainerState.EXITED, "node nvidia.com/gpu=c", ("a", "b")),
    "it says nothing that can be read": (ContainerState.EXITED, "?", ("a", "b")),
}


@pytest.mark.parametrize(("state", "label", "expected"), RESTARTS.values(), ids=RESTARTS)
def test_after_a_restart_containers_tell_what_they_have(
    state: ContainerState, label: str, expected: tuple[str, ...]
) -> None:
    _, allotment = Ledger(FOUR).serve(ask("x", 2), [see("x-0", label, state)])
    assert names(allotment)["x-0"] == expected


def test_what_others_containers_have_is_not_given_again_but_only_while_they_live() -> None:
    key = ObjectKey("TrainJob", "default", "x")
    ended = see("x-1", "node nvidia.com/gpu=b", ContainerState.EXITED)
    ledger = Ledger(FOUR).adopt(key, "uid-x", [see("x-0", "node nvidia.com/gpu=a"), ended, see("x-2")])
    _, allotment = ledger.serve(ask("y", 3), [])
    assert names(allotment) == {"y-0": ("b", "c", "d")}
    _, back = ledger.serve(ask("y", 3), [])[0].serve(
        replace(ask("x", 1, 1)), [see("x-0", "node nvidia.com/gpu=a"), ended]
    )
    assert names(back) == {"x-0": ("a",)}
    assert back.shortage is not None
    assert back.shortage.holders == ("default/x", "default/y")


# What containers are told


@pytest.mark.parametrize(
    ("allotment", "seen"),
    [
        (UNMANAGED, (None, None)),
        (Allotment(), (None, None)),
        (Allotment(hides_others=True), ((), ())),
        (Allotment({"pod": {"node": Given(NVIDIA, ("a",))}}), (("a",), None)),
        (Allotment({"pod": {"node": Given(NVIDIA, ("a",))}}, hides_others=True), (("a",), ())),
    ],
)
def test_what_a_container_sees(allotment: Allotment, seen: tuple[object, object]) -> None:
    assert (allotment.find("pod", "node"), allotment.find("pod", "side")) == seen


def test_who_waits() -> None:
    wish = (Wish("node", NVIDIA, 1),)
    given = Allotment({"pod": {"node": Given(NVIDIA, ("a",))}})
    assert (given.find_wait("pod", wish), given.find_wait("other", ()), UNMANAGED.find_wait("pod", wish)) == (None,) * 3
    assert given.find_wait("other", wish) == ("ContainerCreating", "its GPUs are being chosen")
    assert build_queue_condition(None) == (False, "Admitted", "nothing is waited for")


def test_a_cdi_name_may_have_a_colon() -> None:
    pod = {"node": Given(NVIDIA, ("0:1", "1:0")), "side": Given("gpu.example.com/gpu", ("x",))}
    assert parse_devices(Allotment({"pod": pod}).describe("pod")) == pod
    assert Allotment({"pod": pod}).describe("another") == ""


# Whatever happens


@dataclass
class Job:
    """A job of the simulation: its pods, which of them have a live container, and what those say."""

    counts: tuple[int, ...]
    resource: str
    is_over: bool = False
    containers: dict[str, ObservedContainer] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Jobs come, start, end and go, and the operator forgets all at any time; GPUs are what containers have."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}
        self.ledger = Ledger(FOUR)

    def ask(self, name: str) -> Allotment:
        job = self.jobs[name]
        request = ask(name, *(() if job.is_over else job.counts), resource=job.resource)
        self.ledger, allotment = self.ledger.serve(request, list(job.containers.values()))
        for pod in allotment.pods if not job.is_over else ():
            seen = job.containers.get(pod)
            if seen is None or seen.state is ContainerState.EXITED:
                job.containers[pod] = see(pod, allotment.describe(pod))
        return allotment

    @rule(counts=st.lists(st.integers(1, 3), min_size=1, max_size=3), resource=st.sampled_from([NVIDIA, NVIDIA, AMD]))
    def come(self, counts: list[int], resource: str) -> None:
        name = f"job{len(self.jobs):03}"
        self.jobs[name] = Job(tuple(counts), resource)
        self.ask(name)

    @rule(data=st.data())
    def end_a_container(self, data: st.DataObject) -> None:
        live = [(n, p) for n, j in self.jobs.items() for p, c in j.containers.items() if c.state != "exited"]
        if live:
            name, pod = data.draw(st.sampled_from(live))
            job = self.jobs[name]
            before = job.containers[pod]
            job.containers[pod] = replace(before, state=ContainerState.EXITED)
            self.ask(name)
            if not job.is_over:
                assert job.containers[pod].labels == before.labels, "a container that is started again has the same"

    @rule(data=st.data())
    def end_a_job(self, data: st.DataObject) -> None:
        if self.jobs:
            name = data.draw(st.sampled_from(sorted(self.jobs)))
            self.jobs[name].is_over = True
            self.jobs[name].containers = {
                pod: replace(c, state=ContainerState.EXITED) for pod, c in self.jobs[name].containers.items()
            }
            self.ask(name)

    @rule()
    def restart_the_operator(self) -> None:
        ledger = Ledger(FOUR)
        for name, job in self.jobs.items():
            ledger = ledger.adopt(ask(name).job, f"uid-{name}", job.containers.values())
        self.ledger = ledger
        for name in sorted(self.jobs):
            self.ask(name)

    @invariant()
    def no_device_has_two_containers(self) -> None:
        used = [
            (given.resource, device)
            for job in self.jobs.values()
            for container in job.containers.values()
            if container.state is not ContainerState.EXITED
            for given in parse_devices(container.labels[labels.DEVICES]).values()
            for device in given.devices
        ]
        assert len(used) == len(set(used))
        assert set(used) <= self.ledger.list_taken()

    @invariant()
    def none_is_lost_and_the_first_in_the_queue_is_served_as_soon_as_it_can_be(self) -> None:
        for name in sorted(self.jobs):
            allotment = self.ask(name)
            job = self.jobs[name]
            if job.is_over:
                assert f"uid-{name}" not in self.ledger.holders
            elif allotment.shortage is not None and not allotment.shortage.is_final:
                assert allotment.shortage.free < sum(job.counts) or allotment.shortage.ahead
        for resource, devices in FOUR.items():
            taken = {device for kind, device in self.ledger.list_taken() if kind == resource}
            first = min(
                (r for r in self.ledger.queue.values() if resource in r.count()), key=lambda r: r.turn, default=None
            )
            if first is not None:
                assert len(devices) - len(taken) < first.count()[resource], f"{first.job} could be served"


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
test_machine = Machine.TestCase
