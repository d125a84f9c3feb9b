"""Hooks run beside the passes: before SIGTERM, and right after a start."""

import threading

import pytest

from trainlet.apis.core_v1 import Handler
from trainlet.controller.handlers import Place
from trainlet.controller.hooks import Hooks
from trainlet.planning.events import Note
from trainlet.planning.observed import ContainerState
from waiting import wait_for
from ward import Ward

RUN = Handler.of({"exec": {"command": ["bye"]}})


class Scene:
    """Hooks on an engine with one container that runs."""

    def __init__(self) -> None:
        self.ward = Ward()
        self.place = Place(self.ward.run("node"))
        self.hooks = Hooks(self.ward.engine)
        self.told: list[Note] = []
        self.done = threading.Event()

    @property
    def is_running(self) -> bool:
        return bool(self.ward.engine.running)

    def stop(self, hook: Handler = RUN) -> None:
        self.hooks.stop("node", self.place, hook, 5, self.told.append)
        wait_for(lambda: not self.is_running, "the end")

    def start(self, hook: Handler = RUN) -> None:
        self.hooks.run_post_start("node", self.place, hook, self.told.append, self.done.set)
        assert self.done.wait(10)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_sigterm_follows_the_hook(scene: Scene) -> None:
    scene.stop()
    assert [each.exit_code for each in scene.ward.engine.containers] == [143]
    assert scene.told == []


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (RUN, "node: the preStop hook failed: exit code 3: bye"),
        (Handler.of({"tcpSocket": {"port": 1}}), "node: the preStop hook failed: a hook runs a command"),
        (Handler.of({"httpGet": {"port": 1}}), "node: the preStop hook is left out: nothing can be reached"),
        (Handler.of({"httpGet": {"port": "no"}}), "node: the preStop hook failed: the container has no port named no"),
    ],
)
def test_sigterm_follows_a_hook_that_fails_which_is_told(scene: Scene, hook: Handler, message: str) -> None:
    scene.ward.engine.answer("node", 3)
    scene.stop(hook)
    assert [(note.type, note.reason) for note in scene.told] == [("Warning", "FailedPreStopHook")]
    assert scene.told[0].message.startswith(message)


def test_a_pause_is_as_long_as_the_grace_period_at_most(scene: Scene) -> None:
    scene.hooks.stop("node", scene.place, Handler.of({"sleep": {"seconds": 600}}), 0.2, scene.told.append)
    wait_for(lambda: not scene.is_running, "the end")


def test_a_hook_that_runs_is_not_begun_again(scene: Scene) -> None:
    gate = scene.ward.engine.hold_commands(scene.place.id)
    for _ in range(3):
        scene.hooks.stop("node", scene.place, RUN, 5, scene.told.append)
    wait_for(lambda: scene.ward.engine.commands, "the hook")
    assert scene.is_running
    gate.set()
    wait_for(lambda: not scene.is_running, "the end")
    assert len(scene.ward.engine.commands) == 1


def test_a_container_goes_on_after_its_start_hook(scene: Scene) -> None:
    scene.start()
    assert scene.is_running
    assert (scene.told, scene.hooks.starting) == ([], frozenset())


def test_a_container_whose_start_hook_fails_is_killed(scene: Scene) -> None:
    scene.ward.engine.answer("node", 1)
    scene.start()
    [seen] = scene.ward.engine.containers
    assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 137)
    assert [(note.reason, note.message) for note in scene.told] == [
        ("FailedPostStartHook", "node: the postStart hook failed: exit code 1: bye")
    ]


def test_a_container_is_starting_while_its_start_hook_runs(scene: Scene) -> None:
    gate = scene.ward.engine.hold_commands(scene.place.id)
    scene.hooks.run_post_start("node", scene.place, RUN, scene.told.append, scene.done.set)
    assert scene.hooks.starting == {scene.place.id}
    gate.set()
    assert scene.done.wait(10)
    assert scene.hooks.starting == frozenset()
