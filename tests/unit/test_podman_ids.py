"""Podman and the ids of a rootless user: what it gets wrong is done again."""

from typing import Any

import pytest

from trainlet.engine.explain import Refused
from trainlet.engine.podman import PodmanEngine

LOST = "runc create failed: unable to start container process: can't get final child's PID from pipe: EOF"


@pytest.mark.parametrize(("text", "removed"), [(LOST, ["node"]), ("no space left on device", [])])
def test_a_container_that_can_never_start_makes_room_for_another(
    text: str, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: PodmanEngine, *asked: str, **_: Any) -> None:
        raise Refused(asked[-1], status=500, text=text, where=self.endpoint)

    seen: list[str] = []
    monkeypatch.setattr(PodmanEngine, "_ask", refuse)
    monkeypatch.setattr(PodmanEngine, "remove_container", lambda _, id: seen.append(id))
    with pytest.raises(Refused, match="could not start container node"):
        PodmanEngine("unix:///nowhere.sock").start_container("node")
    assert seen == removed
