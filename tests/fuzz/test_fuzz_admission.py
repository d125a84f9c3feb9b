"""Whatever bytes a file holds: they are read and judged at once, in little memory, and refused in words.

TRAINLET_FUZZ_SECONDS=600 looks for that long.
"""

import itertools
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import NOW, build_job, build_runtime
from trainlet.admission.admit import Rules, admit
from trainlet.admission.crd import parse_crd
from trainlet.apis.trainer import CLUSTER_TRAINING_RUNTIME
from trainlet.documents import parse
from trainlet.documents.parse import ParseError, parse_documents
from trainlet.kube.errors import ApiError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.package_data import data_dir, read_crds

FUZZ_SECONDS = float(os.environ.get("TRAINLET_FUZZ_SECONDS", "0"))
MOST_SECONDS = 5.0  # of a busy machine's CPU: a bound on hangs; an idle one takes 0.7 s for the worst file here
MOST_BYTES = 200 << 20
LONGEST_MESSAGE = 200_000
CLEAR_REFS = Path("/proc/self/clear_refs")
ATTEMPTS = 3  # the machine may be busy with something else

CRDS = tuple(map(parse_crd, read_crds()))
RULES = (Rules(CRDS), Rules(CRDS, validation="ignore", pod_security="restricted"))
RUNTIMES = {ObjectKey(CLUSTER_TRAINING_RUNTIME, "", "torch-distributed"): build_runtime()}

JOB = build_job(
    trainer={
        "numNodes": 2,
        "numProcPerNode": 1,
        "image": "i",
        "command": ["a"],
        "env": [{"name": "A", "value": "1"}],
        "resourcesPerNode": {"limits": {"cpu": "1", "memory": "4Gi"}},
    },
    suspend=False,
    runtimePatches=[{"manager": "a/b", "trainingRuntimeSpec": {"template": {"metadata": {"labels": {"a": "b"}}}}}],
)
RUNTIME = build_runtime(
    container={"env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]},
    pod={
        "nodeSelector": {"a": "b"},
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {"path": "/"}}],
    },
)
STORED = {document["kind"]: document for document in (JOB, RUNTIME)}
SEEDS = [
    *(yaml.safe_dump(document, sort_keys=False).encode() for document in (JOB, RUNTIME)),
    *(json.dumps(document, indent=2).encode() for document in (JOB, RUNTIME)),
    *(path.read_bytes() for path in sorted(Path(data_dir("manifests")).rglob("*.yaml"))),
]


def judge(data: bytes) -> tuple[str, float]:
    """Take a file in as the operator does; return what it is refused for, and the seconds for its worst document."""
    start = time.process_time()
    try:
        documents = parse_documents(data)
    except ParseError as error:
        return str(error), time.process_time() - start
    parsed = time.process_time()
    verdicts = [verdict for each in documents if isinstance(each.value, dict) for verdict in admit_all(each.value)]
    slowest = max((seconds for _, seconds in verdicts), default=0.0)
    return "\n".join(refusal for refusal, _ in verdicts if refusal), parsed - start + slowest


def admit_all(document: JSON) -> Iterator[tuple[str, float]]:
    """Admit a document under each set of rules, as new and as an update; refusal and seconds for each."""
    stored = STORED.get(str(document.get("kind")))
    for rules, old in itertools.product(RULES, (None, stored) if stored else (None,)):
        start = time.process_time()
        yield admit_one(document, old, rules), time.process_time() - start


def admit_one(document: JSON, old: JSON | None, rules: Rules) -> str:
    try:
        admit(document, old, rules, RUNTIMES.get, NOW)
    except ApiError as error:
        return str(error) if error.causes else "refused without a cause"
    return ""


def judge_in_time(data: bytes) -> str:
    """Judge a file; fail if that takes long every time, or if an error does not say why."""
    for _ in range(ATTEMPTS):
        before = start_measuring()
        refusal, seconds = judge(data)
        assert get_peak_bytes() - before < MOST_BYTES
        if seconds < MOST_SECONDS:
            assert "refused without a cause" not in refusal
            return refusal
    pytest.fail(f"{len(data)} bytes take {seconds:.1f} s: {data[:200]!r}")


def start_measuring() -> int:
    """Forget the peak there was, where the system can, and return the new one in bytes."""
    if CLEAR_REFS.exists():
        CLEAR_REFS.write_text("5")  # see proc(5)
    return get_peak_bytes()


def get_peak_bytes() -> int:
    if CLEAR_REFS.exists():
        [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(peak) * 1024
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss if sys.platform == "darwin" else peak_rss * 1024


@pytest.fixture(autouse=True)
def _everything_is_imported() -> None:
    judge(SEEDS[0])


POSITIONS = st.integers(0, 5000)


@st.composite
def mutated_manifests(draw: st.DrawFn) -> bytes:
    """A manifest with some bytes other than they were."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(POSITIONS) % (len(data) + 1)
        end = min(start + draw(st.integers(0, 60)), len(data))
        match draw(st.sampled_from(["flip", "insert", "remove", "repeat", "splice", "double a line"])):
            case "flip":
                data = (
                    data[:start]
                    + bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in data[start : start + 1])
                    + data[start + 1 :]
                )
            case "insert":
                data = data[:start] + draw(st.binary(max_size=8) | FRAGMENTS) + data[start:]
            case "remove":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:start] + data[start:end] * draw(st.integers(2, 200)) + data[end:]
            case "splice":
                other = draw(st.sampled_from(SEEDS))
                data = data[:start] + other[draw(POSITIONS) % len(other) :]
            case "double a line":
                line = data.rfind(b"\n", 0, start) + 1
                data = data[:end] + data[line:end] + data[end:]
    return data


FRAGMENTS = st.sampled_from(
    b"\n|\n  |\t|: |- |? |<<: |*a|&a |!!binary |!!set |!<x> |%YAML 1.1|---\n|...\n|{|}|[|]|,|'|\"|#|\\|~|null|0x1|.inf"
    b"|1e999|\xef\xbb\xbf|\xff\xfe|\x00|\x85|\xe2\x80\xa8|\\ud83d\\ude00|\\ud83d|>-\n|||-1|9223372036854775808".split(
        b"|"
    )
)
NAMES = st.sampled_from(["a", "b", "metadata", "spec", "name", "trainer", "env", "kind", "<<", "1", "y", "~"])
WORDS = st.sampled_from(
    ["a", "1", "on", "~", "0x1F", ".5", "2026-01-01", "1e400", "'q'", '"\\u00e9"', "é", "x: y", "", "=", "TrainJob"]
)
MARKS = st.sampled_from(["", "", "", "&x ", "&y ", "!!str ", "!!int ", "!!map ", "!t ", "!!binary "])
NODES = st.recursive(
    st.tuples(MARKS, WORDS | st.sampled_from(["*x", "*y"])).map("".join),
    lambda inner: (
        st.tuples(MARKS, st.lists(inner, max_size=4)).map(lambda p: f"{p[0]}[{', '.join(p[1])}]")
        | st.tuples(MARKS, st.lists(st.tuples(NAMES, inner), max_size=4)).map(
            lambda p: p[0] + "{" + ", ".join(f"{key}: {value}" for key, value in p[1]) + "}"
        )
    ),
    max_leaves=12,
)
PLACES = [
    "metadata",
    "metadata: {labels",
    "spec",
    "spec: {trainer",
    "spec: {runtimeRef",
    "spec: {runtimePatches",
    "status",
]
HEADS = st.sampled_from(
    [f"apiVersion: trainer.kubeflow.org/v1alpha1\nkind: {kind}\n" for kind in ("TrainJob", "TrainingRuntime")]
    + ["", "kind: A\n"]
)


@st.composite
def written_yaml(draw: st.DrawFn) -> bytes:
    """YAML with anchors, aliases, merges and tags, some of it at places that admission knows."""
    text = draw(HEADS)
    for place in draw(st.lists(st.sampled_from(PLACES), max_size=3)):
        text += f"{place}: {draw(NODES)}{'}' * place.count('{')}\n"
    return (text + "".join(f"---\n{draw(NODES)}\n" for _ in range(draw(st.integers(0, 2))))).encode()


def list_places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((*path, key), *list_places(item, (*path, key)))]


def replace_at(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replace_at(value[path[0]], path[1:], new)
    return copy


def build_deep(depth: int, is_list: bool) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if is_list else {"a": value}
    return value


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["\0", "-", "/"])
)
SHAPES = (
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | NAMES, inner, max_size=3),
    )
    | st.builds(build_deep, st.integers(1, 110), st.booleans())
    | st.builds(lambda item, count: [item] * count, SCALARS, st.integers(100, 2000))
    | st.builds(
        lambda item, count: [{"name": str(i), "value": item} for i in range(count)], SCALARS, st.integers(100, 2000)
    )
    | st.builds(lambda item, count: {f"k{i}": item for i in range(count)}, SCALARS, st.integers(100, 2000))
    | st.integers(100, 100_000).map(lambda count: "a" * count)
)


@st.composite
def odd_manifests(draw: st.DrawFn) -> bytes:
    """A manifest in which something deep, wide, long or odd stands somewhere."""
    document = draw(st.sampled_from([JOB, RUNTIME]))
    for _ in range(draw(st.integers(1, 2))):
        document = replace_at(document, draw(st.sampled_from(list_places(document))), draw(SHAPES))
    return json.dumps(document).encode()


INPUTS: dict[str, tuple[st.SearchStrategy[bytes], int]] = {
    # name: (strategy, number of examples)
    "bytes": (st.binary(max_size=400), 300),
    "mutated manifests": (mutated_manifests(), 250),
    "written YAML": (written_yaml(), 250),
    "odd manifests": (odd_manifests(), 150),
}


@pytest.mark.parametrize(("inputs", "examples"), INPUTS.values(), ids=INPUTS)
@pytest.mark.timeout(300 + FUZZ_SECONDS)
def test_any_file_is_judged(inputs: st.SearchStrategy[bytes], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def fuzz(data: bytes) -> None:
        judge_in_time(data)

    end = time.monotonic() + FUZZ_SECONDS / len(INPUTS)
    fuzz()
    while time.monotonic() < end:
        fuzz()


HEAD = (
    "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: a}\nspec:\n  runtimeRef: {name: a}\n"
)
TRAINER = f"{HEAD}  trainer:\n"
SIZE = 3_000_000


def fill(head: str, line: str, size: int = SIZE) -> str:
    """Repeat a line, numbered, until the text has this size."""
    return head + "".join(line.format(index) for index in range((size - len(head)) // len(line.format(99_999))))


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20)
)
MERGES = "a0: &a0 {k0: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}], k{i}: 1}}\n" for i in range(1, 60))
HOSTILE: dict[str, tuple[Callable[[], str | bytes], str]] = {
    # name: (file, words of its refusal)
    "brackets": (lambda: "[" * 60_000, "nested more than 100 levels"),
    "braces": (lambda: '{"a":' * 12_000, "nested more than 100 levels"),
    "brackets with two escapes": (
        lambda: r'["\ud83d\ude00",' + "[" * 60_000 + "]" * 60_001,
        "write the character itself",
    ),
    "an alias bomb": (lambda: BOMB[:1024].rpartition("\n")[0], "aliases counted in full"),
    "a merge bomb": (lambda: MERGES, "aliases counted in full"),
    "unknown keys": (lambda: fill(TRAINER, "    unknown-field-{0:0>60}: 1\n"), "unknown fields are not listed"),
    "short unknown keys": (lambda: fill(TRAINER, "    k{0}: 1\n"), "split the file"),
    "an unknown key": (lambda: f"{TRAINER}    {'k' * 900}: {'v' * SIZE}\n", "Unknown field"),
    "env entries": (
        lambda: fill(f"{TRAINER}    env:\n", "    - {{name: A{0}, value: v{0:0>200}}}\n"),
        "must have at most 128 items",
    ),
    "env entries of a pod": (
        lambda: fill(
            f"{HEAD}  runtimePatches:\n  - manager: a/b\n    env:\n", "    - {{name: A{0}, value: v{0:0>200}}}\n"
        ),
        "Unknown field",
    ),
    "wrong env entries": (
        lambda: fill(f"{TRAINER}    env:\n", "    - {{name: 1, value: v{0:0>200}}}\n"),
        "errors are not listed",
    ),
    "a text in a pattern field": (
        lambda: f"{TRAINER}    resourcesPerNode: {{limits: {{cpu: '{'1' * SIZE}x'}}}}\n",
        "characters)",
    ),
    "quantities": (
        lambda: fill(f"{TRAINER}    resourcesPerNode:\n      limits:\n", "        k{0}: 1x{0:0>60}\n"),
        "should match",
    ),
    "labels": (
        lambda: fill(
            f"{HEAD}metadata:\n  name: a\n  labels:\n".replace("metadata: {name: a}\n", ""), "    key-{0:0>55}: '-'\n"
        ),
        "metadata.labels",
    ),
    "documents": (lambda: "--- {}\n" * 1001, "more than 1000 documents"),
    "a thousand documents": (lambda: f"{HEAD}---\n" * 999, '{"name":"a"'),
    "too many bytes": (lambda: b"a: 1\n" * ((20 << 20) // 5), "split it"),
    "a long digit string": (lambda: f"{HEAD}  activeDeadlineSeconds: {'9' * SIZE}\n", "not a JSON number"),
    "blanks": (lambda: " " * SIZE, ""),
    "a comment": (lambda: "#" * SIZE, ""),
    "quotes": (lambda: "'" * (SIZE + 1), "not valid YAML"),
    "a long key": (lambda: f"? {'k' * SIZE}\n: 1\n", "Required value"),
    "anchors": (lambda: fill("", "- &a{0} 1\n"), "split the file"),
    "dashes": (lambda: "- " * (SIZE // 2), "nested more than 100 levels"),
    "question marks": (lambda: "? " * (SIZE // 2), "a key must be"),
    "tags": (lambda: "!a " * (SIZE // 3), "not valid YAML"),
    "NUL": (lambda: b"\0" * SIZE, "is not allowed"),
}


@pytest.mark.parametrize(("file", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_at_once(file: Callable[[], str | bytes], words: str) -> None:
    content = file()
    data = content if isinstance(content, bytes) else content.encode()
    refusal = judge_in_time(data)
    assert words in refusal
    if len(data) <= parse.MAX_BYTES and data.count(b"\n---") < 2:
        assert len(refusal) < LONGEST_MESSAGE, refusal[:1000]
