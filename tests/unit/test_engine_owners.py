"""Whose things are, by their labels alone."""

from collections.abc import Mapping

import pytest

from trainlet.engine.base import Owner
from trainlet.engine.owners import is_made_for, is_ours, is_same_volume, read_owners
from trainlet.planning.labels import JOB_NAME, NAMESPACE, OWNER_UID, SPEC_HASH, STORE
from trainlet.planning.specs import ContainerSpec

OURS = {OWNER_UID: "1", STORE: "s"}
KEPT = {STORE: "s", NAMESPACE: "default"}


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ({**OURS, "more": "x"}, OURS, True),
        ({**OURS, OWNER_UID: "2"}, OURS, False),
        (KEPT, OURS, False),
        (None, OURS, False),
        ({}, OURS, False),
        (KEPT, KEPT, True),
        ({STORE: "s"}, KEPT, True),
        ({STORE: "another"}, KEPT, False),
        (OURS, KEPT, False),
        (None, KEPT, True),
        ({"made-by": "hand"}, KEPT, True),
    ],
)
def test_a_job_s_volume_is_its_own_and_one_that_outlives_jobs_may_be_anybody_s(
    found: Mapping[str, str] | None, wanted: Mapping[str, str], expected: bool
) -> None:
    assert is_same_volume(found, wanted) is expected


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [(KEPT, OURS, True), (OURS, OURS, True), ({STORE: "another"}, OURS, False), (None, OURS, False), ({}, {}, False)],
)
def test_what_was_made_for_a_store(found: Mapping[str, str] | None, wanted: Mapping[str, str], expected: bool) -> None:
    assert is_made_for(found, wanted) is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({OWNER_UID: "1", SPEC_HASH: "h", "more": "x"}, True),
        ({OWNER_UID: "1", SPEC_HASH: "other"}, False),
        ({OWNER_UID: "2", SPEC_HASH: "h"}, False),
        ({SPEC_HASH: "h"}, False),
        (None, False),
    ],
)
def test_a_container_is_ours_if_owner_and_spec_are(found: Mapping[str, str] | None, expected: bool) -> None:
    assert is_ours(found, ContainerSpec("c", "image", labels={OWNER_UID: "1", SPEC_HASH: "h"})) is expected
    assert not is_ours(found, ContainerSpec("c", "image", labels={SPEC_HASH: "h"}))


def test_owners_are_read_from_whatever_has_one() -> None:
    found = [{**OURS, JOB_NAME: "mnist", NAMESPACE: "team"}, {OWNER_UID: "2"}, KEPT, {}, None]
    assert read_owners(found) == {Owner("1", "team", "mnist"), Owner("2", "default", "")}
