"""What a container finds in its environment: expansion, the downward API, defaults, and names made local."""

from typing import Any

import pytest

from trainlet.apis.core_v1 import EnvVar
from trainlet.planning.environment import (
    add_defaults,
    build_fields,
    build_rendezvous,
    expand,
    localize,
    localize_environment,
    resolve_environment,
)

ENVIRONMENT = {"A": "1", "B.c-d_e": "2", "EMPTY": "", "REF": "$(A)"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B.c-d_e)z", "x1y2z"),
        ("[$(EMPTY)]", "[]"),
        ("$(MISSING)", "$(MISSING)"),
        ("$(date +%s)", "$(date +%s)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$", "$$"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$(REF)", "$(A)"),
        # A reference ends at the first bracket, so that this one is to `echo $(A`, which is nothing.
        ("$(echo $(A))", "$(echo $(A))"),
        ("$A$(A)", "$A1"),
    ],
)
def test_references_expand_as_on_a_cluster(text: str, expanded: str) -> None:
    assert expand(text, ENVIRONMENT) == expanded


def resolve(*entries: dict[str, Any], **fields: str) -> dict[str, str]:
    return resolve_environment([EnvVar.of(entry) for entry in entries], fields)


def test_a_value_may_refer_to_those_before_it_only() -> None:
    environment = resolve(
        {"name": "EARLY", "value": "$(LATE)"},
        {"name": "LATE", "value": "late"},
        {"name": "BOTH", "value": "$(EARLY)-$(LATE)"},
    )
    assert environment == {"EARLY": "$(LATE)", "LATE": "late", "BOTH": "$(LATE)-late"}
    assert list(environment) == ["EARLY", "LATE", "BOTH"]


def test_a_field_is_taken_as_it_is() -> None:
    entry = {"name": "RANK", "valueFrom": {"fieldRef": {"fieldPath": "rank"}}}
    assert resolve(entry, rank="$(A)") == {"RANK": "$(A)"}
    assert resolve(entry) == {"RANK": ""}


def test_a_field_may_be_referred_to() -> None:
    rank = {"name": "RANK", "valueFrom": {"fieldRef": {"fieldPath": "rank"}}}
    assert resolve(rank, {"name": "FILE", "value": "out-$(RANK)"}, rank="3")["FILE"] == "out-3"


def test_an_entry_without_a_value_is_empty() -> None:
    assert resolve({"name": "A"}) == {"A": ""}


def test_labels_and_annotations_are_fields_by_their_keys() -> None:
    fields = build_fields({"labels": {"a/b": "1"}, "annotations": {"c": "2"}}, {"metadata.name": "pod"})
    assert fields == {"metadata.name": "pod", "metadata.labels['a/b']": "1", "metadata.annotations['c']": "2"}


def test_defaults_never_override_what_is_set() -> None:
    given = {"RANK": "", "WORLD_SIZE": "7"}
    assert add_defaults(given, build_rendezvous(1, 2, "10.0.0.2", 29500)) == {
        "RANK": "",
        "WORLD_SIZE": "7",
        "MASTER_ADDR": "10.0.0.2",
        "MASTER_PORT": "29500",
    }


NAMES = {
    name: f"127.0.0.{number}"
    for number in (1, 10)
    for name in (f"job-node-0-{number}.job", f"job-node-0-{number}.job.ns", f"job-node-0-{number}.job.ns.svc")
}


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("", ""),
        ("job-node-0-1.job", "127.0.0.1"),
        ("job-node-0-10.job", "127.0.0.10"),
        ("job-node-0-100.job", "job-node-0-100.job"),
        ("job-node-0-1.job.ns.svc", "127.0.0.1"),
        ("job-node-0-1.job.ns,job-node-0-10.job.ns", "127.0.0.1,127.0.0.10"),
        ("tcp://job-node-0-1.job:29500/x", "tcp://127.0.0.1:4000/x"),
        ("job-node-0-1.job:29501", "127.0.0.1:29501"),
        ("job-node-0-1.job:295001", "127.0.0.1:295001"),
        # Names of something else.
        ("my-job-node-0-1.job", "my-job-node-0-1.job"),
        ("a.job-node-0-1.job", "a.job-node-0-1.job"),
        ("job-node-0-1.jobs", "job-node-0-1.jobs"),
        ("job-node-0-1.job-2", "job-node-0-1.job-2"),
        ("job-node-0-1.job.example.com", "job-node-0-1.job.example.com"),
        ("job-node-0-1", "job-node-0-1"),
        ("job-node-0-1xjob", "job-node-0-1xjob"),
        ("localhost:29500", "localhost:29500"),
        # The end of a sentence is not part of the name.
        ("rank 0 is job-node-0-1.job.", "rank 0 is 127.0.0.1."),
    ],
)
def test_only_whole_names_of_peers_become_addresses(text: str, local: str) -> None:
    assert localize(text, NAMES, 4000) == local


def test_the_usual_port_becomes_the_job_s_where_it_stands_alone_as_a_port() -> None:
    environment = {"MASTER_PORT": "29500", "PET_MASTER_PORT": "29500", "OTHER_PORT": "80", "STEPS": "29500"}
    assert localize_environment(environment, NAMES, 4000) == {
        "MASTER_PORT": "4000",
        "PET_MASTER_PORT": "4000",
        "OTHER_PORT": "80",
        "STEPS": "29500",
    }
