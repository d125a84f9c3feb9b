"""What is skimmed from a status document is what the parser reads, or it is left to the parser."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.documents.parse import parse_documents
from trainlet.documents.skim import Unclear, skim
from trainlet.documents.write import dump_documents
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON

METADATA = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "resourceVersion")
#: All that is skimmed, by its path.
JOB_FIELDS = (
    *(("metadata", key) for key in METADATA),
    ("spec", "trainer", "numNodes"),
    ("status", "trainerStatus", "progressPercentage"),
    ("status", "trainerStatus", "estimatedRemainingSeconds"),
)
REPORT_FIELDS = (
    *(("metadata", key) for key in METADATA),
    ("status", "phase"),
    ("status", "restarts"),
    *(("status", "source", key) for key in ("file", "document", "digest")),
)


def build_documents(**changes: Any) -> list[JSON]:
    """Return the two documents of a job; keywords are for the report's status."""
    metadata = {"name": "mnist", "namespace": "default", "resourceVersion": "12"}
    condition = {
        "type": "Complete",
        "status": "True",
        "reason": "Done",
        "message": "all: done",
        "lastTransitionTime": "x",
    }
    job = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {**metadata, "uid": "0f6adf0d-e405-44df-9eef-b94f34c682e7", "labels": {"name": "another"}},
        "spec": {"runtimeRef": {"name": "torch"}, "trainer": {"env": [{"name": "numNodes"}], "numNodes": 4}},
        "status": {"conditions": [condition], "trainerStatus": {"progressPercentage": 45}},
    }
    status = {
        "phase": "Running",
        "conditions": [{**condition, "type": "Running"}],
        "restarts": 2,
        "nodes": [
            {"name": "node-0", "state": "running", "containers": [{"name": "side", "state": "waiting"}]},
            {"name": "node-1", "state": "succeeded", "message": "state: none\n    state: bad\n  - x\nphase: Bad\n"},
        ],
        "source": {"file": "/jobs/mnist.yaml", "document": 0, "digest": "sha256:0a1b"},
    }
    report = {"apiVersion": "trainlet.dev/v1alpha1", "kind": "TrainJobReport", "metadata": metadata}
    return [job, {**report, "status": {**status, **changes}}]


def assert_same(documents: list[JSON], skimmed: list[JSON]) -> None:
    """Check that all that is skimmed is so, and that nothing of it is missing."""
    for document, brief, fields in zip(documents, skimmed, (JOB_FIELDS, REPORT_FIELDS), strict=True):
        assert brief["kind"] == document["kind"]
        for path in fields:
            assert find(brief, *path) == find(document, *path), path
        told = find(document, "status", "conditions") or []
        assert brief["status"]["conditions"] == [{k: c[k] for k in ("type", "status", "reason")} for c in told]
    nodes = find(documents[1], "status", "nodes") or []
    assert skimmed[1]["status"]["nodes"] == [{"state": node["state"]} for node in nodes]


def test_the_fields_of_a_list_are_skimmed() -> None:
    documents = build_documents()
    assert_same(documents, skim(dump_documents(documents)))


@pytest.mark.parametrize(
    "changes",
    [
        {"nodes": [], "conditions": []},
        {"phase": "Complete", "restarts": 0},
        {"source": {"file": "/jobs/a b.yaml", "document": 0}},
        {"source": {"file": "/jobs/" + "very-long-name-" * 20, "document": 12}},
        {"source": {"file": "/jobs/'quoted'.yaml", "document": 0}},
        {"phase": "yes"},
        {"phase": "12"},
        {"phase": "a\nb: c"},
        {"phase": ""},
        {"phase": None},
        {"restarts": 1.5},
        {"nodes": [{"name": "a"}, {"name": "b", "state": "running"}]},
        {"nodes": [{"name": "a", "state": "yes"}]},
        {"conditions": [{"status": "True", "type": "A", "reason": "B"}]},
        {"workspace": "text\n\nphase: Bad\n  phase: Worse\n---\nkind: None\n"},
    ],
)
def test_what_is_skimmed_is_what_is_parsed(changes: JSON) -> None:
    documents = build_documents(**changes)
    try:
        skimmed = skim(dump_documents(documents))
    except Unclear:
        return
    assert_same(documents, skimmed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "kind: TrainJob\napiVersion: v1\nmetadata:\n  name: a\n",
        "apiVersion: v1\nkind: TrainJob\nmetadata: {name: a}\n",
        'apiVersion: v1\nkind: TrainJob\nmetadata:\n  name: "a"\n',
        "apiVersion: v1\nkind: TrainJob\nmetadata:\n  name: a # b\n",
        "apiVersion: v1\nkind: TrainJob\nmetadata:\n  name: &a b\n",
        "apiVersion: v1\nkind: TrainJob\nmetadata:\n  name: |\n    a\n",
        "apiVersion: v1\nkind: TrainJob\nmetadata:\n  name: 012\n",
    ],
)
def test_what_somebody_wrote_otherwise_is_left_to_the_parser(text: str) -> None:
    with pytest.raises(Unclear):
        skim(text)


TEXTS = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], whitelist_characters="\n"), max_size=40
) | st.sampled_from(
    ["yes", "0", "1e5", "0x1f", "~", "Running", "a: b", "  phase: Bad\n", "---\n", "- a", "/a/b", "'", '"', "12:30:45"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from(["Running", "waiting", "succeeded", "True", "False", "None", "n"])


@given(
    phase=TEXTS,
    restarts=st.integers(0, 99),
    file=TEXTS,
    states=st.lists(WORDS, max_size=3),
    other=st.dictionaries(st.sampled_from(["workspace", "engine", "rootCause", "warnings"]), VALUES),
)
def test_nothing_that_a_document_holds_is_taken_for_something_else(
    phase: str, restarts: int, file: str, states: list[str], other: JSON
) -> None:
    nodes = [{"name": "node", "state": state, "message": phase} for state in states]
    source = {"file": file, "document": restarts}
    documents = build_documents(**{**other, "phase": phase, "restarts": restarts, "nodes": nodes, "source": source})
    text = dump_documents(documents)
    assert [document.value for document in parse_documents(text.encode())] == documents
    try:
        skimmed = skim(text)
    except Unclear:
        return
    assert_same(documents, skimmed)
