"""Logins fit images as on a cluster: by host, port and path, the most precise first; secrets without any are named."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.apis.core_v1 import PodSpec
from trainlet.kube.meta import JSON
from trainlet.planning.plan import PullImage
from trainlet.planning.pull_secrets import (
    Entry,
    Login,
    find_missing_pull_secrets,
    find_pull_logins,
    match_logins,
    read_entries,
)

LOGIN = Login("ann", "rose")


@pytest.mark.parametrize(
    ("pattern", "image", "fits"),
    [
        ("registry.example", "registry.example/train:1", True),
        ("registry.example", "registry.example:5000/train:1", False),
        ("registry.example:5000", "registry.example:5000/train:1", True),
        ("registry.example:5000", "registry.example/train:1", False),
        ("registry.example", "other.example/train:1", False),
        ("*.example", "registry.example/train", True),
        ("*.example", "eu.registry.example/train", False),
        ("*.*.example", "eu.registry.example/train", True),
        ("reg*.example:5000", "registry.example:5000/train", True),
        ("registry.example/team", "registry.example/team/train@sha256:00", True),
        ("registry.example/team", "registry.example/other/train", False),
        ("https://registry.example", "registry.example/train", True),
        ("http://registry.example/v2/", "registry.example/train", True),
        ("https://registry.example/v1/team", "registry.example/team/train", True),
        ("https://index.docker.io/v1/", "python:3.12", True),
        ("https://index.docker.io/v1/", "docker.io/team/train", True),
        ("https://index.docker.io/v1/", "index.docker.io/team/train", True),
        ("https://index.docker.io/v1/", "registry.example/train", False),
        ("docker.io", "python", True),
        ("docker.io/team", "team/train:1", True),
        ("docker.io/team", "python", False),
        ("localhost", "localhost/train:1", True),
        ("127.0.0.1:5000", "127.0.0.1:5000/train:1", True),
    ],
)
def test_an_entry_fits_an_image_or_not(pattern: str, image: str, fits: bool) -> None:
    entries = read_entries({pattern: {"username": "ann", "password": "rose"}})
    assert match_logins(entries, image) == ((LOGIN,) if fits else ())


def test_the_most_precise_comes_first_and_each_login_once() -> None:
    hosts = ("*.example", "registry.example", "registry.example/team", "registry.example/team/train", "other.example")
    entries = [Entry(host, Login(host, "x")) for host in hosts]
    found = match_logins([*entries, *entries], "registry.example/team/train:1")
    assert [login.username for login in found] == [
        "registry.example/team/train",
        "registry.example/team",
        "registry.example",
        "*.example",
    ]


def test_an_entry_of_the_hub_s_own_name_goes_before_its_old_one() -> None:
    entries = [Entry("index.docker.io", Login("old", "x")), Entry("docker.io", Login("new", "x"))]
    assert [login.username for login in match_logins(entries, "python")] == ["new"]


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"username": "ann", "password": "rose"}, LOGIN),
        ({"auth": b64encode(b"ann:rose").decode()}, LOGIN),
        ({"auth": b64encode(b"ann:rose").decode().rstrip("=")}, LOGIN),
        ({"auth": b64encode(b"ann:ro:se").decode()}, Login("ann", "ro:se")),
        ({"username": "bob", "password": "x", "auth": b64encode(b"ann:rose").decode()}, LOGIN),
        ({"identitytoken": "t"}, Login(identity_token="t")),
        ({}, None),
        ({"email": "ann@example"}, None),
        ("text", None),
    ],
)
def test_an_entry_is_a_login(entry: Any, login: Login | None) -> None:
    assert match_logins(read_entries({"r.example": entry}), "r.example/x") == ((login,) if login else ())


@pytest.mark.parametrize("auth", ["!", b64encode(b"no colon").decode(), b64encode(b"\xff:x").decode()])
def test_a_broken_entry_is_refused_without_being_shown(auth: str) -> None:
    with pytest.raises(ValueError, match="base64 of USER:PASSWORD") as caught:
        read_entries({"r.example": {"auth": auth}})
    assert auth not in str(caught.value).replace("USER:PASSWORD", "")


def build_secret(name: str, content: Any, *, old: bool = False, type: str = "") -> JSON:
    key = ".dockercfg" if old else ".dockerconfigjson"
    text = content if isinstance(content, str) else json.dumps(content if old else {"auths": content})
    kind = type or f"kubernetes.io/{key[1:]}"
    return {
        "kind": "Secret",
        "metadata": {"name": name},
        "type": kind,
        "data": {key: b64encode(text.encode()).decode()},
    }


def build_pod(*names: str) -> PodSpec:
    return PodSpec.model_validate({"imagePullSecrets": [{"name": name} for name in names]})


ENTRY = {"r.example": {"username": "ann", "password": "rose"}}


@pytest.mark.parametrize("old", [False, True])
def test_a_pod_s_secret_gives_its_logins(old: bool) -> None:
    objects = [build_secret("mine", ENTRY, old=old), build_secret("other", {"r.example": {"username": "eve"}})]
    assert find_pull_logins(build_pod("mine"), objects, "r.example/x:1") == (LOGIN,)
    assert find_pull_logins(build_pod(), objects, "r.example/x:1") == ()
    assert find_pull_logins(build_pod("mine"), objects, "s.example/x:1") == ()
    assert find_missing_pull_secrets(build_pod("mine"), objects) == ()


def test_the_entries_of_all_secrets_are_one_list() -> None:
    team = {"r.example/team": {"username": "team", "password": "x"}}
    objects = [build_secret("wide", ENTRY), build_secret("narrow", team)]
    found = find_pull_logins(build_pod("wide", "narrow"), objects, "r.example/team/x")
    assert [login.username for login in found] == ["team", "ann"]


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [{"kind": "ConfigMap", "metadata": {"name": "mine"}, "type": "kubernetes.io/dockerconfigjson"}],
        [build_secret("mine", ENTRY, type="Opaque")],
        [build_secret("mine", "no JSON")],
        [build_secret("mine", "[" * 100_000)],
        [build_secret("mine", "{}")],
        [build_secret("mine", {"r.example": {"auth": "!"}})],
        [{**build_secret("mine", ENTRY), "data": {".dockerconfigjson": "no base64!"}}],
        [{**build_secret("mine", ENTRY), "data": {}}],
        [{"kind": "Secret", "metadata": {"name": "mine"}}],
    ],
)
def test_a_secret_that_holds_no_logins_is_named_and_no_error(objects: list[JSON]) -> None:
    assert find_pull_logins(build_pod("mine", ""), objects, "r.example/x") == ()
    assert find_missing_pull_secrets(build_pod("mine", ""), objects) == ("mine",)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_key_fits_or_does_not(key: str, image: str) -> None:
    found = match_logins(read_entries({key: {"username": "ann", "password": "rose"}}), image)
    assert found in ((), (LOGIN,))


def test_a_login_is_never_shown() -> None:
    login = Login("ann-name", "rose-word", "token-word")
    shown = (
        f"{login} {Entry('r', login)} {PullImage(image='x', logins=(login,))!r} {PullImage(image='x', logins=(login,))}"
    )
    assert not any(word in shown for word in ("ann-name", "rose-word", "token-word"))
