"""Judges the metadata of any object: name, namespace, labels and annotations, as the API server does.

The rules are those of apimachinery's pkg/api/validation (ValidateObjectMeta) and pkg/util/validation. What a
kind adds for its own names stands in its definition and is judged in rules.py; unknown fields and wrong types
are found by schema.py and passed over here.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from trainlet.admission.crd import Crd
from trainlet.admission.limits import list_first
from trainlet.kube.errors import FieldError

MOST_ANNOTATION_BYTES = 256 * 1024
MOST_NAME_LENGTH, MOST_LABEL_LENGTH = 253, 63

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_KIND = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME_PART = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_NAME_PART})?"


def explain_pattern(rule: str, pattern: str, *examples: str) -> str:
    """Say what a text must be, as validation.RegexError does."""
    choices = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {choices}regex used for validation is '{pattern}')"


_STARTS_AND_ENDS = "must start and end with an alphanumeric character"
_NAME_CHARACTERS = f"must consist of alphanumeric characters, '-', '_' or '.', and {_STARTS_AND_ENDS}"
_NAME_EXPLAINED = explain_pattern(_NAME_CHARACTERS, _NAME_PART, "MyName", "my.name", "123-abc")

SUBDOMAIN_PROBLEM = explain_pattern(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    + _STARTS_AND_ENDS,
    _SUBDOMAIN,
    "example.com",
)
LABEL_PROBLEM = explain_pattern(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and " + _STARTS_AND_ENDS,
    _LABEL,
    "my-name",
    "123-abc",
)
LABEL_VALUE_PROBLEM = explain_pattern(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
    + _STARTS_AND_ENDS,
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
KIND_PROBLEM = "may have mixed case, but should otherwise match: " + explain_pattern(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _KIND,
    "my-name",
    "abc-123",
)
NAME_PART_PROBLEM = f"name part {_NAME_EXPLAINED}"
_KEY_ENDING = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
KEY_PROBLEM = f"a qualified name {_NAME_EXPLAINED} {_KEY_ENDING}"


def validate_metadata(document: dict[str, Any], crd: Crd) -> list[FieldError]:
    """Find everything the API server refuses in an object's metadata.

    An absent namespace is no error: whoever takes the object in knows the default one.
    """
    given = document.get("metadata")
    metadata = given if isinstance(given, dict) else {}
    errors = chain(
        _find_name_errors(metadata),
        _find_namespace_errors(metadata, crd),
        _find_label_errors(_get_strings(metadata, "labels")),
        _find_annotation_errors(_get_strings(metadata, "annotations")),
    )
    return list_first(errors)


def validate_embedded(resource: dict[str, Any]) -> list[FieldError]:
    """Find everything the API server refuses in the names of an object that is a field of another one."""
    given = resource.get("metadata")
    metadata = given if isinstance(given, dict) else {}
    errors = chain(
        _find_type_errors(resource),
        _find_path_errors(metadata.get("name")),
        _find_label_errors(_get_strings(metadata, "labels")),
        _find_annotation_errors(_get_strings(metadata, "annotations")),
    )
    return list_first(errors)


def _find_type_errors(resource: dict[str, Any]) -> Iterator[FieldError]:
    for path, find_problem in (("apiVersion", _find_version_problem), ("kind", _find_kind_problem)):
        value = resource.get(path)
        if path not in resource:
            yield FieldError(path, "Required value", "must not be empty")
        elif not isinstance(value, str):
            yield _invalid(path, value, "must be a string")
        elif problem := find_problem(value) if value else "must not be empty":
            yield _invalid(path, value, problem)


def _find_version_problem(version: str) -> str:
    return f"unexpected GroupVersion string: {version}" if version.count("/") > 1 else ""


def _find_kind_problem(kind: str) -> str:
    is_label = re.fullmatch(_KIND, kind.lower()) and len(kind) <= MOST_LABEL_LENGTH
    return "" if is_label else KIND_PROBLEM


def _find_path_errors(name: Any) -> Iterator[FieldError]:
    """Find what keeps a name from being a part of a URL, which is all that is asked of an embedded one."""
    if not isinstance(name, str):
        return
    if name in (".", ".."):
        yield _invalid("metadata.name", name, f"may not be '{name}'")
    yield from (_invalid("metadata.name", name, f"may not contain '{part}'") for part in "/%" if part in name)


def _get_strings(metadata: dict[str, Any], name: str) -> dict[str, str]:
    values = metadata.get(name)
    if not isinstance(values, dict):
        return {}
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _find_name_errors(metadata: dict[str, Any]) -> Iterator[FieldError]:
    name = metadata.get("name") or ""
    if not isinstance(name, str):
        return
    if not name:
        detail = "name or generateName is required"
        if metadata.get("generateName"):
            detail = "generateName would name a new object at every reading, give a name instead"
        yield FieldError("metadata.name", "Required value", detail)
    elif len(name) > MOST_NAME_LENGTH:
        yield _invalid("metadata.name", name, f"must be no more than {MOST_NAME_LENGTH} characters")
    elif not re.fullmatch(_SUBDOMAIN, name):
        yield _invalid("metadata.name", name, SUBDOMAIN_PROBLEM)


def _find_namespace_errors(metadata: dict[str, Any], crd: Crd) -> Iterator[FieldError]:
    namespace, path = metadata.get("namespace"), "metadata.namespace"
    if not namespace or not isinstance(namespace, str):
        return
    if not crd.is_namespaced:
        yield FieldError(path, "Forbidden", "not allowed on this type")
    elif len(namespace) > MOST_LABEL_LENGTH:
        yield _invalid(path, namespace, f"must be no more than {MOST_LABEL_LENGTH} characters")
    elif not re.fullmatch(_LABEL, namespace):
        yield _invalid(path, namespace, LABEL_PROBLEM)


def _find_label_errors(labels: dict[str, str]) -> Iterator[FieldError]:
    for key, value in labels.items():
        yield from (_invalid("metadata.labels", key, problem) for problem in _find_key_problems(key))
        if len(value) > MOST_LABEL_LENGTH:
            problem = f"must be no more than {MOST_LABEL_LENGTH} characters"
            yield _invalid("metadata.labels", value, problem)
        elif not re.fullmatch(_LABEL_VALUE, value):
            yield _invalid("metadata.labels", value, LABEL_VALUE_PROBLEM)


def _find_annotation_errors(annotations: dict[str, str]) -> Iterator[FieldError]:
    path = "metadata.annotations"
    for key in annotations:
        # The API server compares annotation keys without regard to case.
        yield from (_invalid(path, key, problem) for problem in _find_key_problems(key.lower()))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > MOST_ANNOTATION_BYTES:
        detail = f"may not be more than {MOST_ANNOTATION_BYTES} bytes"
        yield FieldError(path, "Too long", detail)


def _find_key_problems(key: str) -> Iterator[str]:
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        yield KEY_PROBLEM
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash and len(prefix) > MOST_NAME_LENGTH:
        yield f"prefix part must be no more than {MOST_NAME_LENGTH} characters"
    elif slash and not re.fullmatch(_SUBDOMAIN, prefix):
        yield f"prefix part {SUBDOMAIN_PROBLEM}"
    if not name:
        yield "name part must be non-empty"
    elif len(name) > MOST_LABEL_LENGTH:
        yield f"name part must be no more than {MOST_LABEL_LENGTH} characters"
    if name and not re.fullmatch(_NAME_PART, name):
        yield NAME_PART_PROBLEM


def _invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, "Invalid value", detail, value)
