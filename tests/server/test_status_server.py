"""The protocol of the status server, over real TLS: who is answered what, and what becomes of a report.

The cases are those of upstream's own tests (kubeflow/trainer test/integration/statusserver and pkg/statusserver).
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from builders import build_job
from status_client import STOP_SECONDS, TIME, Answer, Desk, build_report, get_path
from trainlet.apis.trainer import TRAIN_JOB
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.planning.reconcile import Decision
from trainlet.registry import Source
from trainlet.server.status_api import MOST_BYTES
from trainlet.server.status_server import StatusServer
from waiting import wait_for

KEY = ObjectKey(TRAIN_JOB, "default", "mnist")
FORBIDDEN = (403, "Forbidden", "Forbidden")
NOT_FOUND = (404, "NotFound", "Not found")
INVALID_PAYLOAD = (422, "Invalid", "Invalid payload")
TOO_LARGE = (413, "RequestEntityTooLarge", "Payload too large")
INTERNAL = (500, "InternalError", "Internal error")


# Reports that are taken


def test_progress_is_stored_and_echoed(desk: Desk) -> None:
    report = build_report(
        progressPercentage=42,
        estimatedRemainingSeconds=120,
        metrics=[{"name": "loss", "value": "0.123"}, {"name": "accuracy", "value": "0.95"}],
    )
    assert desk.post(report) == Answer(200, report)
    assert desk.get_reported() == report["trainerStatus"]
    stored = StatusDir(desk.root / "status").read_job("default", "mnist")
    assert stored is not None
    assert stored.job == desk.get_job()


def test_a_report_replaces_the_one_before_as_a_whole(desk: Desk) -> None:
    desk.post(build_report(progressPercentage=30, metrics=[{"name": "loss", "value": "1"}]))
    assert desk.post(build_report(estimatedRemainingSeconds=5)).code == 200
    assert desk.get_reported() == {"estimatedRemainingSeconds": 5, "lastUpdatedTime": TIME}


@pytest.mark.parametrize("body", [{}, {"trainerStatus": None}, {"unknown": 1}], ids=json.dumps)
def test_a_body_without_a_report_changes_nothing(desk: Desk, body: JSON) -> None:
    desk.post(build_report(progressPercentage=40))
    before = desk.get_job()
    assert desk.post(body) == Answer(200, {})
    assert desk.get_job() == before
    assert before["status"]["trainerStatus"]["progressPercentage"] == 40


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"lastUpdatedTime": "2026-01-02T05:04:05.678+02:00"}, {}),
        ({"progressPercentage": 0}, {"progressPercentage": 0}),
        ({"progressPercentage": 100}, {"progressPercentage": 100}),
        ({"progressPercentage": None, "metrics": None}, {}),
        ({"unknown": 1}, {}),
        (
            {"metrics": [{"name": "a", "value": "b", "unknown": True}]},
            {"metrics": [{"name": "a", "value": "b"}]},
        ),
        ({"metrics": []}, {}),
        (
            {"metrics": [{"name": "n" * 64, "value": "v" * 64}] * 256},
            {"metrics": [{"name": "n" * 64, "value": "v" * 64}] * 256},
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_kept_of_a_report(desk: Desk, sent: JSON, kept: JSON) -> None:
    answer = desk.post(build_report(**sent))
    assert answer == Answer(200, {"trainerStatus": {**kept, "lastUpdatedTime": TIME}})
    assert desk.get_reported() == answer.body["trainerStatus"]


def test_the_scheme_may_be_written_in_any_case(desk: Desk) -> None:
    answer = desk.ask(get_path(), b"{}", {"Authorization": f"bEARER {desk.build_token()}"})
    assert answer.code == 200


def test_the_largest_body_is_taken(desk: Desk) -> None:
    body = json.dumps(build_report(progressPercentage=1)).encode().ljust(MOST_BYTES)
    assert desk.ask(get_path(), body, {"Authorization": f"Bearer {desk.build_token()}"}).code == 200
    assert desk.get_reported() == {"progressPercentage": 1, "lastUpdatedTime": TIME}


def test_one_connection_takes_many_reports(desk: Desk) -> None:
    connection, headers = desk.open_http(), {"Authorization": f"Bearer {desk.build_token()}"}
    with closing(connection):
        first = connection.sock
        for progress in (1, 2, 3):
            connection.request("POST", get_path(), json.dumps(build_report(progressPercentage=progress)), headers)
            with connection.getresponse() as response:
                assert json.loads(response.read()) == build_report(progressPercentage=progress)
            assert connection.sock is first


# Reports that are refused


def build_metrics(count: int) -> list[JSON]:
    return [{"name": "m", "value": "1"}] * count


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (
            build_report(progressPercentage=150),
            "status.trainerStatus.progressPercentage: Invalid value: 150: "
            "status.trainerStatus.progressPercentage in body should be less than or equal to 100",
        ),
        (build_report(progressPercentage=-1), "should be greater than or equal to 0"),
        (build_report(estimatedRemainingSeconds=-1), "should be greater than or equal to 0"),
        (
            {"trainerStatus": {"progressPercentage": 1}},
            'status.trainerStatus: Invalid value: "object": lastUpdatedTime is required when trainerStatus is present',
        ),
        ({"trainerStatus": {}}, "lastUpdatedTime is required when trainerStatus is present"),
        (
            build_report(metrics=build_metrics(257)),
            "status.trainerStatus.metrics: Too many: 257: must have at most 256",
        ),
        (build_report(metrics=[{"name": "a"}]), "metrics[0].value in body should be at least 1 chars long"),
        (build_report(metrics=[{"name": "", "value": "1"}]), "metrics[0].name in body should be at least 1 chars long"),
        (
            build_report(metrics=[{"name": "n" * 65, "value": "1"}]),
            "metrics[0].name: Too long: may not be more than 64",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_the_definition_forbids_is_refused_in_its_words(desk: Desk, sent: JSON, message: str) -> None:
    desk.post(build_report(progressPercentage=40))
    before = desk.get_job()
    code, reason, said = desk.post(sent).said
    assert (code, reason) == (422, "Invalid")
    assert said.startswith('TrainJob.trainer.kubeflow.org "mnist" is invalid: status.trainerStatus')
    assert message in said
    assert desk.get_job() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"invalid payload",
        b"{} invalid payload",
        b"{}{}",
        b"{}]",
        b"[]",
        b'"text"',
        b'{"trainerStatus": []}',
        b'{"trainerStatus": {"progressPercentage": "50"}}',
        b'{"trainerStatus": {"progressPercentage": 50.0}}',
        b'{"trainerStatus": {"progressPercentage": true}}',
        b'{"trainerStatus": {"progressPercentage": 2147483648}}',
        b'{"trainerStatus": {"progressPercentage": 1' + b"0" * 5000 + b"}}",
        b'{"trainerStatus": {"metrics": {}}}',
        b'{"trainerStatus": {"metrics": [{"name": "a", "value": 0.5}]}}',
        b'{"trainerStatus": {"metrics": [{"name": "a", "value": "\\ud800"}]}}',
        b'{"trainerStatus": {"metrics": [{"name": "a", "value": "\xff"}]}}',
        b'{"trainerStatus": {"lastUpdatedTime": 1767323045}}',
        b'{"trainerStatus": {"lastUpdatedTime": "2026-01-02"}}',
        b'{"trainerStatus": {"lastUpdatedTime": "2026-01-02T03:04:05"}}',
        b'{"trainerStatus": {"lastUpdatedTime": "2026-01-02 03:04:05Z"}}',
        b'{"trainerStatus": {"lastUpdatedTime": "2026-13-02T03:04:05Z"}}',
        b'{"trainerStatus": {"lastUpdatedTime": "0001-01-01T00:00:00+23:00"}}',
        b"[" * 60_000,
        b'{"trainerStatus":' * 3000,
    ],
    ids=lambda body: f"{body[:60]!r}",
)
def test_what_is_no_report_is_refused(desk: Desk, body: bytes) -> None:
    assert desk.ask(get_path(), body, {"Authorization": f"Bearer {desk.build_token()}"}).said == INVALID_PAYLOAD
    assert desk.get_reported() is None


def test_a_body_announced_as_too_large_is_refused_before_all_else(desk: Desk) -> None:
    body = json.dumps(build_report(metrics=build_metrics(40_000))).encode()
    assert len(body) > 1_000_000
    assert desk.post(json.loads(body)).said == TOO_LARGE
    assert desk.ask(get_path(), body).said == TOO_LARGE
    assert desk.ask("/nowhere", b" " * (MOST_BYTES + 1)).said == TOO_LARGE


@pytest.mark.parametrize("size", [MOST_BYTES + 1, 1_000_000])
def test_a_body_that_turns_out_too_large_is_cut_and_thus_no_report(desk: Desk, size: int) -> None:
    body = json.dumps(build_report()).encode().ljust(size)
    pieces = [body[at : at + 10_000] for at in range(0, size, 10_000)]
    headers = {"Authorization": f"Bearer {desk.build_token()}", "Transfer-Encoding": "chunked"}
    assert desk.ask(get_path(), pieces, headers).said == INVALID_PAYLOAD
    assert desk.get_reported() is None


def test_a_body_in_chunks_is_taken(desk: Desk) -> None:
    body = json.dumps(build_report(progressPercentage=7)).encode()
    headers = {"Authorization": f"Bearer {desk.build_token()}", "Transfer-Encoding": "chunked"}
    assert desk.ask(get_path(), [body[:9], body[9:]], headers).code == 200
    assert desk.get_reported() == {"progressPercentage": 7, "lastUpdatedTime": TIME}


# Who may report


@pytest.mark.parametrize(
    "build_header",
    [
        lambda _desk: "",
        lambda _desk: "Bearer",
        lambda _desk: "Bearer x",
        lambda _desk: "Bearer \xe9",
        lambda desk: desk.build_token(),
        lambda desk: f"Basic {desk.build_token()}",
        lambda desk: f"Bearer {desk.build_token()} more",
        lambda desk: f"Bearer {desk.build_token()[:-1]}",
        lambda desk: f"Bearer {desk.build_token()}A",
        lambda desk: f"Bearer {desk.build_token(uid='another')}",
        lambda desk: f"Bearer {desk.build_token('other')}",
        lambda desk: f"Bearer {desk.build_token('mnist', 'elsewhere')}",
    ],
    ids=[
        "none",
        "no token",
        "made up",
        "not ASCII",
        "no scheme",
        "another scheme",
        "three fields",
        "cut",
        "longer",
        "another uid's",
        "another job's",
        "another namespace's",
    ],
)
def test_without_the_job_s_own_token_nobody_is_heard(desk: Desk, build_header: Callable[[Desk], str]) -> None:
    desk.add_job("other")
    desk.add_job("mnist", "elsewhere")
    header = build_header(desk)
    body = json.dumps(build_report(progressPercentage=50)).encode()
    headers = {"Authorization": header} if header else {}
    assert desk.ask(get_path(), body, headers).said == FORBIDDEN
    assert desk.ask(get_path(), b"invalid payload", headers).said == FORBIDDEN
    assert desk.get_reported() is None


def test_the_token_of_an_earlier_job_of_the_name_is_nothing_to_the_next(desk: Desk) -> None:
    old = desk.build_token()
    assert desk.post(build_report(progressPercentage=99), token=old).code == 200
    desk.registry.delete(KEY)
    desk.registry.forget(KEY)
    desk.add_job()
    for body in ({}, build_report(progressPercentage=100)):
        assert desk.post(body, token=old).said == FORBIDDEN
    assert desk.get_reported() is None
    assert desk.post(build_report(progressPercentage=1)).code == 200


def test_a_job_that_is_gone_is_not_found_and_not_made(desk: Desk) -> None:
    token = desk.build_token()
    desk.registry.delete(KEY)
    desk.registry.forget(KEY)
    assert desk.post(build_report(progressPercentage=50), token=token).said == (
        404,
        "NotFound",
        "Train job not found",
    )
    assert desk.post({}, token=token) == Answer(200, {}), "nothing is asked of the job"
    assert desk.post(build_report(), token="made up").said == FORBIDDEN
    assert desk.get_job() == {}
    assert not (desk.root / "status" / "default" / "mnist.yaml").exists()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_found(desk: Desk, method: str) -> None:
    headers = {"Authorization": f"Bearer {desk.build_token()}"}
    assert desk.ask(get_path(), b"", headers, method).said == NOT_FOUND
    assert desk.get_reported() is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthz",
        "/apis",
        get_path() + "/",
        get_path().removesuffix("/status"),
        "/" + get_path(),
        get_path("a/b"),
        get_path("").replace("//", "/"),
        get_path().replace("v1alpha1", "v1"),
        get_path().replace("trainjobs", "trainingruntimes"),
    ],
)
def test_other_paths_are_not_found(desk: Desk, path: str) -> None:
    for method in ("POST", "GET"):
        assert desk.ask(path, b"{}", {"Authorization": f"Bearer {desk.build_token()}"}, method).said == NOT_FOUND


# What else happens to the job


def finish(desk: Desk, **status: Any) -> None:
    done = {
        "type": "Complete",
        "status": "True",
        "reason": "AllJobsCompleted",
        "message": "",
        "lastTransitionTime": TIME,
    }
    desk.registry.record(KEY, Decision(status={"conditions": [done], **status}), (), {})


def test_a_finished_job_may_still_report(desk: Desk) -> None:
    finish(desk)
    before = desk.get_job()["status"]
    assert desk.post(build_report(progressPercentage=100)).code == 200
    assert desk.get_job()["status"] == {
        **before,
        "trainerStatus": {"progressPercentage": 100, "lastUpdatedTime": TIME},
    }


def test_a_pass_that_began_before_a_report_does_not_take_it_back(desk: Desk) -> None:
    desk.post(build_report(progressPercentage=10))
    known = desk.get_reported()
    desk.post(build_report(progressPercentage=20))
    finish(desk, trainerStatus=known)
    assert desk.get_reported() == {"progressPercentage": 20, "lastUpdatedTime": TIME}
    assert desk.get_job()["status"]["conditions"][0]["type"] == "Complete"


def test_a_changed_manifest_leaves_the_report(desk: Desk) -> None:
    desk.post(build_report(progressPercentage=10))
    for suspend in (True, False):
        job = {**build_job("mnist", suspend=suspend), "metadata": {"name": "mnist"}}
        desk.registry.apply(job, Source("/jobs/mnist.yaml", 0))
    assert desk.get_reported() == {"progressPercentage": 10, "lastUpdatedTime": TIME}
    assert desk.get_job()["metadata"]["generation"] == 3


def test_after_a_restart_reports_and_tokens_are_still_good(desk: Desk) -> None:
    desk.post(build_report(progressPercentage=10))
    token, before = desk.build_token(), desk.get_job()
    desk.registry = desk.build_registry()
    desk.open()
    assert desk.get_job() == before
    assert desk.post(build_report(progressPercentage=11), token=token).code == 200
    after = desk.get_job()["metadata"]
    assert int(after["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
    assert after["generation"] == before["metadata"]["generation"]


def test_saying_the_same_again_is_no_change(desk: Desk) -> None:
    desk.post(build_report(progressPercentage=10))
    before = desk.get_job()
    changes = list[Any]()
    desk.registry.store.subscribe(changes.append)
    desk.post(build_report(progressPercentage=10))
    assert changes == []
    assert desk.get_job() == before


# Our own errors


def test_a_disk_that_takes_nothing_is_told_to_the_log_and_not_to_the_client(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    document = desk.root / "status" / "default" / "mnist.yaml"
    document.unlink()
    document.mkdir()
    assert desk.post(build_report(progressPercentage=10)).said == INTERNAL
    [record] = caplog.records
    assert "cannot write status documents" in record.getMessage()
    assert record.exc_info is None


def test_a_bug_is_told_to_the_log_and_not_to_the_client(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.registry.store.put(KEY, {**desk.get_job(), "status": 7})
    assert desk.post(build_report(progressPercentage=10)).said == INTERNAL
    [record] = caplog.records
    assert "this is a bug of trainlet" in record.getMessage()
    assert record.exc_info is not None
    assert desk.post({}).code == 200, "it goes on"


def test_a_port_that_is_taken_is_told_to_the_user(desk: Desk) -> None:
    other = StatusServer(desk.registry, desk.secret, lambda: desk.credentials, host="127.0.0.1", port=desk.port)
    with pytest.raises(TrainletError, match=rf"in use \(127.0.0.1:{desk.port}\): end what listens there"):
        other.start()


# Many at once, and the end


def test_two_hundred_reports_at_once_are_all_taken(desk: Desk) -> None:
    names = [f"job-{number}" for number in range(10)]
    for name in names:
        desk.add_job(name)

    def report(number: int) -> int:
        return desk.post(build_report(progressPercentage=number % 101), names[number % 10]).code

    with ThreadPoolExecutor(50) as pool:
        codes = list(pool.map(report, range(200)))
    assert codes == [200] * 200
    documents = StatusDir(desk.root / "status")
    for number, name in enumerate(names):
        stored = documents.read_job("default", name)
        assert stored is not None
        assert stored.job == desk.get_job(name)
        reported = desk.get_reported(name)
        assert reported is not None
        assert reported["progressPercentage"] in {n % 101 for n in range(number, 200, 10)}


def test_a_report_under_way_is_answered_before_the_end(desk: Desk) -> None:
    reached, gate = threading.Event(), threading.Event()
    desk.registry.store.subscribe(lambda _change: (reached.set(), gate.wait(STOP_SECONDS)))
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(desk.post, build_report(progressPercentage=10))
        assert reached.wait(STOP_SECONDS)
        closing = pool.submit(desk.close)
        gate.set()
        assert answer.result().code == 200
        closing.result()


def test_the_end_is_an_end(desk: Desk) -> None:
    port = desk.port
    before = threading.active_count()
    with desk.connect():
        desk.close()
    wait_for(lambda: threading.active_count() < before, "the server's threads to end")
    desk.open(port=port)
    assert desk.post({}).code == 200
