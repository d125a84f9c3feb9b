"""Objects by key: versions that only rise, selections in order, and subscribers that miss nothing."""

import threading
from itertools import pairwise

from trainlet.kube.meta import JSON, ObjectKey
from trainlet.store import Change, ChangeType, Store


def build_object(name: str, version: str | None = None, **spec: object) -> JSON:
    metadata = {"name": name} if version is None else {"name": name, "resourceVersion": version}
    return {"kind": "Thing", "metadata": metadata, "spec": spec}


def key(name: str, namespace: str = "default", kind: str = "Thing") -> ObjectKey:
    return ObjectKey(kind, namespace, name)


def version_of(document: JSON | None) -> int:
    assert document is not None
    return int(document["metadata"]["resourceVersion"])


def test_what_was_put_is_there_until_it_is_deleted() -> None:
    store = Store()
    assert store.get(key("a")) is None
    put = store.put(key("a"), build_object("a", size=1))
    assert store.get(key("a")) == put == build_object("a", "1", size=1)
    store.delete(key("a"))
    assert store.get(key("a")) is None


def test_the_object_that_is_put_is_not_changed() -> None:
    store, mine = Store(), build_object("a")
    store.put(key("a"), mine)
    assert mine == build_object("a")


def test_lists_are_by_kind_and_namespace_in_the_order_of_names() -> None:
    store = Store()
    for name, namespace, kind in [
        ("b", "default", "Thing"),
        ("a", "team", "Thing"),
        ("a", "default", "Thing"),
        ("c", "", "Other"),
    ]:
        store.put(key(name, namespace, kind), build_object(f"{namespace}/{name}"))
    assert [o["metadata"]["name"] for o in store.list("Thing")] == ["default/a", "default/b", "team/a"]
    assert [o["metadata"]["name"] for o in store.list("Thing", "team")] == ["team/a"]
    assert store.list("Nothing") == []


def test_versions_rise_over_all_objects_and_stay_where_nothing_is_new() -> None:
    store = Store()
    first = store.put(key("a"), build_object("a"))
    second = store.put(key("b"), build_object("b"))
    same = store.put(key("a"), build_object("a", "77"))
    news = store.put(key("a"), build_object("a", size=2))
    assert (version_of(first), version_of(second), version_of(same), version_of(news)) == (1, 2, 1, 3)


def test_versions_go_on_after_those_that_were_loaded() -> None:
    store = Store()
    assert version_of(store.put(key("a"), build_object("a", "41"))) == 42
    assert version_of(store.put(key("b"), build_object("b", "not a number"))) == 43


def test_what_an_earlier_run_left_keeps_its_version() -> None:
    store, told = Store(), list[Change]()
    store.subscribe(told.append)
    store.restore(key("a"), build_object("a", "41"))
    store.restore(key("b"), build_object("b", "7"))
    assert store.get(key("b")) == build_object("b", "7")
    assert [change.type for change in told] == [ChangeType.ADDED] * 2
    assert version_of(store.put(key("b"), build_object("b", "7", size=1))) == 42


def test_a_deletion_takes_a_version_too() -> None:
    store = Store()
    store.put(key("a"), build_object("a"))
    store.delete(key("a"))
    assert version_of(store.put(key("a"), build_object("a"))) == 3


def test_subscribers_are_told_every_later_change_in_order() -> None:
    store, told = Store(), list[Change]()
    store.put(key("before"), build_object("before"))
    store.subscribe(told.append)
    store.put(key("a"), build_object("a"))
    store.put(key("a"), build_object("a"))  # no news
    store.put(key("a"), build_object("a", size=1))
    store.delete(key("a"))
    store.delete(key("a"))  # gone already
    assert [(c.type, c.key, c.object.get("spec")) for c in told] == [
        (ChangeType.ADDED, key("a"), {}),
        (ChangeType.MODIFIED, key("a"), {"size": 1}),
        (ChangeType.DELETED, key("a"), {"size": 1}),
    ]


def test_many_writers_lose_nothing_and_share_no_version() -> None:
    store, told = Store(), list[Change]()
    store.subscribe(told.append)

    def write(name: str) -> None:
        for number in range(200):
            store.put(key(name), build_object(name, number=number))

    threads = [threading.Thread(target=write, args=(f"writer-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = [version_of(change.object) for change in told]
    assert len(versions) == 800
    assert all(later == earlier + 1 for earlier, later in pairwise(versions))
    assert {o["spec"]["number"] for o in store.list("Thing")} == {199}
