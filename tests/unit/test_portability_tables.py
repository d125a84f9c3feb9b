"""The tables of portability know every field of the definitions, and what policies make."""

from collections.abc import Iterator
from typing import Any

import pytest

from builders import build_job, build_runtime
from stances import POD, H, R, judge
from trainlet.admission.crd import parse_crd
from trainlet.admission.portability import Fields, Keys, Rule, Subject, Verdict
from trainlet.admission.portability_jobset import JOBSET_TEMPLATE, RUNTIME, TRAIN_JOB
from trainlet.apis.trainer import TrainJob
from trainlet.package_data import read_crds
from trainlet.planning.jobset import build_objects
from trainlet.planning.policies import BUILDERS, POLICIES

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
def test_objects_that_policies_make_are_known_by_name(policy: str) -> None:
    job = TrainJob.of(build_job(trainer={"numNodes": 2}))
    runtime = build_runtime(ml_policy={policy: {}})
    made = {(each["kind"], each["metadata"]["name"]) for each in build_objects(job, runtime, bytes(32))}
    assert Subject(job, runtime).objects == made
    assert bool(made) == (policy in BUILDERS)


def test_all_of_mpi_is_honoured() -> None:
    told = judge(build_job(trainer={"numNodes": 2}), build_runtime(ml_policy={"mpi": {}}))
    assert {finding.stance for finding in told} == {H}
    assert f"{POD}.volumes" in {finding.path for finding in told}


def test_flux_is_refused_for_its_installer_alone() -> None:
    findings = judge(build_job(trainer={"numNodes": 2}), build_runtime(ml_policy={"flux": {}}))
    [refused] = [finding for finding in findings if finding.stance is R]
    assert refused.path == f"{POD}.initContainers"
    assert "flux" in refused.text
