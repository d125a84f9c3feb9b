"""Any sequence of writes: the files say all that people would, and a new operator finds the same objects."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk
from trainlet.kube.kept import LAST_APPLIED, strip
from trainlet.kube.meta import JSON
from trainlet.server.api.types import PatchType

MANIFEST = """\
# My job.
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata:
  name: mnist  # as the data set
spec:
  # Which runtime.
  runtimeRef:
    name: torch-distributed
  trainer:
    numNodes: 2  # two are enough
"""
COMMENTS = [line.strip() for line in MANIFEST.splitlines() if "#" in line]
FILE = "mnist.yaml"

TEXTS = st.sampled_from(["a", "b", "on", "1", "x-y"])
NOTES = st.sampled_from(["mine", "a.io/b", LAST_APPLIED, "kopf.dev/progress"])
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.sampled_from(["team", "a.io/tier"]), st.none() | TEXTS, max_size=2),
        "annotations": st.dictionaries(NOTES, st.none() | TEXTS, max_size=3),
        "finalizers": st.lists(st.sampled_from(["a.io/b", "a.io/c"]), unique=True, max_size=2),
    },
)
PATCHES = st.fixed_dictionaries(
    {}, optional={"metadata": METADATA, "spec": st.fixed_dictionaries({"suspend": st.none() | st.booleans()})}
)
STEPS = st.lists(st.tuples(st.sampled_from(["patch", "apply", "restart", "dry run"]), PATCHES), max_size=6)


def _drop_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _drop_nulls(item) for key, item in value.items() if item is not None}


def _build_config(patch: JSON) -> JSON:
    config = _drop_nulls(patch)
    metadata = {**config.get("metadata", {}), "name": "mnist"}
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", **config, "metadata": metadata}


def _carry_out(desk: Desk, step: str, patch: JSON) -> None:
    match step:
        case "restart":
            desk.open()
        case "apply":
            desk.patch(_build_config(patch), type=PatchType.APPLY, is_forced=True)
        case _:
            desk.patch(patch, is_dry_run=step == "dry run")


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_files_and_store_agree_after_every_write_and_over_restarts(steps: list[tuple[str, JSON]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        desk = Desk(Path(directory))
        desk.write(FILE, MANIFEST)
        for step, patch in steps:
            before = desk.get()
            _carry_out(desk, step, patch)
            stored, text = desk.get() or {}, desk.texts()[FILE]
            assert all(comment in text for comment in COMMENTS)
            assert "finalizers" not in text
            assert LAST_APPLIED not in text
            if step in ("restart", "dry run"):
                assert stored == before
            written = desk.registry.judge(desk.read(FILE)).document
            assert strip(written) == strip(stored)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b.txt", "c"]), st.text(max_size=12), max_size=3),
    st.from_regex(r"\A[A-Za-z0-9]{0,9}\Z"),
)
def test_what_is_created_is_in_its_file_as_it_was_given(data: dict[str, str], label: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        desk = Desk(Path(directory))
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "labels": {"l": label}},
            "data": data,
        }
        assert desk.create(body).object["data"] == data
        assert desk.read("configmap-a.yaml") == body
