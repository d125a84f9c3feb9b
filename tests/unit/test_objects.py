"""What pods read of ConfigMaps, Secrets and tokens, and what is said where it is missing."""

import base64

import pytest

from builders import build_job
from stage import build_config_map, build_secret
from trainlet.kube.meta import JSON
from trainlet.planning.objects import CONFIG_MAP, HIDDEN, SECRET, ConfigError, Reference, read_objects

CONFIG: JSON = {**build_config_map("c", text="Grüße"), "binaryData": {"raw": base64.b64encode(b"\xff\0").decode()}}
LOGIN = build_secret("s", user="me", key=b"\0\xfe")
OBJECTS = read_objects("team", [build_job(), CONFIG, LOGIN, {**LOGIN, "metadata": {"name": "c"}}], {"them": "token"})


def test_data_is_bytes_by_kind_and_name() -> None:
    assert OBJECTS.read(Reference(CONFIG_MAP, "c")) == {"text": "Grüße".encode(), "raw": b"\xff\0"}
    assert OBJECTS.read(Reference(SECRET, "s")) == {"user": b"me", "key": b"\0\xfe"}
    assert OBJECTS.read_key(Reference(SECRET, "c"), "user") == b"me"
    assert OBJECTS.tokens == {"them": b"token"}


def test_what_comes_last_takes_the_place_of_its_name() -> None:
    objects = read_objects("team", [build_secret("s", user="other"), LOGIN], {})
    assert objects.read_key(Reference(SECRET, "s"), "user") == b"me"


def test_an_object_may_be_empty() -> None:
    empty = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "e"}}
    assert read_objects("team", [empty], {}).read(Reference(CONFIG_MAP, "e")) == {}


MISSING = [
    (Reference(CONFIG_MAP, "s"), None, 'configmap "s" not found'),
    (Reference(SECRET, "no"), None, 'secret "no" not found'),
    (Reference(SECRET, "no"), "user", 'secret "no" not found'),
    (Reference(CONFIG_MAP, "c"), "user", "couldn't find key user in ConfigMap team/c"),
    (Reference(SECRET, "s"), "text", "couldn't find key text in Secret team/s"),
]


@pytest.mark.parametrize(("reference", "key", "message"), MISSING)
def test_what_is_missing(reference: Reference, key: str | None, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        OBJECTS.read(reference) if key is None else OBJECTS.read_key(reference, key)
    assert (str(error.value), error.value.reason) == (message, "CreateContainerConfigError")


@pytest.mark.parametrize(("reference", "key", "_"), MISSING)
def test_what_is_optional_or_only_looked_at_may_be_missing(reference: Reference, key: str | None, _: str) -> None:
    optional = Reference(reference.kind, reference.name, optional=True)
    for objects, each in ((OBJECTS, optional), (OBJECTS.hide(), reference)):
        assert objects.read(each) == {} if key is None else objects.read_key(each, key) is None


def test_what_others_see_has_the_keys_and_no_secret() -> None:
    hidden = OBJECTS.hide()
    assert hidden.read(Reference(SECRET, "s")) == {"user": HIDDEN.encode(), "key": HIDDEN.encode()}
    assert hidden.read(Reference(CONFIG_MAP, "c")) == OBJECTS.read(Reference(CONFIG_MAP, "c"))
    assert hidden.tokens == {"them": HIDDEN.encode()}


@pytest.mark.parametrize(
    ("documents", "tokens", "has_secrets"),
    [([CONFIG], {}, False), ([], {}, False), ([LOGIN], {}, True), ([], {"them": "token"}, True)],
)
def test_whether_there_is_anything_to_hide(documents: list[JSON], tokens: dict[str, str], has_secrets: bool) -> None:
    assert read_objects("team", documents, tokens).has_secrets is has_secrets
