"""ConfigMaps, Secrets and claims are judged as an API server judges them, and no error shows a Secret's value."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW
from trainlet.admission.admit import REPLACE, Admitted, Rules, admit, identify, is_foreign
from trainlet.admission.core_kinds import CORE_KINDS, OBJECT_KINDS
from trainlet.admission.crd import find_crd, parse_crd
from trainlet.admission.rules import check_crd
from trainlet.kube.errors import ApiError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import read_crds

CRDS = (*map(parse_crd, read_crds()), *CORE_KINDS)
HIDDEN = '"<secret contents redacted>"'
NO_BASE64 = "illegal base64 data: encode it as `base64` does, or write plain text into"
KEY_PROBLEM = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
FROZEN = "Forbidden: field is immutable when `immutable` is set"


def encode(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def build(kind: str, **fields: Any) -> JSON:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, **fields}


def build_claim(**spec: Any) -> JSON:
    usual = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return build("PersistentVolumeClaim", spec={**usual, **spec})


def judge(document: JSON, old: JSON | None = None, validation: str = "strict") -> Admitted:
    return admit(document, old, Rules(CRDS, validation=validation), {}.get, NOW)


def take(document: JSON, old: JSON | None = None) -> JSON:
    return judge(document, old).document


def refuse(document: JSON, old: JSON | None = None) -> list[str]:
    """Return the errors, each as people read it."""
    with pytest.raises(ApiError) as refusal:
        take(document, old)
    error = refusal.value
    assert (error.code, error.reason) == (422, "Invalid")
    assert {cause.stage for cause in error.causes} == {"schema"}
    return [str(cause) for cause in error.causes]


# Who they are


def test_they_are_ours_and_the_rest_of_their_group_is_not() -> None:
    for kind in OBJECT_KINDS:
        assert not is_foreign(build(kind), CRDS)
        assert identify(build(kind), CRDS, "team") == ObjectKey(kind, "team", "a")
    for document in (
        build("Service"),
        build("Pod"),
        build("ConfigMapList"),
        {**build("Job"), "apiVersion": "batch/v1"},
    ):
        assert is_foreign(document, CRDS)


@pytest.mark.parametrize("version", ["v2", "core/v1", "apps/v1"])
def test_a_slip_in_the_version_is_no_other_kind(version: str) -> None:
    with pytest.raises(ApiError, match="Secret \\(v1\\)"):
        take({**build("Secret"), "apiVersion": version})


def test_their_definitions_are_like_the_others() -> None:
    for crd in CORE_KINDS:
        check_crd(crd)
        assert (crd.api_version, crd.group_kind, crd.is_namespaced) == ("v1", crd.kind, True)
        assert find_crd(CRDS, "v1", crd.kind) is crd


def test_an_error_names_the_kind_as_the_api_server_does() -> None:
    with pytest.raises(ApiError) as refusal:
        take(build("ConfigMap", datta={}))
    assert str(refusal.value) == 'ConfigMap "a" is invalid: datta: Unknown field: did you mean "data"?'


# What is stored

STORED = {
    "a ConfigMap": (
        build("ConfigMap", data={"a.yaml": "x: 1\n", "none": None}, binaryData={"b": "Yg=="}),
        {"data": {"a.yaml": "x: 1\n", "none": ""}, "binaryData": {"b": "Yg=="}},
    ),
    "an empty ConfigMap": (build("ConfigMap", data=None), {}),
    "base64 with line ends": (
        build("ConfigMap", binaryData={"b": "YWJj\r\nZGVm\n"}),
        {"binaryData": {"b": encode("abcdef")}},
    ),
    "base64 with bits too many": (build("Secret", data={"a": "YR=="}), {"type": "Opaque", "data": {"a": "YQ=="}}),
    "an empty Secret": (build("Secret"), {"type": "Opaque"}),
    "text of a Secret": (
        build("Secret", stringData={"a": "new", "c": None}, data={"a": encode("old"), "b": encode("kept")}),
        {"type": "Opaque", "data": {"a": encode("new"), "b": encode("kept"), "c": ""}},
    ),
    "a type of one's own": (build("Secret", type="acme.io/x"), {"type": "acme.io/x"}),
    "no type": (build("Secret", type=""), {"type": "Opaque"}),
    "a claim": (
        build_claim(storageClassName="fast", volumeAttributesClassName="gold"),
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "fast",
                "volumeAttributesClassName": "gold",
                "volumeMode": "Filesystem",
            }
        },
    ),
}


@pytest.mark.parametrize(("document", "stored"), STORED.values(), ids=STORED)
def test_what_is_stored(document: JSON, stored: JSON) -> None:
    head = {"apiVersion": "v1", "kind": document["kind"], "metadata": {"name": "a", "namespace": "default"}}
    admitted = judge(document)
    assert admitted.document == {**head, **stored}
    assert admitted.warnings == ()
    assert take(admitted.document) == admitted.document, "what is stored can be stored again"


def test_unknown_fields_are_dropped_where_that_is_wished() -> None:
    document = build("Secret", stringdata={"a": "hunter2"})
    assert judge(document, validation="warn").warnings == ('unknown field "stringdata"',)
    assert judge(document, validation="ignore").document == take(build("Secret"))


# What is refused

REFUSED: dict[str, tuple[JSON, list[str]]] = {
    "a number": (
        build("ConfigMap", data={"port": 8080}),
        ['data.port: Invalid value: 8080: data.port in body must be of type string: "integer"'],
    ),
    "a key with a space": (
        build("ConfigMap", data={"a b": ""}),
        [f'data[a b]: Invalid value: "a b": {KEY_PROBLEM}'],
    ),
    "keys that are directories": (
        build("ConfigMap", data={".": "", "...": ""}, binaryData={"..": ""}),
        [
            "data[.]: Invalid value: \".\": must not be '.'",
            "data[...]: Invalid value: \"...\": must not start with '..'",
            "binaryData[..]: Invalid value: \"..\": must not be '..'",
        ],
    ),
    "a key twice": (
        build("ConfigMap", data={"a": ""}, binaryData={"a": ""}),
        ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
    ),
    "no base64": (
        build("ConfigMap", binaryData={"a": "x!"}),
        [f'binaryData[a]: Invalid value: "x!": {NO_BASE64} data'],
    ),
    "a Secret's number": (
        build("Secret", stringData={"pin": 1234}),
        [f'stringData.pin: Invalid value: {HIDDEN}: stringData.pin in body must be of type string: "integer"'],
    ),
    "a Secret that is a text": (
        build("Secret", stringData="hunter2"),
        [f'stringData: Invalid value: {HIDDEN}: stringData in body must be of type object: "string"'],
    ),
    "no base64 in a Secret": (
        build("Secret", data={"a": "hunter2"}),
        [f"data[a]: Invalid value: {HIDDEN}: {NO_BASE64} stringData"],
    ),
    "a Secret's keys": (
        build("Secret", data={"a/b": ""}, stringData={"c d": ""}),
        [
            f'data[a/b]: Invalid value: "a/b": {KEY_PROBLEM}',
            f'stringData[c d]: Invalid value: "c d": {KEY_PROBLEM}',
        ],
    ),
    "a login without anything": (
        build("Secret", type="kubernetes.io/basic-auth", stringData={"user": "me"}),
        ["data[username]: Required value", "data[password]: Required value"],
    ),
    "an empty SSH key": (
        build("Secret", type="kubernetes.io/ssh-auth", stringData={"ssh-privatekey": ""}),
        ["stringData[ssh-privatekey]: Required value"],
    ),
    "a certificate without its key": (
        build("Secret", type="kubernetes.io/tls", stringData={"tls.crt": "x"}),
        ["data[tls.key]: Required value"],
    ),
    "no login file": (
        build("Secret", type="kubernetes.io/dockerconfigjson"),
        ["data[.dockerconfigjson]: Required value"],
    ),
    "a login file that is none": (
        build("Secret", type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": "hunter2"}),
        [f"stringData[.dockerconfigjson]: Invalid value: {HIDDEN}: must be a JSON object"],
    ),
    "an old login file that is a list": (
        build("Secret", type="kubernetes.io/dockercfg", data={".dockercfg": encode("[]")}),
        [f"data[.dockercfg]: Invalid value: {HIDDEN}: must be a JSON object"],
    ),
    "a token of nobody": (
        build("Secret", type="kubernetes.io/service-account-token"),
        ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
    ),
    "a claim of nothing": (
        build("PersistentVolumeClaim"),
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ],
    ),
    "an access mode that is none": (
        build_claim(accessModes=["ReadWriteSometimes"]),
        [
            'spec.accessModes: Unsupported value: "ReadWriteSometimes": supported values: "ReadOnlyMany", '
            '"ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'
        ],
    ),
    "one pod and others": (
        build_claim(accessModes=["ReadWriteOncePod", "ReadOnlyMany"]),
        ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
    ),
    "no size": (
        build_claim(resources={"requests": {"storage": "0"}}),
        ['spec.resources[storage]: Invalid value: "0": must be greater than zero'],
    ),
    "a size that is none": (
        build_claim(resources={"requests": {"storage": "1 GB"}}),
        [
            'spec.resources.requests[storage]: Invalid value: "1 GB": quantities must match the regular expression '
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ],
    ),
    "a volume mode that is none": (
        build_claim(volumeMode="Disk"),
        ['spec.volumeMode: Unsupported value: "Disk": supported values: "Block", "Filesystem"'],
    ),
}


@pytest.mark.parametrize(("document", "errors"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(document: JSON, errors: list[str]) -> None:
    assert refuse(document) == errors


def test_names_are_judged_as_everywhere() -> None:
    [error] = refuse({**build("Secret"), "metadata": {"name": "A_b"}})
    assert error.startswith('metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must')
    [error] = refuse(build_claim(storageClassName="Fast"))
    assert error.startswith('spec.storageClassName: Invalid value: "Fast": a lowercase RFC 1123 subdomain must')


@pytest.mark.parametrize("length", [253, 254])
def test_how_long_a_key_may_be(length: int) -> None:
    document = build("ConfigMap", data={"k" * length: ""})
    if length == 253:
        take(document)
    else:
        assert refuse(document)[0].endswith(": must be no more than 253 characters")


FULL = 1 << 20
SIZES = {
    "text": (
        build("ConfigMap", data={"a": "é" * (FULL // 2)}),
        build("ConfigMap", data={"a": "é" * (FULL // 2) + "x"}),
    ),
    "both": (
        build("ConfigMap", data={"a": "x" * (FULL - 3)}, binaryData={"b": encode("abc")}),
        build("ConfigMap", data={"a": "x" * (FULL - 3)}, binaryData={"b": encode("abcd")}),
    ),
    "a Secret": (
        build("Secret", stringData={"a": "x" * (FULL - 3)}, data={"a": encode("unseen"), "b": encode("abc")}),
        build("Secret", stringData={"a": "x" * (FULL - 3)}, data={"b": encode("abcd")}),
    ),
}


@pytest.mark.parametrize(("fits", "large"), SIZES.values(), ids=SIZES)
def test_how_much_an_object_may_hold(fits: JSON, large: JSON) -> None:
    take(fits)
    [error] = refuse(large)
    assert error.endswith("may not be more than 1048576 bytes")


GOOD_TYPES = {
    "kubernetes.io/basic-auth": {"password": ""},
    "kubernetes.io/ssh-auth": {"ssh-privatekey": "k"},
    "kubernetes.io/tls": {"tls.crt": "", "tls.key": ""},
    "kubernetes.io/dockercfg": {".dockercfg": "{}"},
    "kubernetes.io/dockerconfigjson": {".dockerconfigjson": '{"auths": {}}'},
    "bootstrap.kubernetes.io/token": {},
}


@pytest.mark.parametrize(("type", "texts"), GOOD_TYPES.items(), ids=GOOD_TYPES)
def test_types_with_all_that_they_need(type: str, texts: dict[str, str]) -> None:
    assert take(build("Secret", type=type, stringData=texts))["type"] == type
    assert take(build("Secret", type=type, data={key: encode(text) for key, text in texts.items()}))["type"] == type


def test_the_token_of_an_account() -> None:
    metadata = {"name": "a", "annotations": {"kubernetes.io/service-account.name": "default"}}
    take({**build("Secret", type="kubernetes.io/service-account-token"), "metadata": metadata})


# Changes

CHANGES: dict[str, tuple[JSON, JSON, list[str]]] = {
    "data": (build("ConfigMap", data={"a": "1"}), build("ConfigMap", binaryData={"a": "Yg=="}), []),
    "frozen and the same": (
        build("ConfigMap", data={"a": "1"}, immutable=True),
        build("ConfigMap", data={"a": "1"}, immutable=True, binaryData={}),
        [],
    ),
    "frozen and thawed": (
        build("ConfigMap", data={"a": "1"}, immutable=True),
        build("ConfigMap", data={"a": "1"}),
        [f"immutable: {FROZEN}"],
    ),
    "frozen and other": (
        build("ConfigMap", data={"a": "1"}, immutable=True),
        build("ConfigMap", data={"a": "2"}, binaryData={"b": ""}, immutable=True),
        [f"data: {FROZEN}", f"binaryData: {FROZEN}"],
    ),
    "made frozen": (build("Secret", stringData={"a": "1"}), build("Secret", stringData={"a": "2"}, immutable=True), []),
    "a frozen Secret said otherwise": (
        build("Secret", stringData={"a": "1"}, immutable=True),
        build("Secret", data={"a": encode("1")}, immutable=True),
        [],
    ),
    "a frozen Secret": (
        build("Secret", stringData={"a": "1"}, immutable=True),
        build("Secret", stringData={"a": "2"}, immutable=True),
        [f"data: {FROZEN}"],
    ),
    "another type": (
        build("Secret", type="acme.io/a"),
        build("Secret"),
        ['type: Invalid value: "Opaque": field is immutable'],
    ),
    "a larger claim": (build_claim(), build_claim(resources={"requests": {"storage": "1.5Gi"}}), []),
    "a claim said otherwise": (build_claim(), build_claim(resources={"requests": {"storage": "1024Mi"}}), []),
    "a smaller claim": (
        build_claim(),
        build_claim(resources={"requests": {"storage": "1023Mi"}}),
        ["spec.resources.requests.storage: Forbidden: field can not be less than previous value"],
    ),
    "a claim of another class": (
        build_claim(),
        build_claim(storageClassName="fast"),
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
            "for bound claims"
        ],
    ),
    "a claim that gets its volume": (build_claim(), build_claim(volumeName="v", volumeAttributesClassName="x"), []),
    "a claim that gets another volume": (
        build_claim(volumeName="v"),
        build_claim(volumeName="w"),
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
            "for bound claims"
        ],
    ),
}


@pytest.mark.parametrize(("old", "new", "errors"), CHANGES.values(), ids=CHANGES)
def test_what_may_change(old: JSON, new: JSON, errors: list[str]) -> None:
    stored = take(old)
    if not errors:
        take(new, stored)
        return
    assert refuse(new, stored) == errors
    with pytest.raises(ApiError, match=REPLACE):
        take(new, stored)
    again = {**new, "metadata": {"name": "a", "annotations": {REPLACE: "2"}}}
    assert judge(again, stored).replaces, "a new value of the annotation makes it a new object"


WITHOUT_EFFECT = {
    "dataSource": ({"kind": "VolumeSnapshot", "name": "s"}, "spec.dataSource has no effect: the volume begins empty"),
    "selector": (
        {"matchLabels": {"a": "b"}},
        "spec.selector has no effect: the claim has a volume of the engine of its own",
    ),
    "volumeMode": ("Block", "spec.volumeMode Block has no effect: the volume is a directory"),
}


@pytest.mark.parametrize(("field", "value", "warning"), [(k, *v) for k, v in WITHOUT_EFFECT.items()])
def test_what_no_volume_of_an_engine_has_is_told(field: str, value: Any, warning: str) -> None:
    assert judge(build_claim(**{field: value})).warnings == (warning,)


# Secrets stay secret


def test_what_prints_a_stored_secret_prints_no_value() -> None:
    admitted = judge(build("Secret", stringData={"token": "hunter2"}))
    for text in (repr(admitted), repr(admitted.document), str(admitted.document), f"{admitted.document['data']}"):
        assert "hunter2" not in text
        assert encode("hunter2") not in text
    assert json.loads(json.dumps(admitted.document))["data"] == {"token": encode("hunter2")}


#: No text of the program's own has this in it.
MARK = "Zq9"
VALUES = st.text("ab=!\n", max_size=4).map(lambda text: f"{MARK}{text}") | st.integers(10**9, 10**10).map(str)
LEAVES = (
    VALUES | st.lists(VALUES, max_size=2) | VALUES.filter(str.isdigit).map(int) | st.dictionaries(st.just("k"), VALUES)
)
ENTRIES = LEAVES | st.dictionaries(st.sampled_from(["a", ".dockerconfigjson", "tls.key", "x y"]), LEAVES, max_size=3)


@given(
    data=ENTRIES,
    texts=ENTRIES,
    immutable=LEAVES | st.none(),
    annotations=st.none() | LEAVES | st.dictionaries(st.just("b"), LEAVES),
    type=st.sampled_from(["Opaque", "kubernetes.io/tls", "kubernetes.io/dockerconfigjson"]),
)
def test_no_error_about_a_secret_holds_a_part_of_its_values(
    data: Any, texts: Any, immutable: Any, annotations: Any, type: str
) -> None:
    document = build("Secret", data=data, stringData=texts, immutable=immutable, type=type)
    document["metadata"] = {"name": "a", "annotations": annotations}
    try:
        told = repr(judge(document))
    except ApiError as error:
        told = f"{error} {error.causes!r}"
    assert MARK not in told
    assert not re.search(r"\d{10}", told)
