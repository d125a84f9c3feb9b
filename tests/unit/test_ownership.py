"""Who owns which field: server-side apply, updates beside it, and what the wire says of both."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.kube.meta import JSON
from trainlet.kube.ownership import (
    APPLY,
    BEFORE,
    UPDATE,
    ApplyConflict,
    Owned,
    Owner,
    Owners,
    apply,
    read_owners,
    track_update,
    write_owners,
)

_TEXT: JSON = {"type": "string"}
SCHEMA: JSON = {
    "properties": {
        "metadata": {
            "properties": {
                "labels": {"additionalProperties": _TEXT},
                "finalizers": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
            }
        },
        "spec": {
            "properties": {
                "suspend": {"type": "boolean"},
                "args": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "atomic"},
                "limits": {"additionalProperties": _TEXT, "x-kubernetes-map-type": "atomic"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {
                        "properties": {"port": {"type": "integer"}, "protocol": {"default": "TCP"}, "name": _TEXT}
                    },
                },
            }
        },
    }
}
ONE, TWO = Owner("one", APPLY), Owner("two", APPLY)


def build(**spec: Any) -> JSON:
    return {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "spec": spec}


def put(live: JSON | None, config: JSON, owners: Owners, owner: Owner = ONE, *, force: bool = False) -> Any:
    return apply(live, config, owners, owner, SCHEMA, "now", force=force)


def list_paths(owners: Owners, owner: Owner) -> set[str]:
    return {"/".join(path) for path in owners[owner].paths} if owner in owners else set()


def test_who_applies_first_owns_all_of_it_but_what_names_the_object() -> None:
    config = build(suspend=True, args=["a", "b"], ports=[{"port": 1, "name": "x"}])
    live, owners = put(None, config, {})
    assert live == config
    port = 'f:spec/f:ports/k:{"port":1,"protocol":"TCP"}'
    assert list_paths(owners, ONE) == {
        *("f:spec/f:suspend", "f:spec/f:args"),
        *(port, f"{port}/f:port", f"{port}/f:name"),
    }


def test_what_is_given_up_goes_unless_another_owns_it() -> None:
    live, owners = put(None, build(suspend=True, args=["a"], ports=[{"port": 1}, {"port": 2}]), {})
    live, owners = put(live, build(suspend=True, ports=[{"port": 2}]), owners, TWO)
    live, owners = put(live, build(limits={"a": "1"}), owners)
    assert live["spec"] == {"suspend": True, "ports": [{"port": 2}], "limits": {"a": "1"}}
    assert list_paths(owners, ONE) == {"f:spec/f:limits"}


def test_what_another_owns_is_a_conflict_until_it_is_forced() -> None:
    live, owners = put(None, build(suspend=True, ports=[{"port": 1, "name": "x"}]), {})
    wanted = build(suspend=False, ports=[{"port": 1, "name": "y"}])
    with pytest.raises(ApplyConflict) as raised:
        put(live, wanted, owners, TWO)
    assert str(raised.value) == (
        'Apply failed with 2 conflicts: conflicts with "one" using v1:\n'
        '- .spec.ports[port=1,protocol="TCP"].name\n- .spec.suspend'
    )
    live, owners = put(live, wanted, owners, TWO, force=True)
    assert live["spec"] == wanted["spec"]
    assert "f:spec/f:suspend" not in list_paths(owners, ONE)
    live, owners = put(live, build(suspend=False), owners, ONE)  # the same is no conflict: both have it
    assert "f:spec/f:suspend" in list_paths(owners, ONE) & list_paths(owners, TWO)


def test_what_was_there_before_is_nobodys_that_applies() -> None:
    with pytest.raises(ApplyConflict) as raised:
        put(build(suspend=True), build(suspend=False), {})
    assert f'conflict with "{BEFORE}"' in str(raised.value)


def test_an_update_takes_what_it_changes_and_drops_what_it_removes() -> None:
    live, owners = put(None, build(suspend=True, args=["a"], limits={"a": "1"}), {})
    editor = Owner("edit", UPDATE)
    changed = build(suspend=True, args=["b"])
    after = track_update(live, changed, owners, editor, SCHEMA, "later")
    assert list_paths(after, editor) == {"f:spec/f:args"}
    assert list_paths(after, ONE) == {"f:spec/f:suspend"}
    assert track_update(changed, changed, after, editor, SCHEMA, "even later") == after


def test_sets_are_owned_item_by_item() -> None:
    one = {"metadata": {"finalizers": ["a"]}}
    live, owners = put(None, one, {})
    live, owners = put(live, {"metadata": {"finalizers": ["b"]}}, owners, TWO)
    assert live["metadata"]["finalizers"] == ["a", "b"]
    live, owners = put(live, {"metadata": {}}, owners)
    assert live["metadata"]["finalizers"] == ["b"]


def test_the_wire_says_what_kubectl_reads() -> None:
    _, owners = put(None, build(suspend=True, ports=[{"port": 1}]), {})
    (entry,) = write_owners(owners)
    assert entry == {
        "manager": "one",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": "now",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:spec": {
                "f:suspend": {},
                "f:ports": {'k:{"port":1,"protocol":"TCP"}': {".": {}, "f:port": {}}},
            }
        },
    }
    assert read_owners([entry]) == owners


@pytest.mark.parametrize("wire", [None, [], [{}], "x", [{"manager": "a"}], [{"manager": "a", "fieldsV1": 1}], [1]])
def test_a_wire_that_says_nothing_is_nobodys(wire: Any) -> None:
    assert read_owners(wire) == {}


_LABELS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"), max_size=4)
_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "args": st.lists(st.sampled_from("pq"), max_size=3),
        "limits": _LABELS,
        "ports": st.lists(
            st.fixed_dictionaries({"port": st.integers(1, 3)}, optional={"name": st.sampled_from("mn")}),
            unique_by=lambda port: port["port"],
            max_size=3,
        ),
    },
)


@st.composite
def configs(draw: st.DrawFn) -> JSON:
    return {"apiVersion": "v1", "kind": "X", "metadata": {"labels": draw(_LABELS)}, "spec": draw(_SPECS)}


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), configs()), min_size=1, max_size=6))
def test_whoever_applied_last_by_force_has_what_is_wanted_and_the_wire_keeps_it(
    steps: list[tuple[Owner, JSON]],
) -> None:
    live: JSON | None = None
    owners: dict[Owner, Owned] = {}
    for owner, config in steps:
        live, owners = put(live, config, read_owners(write_owners(owners)), owner, force=True)
        again, still = put(live, config, owners, owner)
        assert (again, still) == (live, owners)
    _, last = steps[-1]
    for name, value in last["metadata"]["labels"].items():
        assert live is not None
        assert live["metadata"]["labels"][name] == value
