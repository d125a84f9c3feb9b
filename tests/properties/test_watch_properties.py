"""Who lists and then watches has, at any time, what who lists then gets, whatever is selected."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.admission.admit import Rules
from trainlet.documents.status_dir import StatusDir
from trainlet.documents.version_mark import FIRST
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.loading import now
from trainlet.registry import Registry
from trainlet.server.api.history import Expired, History
from trainlet.server.api.lists import Lister, Scope
from trainlet.server.api.reading import Shown, StoreReader
from trainlet.server.api.rendering import Renderer, Style
from trainlet.server.api.resources import BY_PLURAL
from trainlet.server.api.selection import parse_selection
from trainlet.server.api.virtual import Machine
from trainlet.server.api.watching import Watcher, parse_watch
from trainlet.store import Change, Store

PODS = BY_PLURAL[("", "v1", "pods")]
SELECTORS = [
    ("", ""),
    ("color=red", ""),
    ("color!=red", ""),
    ("!color", ""),
    ("", "status.phase=Running"),
    ("color", "metadata.name=a"),
]
CHANGES = st.tuples(
    st.sampled_from(["x", "y"]),
    st.sampled_from("abc"),
    st.one_of(st.none(), st.tuples(st.sampled_from(["red", "blue", ""]), st.sampled_from(["Running", "Pending"]))),
)


def change(store: Store, namespace: str, name: str, state: tuple[str, str] | None) -> None:
    key = ObjectKey("Pod", namespace, name)
    if state is None:
        store.delete(key)
        return
    color, phase = state
    labels = {"color": color} if color else {}
    store.put(key, {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "status": {"phase": phase}})


def name(each: JSON) -> tuple[str, str]:
    return each["metadata"]["namespace"], each["metadata"]["name"]


def build_reader(store: Store, root: Path, reader: type[StoreReader] = StoreReader) -> StoreReader:
    return reader(Registry(store, StatusDir(root), Rules(()), now), Machine("box", {}), (), now)


async def follow(before: list[Any], after: list[Any], scope: Scope, root: Path, *, from_list: bool) -> None:
    store = Store(FIRST)
    reader = build_reader(store, root)
    history, lister = History(reader), Lister(reader)
    watcher = Watcher(reader, history, Renderer({}, now))
    for each in before:
        change(store, *each)
    listed = lister.list(scope, {})
    known = {name(each): each for each in listed.objects} if from_list else {}
    query = {"resourceVersion": listed.metadata["resourceVersion"]} if from_list else {}
    for each in after if from_list else ():
        change(store, *each)
    version = 0
    async with aclosing(watcher.watch(scope, parse_watch(query), Style())) as frames:
        history.close()  # what is there is still sent
        async for data in frames:
            for line in data.splitlines():
                frame = json.loads(line)
                shown, type = frame["object"], frame["type"]
                assert (type == "ADDED") == (name(shown) not in known)
                if from_list:
                    assert int(shown["metadata"]["resourceVersion"]) > version
                    version = int(shown["metadata"]["resourceVersion"])
                if type == "DELETED":
                    del known[name(shown)]
                else:
                    known[name(shown)] = shown
    assert known == {name(each): each for each in lister.list(scope, {}).objects}


@given(
    st.lists(CHANGES, max_size=12),
    st.lists(CHANGES, max_size=12),
    st.sampled_from(SELECTORS),
    st.sampled_from([None, "x"]),
    st.booleans(),
)
def test_a_list_and_what_a_watch_tells_are_a_later_list(
    before: list[Any], after: list[Any], selectors: tuple[str, str], namespace: str | None, from_list: bool
) -> None:
    scope = Scope(PODS, namespace, parse_selection(PODS, *selectors))
    asyncio.run(follow(before, after, scope, Path("/nonexistent"), from_list=from_list))


def test_who_has_read_a_change_while_it_is_being_told_is_not_too_late() -> None:
    store, versions = Store(FIRST), list[int]()

    class Interrupted(StoreReader):
        def show_change(self, change: Change) -> Iterator[Shown]:
            yield from super().show_change(change)
            versions.append(int(change.object["metadata"]["resourceVersion"]))
            assert history.read_after(PODS, versions[-1]) == []

    async def open_history() -> History:
        return History(build_reader(store, Path("/nonexistent"), Interrupted))

    history = asyncio.run(open_history())
    change(store, "x", "a", ("red", "Running"))
    assert [event.version for event in history.read_after(PODS, versions[0] - 1)] == versions
    with pytest.raises(Expired):
        history.read_after(PODS, versions[0] + 1)
