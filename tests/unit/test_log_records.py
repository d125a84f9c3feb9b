"""Every record is one line of JSON with the fields that are known, whatever is in it."""

import json
import logging
import threading
from collections.abc import Iterator

import pytest

from trainlet.cli.log_records import set_up_logging
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import ObjectKey
from trainlet.planning.plan import CreateContainer, KeepLogs, PullImage, StartContainer
from trainlet.planning.specs import ContainerSpec

KEY = ObjectKey("TrainJob", "team", "mnist")
JOB = {"kind": "TrainJob", "namespace": "team", "name": "mnist"}
ALWAYS = {"time", "level", "logger", "thread", "message"}
log = logging.getLogger("trainlet.test")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("trainlet")
    kept = (root.handlers, root.level, ours.level, threading.excepthook)
    yield
    root.handlers, root.level, ours.level, threading.excepthook = kept


def read_line(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the only line there is."""
    [line] = capsys.readouterr().err.splitlines()
    entry: dict[str, str] = json.loads(line)
    assert entry.keys() >= ALWAYS
    return entry


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (("plain",), {}),
        (("%s: %s", KEY, "text"), JOB),
        (
            ("%s: %s", KEY, StartContainer(name="mnist-node-0", id="1", reason="restart 1")),
            {**JOB, "action": "StartContainer", "container": "mnist-node-0", "reason": "restart 1"},
        ),
        (
            ("%s", CreateContainer(spec=ContainerSpec(name="mnist-node-0", image="x"), reason="it is wanted")),
            {"action": "CreateContainer", "container": "mnist-node-0", "reason": "it is wanted"},
        ),
        (
            ("%s", KeepLogs(name="mnist-node-0", id="1", step="node-0")),
            {"action": "KeepLogs", "container": "mnist-node-0", "node": "node-0", "reason": ""},
        ),
        (("%s", PullImage(image="x:1")), {"action": "PullImage", "target": "x:1", "reason": ""}),
        (
            ("%s: %s; next try in %.1f s", KEY, EngineError("no", where="unix:///x", remedy="wait"), 0.1),
            {**JOB, "error": "EngineError", "where": "unix:///x", "remedy": "wait"},
        ),
    ],
)
def test_what_a_record_is_about_is_in_fields(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], fields: dict[str, str]
) -> None:
    set_up_logging("json")
    log.info(*arguments)  # type: ignore[arg-type]
    entry = read_line(capsys)
    assert {name: value for name, value in entry.items() if name not in ALWAYS} == fields


def test_an_exception_is_one_field_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("%s: a bug", KEY)
    entry = read_line(capsys)
    assert (entry["level"], entry["message"], entry["name"]) == ("error", "TrainJob team/mnist: a bug", "mnist")
    assert entry["exception"].startswith("Traceback")
    assert entry["exception"].endswith("ValueError: two\nlines")


def test_a_thread_that_an_exception_ends_is_told_of_like_anything_else(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    thread = threading.Thread(target=lambda: [][0], name="files")
    thread.start()
    thread.join()
    entry = read_line(capsys)
    assert (entry["level"], entry["message"][:22]) == ("critical", "thread files has ended")
    assert "IndexError" in entry["exception"]


@pytest.mark.parametrize(
    ("level", "debug", "seen"),
    [
        ("debug", False, ["debug", "info", "warning", "error"]),
        ("info", False, ["info", "warning", "error"]),
        ("warning", False, ["warning", "error"]),
        ("error", False, ["error"]),
        ("error", True, ["debug", "info", "warning", "error"]),
    ],
)
def test_the_level_says_how_much(capsys: pytest.CaptureFixture[str], level: str, debug: bool, seen: list[str]) -> None:
    set_up_logging("json", level, debug=debug)
    for each in ("debug", "info", "warning", "error"):
        log.log(getattr(logging, each.upper()), each)
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == seen


def test_warnings_of_libraries_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    logging.getLogger("urllib3.connectionpool").warning("the pool is full")
    logging.getLogger("urllib3.connectionpool").info("a connection")
    assert read_line(capsys)["logger"] == "urllib3.connectionpool"


def test_the_text_form_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("text")
    log.info("%s: it runs", KEY)
    assert capsys.readouterr().err.endswith(" INFO TrainJob team/mnist: it runs\n")
