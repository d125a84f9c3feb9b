"""When a runtime patch was made is set by the mutating webhook, whatever shape the document has."""

from typing import Any

import pytest

from builders import NOW, build_job
from trainlet.admission.mutate import default_train_job
from trainlet.kube.meta import JSON

STAMP = "2026-01-02T03:04:05Z"
EARLIER, LATER = "2025-05-05T05:05:05Z", "2027-07-07T07:07:07Z"


def build_patch(manager: str = "acme.io/a", time: str | None = None, account: str = "one") -> JSON:
    pod = {"template": {"spec": {"serviceAccountName": account}}}
    spec = {"template": {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": pod}}]}}}
    patch = {"manager": manager, "trainingRuntimeSpec": spec}
    return patch if time is None else {**patch, "time": time}


ROWS: dict[str, tuple[list[JSON] | None, list[JSON], list[str | None]]] = {
    # name: (what was stored, None for a create; what is given, the times that come out)
    "create, no time": (None, [build_patch()], [STAMP]),
    "create, time given": (None, [build_patch(time=LATER)], [LATER]),
    "update, same content": ([build_patch(time=EARLIER)], [build_patch()], [EARLIER]),
    "update, same content, another time": ([build_patch(time=EARLIER)], [build_patch(time=LATER)], [EARLIER]),
    "update, same content but for an empty list": (
        [build_patch(time=EARLIER)],
        [{**build_patch(), "trainingRuntimeSpec": {**build_patch()["trainingRuntimeSpec"], "more": []}}],
        [EARLIER],
    ),
    "update, changed": ([build_patch(time=EARLIER)], [build_patch(account="two")], [STAMP]),
    "update, changed, time given": ([build_patch(time=EARLIER)], [build_patch(time=LATER, account="two")], [STAMP]),
    "update, changed, its old time given": (
        [build_patch(time=EARLIER)],
        [build_patch(time=EARLIER, account="two")],
        [STAMP],
    ),
    "update, new manager": ([build_patch(time=EARLIER)], [build_patch("acme.io/b")], [STAMP]),
    "update, new manager, time given": ([], [build_patch("acme.io/b", time=LATER)], [LATER]),
    "update, one of each": (
        [build_patch("acme.io/a", EARLIER), build_patch("acme.io/b", EARLIER)],
        [build_patch("acme.io/c"), build_patch("acme.io/b", account="two"), build_patch("acme.io/a")],
        [STAMP, STAMP, EARLIER],
    ),
    "update of what had no time": ([build_patch()], [build_patch(time=LATER)], [None]),
}


@pytest.mark.parametrize(("stored", "given", "times"), ROWS.values(), ids=ROWS)
def test_the_times_of_patches(stored: list[JSON] | None, given: list[JSON], times: list[str | None]) -> None:
    old = None if stored is None else build_job(runtimePatches=stored)
    patches = default_train_job(build_job(runtimePatches=given), old, NOW)["spec"]["runtimePatches"]
    assert [patch.get("time") for patch in patches] == times
    untimed = [{key: value for key, value in patch.items() if key != "time"} for patch in patches]
    assert untimed == [{key: value for key, value in patch.items() if key != "time"} for patch in given]


UNTOUCHED: list[Any] = [
    build_job(),
    build_job(runtimePatches=[]),
    build_job(runtimePatches=[build_patch(time=LATER)]),
    # Of a wrong shape: the schema says so, later.
    build_job(runtimePatches="none"),
    build_job(runtimePatches={"manager": "a"}),
    build_job(runtimePatches=["a", None, 3]),
    {"spec": []},
    {},
]


@pytest.mark.parametrize("document", UNTOUCHED)
def test_a_document_with_nothing_to_set_is_itself(document: JSON) -> None:
    assert default_train_job(document, None, NOW) is document


def test_a_manager_of_any_type_is_no_crash() -> None:
    job = build_job(runtimePatches=[{"manager": ["a"]}, {}])
    stamped = default_train_job(job, build_job(runtimePatches=[build_patch(time=EARLIER)]), NOW)
    assert stamped["spec"]["runtimePatches"] == [{"manager": ["a"], "time": STAMP}, {"time": STAMP}]


def test_nothing_given_is_changed() -> None:
    job, old = build_job(runtimePatches=[build_patch()]), build_job(runtimePatches=[build_patch(account="two")])
    before = repr((job, old))
    default_train_job(job, old, NOW)
    assert repr((job, old)) == before
