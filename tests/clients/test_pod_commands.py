"""Commands in a pod's containers over the API: channels, their ends and their bounds."""

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import websocket

from pod_desk import ENDED, PATH, POD, PodDesk, Talk
from trainlet.engine.base import EngineUnavailable
from trainlet.engine.process_table import seems_alive
from waiting import wait_for

SLEEP = "echo ready; sleep 600"
SUCCESS = {"metadata": {}, "status": "Success"}
STDIN, STDOUT, STDERR, RESIZE, CLOSE = 0, 1, 2, 4, 255
PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]


@pytest.fixture(autouse=True)
def node(pods: PodDesk) -> str:
    return pods.run(SLEEP)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_command_is_run(pods: PodDesk, protocol: str) -> None:
    with pods.talk(protocol=protocol, command="echo out; echo err >&2") as talk:
        assert talk.connection.subprotocol == protocol
        assert talk.hear_all() == ({STDOUT: b"out\n", STDERR: b"err\n"}, SUCCESS)


def test_the_exit_code_is_told(pods: PodDesk) -> None:
    with pods.talk(command="exit 7") as talk:
        _, status = talk.hear_all()
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


def test_a_command_that_is_not_there_is_told(pods: PodDesk) -> None:
    with pods.talk(command="no-such-command") as talk:
        heard, status = talk.hear_all()
    assert b"no-such-command" in heard[STDERR]
    assert status["details"]["causes"][0]["message"] == "127"


def test_only_what_is_asked_for_is_sent(pods: PodDesk) -> None:
    with pods.talk(command="echo out; echo err >&2", stderr="false") as talk:
        assert talk.hear_all() == ({STDOUT: b"out\n"}, SUCCESS)


def test_a_command_is_talked_with(pods: PodDesk) -> None:
    with pods.talk(command="while read word; do echo got $word; done; echo end", stdin="true") as talk:
        talk.send(STDIN, b"one\n")
        assert talk.hear() == (STDOUT, b"got one\n")
        talk.send(STDIN)
        talk.send(RESIZE, b"no size")
        talk.send(77, b"no channel")
        talk.send(STDIN, b"two\n")
        assert talk.hear() == (STDOUT, b"got two\n")
        talk.send(CLOSE, bytes((STDIN,)))
        assert talk.hear_all() == ({STDOUT: b"end\n"}, SUCCESS)


def test_an_end_is_not_waited_for_by_the_server(pods: PodDesk) -> None:
    with pods.talk(command="echo done", stdin="true") as talk:
        assert talk.hear_all() == ({STDOUT: b"done\n"}, SUCCESS)


def test_a_terminal_has_a_size(pods: PodDesk) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done"
    with pods.talk(command=script, stdin="true", tty="true", stderr="false") as talk:
        assert talk.hear() == (STDOUT, b"ready\r\n")
        talk.send(RESIZE, json.dumps({"Width": 77, "Height": 33}).encode())
        talk.hear_until(b"33 77")


def test_much_goes_both_ways(pods: PodDesk) -> None:
    piece, count = bytes(range(256)) * 128, 200
    with pods.talk(command="cat", stdin="true") as talk:
        heard = hashlib.sha256()
        size = 0
        for _ in range(count):
            talk.send(STDIN, piece)
            while size < len(piece) // 2:  # never more than that is under way
                size += _hear_into(talk, heard)
            size -= len(piece)
        talk.send(CLOSE, bytes((STDIN,)))
        while size < 0:
            size += _hear_into(talk, heard)
        assert talk.hear_all() == ({}, SUCCESS)
    assert heard.hexdigest() == hashlib.sha256(piece * count).hexdigest()


def _hear_into(talk: Talk, heard: "hashlib._Hash") -> int:
    channel, data = talk.hear()
    assert channel == STDOUT
    heard.update(data)
    return len(data)


def test_a_client_that_does_not_read_stops_the_command(pods: PodDesk, tmp_path: Path) -> None:
    done = tmp_path / "done"
    with pods.talk(command=f"head -c 100000000 /dev/zero; touch {done}") as talk:
        assert talk.hear()[0] == STDOUT
        assert not done.exists()
        total = 0
        while total < 50_000_000:
            total += len(talk.hear()[1])
        assert not done.exists()
        status = talk.hear_all()[1]
        assert (status, done.exists()) == (SUCCESS, True)


def test_a_client_that_leaves_ends_the_command(pods: PodDesk, tmp_path: Path) -> None:
    with pods.talk(command=f"echo $$ >{tmp_path}/pid; echo begun; cat; sleep 600", stdin="true") as talk:
        assert talk.hear() == (STDOUT, b"begun\n")
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not _is_alive(pid), "the command to be gone")


def test_a_client_that_is_cut_off_ends_the_command(pods: PodDesk, tmp_path: Path) -> None:
    with pods.talk(command=f"echo $$ >{tmp_path}/pid; echo begun; sleep 600") as talk:
        assert talk.hear() == (STDOUT, b"begun\n")
        talk.connection.shutdown()
        pid = int((tmp_path / "pid").read_text())
        wait_for(lambda: not _is_alive(pid), "the command to be gone")


def _is_alive(pid: int) -> bool:
    return seems_alive(pid)


def test_a_message_that_is_too_large_ends_the_conversation(pods: PodDesk) -> None:
    with pods.talk(command="cat", stdin="true") as talk:
        talk.send(STDIN, bytes((1 << 20) + 1))
        opcode, data = talk.connection.recv_data()
        assert (opcode, data[:2]) == (8, (1009).to_bytes(2, "big"))


def test_who_attaches_sees_what_comes(pods: PodDesk, node: str, tmp_path: Path) -> None:
    pods.engine.remove_container(node)
    pods.run(f"echo before; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo after; echo err >&2")
    wait_for(lambda: pods.read_log() == "before\n", "the line")
    with pods.talk("attach", stdin="true") as talk:
        talk.send(STDIN, b"nobody reads this\n")
        (tmp_path / "go").touch()
        assert talk.hear_all() == ({STDOUT: b"after\n", STDERR: b"err\n"}, SUCCESS)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("stdout=true", "you must specify at least one command for the container"),
        ("command=ls", "you must specify at least 1 of stdin, stdout, stderr"),
        ("command=ls&stdout=1&container=x", f"container x is not valid for pod {POD}, choose one of: [node]"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_handshake(pods: PodDesk, query: str, message: str) -> None:
    assert refused(pods, f"exec?{query}") == (400, message)


def test_a_container_that_does_not_run_is_told(pods: PodDesk) -> None:
    pods.make_pod("node", state=ENDED)
    message = f'container "node" in pod "{POD}" is not running'
    assert refused(pods, "exec?command=ls&stdout=1") == (400, message)
    assert refused(pods, "attach?stdout=1") == (400, message)


def test_an_engine_that_is_away_is_told(pods: PodDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patching:
        for name in ("observe", "open_session", "read_logs"):
            patching.setattr(pods.engine, name, be_away)
        message = f'container "node" in pod "{POD}" cannot be reached: it hangs (unix:///x.sock): restart it'
        assert refused(pods, "exec?command=ls&stdout=1") == (503, message)
        answer = pods.ask(f"{PATH}/log")
    message = f'the log of container "node" in pod "{POD}" cannot be read: it hangs (unix:///x.sock): restart it'
    assert answer.said == (503, "ServiceUnavailable", message)


def be_away(*_: object, **__: object) -> None:
    raise EngineUnavailable("it hangs", where="unix:///x.sock", remedy="restart it")


def test_a_protocol_that_is_not_spoken_is_refused(pods: PodDesk) -> None:
    assert refused(pods, "exec?command=ls&stdout=1", "v1.channel.k8s.io")[0] == 400


def test_only_the_owner_runs_commands(pods: PodDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "token", "wrong")
    assert refused(pods, "exec?command=ls&stdout=1")[0] == 401


def refused(pods: PodDesk, path: str, protocol: str = PROTOCOLS[0]) -> tuple[int, str]:
    """Return the code and message of a handshake that fails."""
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(
            f"wss://localhost:{pods.port}{PATH}/{path}",
            timeout=20,
            subprotocols=[protocol],
            header=[f"Authorization: Bearer {pods.token}"],
            suppress_origin=True,
            sslopt={"context": pods.tls},
        )
    return caught.value.status_code, json.loads(caught.value.resp_body or b"{}").get("message", "")


@pytest.mark.parametrize("what", ["exec", "attach"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_spdy_is_not_spoken(pods: PodDesk, method: str, what: str) -> None:
    answer = pods.ask(f"{PATH}/{what}?command=ls&stdout=1", method, Connection="Upgrade", Upgrade="SPDY/3.1")
    assert answer.said[:2] == (400, "BadRequest")
    assert "WebSocket" in answer.said[2]


@pytest.mark.parametrize("what", ["portforward", "ephemeralcontainers", "proxy"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_what_is_not_served_is_not_found(pods: PodDesk, method: str, what: str) -> None:
    answer = pods.ask(f"{PATH}/{what}", method, {} if method != "GET" else None)
    assert answer.said == (404, "NotFound", "the server could not find the requested resource")
    assert answer.body["details"] == {}


@pytest.mark.parametrize("what", ["log", "exec", "attach"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_what_is_served_is_not_written(pods: PodDesk, method: str, what: str) -> None:
    answer = pods.ask(f"{PATH}/{what}", method, {})
    words = "the server does not allow this method on the requested resource"
    assert answer.said == (405, "MethodNotAllowed", words)


def test_more_than_there_is_room_for_are_told_to_wait(pods: PodDesk) -> None:
    with ExitStack() as stack:
        talks = [stack.enter_context(pods.talk(command="echo one; cat", stdin="true")) for _ in range(32)]
        assert [talk.hear() for talk in talks] == [(STDOUT, b"one\n")] * 32
        assert refused(pods, "exec?command=ls&stdout=1")[0] == 429
    wait_for(lambda: _can_run(pods), "room")


def _can_run(pods: PodDesk) -> bool:
    try:
        with pods.talk(command="true") as talk:
            return talk.hear_all()[1] == SUCCESS
    except websocket.WebSocketBadStatusException:
        return False
