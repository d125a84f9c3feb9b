"""Sentences that hold for whatever the definitions let a JobSet say: each field is told of, and once."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import build_job, build_runtime
from trainlet.admission.crd import parse_crd
from trainlet.admission.portability import Finding, Stance
from trainlet.admission.support import build_portability, build_warnings, find_portability, find_unsupported
from trainlet.apis.trainer import TrainJob
from trainlet.kube.meta import JSON
from trainlet.package_data import read_crds

Schema = dict[str, Any]

[RUNTIME] = [crd.schema for crd in map(parse_crd, read_crds()) if crd.kind == "TrainingRuntime"]
JOB = build_job(trainer={"numNodes": 2})
WORDS = st.sampled_from(["a", "b", "node", "Memory", "Never", "RuntimeDefault", "metadata.name", "cpu"])
#: How many levels below a pod, or a JobSet, are filled.
DEPTH = 7


def get_schema(*path: str) -> Schema:
    schema = RUNTIME
    for name in path:
        schema = schema["properties"][name]
        schema = schema.get("items", schema)
    return schema


JOBSET = get_schema("spec", "template", "spec")
POD = get_schema("spec", "template", "spec", "replicatedJobs", "template", "spec", "template", "spec")
WHERE = "spec.template.spec.replicatedJobs[0].template.spec.template.spec"


@st.composite
def values(draw: st.DrawFn, schema: Schema, depth: int = 0) -> Any:
    """A value of a type that the schema has, with up to four fields a map; nothing else of the schema is kept."""
    if "properties" in schema:
        most = 4 if depth < DEPTH else 0
        names = draw(st.sets(st.sampled_from(sorted(schema["properties"])), max_size=most))
        return {name: draw(values(schema["properties"][name], depth + 1)) for name in sorted(names)}
    if "additionalProperties" in schema:
        return draw(st.dictionaries(st.sampled_from(["cpu", "nvidia.com/gpu", "a/b"]), st.sampled_from(["0", "1"])))
    match schema.get("type"):
        case "array":
            return draw(st.lists(values(schema["items"], depth), max_size=2))
        case "integer":
            return draw(st.integers(0, 3))
        case "boolean":
            return draw(st.booleans())
    return draw(WORDS)


@st.composite
def pods(draw: st.DrawFn) -> JSON:
    """A pod with a container, and mostly volumes and a security context: chance alone rarely reaches into these."""
    more = {name: draw(values(POD["properties"][name])) for name in ("volumes", "securityContext")}
    container = {"name": "node", "image": "i", **draw(values(POD["properties"]["containers"]["items"]))}
    return {**draw(values(POD)), **more, "containers": [container]}


def list_leaves(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Yield the paths of what is set and has nothing below it."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from list_leaves(item, schema["items"], f"{path}[{index}]")
    elif isinstance(value, dict):
        properties = schema.get("properties")
        for name, below in value.items():
            step = f"[{name}]" if properties is None else f".{name}"
            yield from list_leaves(below, (properties or {}).get(name, {}), f"{path}{step}")
    else:
        yield path


def judge(jobset: JSON) -> tuple[Finding, ...]:
    return find_portability(JOB, TrainJob.of(JOB), build_runtime(), {"spec": jobset})


def judge_pod(pod: JSON) -> tuple[Finding, ...]:
    return judge({"replicatedJobs": [{"template": {"spec": {"template": {"spec": pod}}}}]})


def covers(finding: Finding, leaf: str) -> bool:
    return leaf == finding.path or leaf.startswith((f"{finding.path}.", f"{finding.path}["))


def assert_told(findings: tuple[Finding, ...], value: JSON, schema: Schema, path: str) -> None:
    for leaf in list_leaves(value, schema, path):
        assert len([finding for finding in findings if covers(finding, leaf)]) == 1, leaf


some = settings(max_examples=60)


@some
@given(pods())
def test_each_field_of_a_pod_is_told_of_once(pod: JSON) -> None:
    assert_told(judge_pod(pod), pod, POD, WHERE)


@some
@given(values(JOBSET))
def test_each_field_of_a_jobset_is_told_of_once(jobset: JSON) -> None:
    findings = judge(jobset)
    empty = {finding.path for finding in findings if finding.path.endswith(".containers")}
    told = tuple(finding for finding in findings if finding.path not in empty)
    assert_told(told, jobset, JOBSET, "spec.template.spec")


@st.composite
def strange_pods(draw: st.DrawFn) -> JSON:
    """A pod with a field in one of its maps that no definition knows."""
    pod = draw(pods())
    places = list(list_maps(pod, POD))
    draw(st.sampled_from(places))["tomorrow"] = {"a": "b"}
    return pod


def list_maps(value: Any, schema: Schema) -> Iterator[JSON]:
    if isinstance(value, list):
        for item in value:
            yield from list_maps(item, schema["items"])
    elif "properties" in schema:
        yield value
        for name, below in value.items():
            yield from list_maps(below, schema["properties"][name])


@some
@given(strange_pods())
def test_what_nobody_knows_is_never_honoured(pod: JSON) -> None:
    leaves = [leaf for leaf in list_leaves(pod, POD, WHERE) if "tomorrow" in leaf]
    findings = judge_pod(pod)
    assert leaves
    for leaf in leaves:
        [finding] = [finding for finding in findings if covers(finding, leaf)]
        assert finding.stance is not Stance.HONOURED


@some
@given(pods())
def test_what_is_found_is_refused_or_reported(pod: JSON) -> None:
    findings = judge_pod(pod)
    report = build_portability(findings)
    told = [entry["path"] for key in ("emulated", "noEffect") for entry in report[key]]
    assert len(told) == len(build_warnings(findings))
    refused = [error.path for error in find_unsupported(findings)]
    assert sorted([*report["honoured"], *told, *refused]) == sorted(finding.path for finding in findings)
