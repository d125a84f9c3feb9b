"""Writes on the wire: what a request asks of the writer, and how its answers and refusals reach the client."""

from typing import Any

import pytest

from api_desk import ALL_JOBS, JOBS, ApiDesk
from builders import build_job
from trainlet.kube.errors import ApiError, FieldError
from trainlet.server.api.resources import BY_PLURAL
from trainlet.server.api.types import DeleteOptions, PatchType, RequestError, Validation, WriteOptions

JOB = BY_PLURAL[("trainer.kubeflow.org", "v1alpha1", "trainjobs")]
PODS = "/api/v1/namespaces/default/pods"
BODY = {"kind": "TrainJob", "metadata": {"name": "mnist"}}
PATCHES = {each.name: str(each) for each in PatchType}


def ask(api: ApiDesk, path: str, method: str, body: Any = None, **headers: str) -> tuple[Any, ...]:
    """Make a request that the writer is to be asked for, and return what it was asked."""
    answer = api.ask(path, method, body, User_Agent="kubectl/v1.32.4 (linux/amd64)", **headers)
    assert answer.code in (200, 201), answer.data
    [asked] = api.writer.asked
    return asked


def test_a_post_creates(api: ApiDesk) -> None:
    api.writer.is_new = True
    answer = api.ask(JOBS, "POST", BODY, User_Agent="kubectl/v1.32.4 (linux)")
    assert (answer.code, answer.body["metadata"]["name"]) == (201, "mnist")
    assert api.writer.asked == [("create", "trainjobs", "default", BODY, WriteOptions("kubectl"))]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", WriteOptions("kubectl")),
        ("fieldManager=me&dryRun=All", WriteOptions("me", is_dry_run=True)),
        ("fieldValidation=Strict", WriteOptions("kubectl", validation=Validation.STRICT)),
        ("fieldValidation=Ignore&force=True", WriteOptions("kubectl", validation=Validation.IGNORE, is_forced=True)),
        ("force=false&dryRun=", WriteOptions("kubectl")),
        ("force=1", WriteOptions("kubectl", is_forced=True)),
    ],
)
def test_options_are_read_from_the_query(api: ApiDesk, query: str, options: WriteOptions) -> None:
    assert ask(api, f"{JOBS}/mnist?{query}", "PUT", BODY)[-1] == options


@pytest.mark.parametrize("query", ["dryRun=Some", "fieldValidation=strict"])
def test_options_that_are_none_are_refused(api: ApiDesk, query: str) -> None:
    assert api.ask(f"{JOBS}?{query}", "POST", BODY).said[:2] == (400, "BadRequest")
    assert api.writer.asked == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"a": [1.0, true, null]}'),
        ("application/json; charset=utf-8", b'{"a": [1.0, true, null]}'),
        ("", b'{"a": [1.0, true, null]}'),
        ("application/yaml", b"a: [1.0, true, null]\n"),
    ],
)
def test_bodies_are_json_or_yaml_and_json_without_a_type(api: ApiDesk, content_type: str, body: bytes) -> None:
    asked = ask(api, f"{JOBS}/mnist", "PUT", body, Content_Type=content_type)
    assert asked[:5] == ("update", "trainjobs", "default", "mnist", {"a": [1.0, True, None]})


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/vnd.kubernetes.protobuf", b"k8s\x00", 415),
        ("text/plain", b"{}", 415),
        ("application/json", b"{", 400),
        ("application/json", b"", 400),
        ("application/json", b"[]", 400),
        ("application/json", b"null", 400),
        ("application/json", b'{"a": NaN}', 400),
        ("application/json", b"\xff\xfe", 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/yaml", b"a: [", 400),
        ("application/yaml", b"a: 1\n---\nb: 1\n", 400),
    ],
)
def test_bodies_that_are_none_are_refused(api: ApiDesk, content_type: str, body: bytes, code: int) -> None:
    answer = api.ask(JOBS, "POST", body, Content_Type=content_type)
    assert answer.said[:2] == (code, {400: "BadRequest", 415: "UnsupportedMediaType"}[code])
    assert api.writer.asked == []


@pytest.mark.parametrize(
    ("type", "body", "content"),
    [
        (PatchType.MERGE, b'{"a": null}', {"a": None}),
        (PatchType.STRATEGIC, b'{"a": 1}', {"a": 1}),
        (PatchType.JSON, b'[{"op": "remove", "path": "/a"}]', [{"op": "remove", "path": "/a"}]),
        (PatchType.APPLY, b"a: 1\n", {"a": 1}),
        (PatchType.APPLY, b'{"a": 1}', {"a": 1}),
    ],
)
def test_patches_come_with_their_type(api: ApiDesk, type: PatchType, body: bytes, content: Any) -> None:
    asked = ask(api, f"{JOBS}/mnist", "PATCH", body, Content_Type=str(type))
    assert asked == ("patch", "trainjobs", "default", "mnist", type, content, WriteOptions("kubectl"))


@pytest.mark.parametrize(
    ("type", "body", "code"),
    [
        ("application/merge-patch+json", b"[]", 400),
        ("application/json-patch+json", b"{}", 400),
        ("application/apply-patch+yaml", b"- 1\n", 400),
        ("application/merge-patch+json", b"null", 400),
        ("application/merge-patch+json", b"1", 400),
        ("application/json", b"{}", 415),
        ("", b"{}", 415),
    ],
)
def test_patches_that_are_none_are_refused(api: ApiDesk, type: str, body: bytes, code: int) -> None:
    """The official client sends a list of operations as a merge patch if it is told nothing else."""
    assert api.ask(f"{JOBS}/mnist", "PATCH", body, Content_Type=type).code == code
    assert api.writer.asked == []


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_the_status_is_written_by_itself(api: ApiDesk, method: str) -> None:
    type = str(PatchType.MERGE) if method == "PATCH" else "application/json"
    asked = ask(api, f"{JOBS}/mnist/status", method, b'{"status": {}}', Content_Type=type)
    assert asked[-1].subresource == "status"
    assert asked[3] == "mnist"


def test_the_status_can_be_read(api: ApiDesk) -> None:
    api.add_job()
    assert api.get(f"{JOBS}/mnist/status") == api.get(f"{JOBS}/mnist")


@pytest.mark.parametrize(
    ("query", "body", "options"),
    [
        ("", None, DeleteOptions()),
        ("", {"propagationPolicy": "Foreground"}, DeleteOptions(propagation="Foreground")),
        ("propagationPolicy=Orphan", None, DeleteOptions(propagation="Orphan")),
        ("", {"gracePeriodSeconds": 0, "dryRun": ["All"]}, DeleteOptions(is_dry_run=True, grace_seconds=0)),
        ("gracePeriodSeconds=1&dryRun=All", None, DeleteOptions(is_dry_run=True, grace_seconds=1)),
        (
            "",
            {"preconditions": {"uid": "u", "resourceVersion": "7"}},
            DeleteOptions(uid="u", resource_version="7"),
        ),
    ],
)
def test_a_deletion_says_how_in_its_body_or_its_query(
    api: ApiDesk, query: str, body: Any, options: DeleteOptions
) -> None:
    assert ask(api, f"{JOBS}/mnist?{query}", "DELETE", body) == ("delete", "trainjobs", "default", "mnist", options)


@pytest.mark.parametrize(
    "body", [{"propagationPolicy": "Now"}, {"gracePeriodSeconds": "soon"}, {"dryRun": ["None"]}, {"preconditions": 1}]
)
def test_a_deletion_that_is_none_is_refused(api: ApiDesk, body: Any) -> None:
    assert api.ask(f"{JOBS}/mnist", "DELETE", body).said[:2] == (400, "BadRequest")
    assert api.writer.asked == []


def test_a_collection_is_deleted_one_by_one_and_those_are_listed(api: ApiDesk) -> None:
    for name, team in (("a", "red"), ("b", "blue"), ("c", "red")):
        api.add_job(name, labels={"team": team})
    api.add_job("d", "elsewhere", labels={"team": "red"})
    answer = api.ask(f"{JOBS}?labelSelector=team%3Dred", "DELETE", {"gracePeriodSeconds": 3})
    assert (answer.code, answer.body["kind"]) == (200, "TrainJobList")
    assert [each["metadata"]["name"] for each in answer.body["items"]] == ["a", "c"]
    options = DeleteOptions(grace_seconds=3)
    assert api.writer.asked == [("delete", "trainjobs", "default", name, options) for name in "ac"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ALL_JOBS),
        ("POST", f"{JOBS}/mnist"),
        ("PUT", JOBS),
        ("PATCH", JOBS),
        ("DELETE", f"{JOBS}/mnist/status"),
        ("POST", "/api/v1/namespaces"),
        ("POST", "/api/v1/nodes"),
        ("POST", PODS),
        ("PATCH", "/api/v1/nodes/box"),
        ("DELETE", "/api/v1/namespaces/default"),
        ("DELETE", "/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets/mnist"),
        ("PUT", "/apis/batch/v1/namespaces/default/jobs/x"),
        ("OPTIONS", JOBS),
        ("TRACE", JOBS),
    ],
)
def test_what_cannot_be_done_is_not_allowed(api: ApiDesk, method: str, path: str) -> None:
    answer = api.ask(path, method, {})
    assert answer.said == (
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )
    assert api.writer.asked == []


# Answers


def test_warnings_are_headers(api: ApiDesk) -> None:
    api.writer.warnings = ('unknown field "spec.x"', "two\nlines", "zürich")
    answer = api.ask(JOBS, "POST", BODY)
    assert answer.headers.get_all("warning") == [
        '299 - "unknown field \\"spec.x\\""',
        '299 - "two lines"',
        '299 - "z?rich"',
    ]


REFUSALS: dict[str, tuple[ApiError, int, dict[str, Any]]] = {
    "conflict": (
        RequestError("it was changed", code=409, reason="Conflict", resource=JOB, name="mnist"),
        409,
        {"name": "mnist", "group": "trainer.kubeflow.org", "kind": "trainjobs"},
    ),
    "invalid": (
        RequestError(
            'TrainJob "mnist" is invalid',
            code=422,
            reason="Invalid",
            resource=JOB,
            name="mnist",
            causes=[
                FieldError("spec.runtimeRef", "Required value", ""),
                FieldError("spec.x", "Invalid value", "no", 7),
            ],
        ),
        422,
        {
            "name": "mnist",
            "group": "trainer.kubeflow.org",
            "kind": "TrainJob",
            "causes": [
                {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.runtimeRef"},
                {"reason": "FieldValueInvalid", "message": "Invalid value: 7: no", "field": "spec.x"},
            ],
        },
    ),
    "busy": (
        RequestError("later", code=429, reason="TooManyRequests", retry_after_seconds=3),
        429,
        {"retryAfterSeconds": 3},
    ),
    "plain": (ApiError("no", code=403, reason="Forbidden", remedy="ask somebody"), 403, {}),
}


@pytest.mark.parametrize(("refusal", "code", "details"), REFUSALS.values(), ids=REFUSALS)
def test_refusals_are_statuses_with_details(
    api: ApiDesk, refusal: ApiError, code: int, details: dict[str, Any]
) -> None:
    api.writer.refusal = refusal
    answer = api.ask(JOBS, "POST", BODY)
    assert answer.said[:2] == (code, refusal.reason)
    assert answer.body["details"] == details
    assert answer.headers["retry-after"] == ("3" if code == 429 else None)


def test_our_own_faults_tell_nothing(api: ApiDesk, caplog: pytest.LogCaptureFixture) -> None:
    api.writer.refusal = ValueError("a secret path")  # type: ignore[assignment]
    assert api.ask(JOBS, "POST", BODY).said == (500, "InternalError", "Internal error")
    assert "a secret path" in caplog.text


def test_a_whole_job_comes_as_it_was_sent(api: ApiDesk) -> None:
    """The Kubeflow SDK sends numbers as floats, and empty lists."""
    job = build_job(trainer={"resourcesPerNode": {"limits": {"cpu": 1.0, "nvidia.com/gpu": 2.0}}, "env": []})
    assert ask(api, JOBS, "POST", job)[3] == job
