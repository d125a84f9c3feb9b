"""The tables of portability know every field of the definitions, and all that policies make of a pod."""

from collections.abc import Iterator
from time import process_time
from typing import Any

import pytest

from builders import build_job, build_runtime
from stances import POD, H, R, judge
from trainlet.admission.crd import parse_crd
from trainlet.admission.portability import Fields, Keys, Rule, Verdict
from trainlet.admission.portability_jobset import JOBSET_TEMPLATE, RUNTIME, TRAIN_JOB
from trainlet.package_data import read_crds
from trainlet.planning.policies import POLICIES

RUNTIMES = [crd.schema for crd in map(parse_crd, read_crds()) if crd.kind != "TrainJob"]
[JOBS] = [crd.schema for crd in map(parse_crd, read_crds()) if crd.kind == "TrainJob"]


def get_part(schema: dict[str, Any], *path: str) -> dict[str, Any]:
    for name in path:
        schema = schema["properties"][name]
    return schema


def compare(schema: dict[str, Any], rule: Rule, path: str) -> Iterator[str]:
    """Yield the fields that only the definition or only the table knows."""
    schema = schema.get("items", schema)
    if isinstance(rule, Keys):
        assert "additionalProperties" in schema, f"{path} has fields of its own"
    if not isinstance(rule, Fields):
        return
    properties = schema.get("properties", {})
    yield from (f"{path}.{name}" for name in properties.keys() ^ rule.known.keys())
    for name in properties.keys() & rule.known.keys():
        yield from compare(properties[name], rule.known[name], f"{path}.{name}")


@pytest.mark.parametrize("schema", RUNTIMES)
def test_the_tables_know_the_fields_of_the_definitions_and_no_others(schema: dict[str, Any]) -> None:
    assert list(compare(get_part(schema, "spec", "template"), JOBSET_TEMPLATE, "spec.template")) == []
    assert list(compare(get_part(schema, "spec"), RUNTIME, "spec")) == ["spec.template"]


def test_the_tables_know_the_fields_of_a_job_and_no_others() -> None:
    assert list(compare(get_part(JOBS, "spec"), TRAIN_JOB.known["spec"], "spec")) == []


def test_whatever_is_not_honoured_says_why() -> None:
    for rule in iterate_rules(Fields({"a": TRAIN_JOB, "b": RUNTIME, "c": JOBSET_TEMPLATE})):
        if isinstance(rule, Verdict):
            assert bool(rule.text) != (rule.stance is H)


def iterate_rules(rule: Rule) -> Iterator[Rule]:
    yield rule
    if isinstance(rule, Fields):
        for part in [*rule.known.values(), rule.others]:
            yield from iterate_rules(part)


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_that_a_policy_makes_is_refused(policy: str) -> None:
    told = judge(build_job(trainer={"numNodes": 2}), build_runtime(ml_policy={policy: {}}))
    assert R not in {finding.stance for finding in told}


def test_all_of_mpi_is_honoured() -> None:
    told = judge(build_job(trainer={"numNodes": 2}), build_runtime(ml_policy={"mpi": {}}))
    assert {finding.stance for finding in told} == {H}
    assert f"{POD}.volumes" in {finding.path for finding in told}


def count_up(**templates: str) -> list[dict[str, Any]]:
    """Return thousands of maps that differ in a number."""
    return [{key: text.format(n) for key, text in templates.items()} for n in range(4000)]


CROWDS = {
    "containers": {"initContainers": count_up(name="c{}", image="i")},
    "volumes": {"volumes": count_up(name="v{}")},
    "mounts": {"initContainers": [{"name": "c", "image": "i", "volumeMounts": count_up(name="v{}", mountPath="/{}")}]},
    "parts": {
        "volumes": [{"name": "v"}],
        "initContainers": [
            {"name": "c", "image": "i", "volumeMounts": count_up(name="v", mountPath="/{}", subPath="{}")}
        ],
    },
    "files": {"volumes": [{"name": "v", "configMap": {"name": "c", "items": count_up(key="k", path="{}")}}]},
}


@pytest.mark.parametrize("pod", CROWDS.values(), ids=CROWDS)
def test_thousands_are_not_each_compared_with_all(pod: dict[str, Any]) -> None:
    """That takes 5 to 40 s of the processor, and a file may hold as many."""
    start = process_time()
    assert judge(build_job(), build_runtime(pod=pod))
    assert process_time() - start < 3
