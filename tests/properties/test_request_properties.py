"""Whatever a client sends is understood or refused; and what is understood says what was meant."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainlet.kube.errors import ApiError
from trainlet.kube.meta import JSON
from trainlet.server.api.rendering import Form, parse_accept
from trainlet.server.api.requests import find_target, parse_delete, parse_object, parse_patch, parse_write
from trainlet.server.api.resources import RESOURCES
from trainlet.server.api.selection import parse_selection
from trainlet.server.api.types import PatchType
from trainlet.server.api.watching import parse_watch

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            *("dryRun", "fieldManager", "fieldValidation", "force", "gracePeriodSeconds", "propagationPolicy"),
            *("resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "allowWatchBookmarks"),
        ]
    ),
    st.sampled_from(["", "true", "False", "All", "Strict", "0", "12", "-1", "NotOlderThan", "1e3", "ä"])
    | st.text(max_size=6),
)


@given(st.sampled_from(RESOURCES), NAMES, NAMES, st.data())
def test_every_path_of_a_resource_names_it(resource: Any, namespace: str, name: str, data: Any) -> None:
    subresource = data.draw(st.sampled_from(["", *resource.subresources]))
    base = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    place = f"/namespaces/{namespace}" if resource.is_namespaced else ""
    target = find_target(f"{base}{place}/{resource.plural}/{name}" + (f"/{subresource}" if subresource else ""))
    assert target is not None
    wanted = (resource, namespace if resource.is_namespaced else None, name, subresource)
    assert (target.resource, target.namespace, target.name, target.subresource) == wanted


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["", "api", "apis", "v1", "namespaces", "pods", "..", "x"])).map("/".join)
)
def test_no_path_breaks_anything(path: str) -> None:
    target = find_target(path)
    assert target is None or target.resource in RESOURCES


@given(st.sampled_from(RESOURCES), st.text(max_size=30), st.text(alphabet="a.=!,\\ b", max_size=30))
def test_selectors_are_understood_or_refused(resource: Any, labels: str, fields: str) -> None:
    with suppress(ApiError):
        selection = parse_selection(resource, labels, fields)
        assert selection.includes({"metadata": {}}) in (True, False)


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=20), st.booleans())
def test_a_field_is_compared_with_just_what_was_written(value: str, is_equal: bool) -> None:
    escaped = "".join(f"\\{each}" if each in "\\,=" else each for each in value)
    sign = "=" if is_equal else "!="
    selection = parse_selection(RESOURCES[0], "", f"metadata.name{sign}{escaped}")
    assert selection.includes({"metadata": {"name": value}}) is is_equal
    assert selection.includes({"metadata": {"name": f"{value}x"}}) is not is_equal


@given(VALUES)
def test_a_body_is_what_was_sent_or_refused(value: Any) -> None:
    data = json.dumps(value).encode()
    with suppress(ApiError):
        assert parse_object(data, "application/json") == value
        assert isinstance(value, dict)
    for type in PatchType:
        with suppress(ApiError):
            assert isinstance(parse_patch(data, str(type))[1], dict | list)


@given(st.binary(max_size=40), st.sampled_from(["", "application/json", "application/yaml", *PatchType, "x"]))
def test_no_bytes_break_anything(data: bytes, media_type: str) -> None:
    with suppress(ApiError):
        parse_object(data, media_type)
    with suppress(ApiError):
        parse_patch(data, media_type)


@given(
    QUERIES,
    st.dictionaries(st.sampled_from(["dryRun", "gracePeriodSeconds", "propagationPolicy", "preconditions"]), VALUES),
)
def test_options_are_understood_or_refused(query: dict[str, str], body: JSON) -> None:
    with suppress(ApiError):
        assert parse_write(query, "kubectl/v1").manager
    with suppress(ApiError):
        grace = parse_delete(query, body).grace_seconds
        assert grace is None or grace >= 0
    with suppress(ApiError):
        assert parse_watch(query).timeout_seconds >= 0


@given(st.text(max_size=60))
def test_any_accept_header_has_an_answer(header: str) -> None:
    assert parse_accept(header) in Form
