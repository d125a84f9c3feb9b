"""Objects by key: versions that only rise, selections in order, and subscribers that miss nothing."""

import threading
from itertools import pairwise

import pytest

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


# Indexes


def read_color(_: ObjectKey, document: JSON) -> str | None:
    color = document["spec"].get("color")
    return None if color is None else str(color)


def build_colored(*colors: str | None) -> Store:
    """Return a store with an index by color and an object a color: `thing-0`, `thing-1` and so on."""
    store = Store()
    store.add_index("color", read_color)
    for number, color in enumerate(colors):
        name = f"thing-{number}"
        store.put(key(name), build_object(name, **({} if color is None else {"color": color})))
    return store


def test_an_index_finds_by_value_in_the_order_of_keys_and_counts() -> None:
    store = build_colored("red", "blue", None, "red")
    assert store.list_keys_by("color", "red") == [key("thing-0"), key("thing-3")]
    assert [o["spec"]["color"] for o in store.list_by("color", "blue")] == ["blue"]
    assert store.list_by("color", "green") == []
    assert store.count_by("color") == {"red": 2, "blue": 1}


def test_an_index_follows_changes_and_deletions_and_begins_with_what_is_there() -> None:
    store = build_colored("red", "red")
    store.put(key("thing-0"), build_object("thing-0", color="blue"))
    store.delete(key("thing-1"))
    store.add_index("again", read_color)
    for name in ("color", "again"):
        assert store.count_by(name) == {"blue": 1}


# Away


class Shelf:
    """Where objects are kept that are away; `asked` says who was asked for."""

    def __init__(self, store: Store) -> None:
        self.store, self.asked = store, list[ObjectKey]()
        self.kept: dict[ObjectKey, JSON] = {}

    def take(self, *keys: ObjectKey, others: tuple[ObjectKey, ...] = ()) -> None:
        for each in (*keys, *others):
            self.kept[each] = self.store.get(each) or {}
        self.store.put_away(keys, others, self.recall)

    def recall(self, asked: ObjectKey) -> None:
        self.asked.append(asked)
        for each, document in self.kept.items():
            self.store.restore(each, document)


def test_what_is_away_comes_back_for_whoever_asks_and_nobody_else() -> None:
    store = build_colored("red", "blue", "red")
    before, told = store.list("Thing"), list[Change]()
    store.subscribe(told.append)
    shelf = Shelf(store)
    shelf.take(key("thing-0"), others=(key("thing-2"),))
    assert store.list_keys("Thing") == [key("thing-0"), key("thing-1")]
    assert store.list_keys_by("color", "red") == [key("thing-0")]
    assert store.count_by("color") == {"red": 1, "blue": 1}
    assert store.is_away(key("thing-0"))
    assert shelf.asked == [], "keys do not need the objects"
    assert store.get(key("thing-0")) == before[0]
    assert shelf.asked == [key("thing-0")]
    assert not store.is_away(key("thing-0"))
    assert store.list("Thing") == before, "the others came along"
    assert told == [], "nothing has changed"


def test_a_list_and_a_change_bring_back_what_is_away() -> None:
    store = build_colored("red", "blue")
    shelf = Shelf(store)
    shelf.take(key("thing-0"))
    assert [o["spec"]["color"] for o in store.list("Thing")] == ["red", "blue"]
    shelf.take(key("thing-0"))
    assert version_of(store.put(key("thing-0"), build_object("thing-0", color="red"))) == 1, "no news"
    shelf.take(key("thing-0"))
    store.delete(key("thing-0"))
    assert store.list_keys("Thing") == [key("thing-1")]


def test_what_is_gone_from_where_it_was_kept_is_gone() -> None:
    store = build_colored("red")
    store.put_away([key("thing-0")], [], lambda _: None)
    assert store.get(key("thing-0")) is None
    assert (store.list_keys("Thing"), store.count_by("color")) == ([], {})


def test_what_cannot_be_read_now_stays_away() -> None:
    def fail(_: ObjectKey) -> None:
        raise OSError("not now")

    store = build_colored("red")
    store.put_away([key("thing-0")], [], fail)
    with pytest.raises(OSError, match="not now"):
        store.get(key("thing-0"))
    assert store.is_away(key("thing-0"))


def test_what_is_only_known_is_found_and_its_versions_are_not_given_again() -> None:
    store = build_colored("red")
    shelf = Shelf(store)
    shelf.kept[key("old")] = build_object("old", "41", color="blue")
    store.know(key("old"), {"color": "blue"}, 50, shelf.recall)
    assert store.list_keys_by("color", "blue") == [key("old")]
    assert version_of(store.put(key("new"), build_object("new"))) == 51
    assert store.list_by("color", "blue") == [shelf.kept[key("old")]]
