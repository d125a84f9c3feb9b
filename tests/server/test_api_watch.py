"""Watches: what there is, then every change in order, for as long as the client stays and no longer than we keep."""

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from api_desk import ALL_JOBS, JOBS, ApiDesk, Watch
from trainlet.kube.meta import JSON
from trainlet.server.api import history
from trainlet.server.api_server import BOUNDS
from trainlet.server.connections import Bounds
from waiting import wait_for

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PODS = "/api/v1/namespaces/default/pods"


def get_version(api: ApiDesk, path: str = JOBS) -> str:
    version: str = api.get(path)["metadata"]["resourceVersion"]
    return version


def describe(frame: JSON) -> tuple[str, str]:
    return frame["type"], frame["object"]["metadata"]["name"]


@pytest.mark.parametrize("query", ["", "&resourceVersion=0", "&resourceVersion="])
def test_without_a_version_what_there_is_comes_first(api: ApiDesk, query: str) -> None:
    api.add_job("a")
    with api.watch(f"{JOBS}?watch=true{query}") as watch:
        assert watch.next_name() == ("ADDED", "a")
        api.add_job("b")
        assert watch.next_name() == ("ADDED", "b")


@pytest.mark.parametrize("flag", ["true", "True", "1"])
def test_from_a_version_only_what_is_later(api: ApiDesk, flag: str) -> None:
    api.add_job("a")
    version = get_version(api)
    api.add_job("b")
    with api.watch(f"{JOBS}?watch={flag}&resourceVersion={version}") as watch:
        assert watch.next_name() == ("ADDED", "b")
        api.set_status("a", conditions=[])
        assert watch.next_name() == ("MODIFIED", "a")
        api.forget("b")
        assert watch.next_name() == ("DELETED", "b")


def test_a_deletion_has_the_last_state_and_a_version_of_its_own(api: ApiDesk) -> None:
    last = api.add_job(labels={"a": "b"})
    with api.watch(f"{JOBS}?watch=true&resourceVersion={get_version(api)}") as watch:
        api.forget()
        gone = watch.next()["object"]
        assert int(gone["metadata"]["resourceVersion"]) > int(last["metadata"]["resourceVersion"])
        assert gone["spec"] == last["spec"]
        api.add_job("later")
        assert int(watch.next()["object"]["metadata"]["resourceVersion"]) > int(gone["metadata"]["resourceVersion"])


def test_other_namespaces_and_kinds_are_not_told(api: ApiDesk) -> None:
    with api.watch(f"{JOBS}?watch=true") as watch, api.watch(f"{ALL_JOBS}?watch=true") as everything:
        api.add_job("elsewhere", "team-a")
        api.add_pod()
        api.add_job("here")
        assert watch.next_name() == ("ADDED", "here")
        assert [everything.next_name()[1] for _ in range(2)] == ["elsewhere", "here"]


def test_what_begins_to_be_selected_is_added_and_what_is_no_more_deleted(api: ApiDesk) -> None:
    api.add_job("a", labels={"team": "red"})
    api.add_job("b", labels={"team": "blue"})
    path = f"{JOBS}?watch=true&labelSelector=team%3Dred&resourceVersion={get_version(api)}"
    with api.watch(path) as watch:
        api.add_job("b", labels={"team": "red"})
        assert watch.next_name() == ("ADDED", "b")
        api.add_job("a", labels={"team": "blue"})
        left = watch.next()
        assert describe(left) == ("DELETED", "a")
        assert left["object"]["metadata"]["labels"] == {"team": "red"}, "it is shown as it was"
        assert left["object"]["metadata"]["resourceVersion"] == api.get_job("a")["metadata"]["resourceVersion"]
        api.forget("a")  # is nothing to this watch
        api.add_job("b", labels={"team": "red", "more": "yes"})
        assert watch.next_name() == ("MODIFIED", "b")
        api.forget("b")
        assert watch.next_name() == ("DELETED", "b")


def test_fields_select_changes_too(api: ApiDesk) -> None:
    api.add_pod(phase="Pending")
    with api.watch(f"{PODS}?watch=true&fieldSelector=status.phase%3DRunning") as watch:
        api.add_pod(phase="Running")
        assert watch.next()["type"] == "ADDED"
        api.add_pod(phase="Succeeded")
        assert watch.next()["type"] == "DELETED"


def test_a_new_namespace_is_told(api: ApiDesk) -> None:
    with api.watch("/api/v1/namespaces?watch=true") as watch:
        assert {watch.next_name()[1] for _ in range(2)} == {"default", "kubeflow-system"}
        api.add_job(namespace="team-a")
        assert watch.next_name() == ("ADDED", "team-a")


def test_tables_are_watched_a_row_at_a_time(api: ApiDesk) -> None:
    api.add_job("a")
    with api.watch(f"{JOBS}?watch=true", Accept=TABLE) as watch:
        for name in ("a", "b"):
            frame = watch.next()
            assert (frame["type"], frame["object"]["kind"]) == ("ADDED", "Table")
            [row] = frame["object"]["rows"]
            assert row["cells"][0] == row["object"]["metadata"]["name"] == name
            api.add_job("b")


def test_a_client_that_takes_only_metadata_watches_that(api: ApiDesk) -> None:
    accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    with api.watch(f"{JOBS}?watch=true", Accept=accept) as watch:
        api.add_job("a")
        shown = watch.next()["object"]
    assert shown.keys() == {"kind", "apiVersion", "metadata"}
    assert shown["kind"] == "PartialObjectMetadata"


# Ends


def test_a_watch_ends_in_its_time_with_a_bookmark_if_that_is_wanted(api: ApiDesk) -> None:
    api.add_job("a")
    begin = time.monotonic()
    with api.watch(f"{JOBS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true") as watch:
        frames = watch.read_rest()
    assert 0.9 < time.monotonic() - begin < 10
    assert [each["type"] for each in frames] == ["ADDED", "BOOKMARK"]
    assert frames[1]["object"].keys() == {"kind", "apiVersion", "metadata"}
    assert int(frames[1]["object"]["metadata"]["resourceVersion"]) >= int(get_version(api))
    with api.watch(f"{JOBS}?watch=true&timeoutSeconds=1") as watch:
        assert [each["type"] for each in watch.read_rest()] == ["ADDED"]


def test_the_initial_part_is_marked_when_it_is_asked_for(api: ApiDesk) -> None:
    """Reflectors wait for this mark for ever."""
    api.add_job("a")
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with api.watch(f"{JOBS}?{query}") as watch:
        assert watch.next_name() == ("ADDED", "a")
        mark = watch.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        api.add_job("b")
        assert watch.next_name() == ("ADDED", "b")


def test_no_initial_part_if_it_is_not_wanted(api: ApiDesk) -> None:
    api.add_job("a")
    with api.watch(f"{JOBS}?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan") as watch:
        api.add_job("b")
        assert watch.next_name() == ("ADDED", "b")


def test_initial_events_need_their_match(api: ApiDesk) -> None:
    assert api.ask(f"{JOBS}?watch=true&sendInitialEvents=true").said[:2] == (422, "Invalid")


def test_a_version_of_the_future_is_told_in_the_stream(api: ApiDesk) -> None:
    with api.watch(f"{JOBS}?watch=true&resourceVersion=999999999") as watch:
        [frame] = watch.read_rest()
    assert (frame["type"], frame["object"]["kind"], frame["object"]["code"]) == ("ERROR", "Status", 410)
    assert frame["object"]["reason"] == "Expired"


def test_a_version_that_is_no_longer_kept_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 10)
    api = ApiDesk(tmp_path)
    try:
        api.add_job("a")
        version = get_version(api)
        for number in range(25):
            api.set_status("a", number=number)
        with api.watch(f"{JOBS}?watch=true&resourceVersion={version}") as watch:
            [frame] = watch.read_rest()
        assert frame["object"]["code"] == 410
        with api.watch(f"{PODS}?watch=true&resourceVersion={version}") as watch:
            api.add_pod()
            assert watch.next()["type"] == "ADDED", "others' changes expire nothing"
    finally:
        api.stop()


def test_versions_go_on_over_restarts_and_older_watches_are_told(api: ApiDesk) -> None:
    api.add_job("a")
    before = get_version(api)
    api.stop()
    api.start()
    assert int(get_version(api)) > int(before)
    api.add_job("b")
    assert int(api.get_job("b")["metadata"]["resourceVersion"]) > int(before)
    with api.watch(f"{JOBS}?watch=true&resourceVersion={before}") as watch:
        assert watch.next()["object"]["code"] == 410


def test_watches_end_when_the_operator_does(api: ApiDesk) -> None:
    with api.watch(f"{JOBS}?watch=true") as watch:
        begin = time.monotonic()
        api.stop()
        assert watch.read_rest() == []
        assert time.monotonic() - begin < 2
    api.start()


def test_a_client_that_leaves_is_noticed(api: ApiDesk) -> None:
    def count() -> int:
        return sum(thread.name == "api-server" for thread in threading.enumerate())

    for _ in range(5):
        with api.watch(f"{JOBS}?watch=true"):
            pass
    assert count() == 1
    wait_for(lambda: _count_tasks(api) <= 2, "the tasks of watches to end")


def _count_tasks(api: ApiDesk) -> int:
    """Return how many tasks the server's loop has beside its own."""
    loop = api.server._thread._loop  # type: ignore[union-attr]
    names = [str(task.get_coro()) for task in asyncio.all_tasks(loop)]
    return sum("Stream" in name or "run_asgi" in name for name in names)


def test_a_slow_client_is_ended_and_nobody_else_is(tmp_path: Path) -> None:
    """It reads nothing: what is to be sent piles up to a bound, and then its connection is cut."""
    api = ApiDesk(tmp_path, Bounds(connections=BOUNDS.connections, write_seconds=0.5, streams=True))
    try:
        api.add_job("a")
        with api.watch(f"{JOBS}?watch=true") as quick, closing(api.open_http()) as slow:
            assert quick.next_name() == ("ADDED", "a")
            before = _count_tasks(api)
            slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            slow.request("GET", f"{JOBS}?watch=true", headers={"Authorization": f"Bearer {api.token}"})
            response = slow.getresponse()
            for number in range(200):
                api.set_status("a", text="x" * 50_000, number=number)
                assert quick.next()["object"]["status"]["number"] == number
            wait_for(lambda: _count_tasks(api) <= before, "the slow client's stream to end")
            with pytest.raises((http.client.IncompleteRead, ssl.SSLError, ConnectionError, json.JSONDecodeError)):
                _drain(response)
    finally:
        api.stop()


def _drain(response: http.client.HTTPResponse) -> None:
    while response.read(1 << 20):
        pass
    raise http.client.IncompleteRead(b"")


def test_two_hundred_watches_see_a_thousand_changes_in_order(api: ApiDesk) -> None:
    api.add_job("a")
    version = get_version(api)
    seen: list[list[int]] = []

    def read(watch: Watch) -> None:
        lines = (watch.response.readline() for _ in range(1000))
        seen.append([int(line[line.rindex(b":") + 1 : -len(b"}}}\n")]) for line in lines])

    with ExitStack() as stack:
        watches = [stack.enter_context(api.watch(f"{JOBS}?watch=true&resourceVersion={version}")) for _ in range(200)]
        readers = [threading.Thread(target=read, args=(watch,)) for watch in watches]
        for reader in readers:
            reader.start()
        for number in range(1000):
            api.set_status("a", number=number)
        for reader in readers:
            reader.join(120)
    assert len(seen) == 200
    assert all(numbers == list(range(1000)) for numbers in seen)


def test_a_change_is_seen_at_once(api: ApiDesk) -> None:
    api.add_job("a")
    delays = []
    with api.watch(f"{JOBS}?watch=true&resourceVersion={get_version(api)}") as watch:
        for number in range(50):
            begin = time.monotonic()
            api.set_status("a", number=number)
            assert watch.next()["object"]["status"]["number"] == number
            delays.append(time.monotonic() - begin)
    assert sorted(delays)[len(delays) // 2] < 0.02, "the middle one of fifty, on a busy machine"
