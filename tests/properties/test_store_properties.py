"""A store that remembers where things are answers as one that looks at everything."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trainlet.kube.meta import JSON, ObjectKey
from trainlet.store import Change, ChangeType, Store

KINDS, NAMESPACES, COLORS = ("Job", "Pod"), ("", "default", "team"), ("red", "blue", None)
KEYS = st.builds(ObjectKey, st.sampled_from(KINDS), st.sampled_from(NAMESPACES), st.sampled_from("abc"))


def read_color(_: ObjectKey, document: JSON) -> str | None:
    color: str | None = document["spec"]["color"]
    return color


class StoreMachine(RuleBasedStateMachine):
    """Does anything to a store, and the same to a plain dict. What is away is kept on a shelf."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.store.add_index("color", read_color)
        self.objects: dict[ObjectKey, JSON] = {}
        self.told: dict[ObjectKey, JSON] = {}
        self.store.subscribe(self._note)

    def _note(self, change: Change) -> None:
        if change.type is ChangeType.DELETED:
            del self.told[change.key]
        else:
            self.told[change.key] = change.object

    def _recall(self, key: ObjectKey) -> None:
        self.store.restore(key, self.objects[key])

    @rule(key=KEYS, color=st.sampled_from(COLORS), size=st.integers(0, 2))
    def put(self, key: ObjectKey, **spec: Any) -> None:
        self.objects[key] = self.store.put(key, {"metadata": {"name": key.name}, "spec": spec})

    @rule(key=KEYS)
    def delete(self, key: ObjectKey) -> None:
        self.store.delete(key)
        self.objects.pop(key, None)

    @rule(keys=st.sets(KEYS))
    def put_away(self, keys: set[ObjectKey]) -> None:
        self.store.put_away(keys, [], self._recall)

    @rule(key=KEYS)
    def get(self, key: ObjectKey) -> None:
        assert self.store.get(key) == self.objects.get(key)

    @rule(kind=st.sampled_from(KINDS), namespace=st.sampled_from((None, *NAMESPACES)))
    def list_all(self, kind: str, namespace: str | None) -> None:
        keys = sorted(k for k in self.objects if k.kind == kind and namespace in (None, k.namespace))
        assert self.store.list_keys(kind, namespace) == keys
        assert self.store.list(kind, namespace) == [self.objects[key] for key in keys]

    @rule(color=st.sampled_from(("red", "blue", "green")))
    def list_by(self, color: str) -> None:
        keys = sorted(key for key, document in self.objects.items() if document["spec"]["color"] == color)
        assert self.store.list_keys_by("color", color) == keys
        assert self.store.list_by("color", color) == [self.objects[key] for key in keys]

    @invariant()
    def counts_are_those_of_a_look_at_everything(self) -> None:
        colors = [document["spec"]["color"] for document in self.objects.values()]
        assert self.store.count_by("color") == {c: colors.count(c) for c in set(colors) - {None}}

    @invariant()
    def whoever_listens_knows_what_is_there(self) -> None:
        assert self.told == self.objects


TestStore = StoreMachine.TestCase
