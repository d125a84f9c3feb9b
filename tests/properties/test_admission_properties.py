"""Whatever a manifest holds, admission answers: an object as a cluster would store it, or a refusal that says why."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_job, build_runtime
from trainlet.admission.admit import Admitted, Rules, admit
from trainlet.apis.trainer import CLUSTER_TRAINING_RUNTIME
from trainlet.kube.errors import ApiError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.loading import build_rules
from trainlet.settings import Settings
from upstream_crds import write_upstream_crds

RULES = build_rules(Settings())
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNTIMES = {ObjectKey(CLUSTER_TRAINING_RUNTIME, "", "torch-distributed"): build_runtime()}
JOB = {
    **build_job(
        trainer={
            "numNodes": 2,
            "numProcPerNode": 1,
            "image": "i",
            "command": ["a"],
            "env": [{"name": "A", "value": "1"}],
            "resourcesPerNode": {"limits": {"cpu": "1"}},
        },
        suspend=False,
        activeDeadlineSeconds=5,
    ),
    "metadata": {"name": "mnist", "labels": {"a": "b"}},
}
RUNTIME = build_runtime(
    pod={"nodeSelector": {"a": "b"}, "volumes": [{"name": "v", "emptyDir": {}}]}, job={"backoffLimit": 3}
)
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def list_paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for key, item in items for below in list_paths(item, (*path, key)))]


def replace_at(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """Return the document with something else at one place."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replace_at(value[path[0]], path[1:], new)
    return copy


def judge(document: JSON, old: JSON | None = None, rules: Rules = RULES) -> Admitted | ApiError:
    try:
        return admit(document, old, rules, RUNTIMES.get, NOW)
    except ApiError as refusal:
        return refusal


@st.composite
def odd_documents(draw: st.DrawFn) -> JSON:
    """A job or a runtime with something odd at up to two places."""
    document = draw(st.sampled_from([JOB, RUNTIME]))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from([path for path in list_paths(document) if path]))
        document = replace_at(document, path, draw(ODD))
    return document


@given(odd_documents())
def test_whatever_stands_somewhere_it_is_judged(document: JSON) -> None:
    verdict = judge(document)
    if isinstance(verdict, ApiError):
        assert str(verdict)
        assert verdict.causes


@given(odd_documents())
def test_what_is_stored_is_admitted_again_and_changes_nothing(document: JSON) -> None:
    verdict = judge(document)
    if isinstance(verdict, Admitted):
        again = judge(verdict.document, verdict.document)
        assert isinstance(again, Admitted)
        assert again.document == verdict.document


@given(odd_documents())
def test_any_update_of_a_job_is_judged(document: JSON) -> None:
    stored = judge(JOB)
    assert isinstance(stored, Admitted)
    judge(document, stored.document)


@pytest.fixture(scope="module")
def upstream_rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """Return the rules of definitions in the shape of upstream's own files, as --crds takes them."""
    return build_rules(Settings(crds=write_upstream_crds(tmp_path_factory.mktemp("crds"))))


def tell(verdict: Admitted | ApiError) -> object:
    """Return all that is seen of a verdict."""
    return (str(verdict), verdict.code, verdict.causes) if isinstance(verdict, ApiError) else verdict


@given(document=odd_documents(), is_update=st.booleans())
def test_definitions_in_upstream_s_shape_give_the_same_verdicts(
    upstream_rules: Rules, document: JSON, is_update: bool
) -> None:
    stored = judge(RUNTIME if document.get("kind") == RUNTIME["kind"] else JOB)
    assert isinstance(stored, Admitted)
    old = stored.document if is_update else None
    assert tell(judge(document, old, upstream_rules)) == tell(judge(document, old))
