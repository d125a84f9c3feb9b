"""What a container finds in its environment: expansion, values of other objects, defaults, and names made local."""

from collections.abc import Sequence
from typing import Any

import pytest

from trainlet.apis.core_v1 import Container
from trainlet.kube.meta import JSON
from trainlet.planning.downward import Fields
from trainlet.planning.environment import (
    add_defaults,
    build_rendezvous,
    expand,
    find_unknown,
    localize,
    localize_environment,
    resolve_environment,
)
from trainlet.planning.objects import CONFIG_MAP, SECRET, ConfigError, Objects

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


@pytest.mark.parametrize(
    ("text", "name"),
    [("", None), ("$(A)", None), ("$(A)/$(B)", "B"), ("$(C) $(B)", "C"), ("$$(B)", None), ("$()", ""), ("$(B", None)],
)
def test_a_reference_to_nothing_is_found(text: str, name: str | None) -> None:
    assert find_unknown(text, {"A": ""}) == name


OBJECTS = Objects(
    "team",
    {
        (CONFIG_MAP, "one"): {"A": b"one-a", "B": b"one-b"},
        (CONFIG_MAP, "two"): {"B": b"two-b", "c.d": b"two-c"},
        (SECRET, "login"): {"USER": b"me", "PASSWORD": b"p$(A)", "RAW": b"\xff\0x"},
    },
    tokens={},
)


def resolve(*entries: dict[str, Any], env_from: Sequence[JSON] = (), **plain: str) -> dict[str, str]:
    container = Container.of({"name": "node", "env": list(entries), "envFrom": list(env_from)})
    fields = Fields(plain, {"labels": {}, "annotations": {}}, container, {}, {})
    return resolve_environment(container, fields, OBJECTS)


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


def take(name: str, **source: JSON) -> JSON:
    """Return a variable that has its value from somewhere."""
    return {"name": name, "valueFrom": source}


CONFIG_A = {"configMapKeyRef": {"name": "one", "key": "A"}}
RESOLVED: dict[str, tuple[list[JSON], list[JSON], dict[str, str]]] = {
    # name: (envFrom, env, environment)
    "all keys": ([{"configMapRef": {"name": "one"}}], [], {"A": "one-a", "B": "one-b"}),
    "later ones win": (
        [{"configMapRef": {"name": "one"}}, {"configMapRef": {"name": "two"}}],
        [],
        {"A": "one-a", "B": "two-b", "c.d": "two-c"},
    ),
    "with a prefix": ([{"prefix": "P_", "configMapRef": {"name": "one"}}], [], {"P_A": "one-a", "P_B": "one-b"}),
    "env wins": ([{"configMapRef": {"name": "one"}}], [{"name": "A", "value": "mine"}], {"A": "mine", "B": "one-b"}),
    "env refers to it": (
        [{"configMapRef": {"name": "one"}}],
        [{"name": "C", "value": "<$(A)>"}],
        {"A": "one-a", "B": "one-b", "C": "<one-a>"},
    ),
    "a Secret, whose values are taken as they are": (
        [{"secretRef": {"name": "login"}}],
        [],
        {"USER": "me", "PASSWORD": "p$(A)", "RAW": "\ufffdx"},
    ),
    "optional and missing": ([{"secretRef": {"name": "no", "optional": True}}], [], {}),
    "a key of each": (
        [],
        [take("X", **CONFIG_A), take("Y", secretKeyRef={"name": "login", "key": "USER"})],
        {"X": "one-a", "Y": "me"},
    ),
    "a value of a Secret in another": (
        [],
        [
            take("P", secretKeyRef={"name": "login", "key": "PASSWORD"}),
            {"name": "URL", "value": "https://me:$(P)@host"},
        ],
        {"P": "p$(A)", "URL": "https://me:p$(A)@host"},
    ),
    "an optional key of nothing": ([], [take("X", secretKeyRef={"name": "no", "key": "k", "optional": True})], {}),
    "an optional key that is missing leaves what was there": (
        [{"configMapRef": {"name": "one"}}],
        [take("A", configMapKeyRef={"name": "two", "key": "A", "optional": True})],
        {"A": "one-a", "B": "one-b"},
    ),
    "no source": ([], [take("X")], {"X": ""}),
}


@pytest.mark.parametrize(("env_from", "env", "environment"), RESOLVED.values(), ids=RESOLVED)
def test_values_of_configmaps_and_secrets(env_from: list[JSON], env: list[JSON], environment: dict[str, str]) -> None:
    assert resolve(*env, env_from=env_from) == environment


MISSING: dict[str, tuple[list[JSON], list[JSON], str]] = {
    # name: (envFrom, env, what a kubelet says)
    "a ConfigMap": ([{"configMapRef": {"name": "no"}}], [], 'configmap "no" not found'),
    "a Secret": ([{"secretRef": {"name": "no"}}], [], 'secret "no" not found'),
    "a Secret of a key": ([], [take("A", secretKeyRef={"name": "no", "key": "k"})], 'secret "no" not found'),
    "a key": (
        [],
        [take("A", secretKeyRef={"name": "login", "key": "k"})],
        "couldn't find key k in Secret team/login",
    ),
    "a key of a ConfigMap": (
        [],
        [take("A", configMapKeyRef={"name": "one", "key": "k"})],
        "couldn't find key k in ConfigMap team/one",
    ),
}


@pytest.mark.parametrize(("env_from", "env", "message"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_waited_for(env_from: list[JSON], env: list[JSON], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(*env, env_from=env_from)
    assert (str(error.value), error.value.reason) == (message, "CreateContainerConfigError")


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
