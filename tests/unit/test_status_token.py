"""Tokens for progress reports: each good for one job, and for no later one of its name."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainlet.planning.status_token import build_token, find_token_uid

SECRET = bytes(range(32))
UID = "7d5a1f0e-9d1f-4a55-8e8d-0d6d0c1c3f11"
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True)
JOBS = st.tuples(NAMES, NAMES, st.uuids().map(str))


def test_a_token_is_the_same_whenever_it_is_asked_for() -> None:
    token = build_token(SECRET, "default", "mnist", UID)
    assert token == build_token(SECRET, "default", "mnist", UID)
    assert re.fullmatch(r"[0-9a-f-]{36}\.[A-Za-z0-9_-]{43}", token)


@given(JOBS, st.binary(min_size=32, max_size=32))
def test_a_job_s_own_token_tells_its_uid(job: tuple[str, str, str], secret: bytes) -> None:
    assert find_token_uid(secret, *job[:2], build_token(secret, *job)) == job[2]


@given(JOBS, JOBS)
def test_a_token_is_nothing_to_another_job(job: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assume(job[:2] != other[:2])
    assert find_token_uid(SECRET, *other[:2], build_token(SECRET, *job)) is None


@given(JOBS)
def test_a_token_of_another_secret_is_false(job: tuple[str, str, str]) -> None:
    assert find_token_uid(SECRET, *job[:2], build_token(bytes(32), *job)) is None


@given(st.text(max_size=100))
def test_what_anybody_makes_up_is_false(text: str) -> None:
    assert find_token_uid(SECRET, "default", "mnist", text) is None


@pytest.mark.parametrize("uid", ["", "other", UID.upper(), f"{UID}.{UID}"])
def test_a_signature_is_good_for_its_uid_alone(uid: str) -> None:
    signature = build_token(SECRET, "default", "mnist", UID).rpartition(".")[2]
    assert find_token_uid(SECRET, "default", "mnist", f"{uid}.{signature}") is None
