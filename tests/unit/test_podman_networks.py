"""Podman looks at the interfaces of the machine before it makes a network; one that goes meanwhile confuses it."""

from itertools import chain, repeat
from typing import Any

import pytest

from trainlet.engine.explain import Refused
from trainlet.engine.podman import PodmanEngine
from trainlet.planning.specs import NetworkSpec

LEFT = "route ip+net: no such network interface"


@pytest.mark.parametrize(
    ("refusals", "asks", "error"),
    [
        ([], 1, ""),
        ([LEFT, LEFT], 3, ""),
        (repeat(LEFT), 5, LEFT),
        (["no space left on device"], 1, "no space left on device"),
    ],
)
def test_a_network_is_asked_for_again(
    refusals: list[str], asks: int, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, seen = chain(refusals, repeat("")), list[str]()

    def answer(self: PodmanEngine, _method: str, path: str, doing: str, **_: Any) -> None:
        seen.append(path)
        if text := next(said):
            raise Refused(doing, status=500, text=text, where=self.endpoint)

    monkeypatch.setattr(PodmanEngine, "_ask", answer)
    engine, spec = PodmanEngine("unix:///nowhere.sock"), NetworkSpec("job-net", 1, {}, "10.1.0.0/26")
    if error:
        with pytest.raises(Refused, match=f"could not create network job-net: {error}".replace("+", r"\+")):
            engine.create_network(spec)
    else:
        engine.create_network(spec)
    assert seen == ["networks/create"] * asks
