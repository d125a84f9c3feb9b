"""A pod's log over the API, while its container is there and after."""

import http.client
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from pod_desk import ENDED, PATH, POD, RUNNING, PodDesk
from trainlet.engine.base import LogLine
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON
from waiting import wait_for

WAITING: JSON = {"waiting": {"reason": "ImagePullBackOff"}}
STAMP = "2026-01-01T00:00:0{}.000000Z"


def test_a_log_is_read_from_the_engine(pods: PodDesk) -> None:
    pods.wait_end(pods.run("echo one; echo; echo three; printf end"))
    assert pods.read_log(container="node") == "one\n\nthree\nend\n"
    assert pods.read_log(tailLines=2) == "three\nend\n"
    assert pods.read_log(tailLines=0) == ""
    assert pods.read_log(limitBytes=6) == "one\n\nt"
    assert pods.read_log(follow="false", previous="False", timestamps="false") == "one\n\nthree\nend\n"


def test_bytes_that_are_no_text_are_replaced(pods: PodDesk) -> None:
    pods.wait_end(pods.run(r"printf 'a\377b\n'"))
    assert pods.read_log() == "a\ufffdb\n"


def test_one_line_of_json_stays_text(pods: PodDesk) -> None:
    pods.wait_end(pods.run("""echo '{"a": 1}'"""))
    assert pods.read_log() == '{"a": 1}\n'


def test_lines_have_times_and_are_chosen_by_them(pods: PodDesk) -> None:
    pods.make_pod("node", state=ENDED)
    pods.keep("".join(f"{STAMP.format(second)} line {second}\n" for second in range(5)))
    lines = pods.read_log(timestamps="true").splitlines()
    assert lines[0] == f"{STAMP.format(0)} line 0"
    assert datetime.fromisoformat(lines[4].split()[0])
    assert pods.read_log(sinceTime="2026-01-01T00:00:03Z") == "line 3\nline 4\n"
    assert pods.read_log(sinceTime="2026-01-01T00:00:01Z", tailLines=1) == "line 4\n"
    assert pods.read_log(sinceSeconds=10**15).count("\n") == 5
    assert pods.read_log(sinceSeconds=1) == ""


def test_the_kept_log_is_read_when_the_container_is_gone(pods: PodDesk) -> None:
    pods.make_pod("node", state=ENDED)
    pods.keep(f"{STAMP.format(0)} early\n{STAMP.format(1)} late\n")
    for follow in ("false", "true"):
        assert pods.read_log(follow=follow) == "early\nlate\n"
        assert pods.read_log(follow=follow, tailLines=1) == "late\n"


@pytest.mark.parametrize("follow", ["false", "true"])
def test_the_kept_log_is_read_when_the_container_goes_at_that_moment(
    pods: PodDesk, monkeypatch: pytest.MonkeyPatch, follow: str
) -> None:
    def find_gone(id: str, **_: object) -> Iterator[LogLine]:
        pods.engine.remove_container(id)
        raise EngineError("it is gone")

    pods.make_pod("node", state=ENDED, lastState=ENDED)
    pods.wait_end(pods.run("echo lost"))
    pods.keep(f"{STAMP.format(1)} kept\n")
    pods.keep(f"{STAMP.format(0)} before\n", previous=True)
    monkeypatch.setattr(pods.engine, "read_logs", find_gone)
    assert pods.read_log(follow=follow) == "kept\n"
    assert pods.read_log(previous="true") == "before\n"


def test_who_follows_is_not_told_what_is_kept_when_the_engine_fails(
    pods: PodDesk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> Iterator[LogLine]:
        raise EngineError("it does not answer")

    pods.run("sleep 600")
    pods.keep(f"{STAMP.format(0)} of the attempt before\n")
    monkeypatch.setattr(pods.engine, "read_logs", fail)
    assert pods.read_log(follow="true") == ""
    assert "a log breaks off: it does not answer" in caplog.text


def test_the_log_before_a_restart(pods: PodDesk) -> None:
    pods.make_pod("node", lastState=ENDED)
    pods.keep(f"{STAMP.format(0)} before\n")
    pods.run("echo now; sleep 600")
    wait_for(lambda: pods.read_log() == "now\n", "the line")
    assert pods.read_log(previous="true") == "before\n"


def test_each_container_has_its_own_log(pods: PodDesk) -> None:
    pods.make_pod("node", "helper")
    for name in ("node", "helper"):
        pods.wait_end(pods.run(f"echo {name}", name))
    assert [pods.read_log(container=name) for name in ("node", "helper")] == ["node\n", "helper\n"]
    pods.annotate(**{"kubectl.kubernetes.io/default-container": "helper"})
    assert pods.read_log() == "helper\n"


def test_who_follows_reads_on_until_the_end(pods: PodDesk, tmp_path: Path) -> None:
    pods.run(f"echo one; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo two")
    with closing(pods.open_http()) as connection:
        response = follow(pods, connection)
        assert response.readline() == b"one\n"
        (tmp_path / "go").touch()
        assert response.read() == b"two\n"


def test_many_follow_at_once(pods: PodDesk, tmp_path: Path) -> None:
    pods.run(f"echo one; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo two")
    connections = [pods.open_http() for _ in range(20)]
    responses = [follow(pods, each) for each in connections]
    assert [each.readline() for each in responses] == [b"one\n"] * 20
    (tmp_path / "go").touch()
    assert [each.read() for each in responses] == [b"two\n"] * 20
    for each in connections:
        each.close()


def test_who_leaves_makes_room(pods: PodDesk) -> None:
    pods.run("echo one; sleep 600")
    for _ in range(70):  # more than there is room for at once
        with closing(pods.open_http()) as connection:
            assert wait_for(lambda: try_follow(pods, connection), "room") == b"one\n"


def test_more_than_there_is_room_for_are_told_to_wait(pods: PodDesk) -> None:
    pods.run("echo one; sleep 600")
    connections = [pods.open_http() for _ in range(64)]
    for each in connections:
        assert follow(pods, each).status == 200
    answer = pods.ask(f"{PATH}/log")
    assert answer.said[:2] == (429, "TooManyRequests")
    for each in connections:
        each.close()
    wait_for(lambda: pods.ask(f"{PATH}/log").code == 200, "room")


def follow(pods: PodDesk, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    connection.request("GET", f"{PATH}/log?follow=true", headers={"Authorization": f"Bearer {pods.token}"})
    return connection.getresponse()


def try_follow(pods: PodDesk, connection: http.client.HTTPConnection) -> bytes:
    response = follow(pods, connection)
    if response.status == 200:
        return response.readline()
    response.read()
    return b""


@pytest.mark.parametrize(
    ("state", "query", "message"),
    [
        (WAITING, "", f'container "node" in pod "{POD}" is waiting to start: ImagePullBackOff'),
        ({"waiting": {}}, "", f'container "node" in pod "{POD}" is waiting to start: ContainerCreating'),
        (RUNNING, "previous=true", f'previous terminated container "node" in pod "{POD}" not found'),
        (RUNNING, "container=other", f"container other is not valid for pod {POD}, choose one of: [node]"),
        (RUNNING, "tailLines=x", "tailLines: Invalid value: 'x': it is a whole number"),
        (RUNNING, "sinceTime=yesterday", "sinceTime: Invalid value: 'yesterday': it is a time as in RFC 3339"),
    ],
)
def test_what_cannot_be_read_is_told(pods: PodDesk, state: JSON, query: str, message: str) -> None:
    pods.make_pod("node", state=state)
    assert pods.ask(f"{PATH}/log?{query}").said == (400, "BadRequest", message)


@pytest.mark.parametrize("query", ["tailLines=-1", "sinceSeconds=0", "limitBytes=0", "sinceSeconds=1&sinceTime=x"])
def test_what_makes_no_sense_is_invalid(pods: PodDesk, query: str) -> None:
    assert pods.ask(f"{PATH}/log?{query}").said[:2] == (422, "Invalid")


def test_of_several_containers_one_must_be_named(pods: PodDesk) -> None:
    pods.make_pod("node", "helper")
    message = f"a container name must be specified for pod {POD}, choose one of: [node helper]"
    assert pods.ask(f"{PATH}/log").said == (400, "BadRequest", message)


def test_a_pod_that_is_not_there(pods: PodDesk) -> None:
    answer = pods.ask(f"{PATH}x/log")
    assert answer.said == (404, "NotFound", f'pods "{POD}x" not found')
    assert answer.body["details"] == {"name": f"{POD}x", "kind": "pods"}


def test_only_the_owner_reads(pods: PodDesk) -> None:
    assert pods.ask(f"{PATH}/log", token="").code == 401
