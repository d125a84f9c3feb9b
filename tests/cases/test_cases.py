"""The cases of this directory: what is stored and seen of one job -> the plan, the phase, the conditions.

Every file is one situation, and reads as a specification. All times are seconds since the job was created.

about     why the plan must be what it is
job       fields of the TrainJob's spec; `namespace`, `deleted` and `status` stand beside it
runtime   keywords of `builders.build_runtime`; options: fields of `planning.options.Options`
now       the time of the pass
stored    what is written of each node: attempt, failures, started, stopping, asked, waiting, ended {code, at, ...}
seen      the network, images and containers on the engine, and volumes with the node of each; `drifted` was made from
          another spec, `stray` is no node's
failures  actions of the plan that do not work, by their first words
expect    the plan as text, phase and conditions; when to look again (absent: at the next event), gone (absent: not
          yet); and where it matters jobsStatus as the counters that are not zero, nodes, and warnings as events

`node-0` is a node and the container that does its work, `node-0_sidecar` another container of its pod.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import NOW, build_job, build_runtime
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.events import WARNING, build_notes
from trainlet.planning.observed import (
    ContainerState,
    ImageState,
    ObservedContainer,
    ObservedImage,
    ObservedNetwork,
    ObservedVolume,
)
from trainlet.planning.options import Options
from trainlet.planning.plan import Failure, Plan, render_plan
from trainlet.planning.pods import build_pod
from trainlet.planning.reconcile import conclude
from trainlet.planning.records import Termination, Waiting, build_record
from worlds import IMAGE, PRESENT, SANDBOX_IMAGE, SUBNET, World, alter

CASES = sorted(Path(__file__).parent.glob("*.yaml"))
KEYS = {"about", "job", "namespace", "deleted", "status", "runtime", "options", "now"}
KEYS |= {"stored", "seen", "failures", "expect"}
#: What a case expects where it does not say; every case says its phase.
DEFAULTS = {"plan": "", "conditions": [], "look_again": None, "gone": False}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(case) <= KEYS, "a key that nothing reads"
    assert {"plan", "phase", "conditions"} <= set(case["expect"])
    expected, found = {**DEFAULTS, **case["expect"]}, decide(case)
    assert {key: found[key] for key in expected} == expected


def test_there_are_cases() -> None:
    assert len(CASES) > 20


def decide(case: JSON) -> JSON:
    """Return everything that a case may expect."""
    world = build_world(case)
    draft = world.draft()
    failures = build_failures(draft.plan, case.get("failures") or {})
    decision = conclude(draft, failures)
    after = world.store(decision)
    nodes = after.report["status"]["nodes"] if after.report else []
    notes = build_notes(draft, failures)
    return {
        "plan": render_plan(draft.plan),
        "phase": after.phase,
        "conditions": [f"{type}={status} {reason}" for type, status, reason in after.conditions],
        "jobsStatus": {s["name"]: [k for k in s if k != "name" and s[k]] for s in after.status["jobsStatus"]},
        "nodes": {name: f"{part['state']} {part.get('reason', '')}".strip() for name, part in list_parts(nodes)},
        "warnings": [f"{note.reason} {note.message}" for note in notes if note.type == WARNING],
        "look_again": None if decision.due is None else (decision.due - NOW).total_seconds(),
        "gone": decision.gone,
    }


def build_world(case: JSON) -> World:
    """Return the situation of a case."""
    job = build_job(namespace=case.get("namespace", "default"), **case.get("job", {}))
    job["status"] = case.get("status", {})
    if case.get("deleted"):
        job["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    world = World(job, build_runtime(**case.get("runtime", {})), Options(**case.get("options", {})))
    world = replace(world, now=get_time(case.get("now", 0)))
    seen = case.get("seen") or {}
    images = {
        IMAGE: PRESENT,
        SANDBOX_IMAGE: PRESENT,
        **{name: build_image(image) for name, image in (seen.get("images") or {}).items()},
    }
    networks = (ObservedNetwork("id-net", seen["network"], {}, SUBNET),) if seen.get("network") else ()
    world = replace(world, observed=replace(world.observed, images=images, networks=networks))
    volumes = [build_volume(world, name, step) for name, step in (seen.get("volumes") or {}).items()]
    world = replace(world, observed=replace(world.observed, volumes=tuple(volumes)))
    stored = case.get("stored") or {}
    world = world.see(*(build_container(world, place, c) for place, c in (seen.get("containers") or {}).items()))
    steps = dict.fromkeys(place.partition("_")[0] for place in stored)
    return replace(world, pods=tuple(write_pod(world, step, stored) for step in steps))


def list_parts(nodes: Sequence[JSON]) -> Iterator[tuple[str, JSON]]:
    """Yield what is reported of each node and of the other containers of its pod, by their places."""
    for node in nodes:
        yield node["name"], node
        others = [part for part in node.get("containers", ()) if part["container"] != node["container"]]
        yield from ((f"{node['name']}_{part['name']}", part) for part in others)


def get_time(seconds: float) -> datetime:
    """Return the moment of a case."""
    return NOW + timedelta(seconds=seconds)


def find_time(values: Mapping[str, Any], key: str) -> datetime | None:
    """Return the moment that a value says, or None."""
    return get_time(values[key]) if key in values else None


def build_image(image: JSON) -> ObservedImage:
    """Return an image as it is seen."""
    times = {key: find_time(image, key) for key in ("pulled_at", "retry_at")}
    return ObservedImage(ImageState(image["state"]), image.get("message", ""), **times)


def build_volume(world: World, name: str, step: str) -> ObservedVolume:
    """Return a volume of a pod as it is seen."""
    return ObservedVolume(name, {labels.POD: world.slot(step).hostname})


def build_container(world: World, place: str, container: JSON) -> ObservedContainer:
    """Return a container as it is seen, with the labels that it was made with."""
    known_place = "node-0" if container.get("stray") else place
    slot, name = world.slot(known_place.partition("_")[0]), world.member(known_place).name
    spec = world.spec(slot.step, alter(build_record(slot, NOW), name, attempt=container.get("attempt", 0)), name)
    known = dict(spec.labels)
    if container.get("drifted"):
        known[labels.SPEC_HASH] = "another"
    if container.get("stray"):
        known[labels.POD] = "mnist-node-0-99"
    return ObservedContainer(
        id=f"id-{place}",
        name=f"mnist-{place}" if container.get("stray") else spec.name,
        labels=known,
        state=ContainerState(container["state"]),
        exit_code=container.get("code"),
        started_at=find_time(container, "started"),
        finished_at=find_time(container, "ended"),
        networks=frozenset(container.get("networks", {spec.network} - {""})),
        disrupted=container.get("disrupted", False),
    )


def write_pod(world: World, step: str, stored: Mapping[str, JSON]) -> JSON:
    """Return the stored pod of a step."""
    slot = world.slot(step)
    pod = replace(build_record(slot, NOW), failures=stored.get(step, {}).get("failures", 0))
    for place, record in stored.items():
        if place.partition("_")[0] == step:
            pod = alter(pod, world.member(place).name, **read_container(record))
    return build_pod(world.look().job, slot, pod, None)


def read_container(record: JSON) -> dict[str, Any]:
    """Return the fields of a container's record that a case says."""
    end = record.get("ended")
    termination = None
    if end is not None:
        reason = end.get("reason", "Error" if end["code"] else "Completed")
        started, ended = find_time(record, "started"), get_time(end["at"])
        termination = Termination(end["code"], reason, end.get("message", ""), started, ended, end.get("counted", True))
    return {
        "attempt": record.get("attempt", 0),
        "started_at": find_time(record, "started"),
        "stopping_since": find_time(record, "stopping"),
        "asked": record.get("asked", False),
        "termination": termination,
        "waiting": Waiting(record["waiting"]) if "waiting" in record else None,
    }


def build_failures(plan: Plan, failures: Mapping[str, JSON]) -> list[Failure]:
    """Return the failures of the actions that begin with these words."""
    found = [(a, f) for a in plan for words, f in failures.items() if str(a).startswith(f"{words}:")]
    assert len(found) == len(failures), "a failure of an action that is not planned"
    return [Failure(action, failure["message"], failure.get("exit_code")) for action, failure in found]
