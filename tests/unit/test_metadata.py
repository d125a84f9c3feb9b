"""Names, namespaces, labels and annotations as the API server judges them."""

from typing import Any

import pytest

from trainlet.admission import metadata as rules
from trainlet.admission.crd import parse_crd
from trainlet.admission.metadata import validate_metadata
from trainlet.package_data import read_crds

CRDS = {crd.kind: crd for crd in map(parse_crd, read_crds())}


def judge(kind: str = "TrainJob", **metadata: Any) -> list[tuple[str, str, str]]:
    errors = validate_metadata({"metadata": metadata}, CRDS[kind])
    assert all(error.stage == "schema" for error in errors)
    return [(error.path, error.type, error.detail) for error in errors]


@pytest.mark.parametrize("name", ["a", "a-1", "mnist.v2", "1st", "a" * 253])
def test_valid_names(name: str) -> None:
    assert judge(name=name) == []


@pytest.mark.parametrize("name", ["Mnist", "-a", "a-", "a_b", "a..b", ".a", "a\n", "ä"])
def test_a_name_is_a_dns_subdomain(name: str) -> None:
    assert judge(name=name) == [("metadata.name", "Invalid value", rules.SUBDOMAIN_PROBLEM)]


def test_a_name_has_an_end() -> None:
    problem = "must be no more than 253 characters"
    assert judge(name="a" * 254) == [("metadata.name", "Invalid value", problem)]


@pytest.mark.parametrize("document", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"name": ""}}])
def test_a_name_is_required(document: dict[str, Any]) -> None:
    [error] = validate_metadata(document, CRDS["TrainJob"])
    assert str(error) == "metadata.name: Required value: name or generateName is required"


def test_a_generated_name_is_refused_with_its_reason() -> None:
    [(path, kind, detail)] = judge(generateName="run-")
    assert (path, kind) == ("metadata.name", "Required value")
    assert "generateName would name a new object" in detail


def test_the_wrong_type_is_left_to_the_schema() -> None:
    assert judge(name=7, namespace=[], labels="x", annotations={"a": 1}) == []
    [error] = validate_metadata({"metadata": "x"}, CRDS["TrainJob"])
    assert error.type == "Required value"


@pytest.mark.parametrize(
    ("namespace", "problem"),
    [
        ("team.a", rules.LABEL_PROBLEM),
        ("Team", rules.LABEL_PROBLEM),
        ("a" * 64, "must be no more than 63 characters"),
    ],
)
def test_a_namespace_is_a_dns_label(namespace: str, problem: str) -> None:
    assert judge(name="a", namespace=namespace) == [("metadata.namespace", "Invalid value", problem)]


@pytest.mark.parametrize("metadata", [{}, {"namespace": ""}, {"namespace": "team-a"}])
def test_a_namespace_may_be_absent(metadata: dict[str, Any]) -> None:
    assert judge(name="a", **metadata) == []


def test_a_cluster_wide_kind_has_no_namespace() -> None:
    errors = judge("ClusterTrainingRuntime", name="a", namespace="team-a")
    assert errors == [("metadata.namespace", "Forbidden", "not allowed on this type")]


@pytest.mark.parametrize("key", ["app", "app.kubernetes.io/name", "A_b.c-d", "x" * 63, f"{'x' * 253}/y"])
def test_valid_label_keys(key: str) -> None:
    assert judge(name="a", labels={key: "v"}, annotations={key: "v"}) == []


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "name part must be non-empty"),
        ("example.com/", "name part must be non-empty"),
        ("/name", "prefix part must be non-empty"),
        ("a b", rules.NAME_PART_PROBLEM),
        ("x" * 64, "name part must be no more than 63 characters"),
        ("a_b/name", f"prefix part {rules.SUBDOMAIN_PROBLEM}"),
        (f"{'x' * 254}/name", "prefix part must be no more than 253 characters"),
        ("a/b/c", rules.KEY_PROBLEM),
    ],
)
def test_label_and_annotation_keys_are_qualified_names(key: str, problem: str) -> None:
    assert judge(name="a", labels={key: "v"}) == [("metadata.labels", "Invalid value", problem)]
    assert judge(name="a", annotations={key: "v"}) == [("metadata.annotations", "Invalid value", problem)]


def test_only_annotations_ignore_the_case_of_a_prefix() -> None:
    assert judge(name="a", annotations={"Example.com/x": "v"}) == []
    assert judge(name="a", labels={"Example.com/x": "v"}) != []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a b", rules.LABEL_VALUE_PROBLEM),
        ("-a", rules.LABEL_VALUE_PROBLEM),
        ("x" * 64, "must be no more than 63 characters"),
    ],
)
def test_label_values_are_short_words(value: str, problem: str) -> None:
    assert judge(name="a", labels={"k": value}) == [("metadata.labels", "Invalid value", problem)]


def test_annotation_values_are_free_up_to_a_size() -> None:
    assert judge(name="a", annotations={"k": "any thing\n" * 100, "empty": ""}) == []
    errors = judge(name="a", annotations={"k": "é" * (128 * 1024)})
    assert errors == [("metadata.annotations", "Too long", "may not be more than 262144 bytes")]


def test_the_texts_are_those_of_the_api_server() -> None:
    assert rules.LABEL_PROBLEM == (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
        "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )
    assert rules.SUBDOMAIN_PROBLEM.endswith(
        r"(e.g. 'example.com', regex used for validation is "
        r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )
